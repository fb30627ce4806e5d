"""`assent eval factors` and `dissection`: planted properties are found, the same through both files and commands."""

import json
from pathlib import Path

import numpy as np
import pytest

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, to_dict

PLANTED = {"clear": 2.0, "rude": -1.5, "long_winded": 0.0}


def write(path: Path, rows: list[Comparison]) -> str:
    path.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in rows))
    return str(path)


def planted(count: int, seed: int = 0, flip: bool = False) -> tuple[list[Comparison], list[Comparison]]:
    """Pairs with a preference, and the same answers rated."""
    draw = np.random.default_rng(seed)
    pairs, rated = [], []
    for at in range(count):
        values = draw.integers(0, 4, (2, len(PLANTED)))
        gap = float(np.sign(values[0] - values[1]) @ np.array(list(PLANTED.values())))
        first = (draw.random() < 1 / (1 + np.exp(-gap))) != flip
        answers = [f"answer {at} {side}" for side in "ab"]
        scores = [float(first), 1 - float(first)]
        pairs.append(Comparison(f"Q{at}", [Candidate(t, score=s) for t, s in zip(answers, scores, strict=True)]))
        rows = [dict(zip(PLANTED, map(float, row), strict=True)) for row in values]
        rated.append(Comparison(f"Q{at}", [Candidate(t, scores=r) for t, r in zip(answers, rows, strict=True)]))
    return pairs, rated


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return int(stop.value.code or 0)


def test_factors_of_a_planted_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, rated = planted(300)
    tie = Comparison("tie", [Candidate("x", score=1), Candidate("y", score=1)])
    contrary, _ = planted(300, flip=True)
    people = write(tmp_path / "people.jsonl", [*pairs, tie])
    other = write(tmp_path / "other.jsonl", contrary)
    lines = write(tmp_path / "rated.jsonl", rated)
    options = ["--rated", lines, "--other", other, "--rounds", "100", "--json"]
    assert run("eval", "factors", people, *options) == 0
    found = json.loads(capsys.readouterr().out)
    scores = {row["factor"]: row for row in found["factors"]}
    assert scores["clear"]["tau14"] > 0.4
    assert scores["rude"]["tau14"] < -0.2
    assert scores["long_winded"]["low"] < 0 < scores["long_winded"]["high"]
    assert scores["length"]["ties"] == 300
    assert found["left_out"] == {"tie": 1}
    assert scores["clear"]["other"] == pytest.approx(-scores["clear"]["tau14"])
    assert found["alignment"]["pearson"] == pytest.approx(-1)


def test_dissection_of_a_planted_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, rated = planted(400, seed=1)
    people, lines = write(tmp_path / "people.jsonl", pairs), write(tmp_path / "rated.jsonl", rated)
    html = tmp_path / "report.html"
    options = ["--rated", lines, "--samples", "100", "--json", "--html", str(html)]
    assert run("eval", "dissection", people, *options) == 0
    found = json.loads(capsys.readouterr().out)
    weights = {row["property"]: row for row in found["properties"]}
    assert weights["clear"]["low"] > 0.5
    assert weights["rude"]["high"] < -0.3
    assert abs(weights["long_winded"]["weight"]) < 0.3
    assert found["groups"][0]["held_out_accuracy"] > 0.7
    assert "the prior weighs heavily" in found["warnings"][0]
    assert "long_winded" in html.read_text()


def test_unrated_pairs_are_an_error_that_counts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = write(tmp_path / "p.jsonl", planted(3)[0])
    lines = write(tmp_path / "r.jsonl", planted(9)[1][5:])
    assert run("eval", "factors", people, "--rated", lines) == 2
    assert "'not rated in every factor': 3" in " ".join(capsys.readouterr().err.split())
