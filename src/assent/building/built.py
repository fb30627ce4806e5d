"""What a builder returns: the new comparisons, and why which of the old ones gave nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assent.comparison import Comparison


@dataclass(frozen=True)
class Built:
    """Comparisons made, and counts of everything that was left out, by reason.

    Args:
        comparisons: what was made.
        left_out: how many records (or answers, as the reason says) gave nothing, by reason.
    """

    comparisons: list[Comparison]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def after(self, earlier: Built) -> Built:
        """These comparisons, with what an earlier step left out counted too."""
        return Built(self.comparisons, counted(Counter(earlier.left_out) + Counter(self.left_out)))

    def summary(self) -> dict[str, Any]:
        """The counts as JSON."""
        return {"made": len(self.comparisons), "left_out": dict(self.left_out)}


def counted(reasons: Counter[str]) -> dict[str, int]:
    """The counts that are not zero, sorted by reason, so that two runs read the same."""
    return {reason: reasons[reason] for reason in sorted(reasons) if reasons[reason]}
