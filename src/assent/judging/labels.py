"""Judging by the probability of a label: no text is written, so none has to be parsed.

The question ends where the label would stand; the probabilities of the labels there, renormalised over the
labels, are the verdict. Asked in both orders and averaged,

    p(i beats j) = 1/2 [P(A | i shown as A) + P(B | i shown as B)],

so a constant preference for one letter moves p towards 1/2 and reverses nothing.
Source: Zhai et al. 2024, arXiv 2405.14103 (a model's own strengths); Liu et al. 2023, arXiv 2303.16634 (expected
rating over the scale).
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from assent.comparison import Comparison
from assent.errors import InputError
from assent.generation import EndpointClient, Request
from assent.judging.asking import answer_text, ask
from assent.judging.rubric import Rubric
from assent.judging.verdict import Verdict, answers_of, spread

logger = logging.getLogger(__name__)

WINDOW = 256
OUTSIDE_WARNING = 0.5
"""Probability outside the labels above which they say little about what the model would write."""

LabelLogProbs = Mapping[str, float]
"""Log-probability of each label as the next token, over the whole vocabulary; -inf where it is not reported."""


class LabelReader(Protocol):
    """A model that tells how likely labels are as its next token."""

    name: str

    def read(self, texts: Sequence[str], labels: Sequence[str]) -> list[LabelLogProbs | None]:
        """For each text the labels' log-probabilities; None where there was no answer."""


class EndpointLabels:
    """Reads labels from the alternatives that an endpoint reports for its first token."""

    def __init__(self, client: EndpointClient, alternatives: int = 20) -> None:
        self.client = client
        self.alternatives = alternatives
        self.name = client.name

    def read(self, texts: Sequence[str], labels: Sequence[str]) -> list[LabelLogProbs | None]:
        """Log-probabilities of the labels; a label outside the alternatives has probability 0."""
        requests = [
            Request([{"role": "user", "content": text}], max_tokens=1, temperature=0, top_log_probs=self.alternatives)
            for text in texts
        ]
        found: list[LabelLogProbs | None] = [None] * len(texts)
        for index, answer in self.client.answers(requests):
            if answer.error is None:
                found[index] = _of_labels(answer.top_log_probs, labels, self.client.endpoint.url)
        return found


class LabelJudge:
    """Judges pairs by two letters, or single answers by the expected value over the scale's numbers.

    Args:
        reader: the model.
        rubric: what better means.
        mode: `pairwise` or `pointwise`.
    """

    def __init__(
        self, reader: LabelReader, rubric: Rubric, mode: Literal["pairwise", "pointwise"] = "pairwise"
    ) -> None:
        self.reader = reader
        self.rubric = rubric
        self.mode = mode
        self.name = reader.name
        self.criterion = rubric.name
        scale = rubric.scale
        self.labels = ["A", "B"] if mode == "pairwise" else [str(n) for n in range(scale.lowest, scale.highest + 1)]

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        """Verdicts in order."""
        for start in range(0, len(comparisons), WINDOW):
            part = comparisons[start : start + WINDOW]
            orders = [self._orders(comparison) for comparison in part]
            template = f"{self.mode}_label"
            texts = [
                ask(comparison, order, self.rubric, self.mode, template).text
                for comparison, wanted in zip(part, orders, strict=True)
                for order in wanted
            ]
            found = iter(self.reader.read(texts, self.labels))
            for at, (comparison, wanted) in enumerate(zip(part, orders, strict=True)):
                yield start + at, self._verdict(comparison, {order: next(found) for order in wanted})

    def _orders(self, comparison: Comparison) -> list[tuple[int, ...]]:
        answers = answers_of(comparison)
        if self.mode == "pointwise":
            return [(at,) for at in answers]
        texts = {at: (comparison.candidates[at].prompt, answer_text(comparison.candidates[at])) for at in answers}
        return [pair for pair in itertools.permutations(answers, 2) if texts[pair[0]] != texts[pair[1]]]

    def _verdict(self, comparison: Comparison, found: Mapping[tuple[int, ...], LabelLogProbs | None]) -> Verdict:
        read = {order: labels for order, labels in found.items() if labels is not None}
        if len(read) < len(found):
            return Verdict("failed")
        if any(max(labels.values()) == -math.inf for labels in read.values()):
            return Verdict("unparsed", details={"outside_labels": 1.0})
        outside = [1 - sum(math.exp(value) for value in labels.values()) for labels in read.values()]
        mean_outside = max(0.0, sum(outside) / len(outside)) if outside else 0.0
        if mean_outside > OUTSIDE_WARNING:
            logger.warning("%.0f%% of the probability lies outside the labels", 100 * mean_outside)
        details = {"outside_labels": round(mean_outside, 4)}
        if self.mode == "pointwise":
            ratings = {order[0]: expected_rating(labels) for order, labels in read.items()}
            return Verdict("judged", spread(comparison, ratings), details=details)
        return self._pairs(comparison, read, details)

    def _pairs(
        self, comparison: Comparison, read: Mapping[tuple[int, ...], LabelLogProbs], details: Mapping[str, Any]
    ) -> Verdict:
        answers = answers_of(comparison)
        points = dict.fromkeys(answers, 0.0)
        strengths: list[float] = []
        consistent = True
        for first, second in itertools.combinations(answers, 2):
            strength = 0.5
            if (first, second) in read:
                shown_first, shown_second = read[first, second], read[second, first]
                strength = two_order_strength(shown_first, shown_second)
                consistent &= (shown_first["A"] > shown_first["B"]) == (shown_second["B"] > shown_second["A"])
            strengths.append(strength)
            points[first] += strength
            points[second] += 1 - strength
        games = max(len(answers) - 1, 1)
        return Verdict(
            "judged",
            spread(comparison, {at: value / games for at, value in points.items()}),
            confidence=strengths[0] if len(answers) == 2 else None,
            consistent=consistent if read else None,
            details=details,
        )


def two_order_strength(first: LabelLogProbs, second: LabelLogProbs) -> float:
    """P(i beats j) in [0, 1] from the letters' log-probabilities with i shown as A, then with i shown as B."""
    return (_share(first, "A") + _share(second, "B")) / 2


def expected_rating(labels: LabelLogProbs) -> float:
    """The mean of the scale's numbers under their renormalised probabilities."""
    return sum(float(label) * _share(labels, label) for label in labels)


def _share(labels: LabelLogProbs, label: str) -> float:
    highest = max(labels.values())
    return math.exp(labels[label] - highest) / sum(math.exp(value - highest) for value in labels.values())


def _of_labels(tokens: Sequence[Sequence[Mapping[str, float]]], labels: Sequence[str], where: str) -> LabelLogProbs:
    if not tokens or not tokens[0] or not tokens[0][0]:
        raise InputError(
            "the endpoint reports no log-probabilities",
            where=where,
            remedy="Judge by text instead (leave out --labels), or use a server that reports top_logprobs",
        )
    found = dict.fromkeys(labels, -math.inf)
    for token, log_prob in tokens[0][0].items():
        label = token.strip()
        if label in found:
            # " A" and "A" are the same label.
            found[label] = _add(found[label], log_prob)
    return found


def _add(first: float, second: float) -> float:
    high, low = max(first, second), min(first, second)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
