"""`assent eval judges`, `eval scores` and `eval compare --second`: planted values through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, from_dict, to_dict
from tests.fault_proxy import FaultProxy

HOSTILE = "evil\x1b[31m\u202eoverride<script>alert(1)</script>"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return int(stop.value.code or 0)


def write(path: Path, rows: list[Any]) -> Path:
    dicts = [to_dict(row) if isinstance(row, Comparison) else row for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in dicts))
    return path


def judged(at: int, mine: float, annotator: str | None) -> Comparison:
    answers = [
        Candidate(f"mine {at}", score=mine, source="gpt-mini"),
        Candidate(f"theirs, longer {at}", score=1 - mine, source="other"),
    ]
    return Comparison(f"q{at}", answers, annotator=annotator)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    # People: mine wins 10 of 40. The judge agrees there, and takes 12 of the other 30 for mine as well.
    people = write(tmp_path / "people.jsonl", [judged(at, float(at < 10), None) for at in range(40)])
    model = write(tmp_path / "model.jsonl", [judged(at, float(at < 22), "gpt") for at in range(40)])
    return [str(model), str(people)]


def test_judges_are_set_side_by_side(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--reference", "people", "--own", "gpt=gpt-mini"]
    assert run("eval", "judges", *files, *own, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (agreement,) = found["agreement"]
    assert (agreement["judge"], agreement["and"], agreement["pairs"]) == ("gpt", "people", 40)
    assert agreement["same verdict"].startswith("70.0% [")
    # The sides of a pair are as good as drawn, so chance agrees on half of them.
    assert agreement["kappa"] == pytest.approx((0.7 - 0.5) / (1 - 0.5), abs=0.03)
    (leaning,) = found["own"]
    assert leaning["names its own"].startswith("55.0% [")
    assert leaning["reference"] == "25%"
    assert leaning["excess"].startswith("+30.0 points [")
    assert leaning["p"] < 0.01
    assert leaning["recall gap"] == "+40 points"
    assert [row["names the longer"].split("%")[0] for row in found["judges"]] == ["45.0", "75.0"]
    html = tmp_path / "judges.html"
    assert run("eval", "judges", *files, *own, "--html", str(html)) == 0
    shown = capsys.readouterr().out
    assert "Answers of their own" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "+30.0 points" in html.read_text()
    for wrong in (["--reference", "nobody"], ["--own", "gpt"], ["--own", "nobody=gpt-mini"]):
        assert run("eval", "judges", *files, *wrong) == 2


def test_compare_says_how_far_its_judge_can_be_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = write(tmp_path / "mine.jsonl", [Comparison(f"q{at}", [Candidate(f"good {at}")]) for at in range(20)])
    theirs = write(tmp_path / "theirs.jsonl", [Comparison(f"q{at}", [Candidate(f"bad {at}")]) for at in range(20)])
    people = [
        Comparison(
            f"q{at}",
            [Candidate(f"bad {at}", score=float(at < 5)), Candidate(f"good {at}", score=float(at >= 5))],
        )
        for at in range(20)
    ]
    second = write(tmp_path / "people.jsonl", people)
    rule = ["--judge", "rule", "--rule", f"{__name__}:likes_good", "--own", "mine", "--second", str(second)]
    assert run("eval", "compare", str(mine), str(theirs), *rule, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rate"]["win_rate"] == 100.0
    assert found["agreement"]["with_ties"]["estimate"] == 0.75
    assert found["self_preference"]["excess"]["estimate"] == 0.25
    assert found["self_preference"]["recall_gap"] == 1.0
    assert run("eval", "compare", str(mine), str(theirs), *rule) == 0
    shown = capsys.readouterr().out
    assert "agrees with people" in shown
    assert "favours its own by" in shown
    assert run("eval", "compare", str(mine), str(theirs), *rule[:4], "--own", "nobody") == 2
    both = write(tmp_path / "two.jsonl", [*people, *(judged(0, 1.0, "x") for _ in range(1))])
    assert run("eval", "compare", str(mine), str(theirs), *rule[:4], "--second", str(both)) == 2


def likes_good(prompt: str, answer: str) -> float:
    """A rule: answers that call themselves good."""
    return float(answer.startswith("good"))


def rates(body: dict[str, Any]) -> str:
    """A judge from 1 to 10: the number that the answer names, less one in the second turn."""
    text = body["messages"][-1]["content"]
    answer = text.rpartition("<answer-")[2]
    second = "and then?" in text
    assert "<reference-" in text
    assert ("the second truth" in text) == second
    return json.dumps({"critique": "weak", "rating": int(answer.split("worth ")[1].split()[0]) - second})


QUESTIONS = [
    {
        "question_id": at,
        "category": "math" if at % 2 else "writing",
        "turns": [f"question {at}", "and then?"],
        "reference": ["the truth", "the second truth"],
    }
    for at in range(6)
]


def test_two_turns_are_answered_rated_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions = write(tmp_path / "questions.jsonl", QUESTIONS)
    rated, drawn = [], []
    for name, worth in (("strong", 9), ("weak", 5)):
        with FaultProxy(lambda body, worth=worth: f"worth {worth} {HOSTILE}") as proxy:
            server = ["--endpoint", proxy.url, "--model", name]
            out = tmp_path / f"{name}.jsonl"
            assert run("generate", str(questions), str(out), *server) == 0
            asked = [[message["role"] for message in body["messages"]] for body in proxy.bodies]
            assert asked.count(["user"]) == asked.count(["user", "assistant", "user"]) == 6
        rows = [from_dict(json.loads(line)) for line in out.read_text().splitlines()]
        assert [row.meta["turn"] for row in rows] == [1, 2] * 6
        assert [row.group for row in rows[:4]] == ["writing", "writing", "math", "math"]
        assert rows[1].prompt[1]["content"] == rows[0].candidates[0].completion
        drawn.append(str(out))
        with FaultProxy(rates) as proxy:
            judge = ["--judge", "endpoint", "--endpoint", proxy.url, "--model", "judge", "--rubric", "overall"]
            rated.append(str(tmp_path / f"{name}.rated.jsonl"))
            assert run("judge", str(out), rated[-1], *judge) == 0
    capsys.readouterr()
    html = tmp_path / "scores.html"
    assert run("eval", "scores", *rated, "--json", "--html", str(html)) == 0
    found = json.loads(capsys.readouterr().out)
    strong, weak = found["systems"]
    assert (strong["system"], strong["mean"]["estimate"], weak["mean"]["estimate"]) == ("strong", 8.5, 4.5)
    assert strong["turns"] == {"1": 9.0, "2": 8.0}
    assert strong["categories"] == {"math": 8.5, "writing": 8.5}
    (gap,) = found["differences"]
    assert gap["difference"]["estimate"] == 4.0
    assert gap["p_value"] == pytest.approx(2 / 2**6), "six questions, not twelve answers"
    page = html.read_text()
    assert "<script>alert(1)" not in page
    assert "\u202e" not in page
    with FaultProxy(rates) as proxy:
        judge = ["--judge", "endpoint", "--endpoint", proxy.url, "--model", "judge", "--rubric", "overall"]
        compare = ["eval", "compare", *drawn, *judge, "--mode", "critique", "--html", str(tmp_path / "c.html")]
        assert run(*compare) == 0
        shown = capsys.readouterr().out
        assert "By category" in shown
        assert "8.50" in shown
        assert "100.0%" in shown
        assert "\x1b[31m" not in shown
    samples = ["--model", "m", "--endpoint", "http://localhost:9/v1", "--samples", "2"]
    assert run("generate", str(questions), str(tmp_path / "no.jsonl"), *samples) == 2
    dry = ["--model", "m", "--endpoint", "http://localhost:9/v1", "--dry-run"]
    capsys.readouterr()
    assert run("generate", str(questions), str(tmp_path / "no.jsonl"), *dry) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 12
