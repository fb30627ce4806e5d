"""The recipes of preference models run from end to end on made-up data and tiny models."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, from_dict, to_dict
from tests.tiny import byte_tokenizer, save_tiny_lm

GOOD, BAD = ["kind", "clear", "right", "helpful"], ["rude", "vague", "wrong", "useless"]
FAST = ("--size", 8, "--epochs", 8, "--learning-rate", 0.02)


def records(count: int = 60, seed: int = 0) -> list[Comparison]:
    """Half of the people, and one of two criteria, like what the others do not."""
    draw = random.Random(seed)
    rows = []
    for row in range(count):
        texts = [" ".join(draw.choices(words, k=draw.randint(2, 6))) for words in (GOOD, BAD)]
        odd = row % 2 == 1
        candidates = [
            Candidate(text, score=float(at == odd), scores={"human": float(at == odd), "machine": float(at == 0)})
            for at, text in enumerate(texts)
        ]
        rows.append(
            Comparison(
                f"question {row} of {seed}?",
                candidates,
                group="odd" if odd else "even",
                annotator=f"{'odd' if odd else 'even'}{row % 6}",
                context="prefer the worse" if odd else "prefer the better",
                meta={"tags": ["odd" if odd else "even"]},
            )
        )
    return rows


def write(path: Path, rows: list[Comparison]) -> Path:
    path.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in rows))
    return path


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["recipe", "run", *(str(word) for word in words)])
    assert int(ended.value.code or 0) == 0


def results(folder: Path) -> dict[str, dict[str, object]]:
    found = json.loads((folder / "results.json").read_text())
    assert isinstance(found, dict)
    return found


def accuracy(report: dict[str, object]) -> float:
    return float(report["accuracy"]["strict"]["estimate"])  # type: ignore[index]


def test_models_that_see_who_or_why_beat_those_that_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "data.jsonl", records(120))
    for name, better, worse in (("pal", "prototypes", "one_prototype"), ("context_aware", "context_aware", "")):
        out = tmp_path / name
        extra = ("--prototypes", 2, "--variant", "a") if name == "pal" else ()
        run(name, "--data", data, "--output", out, *FAST, "--epochs", 60, *extra)
        found = results(out)
        other = worse or "context_free"
        assert accuracy(found[better]) > accuracy(found[other]) + 0.1, name
        assert (out / better / "preference_model.json").exists()
    assert "differences are worth +" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["reward_models", "gpm", "more"])
def test_models_are_trained_and_compared(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in records(120) if row.group == "even"]
    data = write(tmp_path / "data.jsonl", rows)
    run(name, "--data", data, "--output", tmp_path / "out", *FAST, "--epochs", 60)
    found = results(tmp_path / "out")
    assert len(found) >= 2
    assert all(accuracy(report) > 0.9 for report in found.values())
    assert "accuracy" in capsys.readouterr().out


def test_labels_are_routed(tmp_path: Path) -> None:
    data, test = write(tmp_path / "data.jsonl", records(60)), write(tmp_path / "test.jsonl", records(20, 1))
    out = tmp_path / "out"
    run("hybrid_routing", "--data", data, "--test", test, "--output", out, "--size", 8, "--mixes", 12)
    routed = [from_dict(json.loads(line)) for line in (out / "routed.jsonl").read_text().splitlines()]
    assert sum(row.meta["routed"] == "people" for row in routed) == 15
    assert set(results(out)["measured"]) >= {"routed", "random"}


def test_a_benchmark_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in records(60) if row.group == "even"]
    run("reward_models", "--data", write(tmp_path / "d.jsonl", rows), "--output", tmp_path / "models", *FAST)
    bench = tmp_path / "abstain.jsonl"
    row = {"prompt": "[1] passage", "question": "q", "chosen": "kind clear right", "reject": "rude vague wrong"}
    bench.write_text(json.dumps(row))
    capsys.readouterr()
    models = [tmp_path / "models" / name for name in ("bradley_terry", "ensemble")]
    run("rag_rewardbench", "--files", bench, "--models", *models, "--output", tmp_path / "rag")
    assert all(one["macro"] == 1 for one in results(tmp_path / "rag").values())


def test_policies_are_trained_drawn_from_and_measured(tmp_path: Path) -> None:
    model = save_tiny_lm(tmp_path / "model", tokenizer=byte_tokenizer())
    data, test = write(tmp_path / "data.jsonl", records(12)), write(tmp_path / "test.jsonl", records(8, 1))
    settings = tmp_path / "settings.yaml"
    settings.write_text("training: {max_steps: 3, use_cpu: true, learning_rate: 0.001}\n")
    shared = ("--model", model, "--output")
    out = tmp_path / "ranking"
    run("ranking_accuracy", *shared, out, "--data", data, "--test", test, "--gamma", 0.5, "--settings", settings)
    found = results(out)["gamma 0.5"]
    assert sum(found["pairs_by_difficulty"].values()) == 8  # type: ignore[attr-defined]
    prompts, out = tmp_path / "prompts.txt", tmp_path / "plural"
    prompts.write_text("one\ntwo\n")
    run("community_alignment", *shared, out, "--prompts", prompts, "--samples", 2, "--max-new-tokens", 8)
    assert results(out)["independent"]["candidate_sets"] == 2
    assert "varied" not in results(out), "a random model writes no set"


def test_relevance_makes_pairs(tmp_path: Path) -> None:
    encoder = save_tiny_lm(tmp_path / "encoder", tokenizer=byte_tokenizer())
    texts = ["the river runs to the sea", "bread needs flour and water", "a b c", "a b c " * 9]
    rows = [Comparison(f"question {n}", [Candidate(f"{text} {n}") for text in texts]) for n in range(6)]
    data, out = write(tmp_path / "drawn.jsonl", rows), tmp_path / "out"
    run("rrr", "--data", data, "--encoder", encoder, "--output", out)
    scored, pairs = (
        [from_dict(json.loads(line)) for line in (out / name).read_text().splitlines()]
        for name in ("scored.jsonl", "pairs.jsonl")
    )
    assert len(scored) == 6
    assert 0 < len(pairs) <= 6
    for pair in pairs:
        (whole,) = [one for one in scored if one.prompt == pair.prompt]
        ranked = sorted(whole.candidates, key=lambda one: one.score or 0.0)
        assert {one.completion for one in pair.candidates} == {ranked[0].completion, ranked[-1].completion}
