"""Robust preference selection: ask from nearby preference directions, select by the direction that was wanted.

Source: Mao et al. 2025, arXiv 2510.20498; the directions in the prompt: Wang et al. 2024, arXiv 2402.18571.

A preference is a unit vector v over m attributes; an answer's value is v' r(x, y). Answers are drawn one from
each of k directions within an angle of the target, all are scored with the target. It helps where the target lies
outside what the model was trained on and its neighbours inside; without that gap it loses to the same number of
answers drawn at the target, so it is used only from `from_angle` on.

The released rule, kept here for two attributes: the k nearest of the angles -40, -35 ... 40 degrees, at most 30
degrees off; a target of 45 therefore gets the one-sided set 40 ... 20. Where fewer exist the nearest is repeated,
so that the number of answers is that of best-of-k.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assent.comparison import Comparison, Message, Prompt, content_key
from assent.errors import InputError
from assent.generation.best_of_n import noted
from assent.generation.decoding import best, comparison_of
from assent.generation.prompts import messages_of
from assent.generation.sampling import Generator, Sample, Sampling
from assent.preference_models import Scorer

Direction = tuple[float, ...]


@dataclass(frozen=True)
class Neighbourhood:
    """Which directions stand in for a target.

    Args:
        size: k.
        largest_angle: degrees from the target.
        lowest: first angle of the grid, in degrees.
        highest: last angle of the grid: what the model was trained on.
        step: of the grid.
    """

    size: int = 5
    largest_angle: float = 30.0
    lowest: float = -40.0
    highest: float = 40.0
    step: float = 5.0

    def __post_init__(self) -> None:
        if self.size < 1 or self.step <= 0 or self.lowest > self.highest or self.largest_angle < 0:
            raise InputError("a neighbourhood needs a size and a grid", field="neighbourhood", found=repr(self))

    def angles(self, target: float) -> list[float]:
        """The k angles in degrees, nearest first, of two equally near ones the lower first."""
        count = int((self.highest - self.lowest) / self.step + 1e-9)
        grid = [self.lowest + self.step * at for at in range(count + 1)]
        near = [angle for angle in grid if abs(angle - target) <= self.largest_angle + 1e-9]
        if not near:
            raise InputError(
                "no direction of the grid is near the target",
                field="angle",
                found=f"{target:g} degrees",
                expected=f"within {self.largest_angle:g} of {self.lowest:g} to {self.highest:g}",
            )
        near.sort(key=lambda angle: (abs(angle - target), angle))
        return [near[at] if at < len(near) else near[0] for at in range(self.size)]


def unit_vector(degrees: float) -> Direction:
    """(cos, sin): 0 is all first attribute, positive angles add the second, negative ones ask for less of it."""
    return (math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))


def normalised(vector: Sequence[float]) -> Direction:
    """The vector at length 1; zero and non-finite ones are refused."""
    length = math.sqrt(sum(value * value for value in vector))
    if not math.isfinite(length) or length == 0:
        raise InputError("a preference direction has a length", field="direction", found=repr(list(vector)))
    return tuple(value / length for value in vector)


def in_cone(target: Sequence[float], draw: Sequence[float], degrees: float) -> Direction:
    """The direction at an angle from the target towards a Gaussian draw; how neighbours are drawn for any m."""
    axis = normalised(target)
    along = sum(a * z for a, z in zip(axis, draw, strict=True))
    across = normalised([z - along * a for a, z in zip(axis, draw, strict=True)])
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return tuple(cosine * a + sine * u for a, u in zip(axis, across, strict=True))


def weights_in_words(direction: Sequence[float], names: Sequence[str]) -> str:
    """The direction as a model trained on directions reads it: whole numbers whose squares sum to about 10 000."""
    terms = [f"{name}*{round(100 * value)}" for name, value in zip(names, direction, strict=True)]
    return "weighted rating = " + " + ".join(terms)


def directed(prompt: Prompt, direction: Sequence[float], names: Sequence[str]) -> list[Message]:
    """The prompt under a system message that states the direction."""
    system = (
        "You are a helpful, respectful and harmless assistant. Your answer should maximise "
        f"{weights_in_words(direction, names)}."
    )
    return [{"role": "system", "content": system}, *messages_of(prompt)]


def projected(rewards: Sequence[Sequence[float]], target: Sequence[float]) -> list[float]:
    """v' r for each candidate, from rewards [K, m]."""
    return [sum(v * r for v, r in zip(target, row, strict=True)) for row in rewards]


class RPS:
    """Directional neighbourhood decoding for two attributes.

    Args:
        generator: a model that reads directions from its system message.
        scorer: one whose dimensions hold the two attributes.
        attributes: their names: dimensions of the scorer, and words of the prompt.
        angle: of the target, in degrees.
        neighbourhood: which directions are asked.
        from_angle: targets nearer to 0 than this are asked directly, k times.
    """

    def __init__(
        self,
        generator: Generator,
        scorer: Scorer,
        attributes: tuple[str, str],
        angle: float,
        neighbourhood: Neighbourhood = Neighbourhood(),
        from_angle: float = 20.0,
    ) -> None:
        self.generator, self.scorer, self.attributes, self.angle = generator, scorer, attributes, angle
        self.target = unit_vector(angle)
        outside = abs(angle) >= from_angle
        self.angles = neighbourhood.angles(angle) if outside else [angle] * neighbourhood.size

    def decode(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Comparison]]:
        """k scored candidates for each prompt; `meta.decoding.angles` says from where each was drawn."""
        names = [content_key(prompt) for prompt in prompts] if keys is None else list(keys)
        counts = {angle: self.angles.count(angle) for angle in self.angles}
        found: list[dict[float, list[Sample]]] = [{} for _ in prompts]
        for angle, count in counts.items():
            asked = [directed(prompt, unit_vector(angle), self.attributes) for prompt in prompts]
            for index, samples in self.generator.stream(asked, sampling.with_samples(count), names):
                found[index][angle] = samples
                if len(found[index]) == len(counts):
                    yield index, self._selected(prompts[index], found[index])

    def _selected(self, prompt: Prompt, found: dict[float, list[Sample]]) -> Comparison:
        drawn = [(angle, sample) for angle, samples in found.items() for sample in samples]
        drawn = [(angle, sample) for angle, sample in drawn if sample.finish_reason != "error"]
        comparison = comparison_of(prompt, [sample for _, sample in drawn], self.generator.name)
        (scored,) = self.scorer.score([comparison])
        missing = [name for name in self.attributes if name not in scored.dimensions]
        if missing:
            raise InputError(
                "the scorer does not rate an attribute",
                field="attributes",
                found=missing[0],
                expected=", ".join(scored.dimensions) or "a scorer with several dimensions",
            )
        rewards = list(zip(*(scored.dimensions[name] for name in self.attributes), strict=True))
        scores = projected(rewards, self.target)
        candidates = [
            replace(one, score=score, scores=dict(zip(self.attributes, row, strict=True)))
            for one, score, row in zip(comparison.candidates, scores, rewards, strict=True)
        ]
        note: dict[str, Any] = {
            "method": "rps",
            "target": list(self.target),
            "angles": [angle for angle, _ in drawn],
            # Nearest first, so that a tie goes to the direction closest to the target.
            "chosen": best(scores, [str(one.completion) for one in candidates]),
        }
        return noted(replace(comparison, candidates=candidates, annotator=self.scorer.name), note)
