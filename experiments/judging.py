"""Length-controlled win rates find the rate at equal lengths, which raw win rates miss by fifteen

805 prompts of difficulty gamma ~ N(0, 1). The judge draws the winner with probability sigmoid(quality + 0.6 gamma -
1.5 tanh(gap / s)), the gap being the baseline's length minus the system's (Dubois et al. 2024). Lengths are
log-normal, a system's times 2 or 0.6; their spread, 0.4, sets how far the raw rates are off. Rates are means over
five such draws, by the published fit and by the unpenalised one, with gamma given, and with gamma estimated from the
verdicts on six systems. Beside it: ratings of six systems from 3000 battles, and a judge that always answers A, in
both orders.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from assent.evaluation.length_controlled import instruction_difficulty, length_controlled, standardised
from assent.evaluation.position_swap import swap_reliability
from assent.evaluation.ratings import Battle, bradley_terry

Array = NDArray[np.float64]
LENGTH, DIFFICULTY = -1.5, 0.6
SPREAD = 0.4
REPORTED = {"longer": (0.0, 2.0), "shorter": (0.0, 0.6), "better_longer": (0.7, 2.0)}
"""Quality over the baseline's and mean length over the baseline's."""
OTHERS = {"worse": (-0.5, 1.0), "good": (0.4, 1.3), "best": (1.0, 0.8)}
EXPECTED = {
    "raw_longer": "66.6 to 71.6",
    "controlled_longer": "46.5 to 50.6 (truth 50)",
    "raw_shorter": "27.5 to 34.2",
    "controlled_shorter": "45.3 to 51.7 (truth 50)",
    "raw_better_longer": "79 to 83",
    "controlled_better_longer": "62 to 69 (truth 65.4)",
    "length_coefficient": "-1.5 (planted)",
    "difficulty_coefficient": "0.6 (planted)",
    "strength_error": "0.07 to 0.14",
    "ranking_exact": "1",
    "always_first_ties": "1",
    "always_first_consistency": "0",
}


def _distance(numbers: dict[str, float], kind: str) -> float:
    return max(abs(numbers[f"{kind}_{name}"] - numbers[f"truth_{name}"]) for name in REPORTED)


CLAIMS = {
    "length alone moves the raw rate by more than twelve points": lambda n: (
        min(abs(n[f"raw_{name}"] - n[f"truth_{name}"]) for name in REPORTED) > 12
    ),
    "the controlled rate is within four points of the truth": lambda n: _distance(n, "controlled") < 4,
    "so is the unpenalised one": lambda n: _distance(n, "unpenalised") < 4,
    "and the one with an estimated difficulty": lambda n: _distance(n, "estimated") < 4,
    "the planted coefficients are found": lambda n: (
        abs(n["length_coefficient"] - LENGTH) < 0.2 and abs(n["difficulty_coefficient"] - DIFFICULTY) < 0.1
    ),
    "ratings order six systems": lambda n: n["ranking_exact"] == 1 and n["strength_error"] < 0.2,
    "a judge of places never wins in both orders": lambda n: (
        n["always_first_ties"] == 1 and n["always_first_consistency"] == 0 and n["always_first_bias"] == 1
    ),
}
QUICK: dict[str, Any] = {"prompts": 120, "draws": 1, "battles": 200}


def run(seed: int, prompts: int = 805, draws: int = 5, battles: int = 3000) -> dict[str, float]:
    generator = np.random.default_rng(seed)
    rows = [_rates(prompts, generator) for _ in range(draws)]
    numbers = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    first = swap_reliability([("A", "A")] * prompts)
    return (
        numbers
        | _ratings(battles, generator)
        | {
            "always_first_ties": first.ties / prompts,
            "always_first_consistency": float(first.consistency or 0),
            "always_first_bias": float(first.biased_to_first or 0),
        }
    )


def _rates(prompts: int, generator: np.random.Generator) -> dict[str, float]:
    """The rates of the reported systems in one draw of prompts, lengths and verdicts."""
    gamma = generator.normal(size=prompts)
    baseline = generator.lognormal(7, SPREAD, prompts)
    gaps, verdicts = {}, {}
    for name, (quality, ratio) in (REPORTED | OTHERS).items():
        gaps[name] = baseline - ratio * generator.lognormal(7, SPREAD, prompts)
        chance = expit(quality + DIFFICULTY * gamma + LENGTH * np.tanh(standardised(gaps[name])))
        verdicts[name] = (generator.random(prompts) < chance).astype(np.float64)
    estimated = instruction_difficulty(verdicts, gaps)
    numbers, fits = {}, []
    for name, (quality, _) in REPORTED.items():
        given = verdicts[name], gaps[name]
        fits.append(length_controlled(*given, gamma, fit="likelihood"))
        numbers |= {
            f"truth_{name}": 100 * float(expit(quality + DIFFICULTY * gamma).mean()),
            f"raw_{name}": 100 * float(verdicts[name].mean()),
            f"controlled_{name}": length_controlled(*given, gamma).win_rate,
            f"unpenalised_{name}": fits[-1].win_rate,
            f"estimated_{name}": length_controlled(*given, estimated, fit="likelihood").win_rate,
        }
    return numbers | {
        "length_coefficient": float(np.mean([fit.length for fit in fits])),
        "difficulty_coefficient": float(np.mean([fit.difficulty for fit in fits])),
        "difficulty_correlation": float(np.corrcoef(estimated, gamma)[0, 1]),
    }


def _ratings(battles: int, generator: np.random.Generator) -> dict[str, float]:
    """How far the ratings of six systems are from the strengths that their battles were drawn with."""
    strength = np.linspace(-1, 1, 6)
    names = [f"system {place}" for place in range(6)]
    fought: list[Battle] = []
    for _ in range(battles):
        a, b = (int(place) for place in generator.choice(6, size=2, replace=False))
        fought.append((names[a], names[b], float(generator.random() < expit(strength[a] - strength[b]))))
    found = bradley_terry(fought, names).strength
    return {
        "strength_error": float(np.abs(found - strength).max()),
        "ranking_exact": float(bool((np.diff(found) > 0).all())),
    }
