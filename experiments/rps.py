"""Asking nearby directions helps only where the model has a gap at the one that is wanted

The planted model answers a request at angle a with rewards N(60 v(a) (1 - 0.012 max(0, |a| - 20)), 36 I): beyond 20
degrees it was not trained. 4000 prompts, five answers each from the library's neighbourhood (up to 40 degrees),
against five at the target; both are selected and compared by the target. Without the gap (`..._no_gap`) the same
neighbourhood must lose. As many go through the decoder itself, which states directions in words: at 45 degrees, and
at 10, where its gate asks at the target, so that both arms are the same.

The expected numbers are of an earlier simulation of the same model. Mao et al. 2025 (arXiv 2510.20498) report what a
judge says of a language model: 53% to 69% won from 10 to 45 degrees, on one set of prompts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assent.comparison import Comparison, Prompt
from assent.generation.decoding import served
from assent.generation.prompts import text_of
from assent.generation.rps import RPS, Neighbourhood, projected, unit_vector
from assent.generation.sampling import Sample, Sampling
from assent.preference_models import Scored

ATTRIBUTES = ("helpfulness", "verbosity")
EXPECTED = {
    "wins_10": "0.47",
    "wins_20": "0.38",
    "wins_30": "0.63",
    "wins_45": "0.95",
    "wins_0_no_gap": "0.47",
    "wins_10_no_gap": "0.47",
    "wins_20_no_gap": "0.46",
    "wins_30_no_gap": "0.46",
    "wins_45_no_gap": "0.35",
    "decoder_45": "as wins_45",
    "decoder_10": "0.5: the gate asks at the target",
}
CLAIMS = {
    "it wins outside what the model was trained on": lambda n: n["wins_30"] > 0.58 and n["wins_45"] > 0.9,
    "and loses inside": lambda n: n["wins_10"] < 0.5 and n["wins_20"] < 0.45,
    "without a gap it loses everywhere": lambda n: all(n[f"wins_{a}_no_gap"] < 0.5 for a in (0, 10, 20, 30, 45)),
    "most where the neighbours are on one side": lambda n: n["wins_45_no_gap"] < 0.4,
    "the decoder wins as much": lambda n: abs(n["decoder_45"] - n["wins_45"]) < 0.02,
    "and inside is what asking at the target is": lambda n: abs(n["decoder_10"] - 0.5) < 0.04,
}
QUICK: dict[str, Any] = {"count": 200}


def run(seed: int, count: int = 4000) -> dict[str, float]:
    draw = np.random.default_rng(seed)
    numbers = {f"wins_{target}": wins(draw, target, count, gap=0.012) for target in (10, 20, 30, 45)}
    for target in (0, 10, 20, 30, 45):
        numbers[f"wins_{target}_no_gap"] = wins(draw, target, count, gap=0.0)
    prompts = [f"request {number}" for number in range(count)]
    for target in (45, 10):
        ours = decoded_scores(draw, target, prompts, from_angle=20.0)
        direct = decoded_scores(draw, target, prompts, from_angle=math.inf)
        numbers[f"decoder_{target}"] = float((ours > direct).mean())
    return numbers


def rewards_at(draw: np.random.Generator, angle: float, count: int, gap: float) -> NDArray[np.float64]:
    """[N, 2] rewards of answers that were asked for at an angle in degrees."""
    mean = 60 * np.array(unit_vector(angle)) * (1 - gap * max(0.0, abs(angle) - 20))
    return mean + 6 * draw.standard_normal((count, 2))


def wins(draw: np.random.Generator, target: float, count: int, gap: float) -> float:
    """Share of prompts whose best answer from nearby directions beats the best of as many at the target."""

    def best(angles: Sequence[float]) -> NDArray[np.float64]:
        rewards = np.stack([rewards_at(draw, angle, count, gap) for angle in angles], axis=1)
        scores = projected(rewards.reshape(-1, 2).tolist(), unit_vector(target))
        return np.array(scores).reshape(count, -1).max(axis=1)

    angles = Neighbourhood().angles(target)
    return float((best(angles) > best([target] * len(angles))).mean())


def decoded_scores(
    draw: np.random.Generator, target: float, prompts: Sequence[str], from_angle: float
) -> NDArray[np.float64]:
    """[N] score of the answer that the decoder serves."""
    decoder = RPS(Planted(draw), Read(), ATTRIBUTES, target, from_angle=from_angle)
    found = dict(decoder.decode(prompts, Sampling()))
    return np.array([served(found[index]).score for index in range(len(prompts))])


class Planted:
    """A generator that reads the direction off its prompt; its answers are their own rewards."""

    name = "planted"

    def __init__(self, draw: np.random.Generator) -> None:
        self.draw = draw

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        for index, prompt in enumerate(prompts):
            weights = [int(re.findall(rf"{name}\*(-?\d+)", text_of(prompt))[0]) for name in ATTRIBUTES]
            angle = math.degrees(math.atan2(weights[1], weights[0]))
            rewards = rewards_at(self.draw, angle, sampling.samples, gap=0.012)
            yield index, [Sample(" ".join(map(repr, row))) for row in rewards.tolist()]


class Read:
    """A scorer that reads the rewards which an answer states."""

    name = "read"

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        found = []
        for comparison in comparisons:
            rows = [[float(word) for word in str(one.completion).split()] for one in comparison.candidates]
            columns = tuple(zip(*rows, strict=True))
            found.append(Scored(rewards=columns[0], dimensions=dict(zip(ATTRIBUTES, columns, strict=True))))
        return found
