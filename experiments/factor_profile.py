"""Factor scores give back what an agent weighs, show where two agents differ, and cannot tell twins apart

Eight independent standard-normal differences of factors with planted weights v; preference = sign(v . u + logistic
noise) on 1000 pairs (Oh et al. 2024). A second agent over-weighs one factor and ignores another. Then a ninth factor
that counts nothing is correlated 0.9 with the first: its score is high all the same, and the table of correlations
says so. Regression of the preference on all differences separates the two; on their signs alone, which is what a
comparison of two answers gives, it does so only in part, however many pairs there are: that the twin has the same
sign tells that the factor that counts differs by much.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from assent.evaluation.dissection import property_mode
from assent.evaluation.factor_profile import align_profiles, factor_correlation, factor_score, manifestation

Array = NDArray[np.float64]
WEIGHTS = np.array([1.2, 0.8, 0.5, 0.25, 0.0, -0.25, -0.6, -1.0])
THEIRS = np.array([1.2, 0.8, 0.5, 1.4, 0.0, -0.25, -0.6, 0.0])
DIFFERENT = {"3", "7"}
TWIN_CORRELATION = 0.9
EXPECTED = {
    "spearman": "0.93 to 1.0",
    "pearson": "0.97 to 0.99",
    "twin_score": "high, though its weight is 0",
    "twin_correlation": "high (0.71 = 2/pi arcsin 0.9 between signs)",
    "twin_weight_share": "0 but for the noise of twins",
    "twin_weight_share_by_sign": "near 0",
    "many_pairs_twin_weight_share": "0",
    "many_pairs_twin_weight_share_by_sign": "0, were it for want of pairs",
}
CLAIMS = {
    "scores order the factors as the weights do": lambda n: n["spearman"] > 0.9 and n["pearson"] > 0.95,
    "two agents of the same weights agree more than two of different ones": lambda n: (
        n["pearson_same"] > n["pearson_different"] + 0.05
    ),
    "the two factors that they weigh differently are found": lambda n: n["different_found"] == 1,
    "a twin that counts nothing scores more than half of its sibling": lambda n: (
        n["twin_score"] > 0.5 * n["active_score"]
    ),
    "the correlations point at the twins and at no others": lambda n: n["twins_found"] == 1,
    "regression on the differences takes more than half of the twin's share away": lambda n: (
        abs(n["twin_weight_share"]) < 0.5 * n["twin_score"] / n["active_score"]
    ),
    "regression on the signs alone does so too": lambda n: (
        abs(n["twin_weight_share_by_sign"]) < 0.5 * n["twin_score"] / n["active_score"]
    ),
}
QUICK: dict[str, Any] = {"pairs": 150}


def run(seed: int, pairs: int = 1000) -> dict[str, float]:
    generator = np.random.default_rng(seed)
    # The difference of two answers' values then has variance 1.
    first, second = generator.normal(scale=np.sqrt(0.5), size=(2, pairs, len(WEIGHTS)))
    signs = {str(factor): manifestation(first[:, factor], second[:, factor]) for factor in range(len(WEIGHTS))}
    mine, same, theirs = (
        _profile(signs, _preference(first - second, weights, generator)) for weights in (WEIGHTS, WEIGHTS, THEIRS)
    )
    planted = align_profiles(mine, {name: float(WEIGHTS[int(name)]) for name in mine})
    apart = sorted(mine, key=lambda name: -abs(mine[name] - theirs[name]))
    many = _twins(20 * pairs, generator)
    shares = {f"many_pairs_{name}": many[name] for name in ("twin_weight_share", "twin_weight_share_by_sign")}
    return (
        {
            "spearman": float(planted.spearman or 0),
            "pearson": float(planted.pearson or 0),
            "pearson_same": float(align_profiles(mine, same).pearson or 0),
            "pearson_different": float(align_profiles(mine, theirs).pearson or 0),
            "different_found": float(set(apart[:2]) == DIFFERENT),
        }
        | _twins(pairs, generator)
        | shares
    )


def _preference(differences: Array, weights: Array, generator: np.random.Generator) -> Array:
    return np.sign(differences @ weights + generator.logistic(size=len(differences)))


def _profile(signs: dict[str, Array], preference: Array) -> dict[str, float]:
    return {name: factor_score(sign, preference).tau14 or 0.0 for name, sign in signs.items()}


def _twins(pairs: int, generator: np.random.Generator) -> dict[str, float]:
    """Factor 0 counts; the last one counts nothing and is correlated with it."""
    differences = generator.normal(size=(pairs, len(WEIGHTS) + 1))
    own = np.sqrt(1 - TWIN_CORRELATION**2)
    differences[:, -1] = TWIN_CORRELATION * differences[:, 0] + own * differences[:, -1]
    preference = _preference(differences, np.append(WEIGHTS, 0.0), generator)
    signs = {str(factor): np.sign(values) for factor, values in enumerate(differences.T)}
    scores, correlations = _profile(signs, preference), factor_correlation(signs)
    twin = str(len(WEIGHTS))
    chosen = (preference > 0).astype(np.float64)
    by_difference = property_mode(differences, chosen)
    by_sign = property_mode(np.stack(list(signs.values()), axis=1), chosen)
    return {
        "active_score": scores["0"],
        "twin_score": scores[twin],
        "twin_correlation": correlations["0", twin],
        "twins_found": float([pair for pair, value in correlations.items() if abs(value) > 0.5] == [("0", twin)]),
        "twin_weight_share": float(by_difference[-1] / by_difference[0]),
        "twin_weight_share_by_sign": float(by_sign[-1] / by_sign[0]),
    }
