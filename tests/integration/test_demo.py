"""The demo, at a size that fits a test: every stage runs, and says what it found whether or not it pleases."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from assent import Candidate, Comparison, InputError
from assent.cli.main import main
from assent.readers import read
from assent.recipes.demo import CONTROL, METHODS, DemoResult, Sizes, run_demo, shuffle_labels
from assent.recipes.demo_parts.language_model import ModelSize
from assent.recipes.demo_parts.rule import PlainWordRule
from assent.recipes.demo_parts.terminal import COLUMNS, Teller
from assent.recipes.demo_parts.text import opening_of, read_text

TINY = Sizes(
    model=ModelSize(vocabulary=384, hidden=32, layers=1, steps=12, rows=8, row_tokens=64),
    sentences=600,
    practice=24,
    practice_samples=3,
    held_out=16,
    held_out_samples=2,
    new_tokens=12,
    steps=3,
    batch=4,
)


def told(output: Path, seed: int = 0) -> tuple[DemoResult, str]:
    """The demo's result and what it printed."""
    with (output.parent / f"{output.name}.txt").open("w+") as file:
        result = run_demo(output, seed, TINY, Teller(Console(file=file, width=COLUMNS, highlight=False)))
        file.seek(0)
        return result, file.read()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoResult, str]:
    output = tmp_path_factory.mktemp("demo") / "report"
    return output, *told(output)


def test_it_leaves_records_models_and_a_report(demo: tuple[Path, DemoResult, str]) -> None:
    output, result, _ = demo
    page = result.report.read_text()
    assert [row.name for row in result.rows] == ["start, sampled again", *METHODS, CONTROL]
    for row in result.rows:
        assert row.win_rate.percent() in page
        assert row.wins + row.ties + row.losses == TINY.held_out * TINY.held_out_samples
    assert result.rows[0].kl.estimate == pytest.approx(0, abs=1e-4)
    assert result.rows[0].reward_ranking.estimate == 0.5
    comparisons = read(output / "comparisons.jsonl").comparisons
    assert comparisons
    assert all(one.annotator == "plain-word rule" for one in comparisons)
    assert {path.name for path in (output / "runs").iterdir()} == {"dpo", "kto", "simpo", "dpo-shuffled-labels"}
    assert (output / "runs" / "dpo" / "model" / "model.safetensors").is_file()


def test_it_prints_80_columns_and_does_not_claim_what_it_did_not_show(demo: tuple[Path, DemoResult, str]) -> None:
    output, result, printed = demo
    lines = [line for line in printed.splitlines() if str(output) not in line]
    assert max(map(len, lines)) <= COLUMNS
    for row in result.rows[1:-1]:
        better = printed.split("better than the start")[0].splitlines()[-1] if "better than" in printed else ""
        assert (row.name in better) == row.win_rate.above(0.5)
    assert f"report: {result.report}" in printed.replace("\n", "")


def test_same_seed_same_numbers_and_an_old_demo_is_written_over(demo: tuple[Path, DemoResult, str]) -> None:
    output, result, _ = demo
    again, _ = told(output)
    assert again.rows == result.rows


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds something else"):
        run_demo(tmp_path, 0, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_ctrl_c_ends_with_130_and_the_folder_can_be_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("assent.recipes.demo.pretrain", interrupted)
    for _ in range(2):
        with pytest.raises(SystemExit) as stopped:
            main(["demo", "--output", str(tmp_path / "out")])
        assert stopped.value.code == 130
        assert "interrupted" in capsys.readouterr().err


def test_too_little_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too little text"):
        run_demo(tmp_path / "out", 0, Sizes(sentences=20))


def test_shuffling_turns_round_exactly_half() -> None:
    given = [
        Comparison(str(n), [Candidate("a", score=1.0), Candidate("b", score=0.5), Candidate("c", score=0.2)])
        for n in range(40)
    ]
    shuffled = shuffle_labels(given, seed=1)
    best = [max(one.candidates, key=lambda c: c.score or 0).completion for one in shuffled]
    assert best.count("a") == best.count("c") == 20
    assert shuffled == shuffle_labels(given, seed=1)
    assert sorted(c.score or 0 for c in shuffled[0].candidates) == pytest.approx([0.2, 0.5, 1.0], abs=0.31)


def test_nothing_that_is_measured_was_read_before() -> None:
    text = read_text(practice=50, held_out=30, seed=3)
    parts = [set(map(opening_of, text.training)), set(text.practice), set(text.held_out)]
    assert len(parts[1]) == 50
    assert len(parts[2]) == 30
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert text == read_text(practice=50, held_out=30, seed=3)
    assert text != read_text(practice=50, held_out=30, seed=4)


@pytest.fixture(scope="module")
def rule() -> PlainWordRule:
    return PlainWordRule(["The value of the list is a new object."] * 3 + ["Rare words count once only."])


@pytest.mark.parametrize(
    ("opening", "continuation", "faulty"),
    [
        ("The value", " of the list is new.", []),
        ("The value", " of the lisst.", ["lisst."]),
        ("The value", " of the rare list.", ["rare"]),
        ("The value", ' of the "list".', ['"list".']),
        ("The value", " of of the list.", ["of"]),
        ("The value", " Value of the list.", ["Value"]),
        ("The val", "ue of the list.", []),
        ("The val", "uxe of the list.", ["valuxe"]),
        ("The value", ".", []),
        ("The value", " .", ["."]),
        ("The value", "", []),
    ],
)
def test_the_rule_by_eye(rule: PlainWordRule, opening: str, continuation: str, faulty: list[str]) -> None:
    reading = rule.read(opening, continuation)
    assert [word for word, fault in zip(reading.words, reading.faulty, strict=True) if fault] == faulty
    assert len(reading.words) == len(reading.faulty)


def test_the_rule_reads_as_far_as_the_shorter_text_goes(rule: PlainWordRule) -> None:
    assert rule.prefers("The", " value of", " value of lisst lisst lisst") == 0.5
    assert rule.prefers("The", " value of", " valuue of the list is a new object") == 1.0
    assert rule.prefers("The", " valuue", " value xx xx") == 0.0
    judged = rule.judged("The", [" value of the list", " valuue of thee list", " value of thee list"], "start")
    assert [candidate.score for candidate in judged.candidates] == [1.0, 0.0, 0.5]
    assert json.loads(json.dumps(judged.context)) == judged.context
