"""What an objective needs of the data and of the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Needs:
    """What an objective needs; matched against the data before anything is loaded.

    Args:
        reference: log-probabilities under a frozen reference.
        pairs: exactly two judged, differing candidates.
        labels: a label on a candidate (unpaired data).
        lists: two or more judged candidates; longer lists are used whole.
        demonstrations: only a best (or single) answer.
        ties: pairs of equal score, or confidence 0.5, carry signal and are kept.
        dimensions: scores by dimension.
        joint_prompts: the prompts' own log-probabilities (segment 1).
        helpers: roles of the helper candidates it reads.
        statistics: per-token statistics the head computes.
        contrast: the reference carries the statistic `contrast`, the log-ratio of two further frozen models.
        live_reference: the reference's numbers depend on the current weights or need its full distribution.
        batch: the loss couples comparisons, or the objective has state: called once per optimizer step.
    """

    reference: bool = False
    pairs: bool = False
    labels: bool = False
    lists: bool = False
    demonstrations: bool = False
    ties: bool = False
    dimensions: bool = False
    joint_prompts: bool = False
    helpers: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    contrast: bool = False
    live_reference: bool = False
    batch: bool = False

    def __or__(self, other: Needs) -> Needs:
        """What two objectives need together."""
        together: dict[str, Any] = {}
        for name, mine in vars(self).items():
            theirs = getattr(other, name)
            together[name] = tuple(dict.fromkeys((*mine, *theirs))) if isinstance(mine, tuple) else mine or theirs
        return Needs(**together)
