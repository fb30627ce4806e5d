"""What encoding did to the data: what was cut, what was left out and why. Nothing disappears without a line here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

NAMED = 20
"""So many left-out records are named in a summary; all of them are in the report itself."""


@dataclass(frozen=True)
class Dropped:
    """A record that was left out, and why."""

    id: str
    reason: str


@dataclass
class TruncationLoss:
    """What one truncation policy costs.

    Args:
        cut: records that were shortened.
        dropped: records that were left out.
        tokens_lost: tokens of both kinds that training does not see.
    """

    cut: int = 0
    dropped: int = 0
    tokens_lost: int = 0


@dataclass
class EncodingReport:
    """Counts of an encoding.

    Args:
        truncate: the policy in force.
        max_length: the bound, or None.
        records: how many came in; `encoded` how many came out; `dropped` names the others.
        tokens: ids of all candidates; `scored_tokens` those with a loss; `longest` the longest candidate.
        truncation: what each policy would cost on this data; the one in force is what was done.
        unfinished: completions that were cut, so have no end token.
        without_end: complete completions that have no end token because the tokenizer has none.
        boundary_merges: candidates whose tokens would have grown together across prompt and completion.
        prompts_unlike_serving: candidates whose template writes an answer's start differently from the generation
            prompt (thinking templates).
        control_tokens: records whose own text contains the tokenizer's control tokens.
        alike: records whose answers have the same tokens, so that no preference between them can be learned.
        reordered: confidences that were turned round with their candidates.
    """

    truncate: str = "drop"
    max_length: int | None = None
    records: int = 0
    encoded: int = 0
    dropped: list[Dropped] = field(default_factory=list)
    tokens: int = 0
    scored_tokens: int = 0
    longest: int = 0
    truncation: dict[str, TruncationLoss] = field(default_factory=dict)
    unfinished: int = 0
    without_end: int = 0
    boundary_merges: int = 0
    prompts_unlike_serving: int = 0
    control_tokens: int = 0
    alike: int = 0
    reordered: int = 0

    @property
    def reasons(self) -> dict[str, int]:
        """How many records were left out for each reason."""
        return dict(Counter(dropped.reason for dropped in self.dropped).most_common())

    def add(self, other: EncodingReport) -> None:
        """Counts another part of the same data in."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.longest = max(self.longest, other.longest)
        self.dropped += other.dropped
        for policy, loss in other.truncation.items():
            mine = self.truncation.setdefault(policy, TruncationLoss())
            mine.cut += loss.cut
            mine.dropped += loss.dropped
            mine.tokens_lost += loss.tokens_lost

    def to_dict(self) -> dict[str, Any]:
        """JSON-like data for the run folder."""
        counts = {name: getattr(self, name) for name in ("truncate", "max_length", "longest", *_COUNTS)}
        return {
            **counts,
            "reasons": self.reasons,
            "dropped": [vars(dropped) for dropped in self.dropped],
            "truncation": {policy: vars(loss) for policy, loss in self.truncation.items()},
        }

    def lines(self) -> list[str]:
        """The report in sentences, for terminal and page."""
        said = [
            f"{self.encoded:,} of {self.records:,} records encoded, {self.tokens:,} tokens, "
            f"{self.scored_tokens:,} scored, longest {self.longest:,}"
        ]
        said += [f"left out: {count:,} because {reason}" for reason, count in self.reasons.items()]
        if self.dropped:
            named = ", ".join(dropped.id[:12] for dropped in self.dropped[:NAMED])
            said.append(f"left out by id: {named}{' ...' if len(self.dropped) > NAMED else ''}")
        if any(loss.cut or loss.dropped for loss in self.truncation.values()):
            said += [
                f"beyond {self.max_length} tokens, `{policy}`{' (in force)' if policy == self.truncate else ''}: "
                f"{loss.cut:,} records cut, {loss.dropped:,} left out, {loss.tokens_lost:,} tokens lost"
                for policy, loss in self.truncation.items()
            ]
        said += [f"{text}: {getattr(self, name):,}" for name, text in _SAID if getattr(self, name)]
        return said


_COUNTS = (
    "records",
    "encoded",
    "tokens",
    "scored_tokens",
    "unfinished",
    "without_end",
    "boundary_merges",
    "prompts_unlike_serving",
    "control_tokens",
    "alike",
    "reordered",
)

_SAID = (
    ("unfinished", "completions cut short, hence without an end token"),
    ("without_end", "completions without an end token, since the tokenizer has none"),
    ("boundary_merges", "candidates whose completion was tokenised apart, since it would merge with its prompt"),
    ("prompts_unlike_serving", "candidates whose template differs from its own generation prompt"),
    ("control_tokens", "records whose text contains control tokens"),
    ("alike", "records whose answers have the same tokens"),
    ("reordered", "confidences turned round with their candidates"),
)


def merged(parts: Iterable[EncodingReport], truncate: str, max_length: int | None) -> EncodingReport:
    """The report of data that was encoded in parts."""
    whole = EncodingReport(truncate, max_length)
    for part in parts:
        whole.add(part)
    return whole
