"""GPM: a vector for each candidate, and an antisymmetric product compares any two.

Source: Zhang, Zhang, Wu et al. 2024, arXiv 2410.02197, eq. 5 and section 4.

    s(i > j) = sum over blocks l of lambda_l(x) (v_i[2l-1] v_j[2l] - v_i[2l] v_j[2l-1])
    P(i > j) = sigmoid(s / tau),    L = -log sigmoid((s - margin) / tau)

Cycles can be told: with two dimensions on the unit circle, n candidates form an n-cycle. K candidates cost K
forward passes, like a scalar model. v = (r, 1) without normalisation is Bradley-Terry. Equal or collinear
embeddings are a saddle, hence the spread at the start. The authors' candidate tables hold s(i>j) - s(j>i) = 2 s;
here s is not doubled.

The last map has an offset, which the authors' has not: v = W h without one makes s(i > j) = h_i' A h_j with A
antisymmetric, the same for (h_i, h_j) and (-h_i, -h_j). Where features are centred, as frozen ones are here, no
preference that turns with their sign can be told, and transitive data stay at chance. The offset is the constant 1 of
v = (r, 1): with it Bradley-Terry is inside again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from assent.errors import InputError
from assent.objectives import Judged
from assent.preference_models.losses import logistic, mean_over_wins, score_gaps, wins_of
from assent.preference_models.model import (
    Annotators,
    Embedded,
    Features,
    PreferenceModel,
    perceptron,
    require_prompt,
)


@dataclass(eq=False)
class GPM(PreferenceModel):
    """A preference model that can tell cycles.

    Args:
        hidden_size: H, the size of the features.
        dimensions_per_candidate: 2k, an even number; 2 can tell one cycle, more mix several criteria.
        temperature: tau. With normalised vectors |s| <= 1, so tau = 1 could not fit a certain verdict.
        normalize: whether vectors have unit length. Part of the model: a normalised head read raw is another model.
        prompt_gate: whether the prompt weighs the blocks (softmax over k).
        margin: how far s must reach for each unit of judged difference.
        layers: widths of hidden layers before the vector.
        bias: whether the vector has an offset; without one, centred features cannot tell a transitive preference.
        prompt_size: P, the size of the prompt's features; H by default.
    """

    hidden_size: int
    dimensions_per_candidate: int = 8
    temperature: float = 0.1
    normalize: bool = True
    prompt_gate: bool = False
    margin: float = 0.0
    layers: tuple[int, ...] = ()
    bias: bool = True
    prompt_size: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.layers = tuple(self.layers)
        if self.dimensions_per_candidate < 2 or self.dimensions_per_candidate % 2:
            raise ValueError(f"dimensions_per_candidate must be even, got {self.dimensions_per_candidate}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        sizes = (self.hidden_size, *self.layers)
        self.trunk = perceptron(sizes)
        self.head = nn.Linear(sizes[-1], self.dimensions_per_candidate, bias=self.bias)
        nn.init.normal_(self.head.weight, std=(sizes[-1] + 1) ** -0.5)
        if self.bias:
            # As large as the features' part: a small offset is found too late by vectors of unit length.
            nn.init.normal_(self.head.bias)
        if self.prompt_gate:
            self.gate = nn.Linear(
                self.prompt_size or self.hidden_size, self.dimensions_per_candidate // 2, bias=False
            )

    @property
    def reads_prompt(self) -> bool:
        """The gate reads the prompt."""
        return self.prompt_gate

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, 2k], or [B, K, 2k + k] with the gate's weights behind, equal for all candidates."""
        vectors = self.head(self.trunk(batch.candidates))
        if self.normalize:
            vectors = nn.functional.normalize(vectors, dim=-1, eps=1e-12)
        if self.prompt_gate:
            weights = self.gate(require_prompt(batch, self)).softmax(dim=-1)
            vectors = torch.cat([vectors, weights.unsqueeze(1).expand(-1, vectors.shape[1], -1)], dim=-1)
        return Embedded(vectors, batch.candidates, batch.prompt, batch.mask)

    def preference(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K, K] s / tau, the same for every annotator."""
        vectors = embedded.values[..., : self.dimensions_per_candidate]
        gate = embedded.values[:, 0, self.dimensions_per_candidate :] if self.prompt_gate else None
        return antisymmetric_scores(vectors, gate) / self.temperature

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison, [B]."""
        wanted = self.margin * score_gaps(judged) / self.temperature
        return mean_over_wins(logistic(self.preference(embedded) - wanted), wins_of(judged), judged)


def antisymmetric_scores(vectors: Tensor, gate: Tensor | None = None) -> Tensor:
    """Returns [..., K, K] s(i > j) of vectors [..., K, 2k]; the gate is [..., k]."""
    if vectors.shape[-1] % 2:
        raise InputError("a preference vector has an even size", found=str(vectors.shape[-1]))
    first, second = vectors[..., 0::2], vectors[..., 1::2]
    if gate is None:
        half = first @ second.transpose(-1, -2)
    else:
        half = (first * gate.unsqueeze(-2)) @ second.transpose(-1, -2)
    # One product and its transpose: exactly antisymmetric, whatever the rounding.
    return half - half.transpose(-1, -2)


def rank_scores(preference: Tensor, rule: Literal["mean", "wins", "max_min"] = "mean") -> Tensor:
    """Returns [..., K] a ranking score of each candidate from preference logits [..., K, K].

    `mean`: the average logit against the others (Borda on scores). `wins`: opponents beaten, ties half (Copeland);
    a Condorcet winner is always first, which `mean` does not promise. `max_min`: the worst case.
    """
    count = preference.shape[-1]
    others = ~torch.eye(count, dtype=torch.bool, device=preference.device)
    if rule == "mean":
        return preference.sum(dim=-1) / max(count - 1, 1)
    if rule == "wins":
        won = (preference > 0).to(preference.dtype) + 0.5 * (preference == 0).to(preference.dtype)
        return torch.where(others, won, torch.zeros_like(won)).sum(dim=-1)
    if rule == "max_min":
        return preference.masked_fill(~others, torch.inf).amin(dim=-1)
    raise InputError("unknown ranking rule", found=repr(rule), expected="mean, wins or max_min")
