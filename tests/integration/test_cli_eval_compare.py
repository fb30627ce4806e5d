"""`assent eval compare`: two files of answers, a rule or an endpoint as judge, the numbers and the report."""

import json
from pathlib import Path

import numpy as np
import pytest

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, from_dict, to_dict
from assent.errors import InputError
from assent.evaluation.head_to_head import head_to_head, join, preference, served, statuses, tied

EVIL = "<script>alert(1)</script>"


def write(path: Path, answers: dict[str, str]) -> Path:
    rows = [Comparison(prompt, [Candidate(text)]) for prompt, text in answers.items()]
    path.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in rows))
    return path


def longer(prompt: str, answer: str) -> float:
    """A rule: the longer answer is better."""
    return float(len(answer))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return int(stop.value.code or 0)


def judged(first: str, second: str, confidence: float | None = None, said: tuple[str, ...] = ()) -> Comparison:
    return Comparison(
        f"{first}/{second}",
        [Candidate(first), Candidate(second)],
        confidence=confidence,
        meta={"judgement": {"status": "judged", "verdicts": list(said)}},
    )


def test_answers_are_joined_by_prompt_whatever_its_form() -> None:
    first = [
        Comparison("Q1", [Candidate("a")]),
        Comparison("Q2", [Candidate("b")]),
        Comparison("Q1", [Candidate("c")]),
    ]
    second = [
        Comparison([{"role": "user", "content": "Q1"}], [Candidate("x")]),
        Comparison("Q3", [Candidate("y")]),
        Comparison("Q1", [Candidate("z")]),
    ]
    joined = join(first, second, ("mine", "theirs"))
    assert [[c.completion for c in pair.answers] for pair in joined.pairs] == [["a", "x"], ["c", "z"]]
    assert [c.source for c in joined.pairs[0].candidates] == ["mine", "theirs"]
    assert (joined.only_first, joined.only_second) == (1, 1)
    with pytest.raises(InputError, match="in common"):
        join(first, [second[1]])


def test_the_served_answer_is_the_chosen_one() -> None:
    several = Comparison("Q", [Candidate("a"), Candidate("b")], meta={"decoding": {"chosen": 1}})
    assert served(several).completion == "b"
    with pytest.raises(InputError, match="several answers"):
        served(Comparison("Q", [Candidate("a"), Candidate("b")]))


def test_numbers_of_known_verdicts() -> None:
    rows = [judged("long answer", "short", 0.9, ("A", "B"))] * 6
    rows += [judged("x", "longer", 0.5, ("A", "A")), judged("y", "yes", 0.2, ("B", "A")), tied(judged("s", "s"))]
    rows.append(judged("u", "v"))
    result = head_to_head(rows)
    assert result.rate.win_rate == pytest.approx(100 * (6 * 0.9 + 0.5 + 0.2 + 0.5) / 9)
    assert (result.rate.wins, result.rate.ties, result.rate.losses, result.rate.unjudged) == (6, 2, 1, 1)
    assert result.sign_test == pytest.approx(2 * (1 + 7) / 2**7)
    assert result.interval.low < result.rate.win_rate < result.interval.high
    assert result.identical == 1
    assert result.orders.consistency == pytest.approx(7 / 8)
    assert result.orders.biased_to_first == pytest.approx(1 / 8)
    assert result.names_longer[0] == 1.0
    assert result.controlled is None
    assert statuses(rows) == {"judged": 9, "identical": 1}


def test_a_judge_of_length_alone_gains_nothing_under_length_control() -> None:
    draw = np.random.default_rng(0)
    rows = []
    for at in range(400):
        gap = int(draw.normal(30, 40))
        first, second = "a" * max(100 + gap, 1), "b" * 100
        wins = draw.random() < 1 / (1 + np.exp(-(gap / 20)))
        rows.append(
            Comparison(f"Q{at}", [Candidate(first, score=float(wins)), Candidate(second, score=1.0 - float(wins))])
        )
    result = head_to_head(rows, rounds=200)
    assert result.rate.win_rate > 65
    assert abs(result.controlled.win_rate - 50) < 10
    assert result.sign_test < 1e-6
    assert preference(rows[0]) in (0.0, 1.0)


def test_no_length_control_where_length_decides_every_verdict() -> None:
    rows = []
    for at in range(30):
        lengths = (40 + at, 50) if at % 10 else (50, 50 + at + 1)
        wins = lengths[0] > lengths[1]
        answers = [Candidate("a" * lengths[0], score=float(wins)), Candidate("b" * lengths[1], score=1.0 - wins)]
        rows.append(Comparison(f"Q{at}", answers))
    result = head_to_head(rows, rounds=50)
    assert result.names_longer is not None
    assert result.names_longer[0] == 1.0
    assert result.controlled is None


def test_the_command_judges_reports_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = write(tmp_path / "mine.jsonl", {"Q1": EVIL, "Q2": "same", "Q3": "ab", "Q4": "only mine"})
    theirs = write(tmp_path / "theirs.jsonl", {"Q1": "b", "Q2": "same", "Q3": "abc"})
    rule = ["--judge", "rule", "--rule", f"{__name__}:longer"]
    out, html = tmp_path / "pairs.jsonl", tmp_path / "report.html"
    arguments = ["eval", "compare", str(mine), str(theirs), *rule, "--out", str(out), "--html", str(html), "--json"]
    assert run(*arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rate"]["wins"], found["rate"]["ties"], found["rate"]["losses"]) == (1, 1, 1)
    assert (found["only_first"], found["only_second"], found["identical"]) == (1, 0, 1)
    assert found["names_longer"][0] == 1.0
    pairs = [from_dict(json.loads(line)) for line in out.read_text().splitlines()]
    assert [pair.candidates[0].source for pair in pairs] == ["mine"] * 3
    page = html.read_text()
    assert EVIL not in page
    assert "alert(1)" in page
    assert run(*arguments) == 2
    assert run("eval", "compare", str(mine), str(theirs), *rule) == 0
    assert "mine against theirs" in capsys.readouterr().out
    assert run("eval", "compare", str(mine), str(theirs), "--judge", "person") == 2
