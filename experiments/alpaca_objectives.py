"""Eight objectives on the same real answers: AlpacaEval lists, a small model made on the spot, one budget

A Llama of two layers (width 96) with a byte-level BPE tokenizer learns the text of the answers (150 steps); then
eight objectives, two of them over lists, start from it on the same 240 instructions with the answers of four systems
and the judge's preferences as scores, cut at 256 tokens. 60 other instructions are held out; ranking accuracy is by
log-ratio to the start. Win rates are against the start, by a Bradley-Terry model on hashed n-grams that was fitted
to the same training answers. No source reports numbers at this size: stated is what a comparison must show to be
one.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from assent.cli.measured_runs import Measuring
from assent.cli.train_compare import compare_objectives
from assent.comparison import Comparison, to_dict
from assent.config import run_from
from assent.preference_models.fit import FitOptions, train_preference_model
from assent.readers import read
from assent.recipes.demo_parts.language_model import ModelSize, new_model, pretrain, train_tokenizer

DATA = ("alpaca_eval_lists.jsonl.gz",)
OBJECTIVES = ("dpo", "ipo", "simpo", "orpo", "kto", "lipo", "pro_ranking", "ln_dpo")
EXPECTED = {
    "ran": "8",
    "accuracy_mean": "above 0.5",
    "steps_apart": "0 (one budget)",
}
CLAIMS = {
    "all eight ran on the same budget": lambda n: n["ran"] == 8 and n["steps_apart"] == 0,
    "held-out answers are ranked better than by chance": lambda n: n["accuracy_mean"] > 0.5,
    "reference-free losses move further than DPO": lambda n: max(n["kl_simpo"], n["kl_orpo"]) > n["kl_dpo"],
}
QUICK: dict[str, Any] = {"train": 8, "held_out": 4, "steps": 1, "learning": 2, "prompts": 1, "names": ("dpo", "lipo")}


def run(
    seed: int,
    train: int = 240,
    held_out: int = 60,
    steps: int = 30,
    learning: int = 150,
    prompts: int = 16,
    names: tuple[str, ...] = OBJECTIVES,
) -> dict[str, float]:
    records = _lists(seed)[: train + held_out]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _start(folder / "start", records[:train], learning, seed)
        for part, chosen in (("train", records[:train]), ("eval", records[train:])):
            rows = [json.dumps(to_dict(record)) for record in chosen]
            (folder / f"{part}.jsonl").write_text("\n".join(rows))
        config = run_from(
            {
                "model": str(folder / "start"),
                "data": {
                    "train": str(folder / "train.jsonl"),
                    "eval": [str(folder / "eval.jsonl")],
                    "max_length": 256,
                    "truncate": "completion_right",
                    "chat_template": "transcript",
                },
                "reference": {"store": str(folder / "store")},
                "objective": names[0],
                "seed": seed,
                "training": {
                    "output_dir": str(folder / "out"),
                    "max_steps": steps,
                    "per_device_train_batch_size": 8,
                    "learning_rate": 3e-4,
                    "lr_scheduler_type": "constant",
                    "logging_steps": 2,
                    "eval_strategy": "no",
                    "save_strategy": "no",
                    "use_cpu": True,
                },
            }
        )
        specs = [{"lipo": {"labels": "wins"}} if name == "lipo" else name for name in names]
        measuring = Measuring(str(_judge(folder / "judge", records[:train])), prompts, max_new_tokens=48)
        report = compare_objectives(config, specs, {}, measuring, False, _nobody)
        runs = json.loads(report.with_suffix(".json").read_text())["runs"]
        if keep := os.environ.get("ASSENT_KEEP_REPORT"):
            Path(keep).write_text(report.read_text())
    measures = {name: row["measures"] for name, row in runs.items() if row["measures"] is not None}
    taken = [row["steps"] for row in runs.values()]
    numbers = {f"accuracy_{name}": row["by_log_ratio"]["estimate"] for name, row in measures.items()}
    return {
        "ran": float(len(measures)),
        "accuracy_mean": sum(numbers.values()) / len(numbers),
        "steps_apart": float(max(taken) - min(taken)),
        **numbers,
        **{f"win_{name}": row["win_rate"]["estimate"] for name, row in measures.items()},
        **{f"kl_{name}": row["kl"]["estimate"] for name, row in measures.items()},
        **{f"chosen_{name}": row["chosen"]["estimate"] for name, row in measures.items()},
        **{f"rejected_{name}": row["rejected"]["estimate"] for name, row in measures.items()},
        **{f"tokens_{name}": row["length"]["estimate"] for name, row in measures.items()},
    }


def _lists(seed: int) -> list[Comparison]:
    """Instructions with the answers of four systems, drawn by the seed; the judge's preferences are the scores."""
    comparisons = read(Path(os.environ["ASSENT_DATA"]) / DATA[0]).comparisons
    draw = random.Random(seed)
    draw.shuffle(comparisons)
    found = []
    for comparison in comparisons:
        answers = [one for one in comparison.answers if one.judged and isinstance(one.completion, str)]
        answers = [one for one in answers if len(str(one.completion)) > 1]
        if len(answers) < 4 or len(str(comparison.prompt)) > 200:
            continue
        chosen = draw.sample(answers, 4)
        if len({one.score for one in chosen}) == 4:
            found.append(replace(comparison, candidates=chosen))
    return found


def _start(folder: Path, records: list[Comparison], steps: int, seed: int) -> None:
    size = ModelSize(vocabulary=1024, hidden=96, layers=2, steps=steps, rows=8, row_tokens=128)
    texts = [str(one.completion)[:600] for record in records for one in record.candidates]
    tokenizer = train_tokenizer(texts, size.vocabulary)
    model = new_model(size, tokenizer, seed)
    pretrain(model, tokenizer, texts, size, seed, lambda step, loss: None)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _judge(folder: Path, records: list[Comparison]) -> Path:
    features = {"encoder": "hashed_ngrams", "size": 64}
    train_preference_model(records, "bradley_terry", features, FitOptions(epochs=5), output_dir=folder)
    return folder


def _nobody(event: Mapping[str, Any]) -> None:
    """Nobody listens."""
