"""MORE: one reward model over several groups of data, weighted so that the head's leftover gradient is shortest.

Source: Zeng, Dai, Cheng et al. 2023, arXiv 2312.07401, section 3.3.

    L = sum_k lambda_k L_k,    lambda = argmin over the simplex of ||sum_k lambda_k m_k / ||m_k|| ||^2
    m_k <- (1 - a) m_k + a G_k,    G_k = -mean over pairs of sigmoid(-d) (z_w - z_l) = dL_k / dw

L_k is the Bradley-Terry loss of group k in the step and w the linear head on z. lambda is a constant of the loss.
The same number of comparisons of each group should stand in every step. Uniform weights are the usual multi-task
loss, proportional ones the usual mean. Weights come from the whole step, not from each rank's share of it; each
group's mean is over its own pairs, where the authors' file is right only for one pair of each group on a device.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from assent.errors import InputError
from assent.objectives import Judged, Needs
from assent.preference_models.losses import differences, logistic, mean_over_wins, wins_of
from assent.preference_models.min_norm import min_norm_weights
from assent.preference_models.model import Annotators, Embedded, Features, PreferenceModel, perceptron


@dataclass(eq=False)
class MORE(PreferenceModel):
    """A scalar reward model over groups of data that may disagree.

    Args:
        hidden_size: H, the size of the features.
        groups: their names; taken from the data if not given.
        group_weights: `min_norm` (MORE), `uniform` or `proportional` to the pairs in the step.
        new_gradient: a, weight of the newest gradient in the running average.
        normalize: whether the averages are compared by direction alone.
        layers: widths of hidden layers before the linear head.
    """

    hidden_size: int
    groups: tuple[str, ...] = ()
    group_weights: Literal["min_norm", "uniform", "proportional"] = "min_norm"
    new_gradient: float = 0.99
    normalize: bool = True
    layers: tuple[int, ...] = ()
    average: Tensor = field(init=False, repr=False)
    seen: Tensor = field(init=False, repr=False)
    last_weights: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__init__()
        self.layers, self.groups = tuple(self.layers), tuple(self.groups)
        if not self.groups:
            raise ValueError("groups: none given and none found in the data (`group` of the records)")
        if self.group_weights not in ("min_norm", "uniform", "proportional"):
            raise ValueError(f"group_weights must be min_norm, uniform or proportional, got {self.group_weights!r}")
        if not 0 < self.new_gradient <= 1:
            raise ValueError(f"new_gradient must be in (0, 1], got {self.new_gradient}")
        sizes = (self.hidden_size, *self.layers)
        self.trunk = perceptron(sizes)
        self.score = nn.Linear(sizes[-1], 1, bias=False)
        self.register_buffer("average", torch.zeros(len(self.groups), sizes[-1]))
        self.register_buffer("seen", torch.zeros(len(self.groups), dtype=torch.bool))
        self.register_buffer("last_weights", torch.full((len(self.groups),), torch.nan))

    @property
    def needs(self) -> Needs:
        """The weights couple the comparisons of a step."""
        return Needs(lists=True, batch=True)

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, 1 + Z]: the reward, and what the head read, without graph."""
        hidden = self.trunk(batch.candidates)
        values = torch.cat([self.score(hidden), hidden.detach()], dim=-1)
        return Embedded(values, batch.candidates, batch.prompt, batch.mask)

    def reward(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K]; the same for every annotator."""
        return embedded.values[..., 0]

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The weighted loss of the step, one number."""
        rows = self._rows_by_group(judged)
        wins = wins_of(judged)
        gaps = differences(self.reward(embedded))
        losses = mean_over_wins(logistic(gaps), wins, judged)
        weight = judged.weight.to(losses.dtype)
        means = torch.stack([(losses[row] * weight[row]).sum() / weight[row].sum() for row in rows.values()])
        if self.group_weights == "uniform":
            chosen = torch.full_like(means, 1 / len(means))
        elif self.group_weights == "proportional":
            chosen = torch.stack([weight[row].sum() for row in rows.values()]) / weight.sum()
        else:
            hidden = embedded.values[..., 1:].detach()
            each = head_gradients(gaps.detach(), hidden, wins)
            new = torch.stack(
                [(each[row] * weight[row, None]).sum(dim=0) / weight[row].sum() for row in rows.values()]
            )
            chosen = min_norm_weights(self._averaged(list(rows), new))
        if self.training:
            self.last_weights.fill_(torch.nan)
            self.last_weights[list(rows)] = chosen.detach().to(self.last_weights)
        return (chosen.detach() * means).sum()

    def _rows_by_group(self, judged: Judged) -> dict[int, Tensor]:
        """Row indices of each group that the step holds; groups that are missing have no say in it."""
        names = judged.group or (None,) * len(judged.weight)
        found: dict[int, list[int]] = {}
        for row, name in enumerate(names):
            if name not in self.groups:
                raise InputError(
                    "a comparison of a group that the model does not know",
                    field="group",
                    found=repr(name),
                    expected=", ".join(self.groups),
                )
            found.setdefault(self.groups.index(name), []).append(row)
        return {group: torch.tensor(found[group], device=judged.weight.device) for group in sorted(found)}

    def _averaged(self, groups: list[int], new: Tensor) -> Tensor:
        """Running averages of the groups' gradients; the first gradient of a group is taken as it is."""
        old, seen = self.average[groups].to(new), self.seen[groups].unsqueeze(1)
        mixed = torch.where(seen, (1 - self.new_gradient) * old + self.new_gradient * new, new)
        if self.training:
            self.average[groups] = mixed.to(self.average)
            self.seen[groups] = True
        return nn.functional.normalize(mixed, dim=1, eps=1e-30) if self.normalize else mixed


def head_gradients(gaps: Tensor, hidden: Tensor, wins: Tensor) -> Tensor:
    """Returns [B, Z] the gradient of each comparison's mean ranking loss by the weights of a linear head on hidden.

    Args:
        gaps: [B, K, K] reward differences.
        hidden: [B, K, Z] what the head read.
        wins: [B, K, K] verdicts.
    """
    pull = torch.where(wins, torch.sigmoid(-gaps), torch.zeros_like(gaps)) / wins.sum(dim=(1, 2), keepdim=True)
    # Summed over pairs, -(z_i - z_j) pull_ij weighs each candidate by what it loses less what it wins.
    weights = pull.sum(dim=1) - pull.sum(dim=2)
    return (weights.unsqueeze(-1) * hidden).sum(dim=1)
