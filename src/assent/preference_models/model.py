"""The contract of every reward and preference model: features in, preferences, rewards and a loss out.

A preference model reads what a backbone says of each candidate (the hidden state of its last real token, or any
frozen embedding) and never sees text or tokens, so the same model runs on cached features and on a trained
backbone. Letters: B comparisons, K candidates, H features, P prompt features, D values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from assent.errors import InputError
from assent.objectives import Judged, Needs
from assent.preference_models.losses import differences

Annotators = Sequence[str | None]
"""B names of the people whose preference is asked for; None: the population."""


@dataclass(frozen=True, eq=False)
class Features:
    """What a backbone says of the candidates of B comparisons.

    Args:
        candidates: [B, K, H] the last real token of each candidate, before any head.
        mask: [B, K] which candidates exist.
        prompt: [B, P] the last token of the prompt, or None.
    """

    candidates: Tensor
    mask: Tensor
    prompt: Tensor | None = None

    def rows(self, index: Tensor) -> Features:
        """The same for some of the comparisons ([N] indices)."""
        return Features(self.candidates[index], self.mask[index], None if self.prompt is None else self.prompt[index])


@dataclass(frozen=True, eq=False)
class Embedded:
    """What a preference model makes of the features.

    Args:
        values: [B, K, D] the head's numbers, all that `preference` and `loss` need besides its parameters.
        features: [B, K, H] what the head read.
        prompt_features: [B, P] or None.
        mask: [B, K] which candidates exist.
    """

    values: Tensor
    features: Tensor
    prompt_features: Tensor | None
    mask: Tensor


class NoReward(InputError):
    """The model compares candidates but gives none of them a number of its own."""


class PreferenceModel(nn.Module):
    """A head that compares candidates. Subclasses are dataclasses: their fields are the options of a run file."""

    @property
    def needs(self) -> Needs:
        """What it needs of the data and of the engine."""
        return Needs(lists=True)

    @property
    def reads_prompt(self) -> bool:
        """Whether it needs features of the prompt."""
        return False

    @property
    def completion_only(self) -> bool:
        """Whether a candidate's features are of the completion without its prompt."""
        return False

    def embed(self, batch: Features) -> Embedded:
        """The head's values of each candidate, [B, K, D]."""
        raise NotImplementedError

    def reward(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K] rewards, comparable inside a comparison; raises `NoReward` where the model has none."""
        raise NoReward(
            f"`{slug_of(self)}` compares candidates and has no reward of a single one",
            remedy="Ask for `mean_preference` over a stated pool of candidates",
        )

    def preference(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K, K] antisymmetric logits: how strongly the row beats the column."""
        return differences(self.reward(embedded, annotator))

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison [B], or one number where it exists only over the step."""
        raise NotImplementedError

    def dimensions(self, embedded: Embedded) -> Mapping[str, Tensor]:
        """Named [B, K] numbers besides the reward: attributes, members, parts."""
        return {}

    def uncertainty(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor | None:
        """[B, K] how unsure the model is of each reward, in units of the reward; None where it cannot say."""
        return None

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Parameters with their learning rates, for an optimizer."""
        return [{"params": list(self.parameters()), "lr": learning_rate}]

    def options(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-like: with the weights, all that is needed to load the model again."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self) if field.init}  # type: ignore[arg-type]


def slug_of(model: PreferenceModel) -> str:
    """The name of a model in run files: that of its file."""
    return type(model).__module__.rsplit(".", 1)[1]


def mean_preference(preference: Tensor, mask: Tensor, pool: Tensor | None = None) -> Tensor:
    """Returns [B, K] the mean logit of each candidate against the others of a pool.

    The number depends on the pool: by default all other candidates of the comparison, else those marked in
    `pool` ([B, K]). The candidate itself never counts. 0 where nothing is left.
    """
    opponents = (mask if pool is None else pool & mask).unsqueeze(1) & mask.unsqueeze(2)
    itself = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    counted = opponents & ~itself
    total = torch.where(counted, preference, torch.zeros_like(preference)).sum(dim=2)
    return total / counted.sum(dim=2).clamp(min=1)


def require_prompt(batch: Features, model: PreferenceModel) -> Tensor:
    """The prompt's features; raises where there are none."""
    if batch.prompt is None:
        raise InputError(
            f"`{slug_of(model)}` needs features of the prompt",
            remedy="Give features that embed the prompt, or leave the option that needs them out",
        )
    return batch.prompt


def perceptron(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Fully connected layers of the given widths with the activation after each."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
