"""An ensemble: the mean of several models, how far they differ, and the pessimistic reward.

Sources: Coste et al. 2023, arXiv 2310.02743 (worst case and uncertainty-weighted reward); Owen and Eckles 2012
(double-or-nothing bootstrap).

Rewards of each member are centred and scaled by its mean and spread over the training data: otherwise the member
with the largest spread decides. Members start differently and see different halves of the data, drawn for each
comparison by its id, so that no order of training matters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assent.objectives import Judged, Needs
from assent.preference_models.model import Annotators, Embedded, Features, NoReward, PreferenceModel


@dataclass(eq=False)
class Ensemble(PreferenceModel):
    """Several models of one kind.

    Args:
        hidden_size: H, the size of the features.
        member: the kind of model and its options, as under `preference_model`.
        members: how many.
        reward_rule: `mean`, `worst` member, or `pessimistic`: mean minus `penalty` standard deviations.
        penalty: how many standard deviations the pessimistic reward takes away.
        bootstrap: whether each member sees its own random half of the comparisons, counted twice.
    """

    hidden_size: int
    member: Mapping[str, Any] | str = field(default_factory=lambda: {"bradley_terry": {}})
    members: int = 5
    reward_rule: Literal["mean", "worst", "pessimistic"] = "mean"
    penalty: float = 1.0
    bootstrap: bool = True
    location: Tensor = field(init=False, repr=False)
    spread: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__init__()
        from assent.preference_models.registry import build_preference_model

        if self.members < 2:
            raise ValueError(f"members must be at least 2, got {self.members}")
        if self.reward_rule not in ("mean", "worst", "pessimistic"):
            raise ValueError(f"reward_rule must be mean, worst or pessimistic, got {self.reward_rule!r}")
        models = [build_preference_model(self.member, self.hidden_size) for _ in range(self.members)]
        if models[0].needs.batch:
            raise ValueError("members whose loss couples comparisons cannot be bootstrapped")
        self.models = nn.ModuleList(models)
        self.register_buffer("location", torch.zeros(self.members))
        self.register_buffer("spread", torch.ones(self.members))

    @property
    def _first(self) -> PreferenceModel:
        first = self.models[0]
        assert isinstance(first, PreferenceModel)
        return first

    @property
    def needs(self) -> Needs:
        """What a member needs."""
        return self._first.needs

    @property
    def reads_prompt(self) -> bool:
        """Whether a member needs features of the prompt."""
        return self._first.reads_prompt

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, M D]: the members' one after the other."""
        members = [model for model in self.models if isinstance(model, PreferenceModel)]
        values = torch.cat([model.embed(batch).values for model in members], dim=-1)
        return Embedded(values, batch.candidates, batch.prompt, batch.mask)

    def _each(self, embedded: Embedded) -> list[tuple[PreferenceModel, Embedded]]:
        parts = embedded.values.chunk(self.members, dim=-1)
        return [
            (model, Embedded(part, embedded.features, embedded.prompt_features, embedded.mask))  # type: ignore[misc]
            for model, part in zip(self.models, parts, strict=True)
        ]

    def member_rewards(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[M, B, K] standardised rewards of the members."""
        rewards = torch.stack([model.reward(part, annotator) for model, part in self._each(embedded)])
        return (rewards - self.location[:, None, None]) / self.spread[:, None, None]

    def reward(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K] combined by `reward_rule`, in standard deviations of the members' rewards."""
        return combined(self.member_rewards(embedded, annotator), self.reward_rule, self.penalty)

    def preference(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K, K] mean of the members' logits, in their own units."""
        return torch.stack([model.preference(part, annotator) for model, part in self._each(embedded)]).mean(dim=0)

    def uncertainty(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor | None:
        """[B, K] population standard deviation over members; None where members have no reward."""
        try:
            return self.member_rewards(embedded, annotator).std(dim=0, correction=0)
        except NoReward:
            return None

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison [B], the mean of the members that see it."""
        losses = torch.stack([model.loss(part, judged) for model, part in self._each(embedded)])
        if not self.bootstrap or not self.training or not judged.ids:
            return losses.mean(dim=0)
        shares = torch.tensor([[2.0 * drawn(name, index) for name in judged.ids] for index in range(self.members)])
        return (shares.to(losses) * losses).mean(dim=0)

    @torch.no_grad()
    def standardize(self, embedded: Embedded) -> None:
        """Takes each member's mean and spread from the candidates of the training data."""
        self.location.zero_()
        self.spread.fill_(1)
        try:
            rewards = self.member_rewards(embedded)[:, embedded.mask]
        except NoReward:
            return
        self.location.copy_(rewards.mean(dim=1))
        self.spread.copy_(rewards.std(dim=1, correction=0).clamp(min=1e-12))


def combined(rewards: Tensor, rule: Literal["mean", "worst", "pessimistic"], penalty: float = 1.0) -> Tensor:
    """Returns [...] one reward of the members' [M, ...]."""
    if rule == "worst":
        return rewards.amin(dim=0)
    mean = rewards.mean(dim=0)
    return mean if rule == "mean" else mean - penalty * rewards.std(dim=0, correction=0)


def standardized(rewards: Tensor) -> Tensor:
    """Returns [M, N] each member's rewards with mean 0 and population standard deviation 1."""
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    return centred / rewards.std(dim=1, correction=0, keepdim=True).clamp(min=1e-12)


def drawn(name: str, member: int) -> bool:
    """Whether a member sees a comparison: half of them, by a hash of its id."""
    return hashlib.sha256(f"{member}:{name}".encode()).digest()[0] % 2 == 0
