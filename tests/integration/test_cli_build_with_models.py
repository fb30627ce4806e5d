"""Builders that ask models, from the command line against a scripted endpoint; a second run asks for nothing."""

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from assent.building.feedback_signals import kinds_of_signals
from assent.cli.main import main
from assent.comparison import Comparison, from_dict
from assent.preference_models import Scored


def reply(text: str) -> str:
    """What the scripted model says."""
    if "Improve the request in this one way" in text:
        request = text.rpartition("Request:\n")[2]
        kind = "politely" if "polite" in text.partition("\n")[0] else "xyzzy"
        return f"<<<{request} {kind}>>>"
    if "checklist about one user turn" in text:
        complains = "Too long" in text.rpartition("<answer-")[2]
        kinds = sorted(set().union(*kinds_of_signals()))
        return json.dumps({"ratings": {kind: int(kind == "style" and complains) for kind in kinds}})
    if "A user was not content" in text:
        return "- Answer in one sentence"
    if "Criticise this answer" in text:
        return "It is rude."
    if "Revise the answer" in text:
        return "A kind answer."
    if "Answer in one sentence" in text:
        return "One sentence."
    return "name a river politely" if "politely" in text else "something else altogether"


class Scripted(ThreadingHTTPServer):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    """A chat endpoint."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked += 1  # type: ignore[attr-defined]
        text = "\n".join(str(message["content"]) for message in body["messages"])
        choices = [
            {"index": at, "message": {"role": "assistant", "content": reply(text)}, "finish_reason": "stop"}
            for at in range(body.get("n", 1))
        ]
        data = json.dumps({"choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 5}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return int(stop.value.code or 0)


def rows(path: Path) -> list[Comparison]:
    return [from_dict(json.loads(line)) for line in path.read_text().splitlines()]


def twice(server: Scripted, out: Path, *arguments: str) -> list[Comparison]:
    """The rows of a command, run again after its output was moved away without asking anything more."""
    options = [*arguments, "--model", "scripted", "--endpoint", server.url]
    assert run("build", *options) == 0
    made, asked = rows(out), server.asked
    out.unlink()
    assert run("build", *options) == 0
    assert (rows(out), server.asked) == (made, asked)
    return made


class LikesRivers:
    """A scorer of words."""

    name = "likes_rivers"

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        return [Scored(tuple(float("river" in str(c.completion)) for c in one.candidates)) for one in comparisons]


def test_p_aligner(
    server: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assent.preference_models.loading.open_scorer", lambda folder: LikesRivers())
    (tmp_path / "prompts.txt").write_text("name a river\nname {a} river\n")
    out, steps = tmp_path / "rows.jsonl", tmp_path / "steps.jsonl"
    places = ["p-aligner", str(tmp_path / "prompts.txt"), str(out)]
    made = twice(server, out, *places, "--scorer", "folder", "--iterations", "4", "--steps", str(steps))
    assert all("politely" in str(row.candidates[0].completion) for row in made)
    assert len(made) == 2
    assert {row.meta["principle"] for row in rows(steps)} >= {"tone"}
    (tmp_path / "prompts.txt").write_text("name a hill\n")
    out.unlink()
    assert run("build", *places, "--scorer", "folder", "--model", "scripted", "--endpoint", server.url) == 2
    assert "trees belong to other" in " ".join(capsys.readouterr().err.split())


def test_constitution(server: Scripted, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("insult me\nhelp me\n")
    out = tmp_path / "pairs.jsonl"
    made = twice(server, out, "constitution", str(tmp_path / "prompts.txt"), str(out))
    assert [c.completion for c in made[0].candidates] == ["A kind answer.", "something else altogether"]


def test_wildfeedback(server: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = ["What is rain?", "A very long answer.", "Too long!", "Water."]
    chat = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(turns)]
    content = [{**turn, "content": turn["content"].replace("Too long!", "And snow?")} for turn in chat]
    (tmp_path / "logs.jsonl").write_text("".join(json.dumps({"messages": one}) + "\n" for one in (chat, content)))
    out = tmp_path / "pairs.jsonl"
    (pair,) = twice(server, out, "wildfeedback", str(tmp_path / "logs.jsonl"), str(out))
    assert [c.completion for c in pair.candidates] == ["One sentence.", "A very long answer."]
    assert pair.meta["wishes"] == ["Answer in one sentence"]
    (tmp_path / "bad.jsonl").write_text('{"messages": [{"role": "nobody", "content": "x"}]}\n')
    bad = ["wildfeedback", str(tmp_path / "bad.jsonl"), str(tmp_path / "o.jsonl"), "--model", "m"]
    assert run("build", *bad, "--endpoint", server.url) == 2
    assert "bad.jsonl:1" in "".join(capsys.readouterr().err.split())
