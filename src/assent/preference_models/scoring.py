"""The one protocol of everything that scores comparisons: heads, backbones, implicit rewards, judges, formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from assent.comparison import Comparison


@dataclass(frozen=True)
class Scored:
    """What a scorer says of one comparison's K candidates, in the record's own order.

    Args:
        rewards: K numbers, or None where the scorer only compares.
        preference: K x K logits, row beats column; differences of the rewards if not given. NaN: no verdict.
        dimensions: further numbers by name, K each.
        uncertainty: how unsure each reward is, K numbers in its unit.
    """

    rewards: tuple[float, ...] | None = None
    preference: tuple[tuple[float, ...], ...] | None = None
    dimensions: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    uncertainty: tuple[float, ...] | None = None

    def gap(self, first: int, second: int) -> float:
        """The logit of one candidate against another; above 0 the first is preferred."""
        if self.preference is not None:
            return self.preference[first][second]
        assert self.rewards is not None
        return self.rewards[first] - self.rewards[second]

    def ranking_scores(self) -> tuple[float, ...]:
        """K numbers to rank by: the rewards, else the mean logit against the others of this comparison."""
        if self.rewards is not None:
            return self.rewards
        assert self.preference is not None
        count = len(self.preference)
        return tuple(
            sum(value for other, value in enumerate(row) if other != index) / max(count - 1, 1)
            for index, row in enumerate(self.preference)
        )


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores the candidates of comparisons."""

    @property
    def name(self) -> str:
        """How the scores are called."""

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """One result for each comparison."""
