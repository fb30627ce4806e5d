"""Endpoints that fail in every way: each request is answered or marked, none paid for twice, kills cost nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assent.errors import InputError, RunError
from assent.generation import Answer, BudgetReached, Endpoint, EndpointClient, Ledger, Price, Request, Sampling
from assent.work.journal import Journal
from tests.fault_proxy import FaultProxy


def echo(body: dict[str, Any]) -> str:
    return f"echo {body['messages'][-1]['content']} {body['choice']}"


def requests(count: int) -> list[Request]:
    return [Request([{"role": "user", "content": f"question {index}"}], max_tokens=16) for index in range(count)]


def client(
    proxy: FaultProxy, journal: Journal | None = None, ledger: Ledger | None = None, **more: Any
) -> EndpointClient:
    settings = {"concurrency": 64, "timeout": 4.0, "attempts": 20, **more}
    return EndpointClient(Endpoint(proxy.url, "stub", **settings), journal, ledger)


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_every_request_is_answered_once_through_all_faults(tmp_path: Path, count: int) -> None:
    with FaultProxy(echo, fault_share=0.2, delay=0.02) as proxy, Journal(tmp_path / "j.sqlite") as journal:
        ledger = Ledger()
        found = dict(client(proxy, journal, ledger).answers(requests(count)))
        assert [found[index].text for index in range(count)] == [f"echo question {index} 0" for index in range(count)]
        assert len(proxy.faults) == 6
        assert sum(proxy.faults.values()) > 0.15 * count
        # A good answer that a busy machine delivers after the client's timeout is lost to it, as a hang is: asked
        # again, and counted. Nothing else is answered twice.
        late = ledger.retries - sum(proxy.faults.values())
        assert sum(proxy.answered.values()) == count + late
        assert 0 <= late <= count // 100
        assert len(journal) == count
        assert proxy.most_in_flight <= 64 + proxy.faults["hang"] + late
        before = sum(proxy.attempts.values())
        again = dict(client(proxy, journal).answers(requests(count)))
        assert all(answer.cached for answer in again.values())
        assert sum(proxy.attempts.values()) == before, "nothing is asked twice"


def test_a_request_that_always_fails_is_marked_and_not_kept(tmp_path: Path) -> None:
    with FaultProxy(echo) as proxy, Journal(tmp_path / "j.sqlite") as journal:
        proxy._fault = lambda name: "bad_request" if len(proxy.bodies) == 3 else None  # type: ignore[method-assign]
        found = dict(client(proxy, journal, concurrency=1).answers(requests(5)))
        assert [found[index].error is None for index in range(5)] == [True, True, False, True, True]
        assert "context too long" in (found[2].error or "")
        proxy._fault = lambda name: None  # type: ignore[method-assign]
        assert all(answer.error is None for _, answer in client(proxy, journal).answers(requests(5)))


def test_equal_requests_are_paid_once_with_and_without_a_journal(tmp_path: Path) -> None:
    same = requests(1) * 50
    with FaultProxy(echo, delay=0.01) as proxy:
        assert len(dict(client(proxy).answers(same))) == 50
        assert sum(proxy.answered.values()) == 1
        with Journal(tmp_path / "j.sqlite") as journal:
            assert len(dict(client(proxy, journal, concurrency=3).answers(same))) == 50
        assert sum(proxy.answered.values()) == 2


def test_a_server_that_answers_nothing_stops_the_run() -> None:
    with FaultProxy(echo, fault_share=1.0, faults=("server_error",)) as proxy:
        begun = time.monotonic()
        with pytest.raises(RunError, match="none of the first"):
            list(client(proxy, attempts=1, concurrency=4).answers(requests(1000)))
        assert time.monotonic() - begun < 10
    with pytest.raises(RunError, match="cannot reach"):
        list(EndpointClient(Endpoint("http://127.0.0.1:9/v1", "x", attempts=1)).answers(requests(100)))


@pytest.mark.parametrize("honours", [True, False])
def test_k_samples_come_from_servers_that_know_n_and_those_that_do_not(honours: bool) -> None:
    with FaultProxy(lambda body: f"{body['seed']}-{body['choice']}", honours_count=honours) as proxy:
        generator = client(proxy)
        found = dict(generator.stream(["a", "b", "c"], Sampling(samples=4, seed=1)))
        texts = [sample.text for index in range(3) for sample in found[index]]
        assert len(set(texts)) == 12
        assert len(proxy.bodies) == (3 if honours else 12)


def test_the_budget_is_never_passed(tmp_path: Path) -> None:
    price = Price(prompt=1e6, completion=1e6)  # one unit a token
    with FaultProxy(echo, fault_share=0.2, faults=("hang", "server_error")) as proxy:
        ledger = Ledger(price, budget=2000.0)
        with Journal(tmp_path / "j.sqlite") as journal:
            found: dict[int, Answer] = {}
            with pytest.raises(BudgetReached, match="budget of 2000"):
                found.update(client(proxy, journal, ledger, timeout=4.0).answers(requests(1000)))
            assert 0 < len(found) == len(journal) < 1000
            assert ledger.money is not None
            assert 1500 < ledger.money <= 2000
            assert sum(proxy.answered.values()) == len(journal)
            with pytest.raises(BudgetReached):  # what the journal holds counts: 60 more would fit otherwise
                list(
                    client(proxy, journal, Ledger(price, budget=journal.totals()["money"] + 10)).answers(
                        requests(1000)
                    )
                )
    with pytest.raises(InputError, match="price"):
        Ledger(budget=1.0)


def test_the_key_is_sent_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    with FaultProxy(echo) as proxy, Journal(tmp_path / "j.sqlite") as journal:
        chatty = client(proxy, journal, key_variable="SOME_KEY")
        list(chatty.answers(requests(3)))
        assert {headers["authorization"] for headers in proxy.headers} == {"Bearer sk-very-secret"}
        assert "secret" not in repr(chatty.endpoint)
        assert chatty.endpoint.redacted("bad key sk-very-secret!") == "bad key [key]!"
    for file in tmp_path.iterdir():
        assert b"sk-very-secret" not in file.read_bytes()
    with pytest.raises(InputError, match="credentials"):
        Endpoint("https://user:pass@example.org/v1", "m")
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(InputError, match="SOME_KEY is not set"):
        Endpoint("https://example.org/v1", "m", key_variable="SOME_KEY").headers()


RUN = """
import json, sys
from pathlib import Path
from assent.generation import Endpoint, EndpointClient
from assent.work.journal import Journal
from tests.faults.test_generation_endpoint import requests
with Journal(Path(sys.argv[2])) as journal:
    endpoint = Endpoint(sys.argv[1], "stub", concurrency=16, timeout=4.0, attempts=20)
    found = dict(EndpointClient(endpoint, journal).answers(requests(300)))
    print(json.dumps([found[index].text for index in range(300)]))
