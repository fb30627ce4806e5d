"""A model that reads the criterion follows it; one that does not is right on exactly half

Eight criteria with random weights in 16 dimensions; each row has two criteria under which the verdicts differ
(Pitis et al. 2024). Blind to the criterion, any scorer is right on one of a row's two verdicts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assent.preference_models import ContextAware, Features, PreferenceModel
from assent.preference_models.fit import FitOptions, fit
from experiments._planted import planted

SIZE, CRITERIA = 16, 8
EXPECTED = {
    "blind_accuracy": "0.5000",
    "blind_paired": "0.000",
    "aware_accuracy": "0.927 to 0.934",
    "aware_paired": "0.857 to 0.873",
}
CLAIMS = {
    "blind is exactly half": lambda n: abs(n["blind_accuracy"] - 0.5) < 1e-12 and n["blind_paired"] == 0,
    "aware is above 0.9": lambda n: n["aware_accuracy"] > 0.9,
}
QUICK: dict[str, Any] = {"rows": 200, "epochs": 2}


def run(seed: int, rows: int = 1500, epochs: int = 34) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    criteria = torch.randn(CRITERIA, SIZE, generator=generator)
    train, test = _rows(criteria, rows, generator), _rows(criteria, 1000, generator)
    numbers = {}
    for name, size in (("blind", None), ("aware", CRITERIA)):
        torch.manual_seed(seed)
        model = ContextAware(SIZE, layers=(64,), prompt_size=size)
        options = FitOptions(epochs=epochs, batch_size=256, learning_rate=3e-3, weight_decay=0.0, seed=seed)
        fit(model, *train, options)
        numbers |= {f"{name}_{key}": value for key, value in _reversals(model, test[0]).items()}
    return numbers


def _rows(criteria: Tensor, count: int, generator: torch.Generator) -> Any:
    """Both verdicts of each row one after the other: a over b under x, then b over a under y."""
    chosen, rejected, context = [], [], []
    while len(chosen) < 2 * count:
        a, b = torch.randn(2, SIZE, generator=generator)
        utility = criteria @ (a - b)
        for_a, for_b = (utility > 0).nonzero().flatten(), (utility < 0).nonzero().flatten()
        if not len(for_a) or not len(for_b):
            continue
        x = for_a[torch.randint(len(for_a), (1,), generator=generator)]
        y = for_b[torch.randint(len(for_b), (1,), generator=generator)]
        chosen += [a, b]
        rejected += [b, a]
        context += [int(x), int(y)]
    prompt = torch.eye(CRITERIA)[context]
    return planted(torch.stack(chosen), torch.stack(rejected), prompt)


@torch.no_grad()
def _reversals(model: PreferenceModel, features: Features) -> dict[str, float]:
    model.eval()
    reward = model.reward(model.embed(features))
    gap = reward[:, 0] - reward[:, 1]
    right = ((gap > 0).double() + 0.5 * (gap == 0)).view(-1, 2)
    return {"accuracy": float(right.mean()), "paired": float((right == 1).all(dim=1).double().mean())}
