"""R^3: a reward without any preference data - on the topic, long enough, not repetitive.

Source: Kim and Seo 2024, arXiv 2402.03469.

    open-ended   r = (M(x) . M(y)) * LI(y) * RP(y)
    constrained  r = F(M(reference) . M(y)) * RP(y),    F(v) = v / 3.5 * L_max / 100

M is a frozen text encoder; its dot product is not normalised. LI = tokens / 100, RP = distinct trigrams /
trigrams over words and runs of punctuation. Doubling an answer doubles LI and halves RP: it does not pay.
Relevance below 0 would make LI reward short answers; it is kept as published unless `clamp`, and F's 3.5 belongs
to the authors' encoder. Scripts without spaces count a sentence as one token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from assent.comparison import Comparison
from assent.errors import InputError
from assent.preference_models.scoring import Scored
from assent.preference_models.text import completion_text, prompt_text

TOKEN = re.compile(r"\w+|[^\w\s]+")
OPEN, CONSTRAINED = "OPENENDED", "CONSTRAINED"


def tokens_of(text: str) -> list[str]:
    """Words and runs of punctuation: "don't" is three."""
    return TOKEN.findall(text)


def length_incentive(text: str, most: int | None = None) -> float:
    """Tokens per hundred, of at most `most` tokens."""
    count = len(tokens_of(text))
    return (count if most is None else min(count, most)) / 100


def repetition_penalty(text: str) -> float:
    """Distinct trigrams over trigrams; 1 for texts of two tokens and fewer."""
    tokens = tokens_of(text)
    trigrams = [" ".join(tokens[start : start + 3]) for start in range(len(tokens) - 2)]
    return len(set(trigrams)) / len(trigrams) if trigrams else 1.0


def mean_pooled(hidden: Tensor, mask: Tensor) -> Tensor:
    """Returns [N, H] mean of hidden states [N, T, H] over the real tokens, not normalised."""
    real = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


@dataclass(frozen=True)
class RelevanceReward:
    """The mixture's parts, each of which can be switched off for an ablation.

    Args:
        length: whether open-ended answers are paid by length.
        repetition: whether repeated trigrams are punished.
        relevance: whether relevance counts (1 for every answer without it; then nothing branches).
        branching: whether constrained queries are read against their reference.
        max_tokens: L_max, the longest answer that can be sampled.
        relevance_range: the encoder's relevance that is worth the reward of the longest answer.
        clamp: whether negative relevance counts as 0 and length beyond `max_tokens` as `max_tokens`.
    """

    length: bool = True
    repetition: bool = True
    relevance: bool = True
    branching: bool = True
    max_tokens: int = 512
    relevance_range: float = 3.5
    clamp: bool = False

    def parts(self, text: str, query_type: str, relevance: float) -> Mapping[str, float]:
        """The reward of one answer and the parts it is made of."""
        if query_type not in (OPEN, CONSTRAINED):
            raise InputError(
                "unknown type of a query",
                field="query_type",
                found=repr(query_type),
                expected=f"{OPEN}, {CONSTRAINED}",
            )
        incentive = length_incentive(text, self.max_tokens if self.clamp else None)
        penalty = repetition_penalty(text)
        value = (max(relevance, 0.0) if self.clamp else relevance) if self.relevance else 1.0
        constrained = self.branching and self.relevance and query_type == CONSTRAINED
        if constrained:
            reward = value / self.relevance_range * self.max_tokens / 100
        else:
            reward = value * (incentive if self.length else 1.0)
        reward *= penalty if self.repetition else 1.0
        return {
            "reward": reward,
            "relevance": value,
            "length_incentive": incentive,
            "repetition_penalty": penalty,
            "constrained": float(constrained),
        }


@dataclass(frozen=True)
class RelevanceScorer:
    """Scores comparisons by R^3: the query's type and reference are read from `meta`.

    Args:
        encode: texts to vectors [N, H], not normalised.
        reward: the mixture.
    """

    encode: Callable[[Sequence[str]], Tensor]
    reward: RelevanceReward = RelevanceReward()
    name: str = "rrr"

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """One result for each comparison."""
        return [self._one(comparison) for comparison in comparisons]

    def _one(self, comparison: Comparison) -> Scored:
        query_type = str(comparison.meta.get("query_type", OPEN)).upper().replace("-", "")
        against = prompt_text(comparison.prompt)
        if query_type == CONSTRAINED and self.reward.branching:
            reference = comparison.meta.get("reference")
            if not isinstance(reference, str) or not reference:
                raise InputError(
                    "a constrained query needs its reference answer", where=comparison.key, field="meta.reference"
                )
            against = reference
        texts = [completion_text(candidate.completion) for candidate in comparison.candidates]
        vectors = self.encode([against, *texts])
        relevance = (vectors[1:] @ vectors[0]).tolist()
        parts = [self.reward.parts(text, query_type, r) for text, r in zip(texts, relevance, strict=True)]
        return Scored(
            rewards=tuple(part["reward"] for part in parts),
            dimensions={name: tuple(part[name] for part in parts) for name in parts[0] if name != "reward"},
        )
