"""What an objective is given: the likelihoods of some comparisons and what the judge said of them.

Letters: B comparisons, K candidates (ragged, padded to the widest), M terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from assent.encoding import EncodedComparison
from assent.errors import InputError
from assent.likelihood import Likelihoods
from assent.objectives.needs import Needs

__all__ = ["Judged", "Needs"]


@dataclass(frozen=True, eq=False)
class Judged:
    """Likelihoods and verdicts of B comparisons, candidates in column order (best first, helpers last).

    Args:
        policy: likelihoods under the policy.
        reference: the same under the reference, or None.
        scores: [B, K], NaN where not judged.
        labels: [B, K], 1, 0 or -1 (unknown).
        roles: B times K names of helpers; None for answers and for missing candidates.
        mask: [B, K] which candidates exist.
        confidence: [B] P(column 0 beats column 1), NaN where not given; None if nowhere given.
        weight: [B].
        dimensions: scores by dimension, [B, K] each.
        annotator: who judged, B names, or None.
        group: which population each comes from, B names, or None.
        generator: randomness for objectives that draw.
        extra: further fields of the records, by name; B values each.
        ids: names of the comparisons, for messages and audits.
        progress: share of the run that is done, for schedules and warm-ups; 1 where nobody counts steps.
    """

    policy: Likelihoods
    reference: Likelihoods | None
    scores: Tensor
    labels: Tensor
    roles: tuple[tuple[str | None, ...], ...]
    mask: Tensor
    confidence: Tensor | None
    weight: Tensor
    dimensions: Mapping[str, Tensor] = field(default_factory=dict)
    annotator: tuple[str | None, ...] | None = None
    group: tuple[str | None, ...] | None = None
    generator: torch.Generator | None = None
    extra: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    progress: float = 1.0

    def __post_init__(self) -> None:
        # Half-precision sums lose whole nats and squares of margins overflow: losses are taken in float32.
        object.__setattr__(self, "policy", self.policy.widened())
        if self.reference is not None:
            object.__setattr__(self, "reference", self.reference.widened())

    @property
    def judged(self) -> Tensor:
        """[B, K] which candidates are answers with a score."""
        return self.mask & ~self.scores.isnan()

    @cached_property
    def answers(self) -> Tensor:
        """[B, K] which candidates are answers, judged or not."""
        # Losses of labels ask for this many times a step, and names are looked at one by one.
        helpers = {role for row in self.roles for role in row if role is not None}
        return self.mask & ~self.is_role(*helpers) if helpers else self.mask

    @property
    def labelled(self) -> Tensor:
        """[B, K] which candidates are answers with a label."""
        return self.answers & (self.labels >= 0)

    def labelled_mean(self, values: Tensor) -> Tensor:
        """[B] mean of the values ([B, K]) over the labelled answers of each comparison; 0 where there is none."""
        kept = torch.where(self.labelled, values, torch.zeros_like(values))
        return kept.sum(dim=1) / self.labelled.sum(dim=1).clamp(min=1)

    def labelled_share(self) -> Tensor:
        """Comparisons for each labelled one: turns a mean over the step into one over its labelled comparisons."""
        self.require_labels()
        return self.mask.shape[0] / self.labelled.any(dim=1).sum()

    def mean_labelled(self, values: Tensor) -> Tensor:
        """The mean of the values ([B, K]) over all labelled answers of the step, a scalar."""
        self.require_labels()
        return values[self.labelled].mean()

    def require_labels(self) -> None:
        """Raises unless there is a label."""
        if not bool(self.labelled.any()):
            raise InputError(
                "an objective over labels needs some",
                found="none in this step",
                remedy="Set `data.labels: from_pairs`",
            )

    def dimension(self, name: str) -> Tensor:
        """[B, K] the scores of one dimension; an error where the data has none of that name."""
        if name not in self.dimensions:
            raise InputError(
                f"the objective needs scores by dimension `{name}`",
                field=f"scores.{name}",
                found=", ".join(self.dimensions) or "no dimensions",
            )
        return self.dimensions[name].to(self.policy.tokens.dtype)

    @property
    def log_ratio(self) -> Tensor:
        """[B, K] log policy minus log reference of each completion, in nats; log policy without a reference."""
        return self.policy.sum if self.reference is None else self.policy.sum - self.reference.sum

    @property
    def mean_log_ratio(self) -> Tensor:
        """[B, K] the same per scored position."""
        return self.policy.mean if self.reference is None else self.policy.mean - self.reference.mean

    def margin(self, values: Tensor | None = None) -> Tensor:
        """[B] log-ratio (or the given [B, K] values) of the chosen minus the rejected candidate, in nats."""
        self.require_pairs()
        values = self.log_ratio if values is None else values
        return values[:, 0] - values[:, 1]

    def require_pairs(self) -> None:
        """Raises unless exactly two candidates of every comparison are judged and differ."""
        self.require_two()
        tied = (self.scores[:, 0] == self.scores[:, 1]).nonzero().flatten()
        if len(tied):
            raise InputError(
                "an objective over pairs got a tied pair",
                where=self._name(int(tied[0])),
                found=f"both scores {float(self.scores[int(tied[0]), 0])}",
                remedy="Leave ties out, or use an objective that takes them (see `assent methods`)",
            )

    def require_two(self) -> None:
        """Raises unless exactly two candidates of every comparison are judged; ties are pairs here."""
        self._require_two(self.judged, "judged candidates")

    def require_two_answers(self) -> None:
        """Raises unless every comparison has exactly two answers, judged overall or not."""
        self._require_two(self.answers, "answers")

    def _require_two(self, counted: Tensor, what: str) -> None:
        counts = counted.sum(dim=1)
        self._refuse(
            counts != 2,
            counts,
            "an objective over pairs got a comparison that is not a pair",
            (what, "2", "Derive pairs with `data.pairs: best_worst | all | adjacent`"),
        )

    def require_lists(self) -> None:
        """Raises unless every comparison has two or more judged candidates."""
        counts = self.judged.sum(dim=1)
        self._refuse(
            counts < 2,
            counts,
            "an objective over lists got a comparison without one",
            ("judged candidates", "2 or more", "Leave out comparisons with fewer than two judged candidates"),
        )

    def _refuse(self, wrong: Tensor, counts: Tensor, message: str, words: tuple[str, str, str]) -> None:
        """Raises for the first comparison that is wrong; the words say what was counted, expected and to be done."""
        if not bool(wrong.any()):
            return
        index = int(wrong.nonzero()[0])
        what, expected, remedy = words
        raise InputError(
            message,
            where=self._name(index),
            found=f"{int(counts[index])} {what}",
            expected=expected,
            remedy=remedy,
        )

    def swapped(self) -> Judged:
        """The same with columns 0 and 1 exchanged: what the loss would be had the judge decided the other way."""
        order = torch.arange(self.mask.shape[1], device=self.mask.device).expand_as(self.mask).clone()
        order[:, 0], order[:, 1] = 1, 0
        return replace(
            self,
            policy=self.policy.columns(order),
            reference=None if self.reference is None else self.reference.columns(order),
            confidence=None if self.confidence is None else 1 - self.confidence,
        )

    def is_role(self, *names: str) -> Tensor:
        """[B, K] which candidates are helpers of the given roles."""
        rows = [[role in names for role in row] for row in self.roles]
        return torch.tensor(rows, dtype=torch.bool, device=self.mask.device).view(self.mask.shape)

    def helper(self, name: str, values: Tensor) -> Tensor:
        """[B] the value ([B, K]) of each comparison's one helper of that role."""
        return self.helpers(name, 1, values)[:, 0]

    def helpers(self, name: str, count: int, values: Tensor, rows: Tensor | None = None) -> Tensor:
        """[B, count] the values ([B, K]) of each comparison's helpers of that role, in order; or of some rows."""
        chosen = self.is_role(name) & self.mask
        counts = chosen.sum(dim=1)
        asked = torch.ones_like(counts, dtype=torch.bool) if rows is None else rows
        wrong = (asked & (counts != count)).nonzero().flatten()
        if len(wrong):
            index = int(wrong[0])
            raise InputError(
                f"the objective needs exactly {count} helper candidate(s) of role `{name}`",
                where=self._name(index),
                found=str(int(counts[index])),
                remedy=f"Add candidates with role `{name}` to every comparison (see `assent build`)",
            )
        return values[chosen & asked.unsqueeze(1)].view(-1, count)

    def _name(self, index: int) -> str:
        return f"comparison {self.ids[index]}" if self.ids else f"comparison {index} of the batch"

    @classmethod
    def of(
        cls,
        comparisons: Sequence[EncodedComparison],
        policy: Likelihoods,
        reference: Likelihoods | None = None,
        generator: torch.Generator | None = None,
        progress: float = 1.0,
    ) -> Judged:
        """The verdicts of encoded comparisons beside their likelihoods."""
        width, device = policy.shape[1], policy.tokens.device

        def table(rows: Sequence[Sequence[float]], missing: float) -> Tensor:
            padded = [[*row, *[missing] * (width - len(row))] for row in rows]
            return torch.tensor(padded, dtype=torch.float32, device=device).view(len(padded), width)

        names = sorted({name for comparison in comparisons for name in comparison.dimensions})
        nan = math.nan
        confidences = [nan if c.confidence is None else c.confidence for c in comparisons]
        given = not all(math.isnan(value) for value in confidences)
        fields = sorted({name for comparison in comparisons for name in comparison.extra})
        annotators, groups = tuple(c.annotator for c in comparisons), tuple(c.group for c in comparisons)
        return cls(
            policy=policy,
            reference=reference,
            scores=table([c.scores for c in comparisons], nan),
            labels=table([c.labels for c in comparisons], -1).long(),
            roles=tuple((*c.roles, *[None] * (width - len(c.roles))) for c in comparisons),
            mask=policy.mask,
            confidence=torch.tensor(confidences, device=device) if given else None,
            weight=torch.tensor([c.weight for c in comparisons], dtype=torch.float32, device=device),
            dimensions={
                name: table([c.dimensions.get(name, (nan,) * len(c.candidates)) for c in comparisons], nan)
                for name in names
            },
            annotator=annotators if any(name is not None for name in annotators) else None,
            group=groups if any(name is not None for name in groups) else None,
            generator=generator,
            extra={name: [c.extra.get(name) for c in comparisons] for name in fields},
            ids=tuple(c.id for c in comparisons),
            progress=progress,
        )
