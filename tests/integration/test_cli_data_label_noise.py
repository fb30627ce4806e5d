"""`assent data audit --model`: how many labels are wrong, and which, before anything is trained on them."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, from_dict, to_dict
from assent.preference_models.fit import FitOptions, train_preference_model
from tests.tiny import save_tiny_lm

GOOD = ["kind", "clear", "right", "helpful", "careful"]
BAD = ["rude", "vague", "wrong", "useless", "lazy"]
FLIPPED = 0.2
TOLERANCE = 0.05
"""How far the estimate may be off: 800 labels and a model that itself saw 300 of the same kind."""


def records(count: int, seed: int, flipped: float) -> tuple[list[Comparison], list[bool]]:
    """Pairs of a better text, mostly of good words, and a worse one; which of their labels were turned."""
    draw = random.Random(seed)
    rows, turned = [], []
    for row in range(count):
        texts = [
            " ".join(draw.choice(GOOD if draw.random() < share else BAD) for _ in range(6)) for share in (0.85, 0.15)
        ]
        turned.append(draw.random() < (flipped if row % 2 else flipped / 2))
        scores = (0.0, 1.0) if turned[-1] else (1.0, 0.0)
        candidates = [Candidate(text, score=score) for text, score in zip(texts, scores, strict=True)]
        draw.shuffle(candidates)
        rows.append(Comparison(f"question {seed} {row}?", candidates, annotator="careless" if row % 2 else "careful"))
    return rows, turned


def write(path: Path, rows: Sequence[Comparison]) -> Path:
    path.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in rows))
    return path


def run(*words: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def trained(folder: Path, flipped: float) -> Path:
    rows, _ = records(300, 1, flipped)
    features = {"encoder": "hashed_ngrams", "size": 32}
    train_preference_model(
        rows, "bradley_terry", features, FitOptions(epochs=15, learning_rate=1e-2), output_dir=folder
    )
    return folder


def by_good_words(prompt: str, answer: str) -> float:
    """A rule that `--model rule:` takes; its unit is its own."""
    return sum(word in GOOD for word in answer.split()) / 10


def audited(capsys: pytest.CaptureFixture[str], *words: Any) -> dict[str, Any]:
    assert run("data", "audit", *words, "--near", 0, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["label_noise"]
    return found


@pytest.mark.parametrize("seen", [0.0, FLIPPED], ids=["model of clean labels", "model of labels as noisy"])
def test_planted_flips_are_found_by_a_preference_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seen: float
) -> None:
    rows, turned = records(800, 2, 2 * FLIPPED * 2 / 3)  # 2/15 and 4/15: one label in five on the whole
    data, model = write(tmp_path / "prefs.jsonl", rows), trained(tmp_path / "model", seen)
    found = audited(capsys, data, "--model", model, "--suspicious", 60)
    truth = sum(turned) / len(turned)
    assert found["labels"] == 800
    assert not found["left_out"]
    assert found["noise_rate"] == pytest.approx(truth, abs=TOLERANCE)
    low, high = found["noise_rate_95"]
    assert low <= truth <= high
    assert high - low < 0.15
    lines = [int(row["where"].rpartition(":")[2]) - 1 for row in found["suspicious"]]
    assert len(lines) == 60
    assert sum(turned[line] for line in lines) >= 54
    careless, careful = found["annotators"]
    assert (careless["annotator"], careful["annotator"]) == ("careless", "careful")
    for who, parity in ((careless, 1), (careful, 0)):
        right = 1 - sum(turned[parity::2]) / 400
        assert who["right"] == pytest.approx(right, abs=TOLERANCE)


def test_a_policy_against_its_reference_finds_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tiny language model that read good texts, against itself before."""
    reference, policy = save_tiny_lm(tmp_path / "reference"), tmp_path / "policy"
    tokenizer = AutoTokenizer.from_pretrained(reference)
    model = AutoModelForCausalLM.from_pretrained(reference)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    read = [" ".join(random.Random(at).choices(GOOD, k=6)) for at in range(60)]
    for text in read:
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    for saved in (model, tokenizer):
        saved.save_pretrained(policy)
    rows, turned = records(200, 8, 2 * FLIPPED * 2 / 3)
    data = write(tmp_path / "prefs.jsonl", rows)
    found = audited(capsys, data, "--model", policy, "--reference", reference, "--suspicious", 20)
    low, high = found["noise_rate_95"]
    assert low - 0.01 <= sum(turned) / 200 <= high + 0.01
    lines = [int(row["where"].rpartition(":")[2]) - 1 for row in found["suspicious"]]
    assert sum(turned[line] for line in lines) >= 14
    assert run("data", "audit", data, "--model", policy, "--reference", tmp_path / "none") == 2
    assert "none" in capsys.readouterr().err


