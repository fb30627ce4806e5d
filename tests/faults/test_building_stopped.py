"""Builders that ask models: killed, out of budget, or fed with hostile replies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from assent.building.feedback_signals import kinds_of_signals
from assent.cli.main import main
from assent.comparison import Comparison, from_dict
from assent.preference_models import Scored
from tests.scripted_endpoint import ScriptedEndpoint, scripted

COUNT = 12
KINDS = sorted(set().union(*kinds_of_signals()))


def reply(text: str) -> str:
    """What a well-behaved model says; every request gets an answer of its own."""
    if "Improve the request in this one way" in text:
        request = text.rpartition("Request:\n")[2]
        return f"<<<{request} {'politely' if 'polite' in text.partition(chr(10))[0] else 'xyzzy'}>>>"
    if "checklist about one user turn" in text:
        complains = "Too long" in text.rpartition("<answer-")[2]
        return json.dumps({"ratings": {kind: int(kind == "style" and complains) for kind in KINDS}})
    if "A user was not content" in text:
        return "- Answer in one sentence"
    if "Criticise this answer" in text:
        return "It is rude."
    if "Revise the answer" in text:
        return "Kindly: " + text.partition("Answer:\n")[2].partition("\n\n")[0]
    if '"ratings": [{"answer"' in text:
        shown = [part.partition("[")[2].partition("]")[0] for part in text.split("<answer-")[1:]]
        rows = [{"answer": at, "rating": 1 + len(body) % 5} for at, body in enumerate(shown, start=1)]
        return json.dumps({"reasoning": "", "ratings": rows})
    return f"[{hash_of(text)}] answer"


def hash_of(text: str) -> str:
    return "x" * (sum(text.encode()) % 97)


class LikesPoliteness:
    """A scorer of words."""

    name = "likes_politeness"

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        return [Scored(tuple(float(len(str(c.completion))) for c in one.candidates)) for one in comparisons]


def commands(folder: Path) -> dict[str, list[str]]:
    """Each builder that asks models, on inputs of its own."""
    (folder / "prompts.txt").write_text("".join(f"tell me {'of {0} ' * at}rivers\n" for at in range(COUNT)))
    turns = ["What is rain {}?", "A very long answer {}.", "Too long!", "Water."]
    rows = [
        {"messages": [{"role": ("user", "assistant")[i % 2], "content": t.format(at)} for i, t in enumerate(turns)]}
        for at in range(COUNT)
    ]
    (folder / "logs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = str(folder / "prompts.txt")
    return {
        "constitution": [prompts],
        "wildfeedback": [str(folder / "logs.jsonl")],
        "p-aligner": [prompts, "--scorer", "folder", "--iterations", "3"],
        "codeultrafeedback": [prompts, "--writer", "one", "--writer", "two", "--writer", "three", "--answers", "3"],
    }


BUILDERS = ["constitution", "wildfeedback", "p-aligner", "codeultrafeedback"]


@pytest.fixture(autouse=True)
def scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assent.preference_models.loading.open_scorer", lambda folder: LikesPoliteness())


def command(name: str, folder: Path, out: Path, server: ScriptedEndpoint, *more: str) -> list[str]:
    source, *options = commands(folder)[name]
    asked = ["--model", "scripted", "--endpoint", server.url, "--concurrency", "2"]
    return ["build", name, source, str(out), *options, *asked, *more]


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


def rows(path: Path) -> list[Comparison]:
    return [from_dict(json.loads(line)) for line in path.read_text().splitlines()]


CHILD = """
import sys
import assent.preference_models.loading as loading
from tests.faults.test_building_stopped import LikesPoliteness
loading.open_scorer = lambda folder: LikesPoliteness()
from assent.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("name", BUILDERS)
def test_killed_in_the_middle_and_run_again_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    with scripted(reply) as server:
        assert run(command(name, tmp_path, tmp_path / "whole.jsonl", server)) == 0
        whole, asked = rows(tmp_path / "whole.jsonl"), server.answered
        assert len(whole) >= COUNT // 2

        server.answered, server.kill_after = 0, asked // 2
        out = tmp_path / "killed.jsonl"
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, *command(name, tmp_path, out, server)],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        server.victim = child.pid
        assert child.wait(timeout=120) == -9
        assert not out.exists()
        server.kill_after = None
        assert run(command(name, tmp_path, out, server)) == 0
        assert rows(out) == whole
        # Lost: what was in flight, waited to be written, or was being written (each as many as requests at once).
        assert asked <= server.answered <= asked + 4 * 2


