"""A real OpenAI-compatible server, `transformers serve`, behind the fault proxy: every record judged or marked."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from assent.comparison import Candidate, Comparison
from assent.generation import Endpoint, EndpointClient, Ledger, Sampling
from assent.judging import EndpointRespondent, PromptedJudge, Tally, asking_of, load_rubric
from assent.work.journal import Journal
from tests.fault_proxy import FaultProxy
from tests.tiny import save_tiny_lm

pytest.importorskip("fastapi", reason="`transformers serve` needs fastapi")
pytest.importorskip("uvicorn", reason="`transformers serve` needs uvicorn")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(base URL, model name) of a tiny random model."""
    model = save_tiny_lm(tmp_path_factory.mktemp("served"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
    command = [sys.executable, "-c", code, "serve", str(model), "--device", "cpu", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = tmp_path_factory.mktemp("log") / "serve.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    url = f"http://localhost:{port}"
    try:
        for _ in range(240):
            if process.poll() is not None:
                pytest.fail(f"the server ended: {log.read_text()[-2000:]}")
            try:
                if httpx.get(f"{url}/health", timeout=1).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.25)
        else:
            pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")
        yield f"{url}/v1", str(model)
    finally:
        process.terminate()
        process.wait(20)


def test_samples_from_a_real_server(server: tuple[str, str]) -> None:
    url, model = server
    client = EndpointClient(Endpoint(url, model, concurrency=2))
    found = dict(client.stream(["one", "two"], Sampling(samples=2, max_new_tokens=5, seed=1)))
    assert all(len(samples) == 2 for samples in found.values())
    assert all(sample.finish_reason != "error" for samples in found.values() for sample in samples)
    assert client.ledger.tokens["completion"] > 0


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_every_record_is_judged_or_marked(server: tuple[str, str], tmp_path: Path, count: int) -> None:
    url, model = server
    data = [
        Comparison(f"question {index}", [Candidate(f"answer {index}"), Candidate("another")])
        for index in range(count)
    ]
    faults = ("rate_limit", "server_error", "cut", "broken_json", "wrong_id")
    with FaultProxy(upstream=url, fault_share=0.2, faults=faults) as proxy, Journal(tmp_path / "j") as journal:
        ledger = Ledger()
        # One rating for each answer keeps the prompts short; a random model's words are not readable.
        client = EndpointClient(Endpoint(proxy.url, model, concurrency=8, timeout=60, attempts=12), journal, ledger)
        asking = asking_of(load_rubric("relevance"), "pointwise")
        judge = PromptedJudge(EndpointRespondent(client, max_tokens=4), asking, "relevance", repair=False)
        verdicts = dict(judge.judge(data))
        tally = Tally()
        for verdict in verdicts.values():
            tally.add(verdict)
        assert sorted(verdicts) == list(range(count))
        assert tally.statuses["unparsed"] + tally.statuses["judged"] == count
        assert tally.statuses["unparsed"] > 0.8 * count, "random text is not read as a verdict"
        assert set(proxy.answered.values()) == {1}
        assert len(proxy.faults) > 2
        before = sum(proxy.attempts.values())
        again = dict(judge.judge(data))
        assert again == verdicts
        assert sum(proxy.attempts.values()) == before
