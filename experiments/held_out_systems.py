"""Reward models trained on six systems' answers judge the answers of two systems they never saw

AlpacaEval 2 lists (Dubois et al., through `ASSENT_DATA`): eight systems and the baseline, with a judge's weighted
preference against the baseline. Pairs: two systems' answers to one instruction whose preferences differ by 0.25 and
more. Trained on pairs among six systems and 80% of the instructions, tested on the two other systems against each
other and against the baseline, on the other instructions. The control's training verdicts are coins; the mean of
twenty such controls must be near one half (one alone need not: the test pairs are of three systems and much alike).
Features: hashed word and character n-grams reduced by truncated SVD, not scaled to unit length, times the
instruction's. Nothing here reads meaning; what the longer answer alone would get is reported beside.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from assent.comparison import Candidate, Comparison
from assent.evaluation.bias import length_bias
from assent.evaluation.calibration import calibration
from assent.evaluation.pair_outcomes import pair_outcomes
from assent.preference_models import Features, build_preference_model
from assent.preference_models.fit import FitOptions, fit, train_preference_model
from assent.preference_models.frozen import FrozenPreferenceModel
from assent.preference_models.verdicts import verdicts_of

DATA = ("alpaca_eval_lists.jsonl.gz",)
EXPECTED = {
    "bradley_terry_accuracy": "above 0.5 (held-out systems and instructions)",
    "gpm_accuracy": "above 0.5",
    "shuffled_accuracy": "near 0.5",
}
CLAIMS = {
    "Bradley-Terry beats the coin": lambda n: n["bradley_terry_accuracy"] > 0.55,
    "GPM beats the coin": lambda n: n["gpm_accuracy"] > 0.55,
    "shuffled verdicts teach nothing": lambda n: abs(n["shuffled_accuracy"] - 0.5) < 0.06,
}
QUICK: dict[str, Any] = {"prompts": 40, "size": 16, "epochs": 2, "shuffles": 2}
GAP = 0.25


def run(seed: int, prompts: int = 805, size: int = 96, epochs: int = 40, shuffles: int = 20) -> dict[str, float]:
    # Heads that are made here start from the seed too.
    torch.manual_seed(seed)
    draw = random.Random(seed)
    rows = _rows()[:prompts]
    systems = sorted({one["model"] for row in rows for one in row["candidates"]})
    held = set(draw.sample(systems, 2))
    draw.shuffle(rows)
    cut = int(0.8 * len(rows))
    train = [pair for row in rows[:cut] for pair in _pairs(row, set(systems) - held, draw)]
    test = [pair for row in rows[cut:] for pair in _pairs(row, held | {"baseline"}, draw)]
    lengths = [len(c.completion) for pair in test for c in pair.ordered() if isinstance(c.completion, str)]
    longer = sum(a > b for a, b in zip(lengths[::2], lengths[1::2], strict=True)) / len(test)
    numbers: dict[str, float] = {"training_pairs": len(train), "test_pairs": len(test), "longer_is_right": longer}
    options = FitOptions(epochs=epochs, batch_size=256, learning_rate=3e-3, weight_decay=0.1, seed=seed)
    features = {"encoder": "hashed_ngrams", "size": size, "unit_length": False, "interaction": True}
    model = train_preference_model(train, "bradley_terry", features, options).model
    numbers |= _measured("bradley_terry", model, test)
    read, verdicts = model.features(train, ordered=True), verdicts_of(train)
    model.head = build_preference_model({"gpm": {"dimensions_per_candidate": 4}}, read.candidates.shape[-1])
    fit(model.head, read, verdicts, options)
    numbers |= _measured("gpm", model, test)
    controls = []
    for _ in range(shuffles):
        coins = torch.tensor([draw.random() < 0.5 for _ in train])
        mixed = torch.where(coins[:, None, None], read.candidates.flip(1), read.candidates)
        model.head = build_preference_model("bradley_terry", read.candidates.shape[-1])
        fit(model.head, Features(mixed, read.mask, read.prompt), verdicts, options)
        controls.append(_measured("shuffled", model, test)["shuffled_accuracy"])
    return numbers | {"shuffled_accuracy": sum(controls) / len(controls)}


def _measured(name: str, model: FrozenPreferenceModel, test: list[Comparison]) -> dict[str, float]:
    outcomes = pair_outcomes(test, model.score(test))
    length = length_bias(outcomes)
    return {
        f"{name}_accuracy": sum(row.credit for row in outcomes) / len(outcomes),
        f"{name}_ece": calibration([row.gap for row in outcomes]).ece,
        f"{name}_prefers_longer": length.preferred_share if length else 0.5,
        f"{name}_accuracy_where_shorter_is_right": (length.accuracy_against or 0.0) if length else 0.0,
    }


def _rows() -> list[dict[str, Any]]:
    path = Path(os.environ["ASSENT_DATA"]) / DATA[0]
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def _pairs(row: dict[str, Any], systems: set[str], draw: random.Random) -> list[Comparison]:
    """Pairs of the given systems (the baseline has preference 1/2) that the judge clearly tells apart."""
    answers = {c["model"]: (c["completion"], c["preference"]) for c in row["candidates"]}
    answers["baseline"] = (row["baseline"]["completion"], 0.5)
    known = [(name, *answers[name]) for name in sorted(systems) if name in answers and answers[name][1] is not None]
    pairs = []
    for one, other in combinations(known, 2):
        if abs(one[2] - other[2]) < GAP or one[1] == other[1]:
            continue
        both = [one, other]
        draw.shuffle(both)
        best = max(both, key=lambda item: item[2])
        pairs.append(
            Comparison(
                row["prompt"], [Candidate(text, score=float(name == best[0]), source=name) for name, text, _ in both]
            )
        )
    return pairs
