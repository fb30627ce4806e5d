"""How the gradients of several terms become one: the protocol; its methods have a file each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class GradientCombiner(Protocol):
    """A rule that makes one gradient of M.

    It sees gradients after reduction over ranks and before clipping, and is called identically on every rank.
    """

    def __call__(self, gradients: Sequence[Sequence[Tensor | None]], terms: Sequence[str]) -> Sequence[Tensor | None]:
        """The combined gradient of each parameter.

        Args:
            gradients: M lists, one tensor for each parameter (None where a term does not reach it).
            terms: the names of the M terms.
        """
