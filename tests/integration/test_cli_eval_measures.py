"""What `assent eval preference-model` measures beside accuracy, for scorers that are no trained head."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, from_dict, to_dict
from assent.evaluation.preference_report import annotator_table
from assent.preference_models.encoders import build_encoder
from assent.preference_models.rrr import RelevanceReward
from tests.tiny import byte_tokenizer, save_tiny_lm


def run(*words: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def write(path: Path, rows: list[Comparison]) -> Path:
    path.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in rows))
    return path


def pair(number: int, better: float = 1.0, **more: Any) -> Comparison:
    candidates = [Candidate("the stone is blue " * (number % 3 + 1), score=better), Candidate("no", score=1 - better)]
    return Comparison(f"question {number}", candidates, **more)


def test_the_relevance_reward_scores_by_its_encoder(tmp_path: Path, capsys: Any) -> None:
    encoder = save_tiny_lm(tmp_path / "encoder", tokenizer=byte_tokenizer())
    closed = Comparison(
        "what colour", [Candidate("blue"), Candidate("red")], meta={"query_type": "constrained", "reference": "blue"}
    )
    data = write(tmp_path / "data.jsonl", [pair(0), pair(1), closed])
    assert run("score", data, tmp_path / "out.jsonl", "--model", f"rrr:{encoder}", "--name", "rrr") == 0
    opened, _, constrained = [from_dict(json.loads(x)) for x in (tmp_path / "out.jsonl").read_text().splitlines()]
    encode = build_encoder({"encoder": str(encoder)}).encode
    for comparison, against in ((opened, "question 0"), (constrained, "blue")):
        query_type = str(comparison.meta.get("query_type", "OPENENDED")).upper()
        for candidate in comparison.candidates:
            vectors = encode([against, str(candidate.completion)])
            expected = RelevanceReward().parts(str(candidate.completion), query_type, float(vectors[0] @ vectors[1]))
            assert candidate.scores["rrr"] == pytest.approx(expected["reward"], rel=1e-4, abs=1e-4)
            assert candidate.scores["rrr/relevance"] == pytest.approx(expected["relevance"], rel=1e-4, abs=1e-4)
    assert run("eval", "preference-model", data, "--model", f"rrr:{encoder}", "--json") == 0
    assert json.loads(capsys.readouterr().out)["calibration"]["pairs"] == 2
    assert run("score", data, tmp_path / "x.jsonl", "--model", "rrr") == 2
    assert "trained text encoder" in capsys.readouterr().err


def test_a_policy_is_told_what_its_training_could_reach(tmp_path: Path, capsys: Any) -> None:
    torch.manual_seed(0)
    for seed, name in ((1, "policy"), (2, "base")):
        save_tiny_lm(tmp_path / name, seed=seed, tokenizer=byte_tokenizer())
    data = write(tmp_path / "data.jsonl", [pair(number) for number in range(6)])
    words = ["eval", "preference-model", data, "--model", tmp_path / "policy", "--reference", tmp_path / "base"]
    assert run(*words, "--json") == 0
    without = json.loads(capsys.readouterr().out)["policy_ranking"]
    assert "idealised" not in without
    assert sum(without["pairs_by_difficulty"].values()) == sum(without["transitions"].values()) == 6
    assert run(*words, "--votes", 0.75, "--json") == 0
    found = json.loads(capsys.readouterr().out)["policy_ranking"]
    assert found["ranking"] == without["ranking"]
    assert 0 <= min(found["idealised"].values()) <= max(found["idealised"].values()) <= 1
    gap = ["eval", "alignment-gap", data, "--model", tmp_path / "policy", "--reference", tmp_path / "base"]
    assert run(*gap, "--votes", 0.75, "--json") == 0
    same = json.loads(capsys.readouterr().out)
    assert (same["gap"], same["idealised"]) == (found["gap"], found["idealised"])


def length(prompt: str, answer: str) -> float:
    return float(len(answer))


def test_annotators_of_the_same_pairs_agree_beyond_chance(tmp_path: Path, capsys: Any) -> None:
    # Three people, four pairs: two unanimous, two 2 to 1; one more pair that only two judged.
    votes = [(1, 1, 1), (0, 0, 0), (1, 1, 0), (0, 0, 1)]
    rows = [pair(n, float(vote), annotator=f"p{at}") for n, row in enumerate(votes) for at, vote in enumerate(row)]
    rows += [pair(9, 1.0, annotator="p0"), pair(9, 1.0, annotator="p1")]
    data = write(tmp_path / "data.jsonl", rows)
    rule = "rule:tests.integration.test_cli_eval_measures:length"
    assert run("eval", "preference-model", data, "--model", rule, "--json") == 0
    agreement = json.loads(capsys.readouterr().out)["agreement"]
    # By hand: pairs of people agree in (1 + 1 + 1/3 + 1/3) / 4 = 2/3; chance by how often each of the two sides won.
    table = [value for row in annotator_table(rows[:12]) for value in row]
    share = sum(value or 0 for value in table) / 12
    chance = share**2 + (1 - share) ** 2
    assert agreement["fleiss_kappa_of_annotators"] == pytest.approx((2 / 3 - chance) / (1 - chance))
    assert (agreement["fleiss_pairs"], agreement["fleiss_annotators_each"]) == (4, 3)
    assert agreement["krippendorff_alpha_of_annotators"] is not None