def test_clean_labels_are_not_doubted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, _ = records(400, 3, 0.0)
    found = audited(capsys, write(tmp_path / "prefs.jsonl", rows), "--model", trained(tmp_path / "model", 0.0))
    assert found["noise_rate"] < TOLERANCE


def test_a_rule_in_its_own_unit_finds_them_too_and_the_doubtful_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, turned = records(400, 4, 2 * FLIPPED * 2 / 3)
    data, clean = write(tmp_path / "prefs.jsonl", rows), tmp_path / "clean.jsonl"
    rule = f"rule:{__name__}:by_good_words"
    words = ("--model", rule, "--clean", clean, "--drop-below", 0.1)
    found = audited(capsys, data, *words)
    assert found["noise_rate"] == pytest.approx(sum(turned) / 400, abs=TOLERANCE)
    wrong = {row.key for row, flipped in zip(rows, turned, strict=True) if flipped}
    left = [from_dict(json.loads(line)) for line in clean.read_text().splitlines()]
    assert len(left) > 280
    assert sum(row.key in wrong for row in left) < 0.25 * len(wrong)


def test_scores_in_the_file_stand_in_for_a_model_and_what_has_none_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [
        Comparison(
            str(row), [Candidate(f"a{row}", score=1, scores={"rm": 3}), Candidate("b", score=0, scores={"rm": 0})]
        )
        for row in range(20)
    ]
    turned = Comparison("t", [Candidate("c", score=0, scores={"rm": 9}), Candidate("d", score=1, scores={"rm": 0})])
    a_list = Comparison("l", [Candidate(str(at), score=at, scores={"rm": at}) for at in range(4)])
    tied = Comparison("e", [Candidate("c", score=1, scores={"rm": 9}), Candidate("d", score=1, scores={"rm": 0})])
    unscored = Comparison("u", [Candidate("c", score=1), Candidate("d", score=0)])
    data = write(tmp_path / "scored.jsonl", [*pairs, turned, a_list, tied, unscored])
    found = audited(capsys, data, "--score", "rm", "--scale", 1)
    assert (found["labels"], found["scale"]) == (22, 1)
    assert sorted(found["left_out"].values()) == [1, 1]
    assert found["suspicious"][0]["where"].endswith(":21")
    assert [one["completion"] for one in found["suspicious"][0]["comparison"]["candidates"]] == ["d", "c"]
    assert run("data", "audit", data, "--score", "nonsense") == 2
    assert "rm" in capsys.readouterr().err


def test_what_a_model_wrote_reaches_neither_the_terminal_nor_the_page_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b]0;owned\x07\u202e<script>alert(1)</script>"
    rows = [
        Comparison(
            "p",
            [Candidate(f"{at} {hostile}", score=1, scores={"rm": -1.0}), Candidate("b", score=0, scores={"rm": 1.0})],
        )
        for at in range(3)
    ]
    data, page = write(tmp_path / "prefs.jsonl", rows), tmp_path / "noise.html"
    assert run("data", "audit", data, "--near", 0, "--score", "rm", "--html", page) == 0
    told = capsys.readouterr().out
    assert "\x1b]" not in told
    assert "\u202e" not in told
    assert "expected to be wrong" in told
    assert "contradicts most labels" in told
    assert "script>alert" in told, "but it can be read"
    text = page.read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert run("data", "audit", data, "--near", 0, "--score", "rm", "--json") == 0
    assert capsys.readouterr().out.isascii()


def test_a_model_that_cannot_be_read_is_an_error_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "prefs.jsonl", records(10, 5, 0.0)[0])
    broken = trained(tmp_path / "broken", 0.0)
    (broken / "preference_model.safetensors").write_bytes(b"not weights")
    empty = tmp_path / "empty"
    empty.mkdir()
    for model in (tmp_path / "missing", empty, broken, "rule:no.such.module:rule"):
        assert run("data", "audit", data, "--model", model) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert str(model).rpartition("/")[2].removeprefix("rule:").split(":")[0] in told.replace(" ", "")
        assert "Traceback" not in told


def test_options_about_noise_need_somebody_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, _ = records(10, 6, 0.0)
    data = write(tmp_path / "prefs.jsonl", rows)
    assert run("data", "audit", data, "--html", tmp_path / "x.html") == 2
    assert "--model or --score" in capsys.readouterr().err
    assert run("data", "audit", data, "--model", "a", "--score", "b") == 2
    assert "one opinion at a time" in capsys.readouterr().err
    assert run("data", "audit", data, "--score", "rm", "--drop-below", 0.5) == 2
    assert "--clean" in capsys.readouterr().err
    thumbs = [Comparison("p", [Candidate("a", label=True, scores={"rm": 1.0})])]
    assert run("data", "audit", write(tmp_path / "thumbs.jsonl", thumbs), "--score", "rm") == 2
    assert "no label whose noise" in capsys.readouterr().err
