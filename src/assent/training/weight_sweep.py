"""One run for each user weight: the preferences over several objectives that a front of policies is drawn for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from assent.config import RunConfig
from assent.errors import InputError
from assent.training.arms import Arm, make_arm, slug


def weight_arms(config: RunConfig, terms: Sequence[str], points: int, steps: int | None = None) -> list[Arm]:
    """The runs over user weights: one for each point of a regular lattice on the simplex of the terms.

    The combination of gradients is the run file's, `weighted_sum` where it names none.
    """
    given = config.gradients or "weighted_sum"
    method, options = (given, {}) if isinstance(given, str) else next(iter(given.items()))
    arms = []
    for weights in simplex_lattice(len(terms), points):
        user = dict(zip(terms, weights, strict=True))
        name = slug("-".join(f"{term}-{weight:.3g}" for term, weight in user.items()))
        values = {"gradients": {method: {**(options or {}), "weights": user}}}
        arms.append(make_arm(config, name, str(method), config.objective, user, steps, values))
    return arms


def simplex_lattice(terms: int, points: int) -> list[tuple[float, ...]]:
    """All weights that are multiples of 1 / (points - 1) and sum to 1; `points` of them where there are two terms."""
    if terms < 2 or points < 2:
        raise InputError(
            "a sweep needs two terms and two points", field="--sweep-weights", found=f"{terms}, {points}"
        )
    whole = points - 1
    cuts = itertools.combinations(range(whole + terms - 1), terms - 1)
    rows = []
    for cut in cuts:
        bounds = (-1, *cut, whole + terms - 1)
        rows.append(tuple((high - low - 1) / whole for low, high in itertools.pairwise(bounds)))
    return rows
