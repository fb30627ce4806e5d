"""What the demo measures of a policy, all of it on held-out openings and on samples at temperature 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assent.comparison import Comparison
from assent.encoding import CausalEncoder, EncodedComparison
from assent.errors import InputError
from assent.evaluation.intervals import Interval, bootstrap_interval
from assent.evaluation.policy_change import head_to_head, kl_to_start, repetition
from assent.evaluation.ranking_accuracy import ranking_accuracy
from assent.evaluation.scoring import completion_log_probs, sampled
from assent.generation import LocalGenerator, Sample
from assent.generation.prompts import prompt_ids
from assent.likelihood.causal_lm import PaddedCausalPolicy
from assent.recipes.demo_parts.rule import PlainWordRule

Samples = Sequence[Sequence[Sample]]
SIMILAR_WORDS = 2
"""Texts whose numbers of words differ by at most this count as equally long."""


@dataclass(frozen=True)
class Measured:
    """A policy beside the start.

    Args:
        name: of the policy.
        win_rate: share of texts that beat the start's, ties one half.
        win_rate_equal_length: the same among texts of equal length (within `SIMILAR_WORDS`); None if there are none.
        wins: texts that beat the start's; likewise `ties` and `losses`.
        kl: KL to the start per text, in nats.
        faulty: share of all words that are faulty.
        words: mean words of a text.
        repeated: mean share of a text's word triples that occurred before in it.
        ranking: share of held-out pairs to whose better text the policy gives more probability.
        reward_ranking: the same by log-ratio to the start.
    """

    name: str
    win_rate: Interval
    win_rate_equal_length: Interval | None
    wins: int
    ties: int
    losses: int
    kl: Interval
    faulty: float
    words: float
    repeated: float
    ranking: Interval
    reward_ranking: Interval


@dataclass(frozen=True)
class Yardstick:
    """What every policy is held against.

    Args:
        openings: held out from everything.
        start: the starting model, and `start_samples` what it writes.
        pairs: judged lists of the start's texts on the held-out openings, and `start_log_probs` what it gives them.
    """

    openings: Sequence[str]
    rule: PlainWordRule
    tokenizer: Any
    start: Any
    start_samples: Samples
    pairs: Sequence[EncodedComparison]
    start_log_probs: Sequence[Any]
    seed: int

    @classmethod
    def of(
        cls, openings: Sequence[str], rule: PlainWordRule, start: Any, tokenizer: Any, samples: Samples, seed: int
    ) -> Yardstick:
        """The yardstick of a starting model and its samples on the held-out openings."""
        judged = judge(openings, samples, rule, "start")
        encoded, _ = CausalEncoder(tokenizer).encode_all(judged)
        log_probs = completion_log_probs(PaddedCausalPolicy(start), encoded)
        return cls(openings, rule, tokenizer, start, samples, encoded, log_probs, seed)

    def measure(self, name: str, model: Any, samples: Samples) -> Measured:
        """A policy and the samples it drew for the openings."""
        mine, theirs = texts(samples), texts(self.start_samples)
        found = head_to_head(self.openings, mine, theirs, self.rule.prefers, self.seed)
        ranking = ranking_accuracy(
            self.pairs, completion_log_probs(PaddedCausalPolicy(model), self.pairs), self.start_log_probs, self.seed
        )
        assert ranking.by_log_ratio is not None
        lengths, start_lengths = self._words(mine), self._words(theirs)
        faults = [
            self.rule.read(opening, text).faults()
            for opening, row in zip(self.openings, mine, strict=True)
            for text in row
        ]
        return Measured(
            name=name,
            win_rate=found.rate,
            win_rate_equal_length=self._equal_length(found.verdicts, lengths - start_lengths),
            wins=found.wins,
            ties=found.ties,
            losses=found.losses,
            kl=self._kl(samples),
            faulty=sum(faults) / max(1, int(lengths.sum())),
            words=float(lengths.mean()),
            repeated=float(np.mean([repetition(text) for row in mine for text in row])),
            ranking=ranking.by_policy,
            reward_ranking=ranking.by_log_ratio,
        )

    def _words(self, rows: Sequence[Sequence[str]]) -> Any:
        return np.array(
            [
                [len(self.rule.read(opening, text).words) for text in row]
                for opening, row in zip(self.openings, rows, strict=True)
            ]
        )

    def _equal_length(self, verdicts: Any, difference: Any) -> Interval | None:
        chosen = np.where(np.abs(difference) <= SIMILAR_WORDS, verdicts, np.nan)
        groups = [row for row in range(chosen.shape[0]) for _ in range(chosen.shape[1])]
        try:
            return bootstrap_interval(chosen, groups, seed=self.seed)
        except InputError:
            return None

    def _kl(self, samples: Samples) -> Interval:
        drawn = [
            sampled(prompt_ids(opening, self.tokenizer), [sample.token_ids for sample in row])
            for opening, row in zip(self.openings, samples, strict=True)
        ]
        start = completion_log_probs(PaddedCausalPolicy(self.start), drawn)
        own = [[sum(sample.log_probs) for sample in row] for row in samples]
        return kl_to_start(own, [row.tolist() for row in start], self.seed)


def texts(samples: Samples) -> list[list[str]]:
    """The texts of samples."""
    return [[sample.text for sample in row] for row in samples]


def judge(openings: Sequence[str], samples: Samples, rule: PlainWordRule, source: str) -> list[Comparison]:
    """The samples of each opening as a judged list; empty texts cannot be learned from and are left out."""
    judged = []
    for opening, row in zip(openings, samples, strict=True):
        written = [sample.text for sample in row if sample.text.strip()]
        if len(written) > 1:
            judged.append(rule.judged(opening, written, source))
    return judged


def draw(
    model: Any, tokenizer: Any, openings: Sequence[str], samples: int, new_tokens: int, seed: int
) -> list[list[Sample]]:
    """Continuations of the openings at temperature 1: what the model itself would say."""
    generator = LocalGenerator(model, tokenizer)
    return generator.generate(openings, samples=samples, max_new_tokens=new_tokens, seed=seed)
