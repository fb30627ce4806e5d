"""Planted groups of people are found, and a new person needs a handful of pairs

Two prototypes of norm 3, forty people split evenly, sixty noise-free comparisons of N(0, I) items in 8 dimensions
each; a person prefers the item nearer to their prototype (Chen et al. 2024). One prototype is one reward for all.
"""

from __future__ import annotations

from typing import Any

import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from assent.preference_models import PAL, Features
from assent.preference_models.fit import FitOptions, fit, pair_accuracy
from experiments._planted import planted, sorted_by

SIZE = 8
EXPECTED = {
    "accuracy_k1": "0.78 to 0.82",
    "accuracy_k2": "0.92 to 0.93",
    "accuracy_k3": "0.91 to 0.93",
    "adjusted_rand_index": "1.0",
    "new_after_2": "about 0.86",
    "new_after_5": "about 0.90",
    "new_after_20": "about 0.92",
}
CLAIMS = {
    "two prototypes beat one by 8 points": lambda n: n["accuracy_k2"] - n["accuracy_k1"] >= 0.08,
    "a third gains nothing": lambda n: n["accuracy_k3"] - n["accuracy_k2"] < 0.015,
    "weights recover the groups": lambda n: n["adjusted_rand_index"] > 0.85,
    "a new person is served after 5 pairs": lambda n: n["new_after_5"] > n["accuracy_k1"] + 0.04,
}
QUICK: dict[str, Any] = {"people": 8, "epochs": 3, "prototypes": (1, 2, 3), "newcomers": 1}


def run(
    seed: int, people: int = 40, epochs: int = 60, prototypes: tuple[int, ...] = (1, 2, 3), newcomers: int = 10
) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    ideal = torch.nn.functional.normalize(torch.randn(2, SIZE, generator=generator), dim=1) * 3
    train, test, numbers = _data(ideal, people, 60, generator), _data(ideal, people, 60, generator), {}
    for count in prototypes:
        torch.manual_seed(seed)
        model = PAL(SIZE, prototypes=count, annotators=tuple(str(p) for p in range(people)), projector_layers=1)
        fit(model, *train, FitOptions(epochs=epochs, batch_size=256, learning_rate=1e-3, seed=seed))
        numbers[f"accuracy_k{count}"] = pair_accuracy(model, *test)
        if count == 2:
            found = model.user_logits.detach().argmax(dim=1).tolist()
            numbers["adjusted_rand_index"] = adjusted_rand_score([p % 2 for p in range(people)], found)
            numbers["largest_weight"] = float(model.user_logits.detach().softmax(dim=1).amax(dim=1).mean())
            for pairs in (2, 5, 20):
                numbers[f"new_after_{pairs}"] = _newcomers(model, ideal, pairs, newcomers, generator)
    return numbers


def _data(ideal: Tensor, people: int, pairs: int, generator: torch.Generator) -> Any:
    names = [str(person) for person in range(people) for _ in range(pairs)]
    points = ideal[torch.tensor([int(name) % 2 for name in names])]
    first, second = torch.randn(2, len(names), SIZE, generator=generator)
    utility = (second - points).norm(dim=1) - (first - points).norm(dim=1)
    return planted(*sorted_by(utility, first, second), annotators=names)


def _newcomers(model: PAL, ideal: Tensor, pairs: int, people: int, generator: torch.Generator) -> float:
    accuracies = []
    for person in range(people):
        one = ideal[[person % 2, person % 2]]
        features, judged = _data(one, 1, pairs, generator)
        test, verdicts = _data(one, 1, 200, generator)
        logits = model.adapt(features, judged)
        accuracies.append(_accuracy(model, test, logits.softmax(dim=0).expand(len(verdicts.weight), -1)))
    return sum(accuracies) / len(accuracies)


@torch.no_grad()
def _accuracy(model: PAL, features: Features, weights: Tensor) -> float:
    reward = model.mixture_reward(model.embed(features), weights)
    return float((reward[:, 0] > reward[:, 1]).double().mean())