@pytest.mark.parametrize("name", BUILDERS)
def test_a_budget_ends_the_work_with_what_is_finished_and_says_how_to_go_on(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assent.cli.builder_files.GROUP", 3)
    monkeypatch.setattr("assent.cli.build_p_aligner.GROUP", 3)
    with scripted(reply) as server:
        assert run(command(name, tmp_path, tmp_path / "whole.jsonl", server)) == 0
        whole, asked = rows(tmp_path / "whole.jsonl"), server.answered
        prices = ["--price-prompt", "1", "--price-completion", "1000", "--max-new-tokens", "60"]
        out, partial = tmp_path / "paid.jsonl", tmp_path / "paid.jsonl.partial"
        server.answered = 0
        budget = ["--budget", str(0.05 * asked * 0.7)]
        assert run(command(name, tmp_path, out, server, *prices, *budget)) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert 0 < server.answered < asked
        assert "budget of" in said
        assert "larger budget goes on" in said
        assert not out.exists()
        some = rows(partial)
        assert 0 < len(some) < len(whole)
        assert run(command(name, tmp_path, out, server, *prices, "--budget", "1000000")) == 0
        assert server.answered == asked
        made = rows(out)
        assert {one.key for one in some} <= {one.key for one in made}
        assert not partial.exists()


HOSTILE = {
    "markup": "<script>alert(1)</script><b onmouseover=x>[[A]] verdict: A",
    "terminal": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x00\x08",
    "template": "{{ 7 * 7 }} {% for x in ().__class__.__bases__ %}{0} %s ${x} <<<",
    "huge": "- wish " + "long " * 200_000,
    "empty": "",
    "odd": "\ud83d\u202e\ufffe\u0000",
    "json": '{"ratings": {"style": 1e999}, "rating": null, "verdict": ["A"]}' + "[" * 3000,
}


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_replies_break_neither_records_nor_messages(
    name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = iter(range(1_000_000))

    def script(text: str) -> str:
        # Every other reply is hostile, so that hostile texts meet well-read ones further on.
        return HOSTILE[kind] if next(calls) % 2 else reply(text)

    out = tmp_path / "out.jsonl"
    with scripted(script) as server:
        code = run(command(name, tmp_path, out, server, "--concurrency", "1"))
    printed = capsys.readouterr()
    assert code in (0, 2), printed.err
    assert "Traceback" not in printed.err
    assert "\x1b]0;owned" not in printed.out + printed.err
    if code == 2:
        assert "nothing could be made" in printed.err
        assert not out.exists()
    else:
        account: dict[str, Any] = json.loads(printed.out)
        lines = out.read_bytes().split(b"\n")[:-1]
        assert len(lines) == account["written"] == len(rows(out))
        # A record is a line, whatever its texts hold, and reads back as it was.
        assert all(from_dict(json.loads(line)).candidates for line in lines)
    assert "49" not in printed.out or kind != "template"


@pytest.mark.parametrize("name", ["wildfeedback", "codeultrafeedback"])
def test_verdicts_that_cannot_be_read_are_counted_and_shown(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(text: str) -> str:
        broken = ("rain 3?" in text and "checklist about" in text) or (
            '"ratings": [{"answer"' in text and text.count("of {0}") == 3
        )
        return "I had rather not say." if broken or "could not be read" in text else reply(text)

    with scripted(script) as server:
        assert run(command(name, tmp_path, tmp_path / "out.jsonl", server)) == 0
    left = json.loads(capsys.readouterr().out)["left_out"]
    (count,) = [number for reason, number in left.items() if "unparsed" in reason or "could not be read" in reason]
    assert count == 1
