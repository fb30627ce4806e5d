"""Weighting groups by their leftover gradient calibrates a reward model

Four sets with true utilities w0 + 1.5 v_k, v_k orthogonal to the shared w0, labels drawn from them, 300 pairs each,
a perceptron of two hidden layers, 16 pairs of each set in every step (Zeng et al. 2023). Uniform weights are the
multi-task baseline.
"""

from __future__ import annotations

from typing import Any

import torch

from assent.evaluation.calibration import calibration
from assent.preference_models import MORE
from assent.preference_models.fit import FitOptions, fit, pair_accuracy
from experiments._planted import planted, sorted_by

SIZE, GROUPS = 20, ("a", "b", "c", "d")
EXPECTED = {
    "uniform_ece_150": "0.068",
    "more_ece_150": "0.061",
    "uniform_ece_400": "0.180",
    "more_ece_400": "0.171",
    "uniform_accuracy_400": "0.626",
    "more_accuracy_400": "0.628",
}
CLAIMS = {
    "better calibrated after 150 steps": lambda n: n["more_ece_150"] < n["uniform_ece_150"],
    "better calibrated after 400 steps": lambda n: n["more_ece_400"] < n["uniform_ece_400"],
    "no less accurate": lambda n: n["more_accuracy_400"] > n["uniform_accuracy_400"] - 0.01,
}
SEEDS = (0, 1, 2, 3)
QUICK: dict[str, Any] = {"steps": (20, 40)}


def run(seed: int, steps: tuple[int, int] = (150, 400)) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    shared = torch.nn.functional.normalize(torch.randn(SIZE, generator=generator), dim=0)
    own = torch.randn(len(GROUPS), SIZE, generator=generator)
    own = torch.nn.functional.normalize(own - (own @ shared)[:, None] * shared, dim=1)
    train, test = _data(shared, own, 300, generator), _data(shared, own, 1000, generator)
    numbers = {}
    names = dict(zip(steps, (150, 400), strict=True))
    for weights in ("uniform", "min_norm"):
        for count in steps:
            torch.manual_seed(seed)
            model = MORE(SIZE, GROUPS, group_weights=weights, layers=(64, 64))  # type: ignore[arg-type]
            epochs = max(1, round(count / 19))
            options = FitOptions(epochs=epochs, batch_size=64, learning_rate=2e-3, seed=seed, draw="by_group")
            fit(model, *train, options)
            with torch.no_grad():
                reward = model.reward(model.embed(test[0]))
            gaps = (reward[:, 0] - reward[:, 1]).tolist()
            name = f"{'more' if weights == 'min_norm' else 'uniform'}_{{}}_{names[count]}"
            numbers[name.format("ece")] = calibration(gaps).ece
            numbers[name.format("accuracy")] = pair_accuracy(model, *test)
            numbers[name.format("gap")] = sum(map(abs, gaps)) / len(gaps)
    return numbers


def _data(shared: torch.Tensor, own: torch.Tensor, pairs: int, generator: torch.Generator) -> Any:
    utilities = shared + 1.5 * own.repeat_interleave(pairs, dim=0)
    first, second = torch.randn(2, len(utilities), SIZE, generator=generator)
    gap = (utilities * (first - second)).sum(dim=1)
    verdict = torch.rand(len(gap), generator=generator) < gap.sigmoid()
    groups = [name for name in GROUPS for _ in range(pairs)]
    return planted(*sorted_by(verdict.float() - 0.5, first, second), groups=groups)
