"""Annotators that a PAL model does not know, learned from a few pairs on the command line."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, from_dict, to_dict
from assent.preference_models.fit import FitOptions, train_preference_model

GOOD, BAD = ["kind", "clear", "right", "helpful"], ["rude", "vague", "wrong", "useless"]


def tastes(people: dict[str, list[str]], count: int, seed: int) -> list[Comparison]:
    """Pairs of a kind and an unkind answer; each annotator prefers the words given for them."""
    draw = random.Random(seed)
    rows = []
    for name, liked in people.items():
        for row in range(count):
            texts = [" ".join(draw.choices(words, k=draw.randint(2, 6))) for words in (GOOD, BAD)]
            scores = (1.0, 0.0) if liked is GOOD else (0.0, 1.0)
            candidates = [Candidate(text, score=score) for text, score in zip(texts, scores, strict=True)]
            rows.append(Comparison(f"question {row}?", candidates, annotator=name))
    return rows


def write(path: Path, rows: list[Comparison]) -> Path:
    path.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in rows))
    return path


def unkind_preferred(path: Path) -> list[float]:
    """By how much the second answer of each pair is preferred."""
    pairs = [from_dict(json.loads(line)).candidates for line in path.read_text().splitlines()]
    return [unkind.scores["ann"] - kind.scores["ann"] for kind, unkind in pairs]


def run(*words: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("variant", ["a", "b"])
def test_a_new_annotator_is_learned_from_a_few_pairs(tmp_path: Path, capsys: Any, variant: str) -> None:
    known = tastes({"g1": GOOD, "g2": GOOD, "b1": BAD, "b2": BAD}, 30, seed=0)
    spec = {"pal": {"variant": variant, "prototypes": 2, "latent_size": 8, "projector_layers": 1}}
    features, options = {"encoder": "hashed_ngrams", "size": 8}, FitOptions(epochs=15, learning_rate=5e-3)
    train_preference_model(known, spec, features, options, output_dir=tmp_path / "pal")
    few = write(tmp_path / "few.jsonl", tastes({"ann": BAD}, 6, seed=1))
    test = write(tmp_path / "test.jsonl", tastes({"ann": BAD}, 20, seed=2))
    # Without her pairs she is the mean of all, who disagree.
    assert run("score", test, tmp_path / "all.jsonl", "--model", tmp_path / "pal", "--name", "ann") == 0
    model = ["--model", tmp_path / "pal", "--name", "ann", "--adapt", few, "--save-adapted", tmp_path / "new"]
    assert run("score", test, tmp_path / "out.jsonl", *model) == 0
    assert "ann: mixture" in capsys.readouterr().err
    adapted = unkind_preferred(tmp_path / "out.jsonl")
    right = sum(gap > 0 for gap in adapted)
    assert right >= 16
    assert right > sum(gap > 0 for gap in unkind_preferred(tmp_path / "all.jsonl"))
    # The saved model knows her, and scores the same without the pairs.
    assert run("score", test, tmp_path / "again.jsonl", "--model", tmp_path / "new", "--name", "ann") == 0
    assert unkind_preferred(tmp_path / "again.jsonl") == pytest.approx(adapted, abs=1e-5)
    assert run("score", test, tmp_path / "x.jsonl", "--model", tmp_path / "new", "--adapt", few) == 2
    assert "nobody new" in capsys.readouterr().err


def test_only_pal_learns_newcomers(tmp_path: Path, capsys: Any) -> None:
    few = write(tmp_path / "few.jsonl", tastes({"ann": BAD}, 6, seed=1))
    features = {"encoder": "hashed_ngrams", "size": 4}
    folder = tmp_path / "scalar"
    train_preference_model(tastes({"a": BAD}, 6, 0), "bradley_terry", features, FitOptions(1), output_dir=folder)
    assert run("score", few, tmp_path / "out.jsonl", "--model", folder, "--adapt", few) == 2
    assert "only a `pal` model" in capsys.readouterr().err