"""


def kept_names(journal: Journal) -> set[str]:
    """The request ids of the answers in a journal; a request's id is the start of its key."""
    rows = journal._connection.execute("SELECT key FROM entries").fetchall()
    return {key[:32] for (key,) in rows}


def test_killed_five_times_equals_uninterrupted(tmp_path: Path) -> None:
    with FaultProxy(echo, fault_share=0.2, delay=0.05) as proxy:
        command = [sys.executable, "-c", RUN, proxy.url, str(tmp_path / "j.sqlite")]
        draw = random.Random(0)
        paid: dict[str, int] = {}
        for kill in range(1, 6):
            worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
            begun = sum(proxy.answered.values())
            aim = begun + draw.randint(10, 50)
            while sum(proxy.answered.values()) < aim and worker.poll() is None:
                time.sleep(0.005)
            assert worker.poll() is None, f"killed while it works ({kill})"
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
            time.sleep(0.2)  # the server finishes what it was working on
            with Journal(tmp_path / "j.sqlite") as journal:
                saved = kept_names(journal)
            assert saved >= set(paid), "what was on disk stays there"
            assert all(proxy.answered[key] == count for key, count in paid.items()), "nothing on disk is asked again"
            paid = {key: proxy.answered[key] for key in saved}
        final = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
        assert json.loads(final.stdout) == [f"echo question {index} 0" for index in range(300)]
        twice = [count for count in proxy.answered.values() if count > 1]
        # Each kill can lose what was in flight, at most the concurrency, and what came while the last group was
        # gathered (at 16 answers in 50 ms, eight in 25 ms); nothing else is asked again.
        assert all(proxy.answered[key] == count for key, count in paid.items())
        assert len(twice) <= 5 * (16 + 8)
        assert sum(proxy.answered.values()) <= 300 + 5 * (16 + 8)


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    with FaultProxy(echo, delay=0.02) as proxy:
        command = [sys.executable, "-c", RUN, proxy.url, str(tmp_path / "j.sqlite")]
        runs = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
            for _ in range(2)
        ]
        outputs = [json.loads(run.communicate(timeout=60)[0]) for run in runs]
        assert outputs[0] == outputs[1] == [f"echo question {index} 0" for index in range(300)]
        assert set(proxy.answered.values()) == {1}, "the other process's answers were awaited, not bought again"
