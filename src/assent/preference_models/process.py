"""Process rewards: is each step of an answer right?

Source: Lightman et al. 2023, arXiv 2305.20050; Uesato et al. 2022, arXiv 2211.14275.

A step is a candidate of its own: its prompt is the prompt and the steps before, its completion the step, its label
whether it is right. Its features are those of the step's last token, so that with shared prefixes the whole answer
is read once, and no special layout is needed.

    L = mean over labelled steps of -log P(label),    P(right) = sigmoid(r)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from assent.comparison import Candidate, Comparison, Message, Prompt
from assent.errors import InputError
from assent.objectives import Judged, Needs
from assent.preference_models.losses import logistic
from assent.preference_models.model import Annotators, Embedded, Features, PreferenceModel, perceptron

Aggregate = Literal["min", "product", "last", "mean", "sum_log_odds"]


@dataclass(eq=False)
class Process(PreferenceModel):
    """A reward for each step.

    Args:
        hidden_size: H, the size of the features.
        aggregate: how the steps of an answer make its reward.
        separator: what divides an answer into steps; it stays at the end of each.
        layers: widths of hidden layers before the scalar.
    """

    hidden_size: int
    aggregate: Aggregate = "mean"
    separator: str = "\n"
    layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__init__()
        self.layers = tuple(self.layers)
        if self.aggregate not in ("min", "product", "last", "mean", "sum_log_odds"):
            raise ValueError(f"aggregate must be min, product, last, mean or sum_log_odds, got {self.aggregate!r}")
        if not self.separator:
            raise ValueError("separator must not be empty")
        sizes = (self.hidden_size, *self.layers)
        self.trunk = perceptron(sizes)
        self.score = nn.Linear(sizes[-1], 1)

    @property
    def needs(self) -> Needs:
        """A label on each step."""
        return Needs(labels=True)

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, 1]: log-odds that each step is right."""
        return Embedded(self.score(self.trunk(batch.candidates)), batch.candidates, batch.prompt, batch.mask)

    def reward(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K] log-odds of each step."""
        return embedded.values[..., 0]

    def answer_reward(self, embedded: Embedded) -> Tensor:
        """[B] the reward of each answer whose steps are the comparison's candidates."""
        return aggregate_steps(embedded.values[..., 0], embedded.mask, self.aggregate)

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison, [B]: the mean over its labelled steps."""
        reward = self.reward(embedded)
        known = (judged.labels >= 0) & judged.mask
        if not known.any(dim=1).all():
            raise InputError(
                "an answer without any labelled step",
                where=f"comparison {int((~known.any(dim=1)).nonzero()[0])} of the batch",
                field="label",
                expected="true or false on at least one step",
            )
        sign = torch.where(judged.labels == 1, 1.0, -1.0)
        losses = torch.where(known, logistic(sign * reward), torch.zeros_like(reward))
        return losses.sum(dim=1) / known.sum(dim=1)


def aggregate_steps(log_odds: Tensor, mask: Tensor, how: Aggregate) -> Tensor:
    """Returns [B] one number of the steps' log-odds [B, K]; products are summed as logarithms."""
    if how == "last":
        last = (torch.arange(mask.shape[1], device=mask.device) * mask).amax(dim=1, keepdim=True)
        return log_odds.sigmoid().gather(1, last).squeeze(1)
    none = torch.zeros_like(log_odds)
    if how == "sum_log_odds":
        return torch.where(mask, log_odds, none).sum(dim=1)
    if how == "product":
        return torch.where(mask, logsigmoid(log_odds), none).sum(dim=1).exp()
    probability = log_odds.sigmoid()
    if how == "min":
        return torch.where(mask, probability, torch.ones_like(probability)).amin(dim=1)
    return torch.where(mask, probability, none).sum(dim=1) / mask.sum(dim=1)


def steps_of(completion: str, separator: str = "\n") -> list[str]:
    """The steps of an answer, each with its separator; nothing is lost: joined they are the answer."""
    parts = completion.split(separator)
    steps = [part + separator for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
    merged: list[str] = []
    for step in steps:
        # A blank line is no step of its own; it belongs to the one before.
        if merged and not step.strip():
            merged[-1] += step
        else:
            merged.append(step)
    return merged or [completion]


def stepwise(prompt: Prompt, steps: Sequence[str], labels: Sequence[bool | None] | None = None) -> Comparison:
    """A comparison whose candidates are the steps of one answer."""
    if labels is not None and len(labels) != len(steps):
        raise InputError(
            "as many labels as steps are needed", field="labels", found=f"{len(labels)} for {len(steps)} steps"
        )
    if not steps:
        raise InputError("an answer without steps", field="completions", found="none")
    candidates = []
    for index, step in enumerate(steps):
        before = "".join(steps[:index])
        label = None if labels is None else labels[index]
        candidates.append(Candidate(step, prompt=_continued(prompt, before) if before else None, label=label))
    return Comparison(prompt, candidates)


def _continued(prompt: Prompt, before: str) -> Prompt:
    if isinstance(prompt, str):
        return prompt + before
    turns: list[Message] = list(prompt)
    return [*turns, {"role": "assistant", "content": before}]


def separator_labels(
    prompt_length: int, step_lengths: Sequence[int], labels: Sequence[int], last_only: bool = False
) -> list[int]:
    """Token-classification labels of one row: a step's label on its last token (the separator), -100 elsewhere.

    The layout that other trainers use; lengths are in tokens, the step's without its one-token separator.
    """
    row = [-100] * prompt_length
    for index, (length, label) in enumerate(zip(step_lengths, labels, strict=True)):
        shown = not last_only or index == len(labels) - 1
        row += [-100] * length + [label if shown else -100]
    return row
