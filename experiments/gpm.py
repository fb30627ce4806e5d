"""A preference model with vectors tells cycles that no scalar can

Free embeddings of n items and the labels of the n-cycle, then random tournaments of 8 items (Zhang et al. 2024).
Bradley-Terry cannot do better than loss ln 2 on a cycle; two dimensions of unit length hold any cycle, four any of
these tournaments. The best of three starts is taken, since equal vectors are a saddle; free embeddings need no
offset.

Then one model, at its defaults, on centred features of 32 dimensions and unseen items: a transitive preference (a
linear utility) must be learned about as well as by Bradley-Terry, and rock-paper-scissors (three noisy kinds of
items) far better. Without its offset a linear head on centred features stays at chance where the preference is
transitive.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import torch

from assent.preference_models import GPM, BradleyTerry, PreferenceModel
from assent.preference_models.fit import FitOptions, fit, pair_accuracy
from experiments._planted import planted, sorted_by

EXPECTED = {
    "bt_cycle_loss": "0.6931 (ln 2)",
    "bt_cycle_accuracy": "near 0.5",
    "gpm2_cycle_accuracy": "1.0",
    "gpm2_cycle_loss": "< 0.003",
    "bt_tournament_accuracy": "0.68 to 0.75",
    "gpm4_tournament_accuracy": "1.0",
    "gpm_transitive_accuracy": "near bt_transitive_accuracy",
    "gpm_without_offset_transitive_accuracy": "near 0.5",
    "bt_rock_paper_scissors_accuracy": "near 0.5",
    "gpm_rock_paper_scissors_accuracy": "near 1.0",
}
CLAIMS = {
    "two dimensions solve every cycle": lambda n: n["gpm2_cycle_accuracy"] == 1.0 and n["gpm2_cycle_loss"] < 0.003,
    "a scalar stays at ln 2 on cycles": lambda n: n["bt_cycle_loss"] > 0.68,
    "four dimensions solve the tournament": lambda n: n["gpm4_tournament_accuracy"] == 1.0,
    "vectors tell transitive data from centred features": lambda n: (
        n["gpm_transitive_accuracy"] > n["bt_transitive_accuracy"] - 0.06
    ),
    "and beat a scalar on rock-paper-scissors": lambda n: (
        n["gpm_rock_paper_scissors_accuracy"] > n["bt_rock_paper_scissors_accuracy"] + 0.3
    ),
}
QUICK: dict[str, Any] = {"cycles": (3,), "steps": 120, "items": 200}


def run(seed: int, cycles: tuple[int, ...] = (3, 4, 5, 8), steps: int = 500, items: int = 1000) -> dict[str, float]:
    bt, vectors = [], []
    for n in cycles:
        edges = [(i, (i + 1) % n) for i in range(n)]
        bt.append(trained(partial(BradleyTerry, n), n, edges, seed, steps, starts=1))
        vectors.append(trained(partial(GPM, n, 2, bias=False), n, edges, seed, steps))
    generator = torch.Generator().manual_seed(1000 + seed)
    coins = torch.rand(28, generator=generator).tolist()
    edges = [
        (i, j) if c < 0.5 else (j, i) for (i, j), c in zip(itertools.combinations(range(8), 2), coins, strict=True)
    ]
    return {
        "bt_cycle_loss": min(loss for loss, _ in bt),
        "bt_cycle_accuracy": sum(accuracy for _, accuracy in bt) / len(bt),
        "gpm2_cycle_loss": max(loss for loss, _ in vectors),
        "gpm2_cycle_accuracy": min(accuracy for _, accuracy in vectors),
        "bt_tournament_accuracy": trained(partial(BradleyTerry, 8), 8, edges, seed, steps, starts=1)[1],
        "gpm2_tournament_accuracy": trained(partial(GPM, 8, 2, bias=False), 8, edges, seed, steps)[1],
        "gpm4_tournament_accuracy": trained(partial(GPM, 8, 4, bias=False), 8, edges, seed, steps)[1],
        **on_features(seed, items),
    }


def trained(
    make: Any, n: int, edges: list[tuple[int, int]], seed: int, steps: int, starts: int = 3
) -> tuple[float, float]:
    """Loss and accuracy of the best start; one-hot items make a head a free embedding of each."""
    items = torch.eye(n)
    winners, losers = torch.tensor(edges).T
    features, judged = planted(items[winners], items[losers])
    found: list[tuple[float, float]] = []
    for start in range(starts):
        torch.manual_seed(100 * seed + start)
        model: PreferenceModel = make()
        options = FitOptions(epochs=steps, batch_size=0, learning_rate=0.05, weight_decay=0.0, seed=seed)
        loss = fit(model, features, judged, options)[-1]["loss"]
        found.append((loss, pair_accuracy(model, features, judged)))
        if found[-1][1] == 1.0:
            break
    return min(found)


def on_features(seed: int, items: int) -> dict[str, float]:
    """Accuracy on unseen pairs, from centred features."""
    found: dict[str, float] = {}
    models: dict[str, Any] = {"bt": BradleyTerry, "gpm": GPM, "gpm_without_offset": partial(GPM, bias=False)}
    for kind, draw in {"transitive": _transitive, "rock_paper_scissors": _rock_paper_scissors}.items():
        generator = torch.Generator().manual_seed(2000 + seed)
        chosen, rejected = draw(2 * items, generator)
        every = torch.cat([chosen, rejected])
        chosen, rejected = ((part - every.mean(0)) / every.std(0) for part in (chosen, rejected))
        train, test = planted(chosen[:items], rejected[:items]), planted(chosen[items:], rejected[items:])
        for name, make in models.items():
            torch.manual_seed(seed)
            model: PreferenceModel = make(chosen.shape[1])
            fit(model, *train, FitOptions(epochs=20, learning_rate=3e-3, seed=seed))
            found[f"{name}_{kind}_accuracy"] = pair_accuracy(model, *test)
    return found


def _transitive(count: int, generator: torch.Generator, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Preferred and other items whose utility is linear in their features."""
    first, second = (torch.randn(count, size, generator=generator) for _ in range(2))
    return sorted_by((first - second) @ torch.randn(size, generator=generator), first, second)


def _rock_paper_scissors(count: int, generator: torch.Generator, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Preferred and other items of three kinds, each of which beats the next."""
    kind = torch.randint(3, (count,), generator=generator)
    centres = 3 * torch.eye(3, size)
    noise = [torch.randn(count, size, generator=generator) for _ in range(2)]
    # The kinds' own directions are told apart clearly, the others are noise.
    for one in noise:
        one[:, :3] *= 0.3
    return centres[kind] + noise[0], centres[(kind + 1) % 3] + noise[1]
