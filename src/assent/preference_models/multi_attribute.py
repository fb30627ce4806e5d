"""Several attributes for each candidate, weighed by fixed weights or by a gate that reads the prompt.

Sources: marks by attribute: Wang et al. 2024 (HelpSteer2), arXiv 2406.08673; gating, verbosity correction: Wang,
Xiong et al. 2024 (ArmoRM), arXiv 2406.12845.

    attributes   a = W h,      fitted by squared error over the marks that are there
    reward       r = g(x) . (a T),   g = softmax(gate(prompt) / temperature) * scale, or fixed weights
    T            identity, but attribute v (verbosity) takes away its share: a'_k = a_k - p_k a_v

Fitting is one loss: squared error of the attributes, plus (with a gate) Bradley-Terry on the reward, whose
gradient stops at the attributes, as in the two stages of the authors. Their training file leaves T out while the
published use has it; here T acts in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assent.errors import InputError
from assent.objectives import Judged, Needs
from assent.preference_models.losses import differences, logistic, wins_of
from assent.preference_models.model import (
    Annotators,
    Embedded,
    Features,
    PreferenceModel,
    perceptron,
    require_prompt,
)


@dataclass(eq=False)
class MultiAttribute(PreferenceModel):
    """A reward made of named attributes.

    Args:
        hidden_size: H, the size of the features.
        attributes: names of the scores by dimension that are fitted; taken from the data if not given.
        weights: fixed weight of each attribute; equal weights if not given. Not together with `gate_layers`.
        gate_layers: widths of the gate's hidden layers; None for fixed weights.
        gate_temperature: what the gate's logits are divided by.
        penalized: the attribute whose share is taken out of all others (verbosity), or None.
        penalties: how much of it is taken out of each attribute; 1 for itself leaves nothing of it.
        prompt_size: P, the size of the prompt's features; H by default.
    """

    hidden_size: int
    attributes: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None
    gate_layers: tuple[int, ...] | None = None
    gate_temperature: float = 10.0
    penalized: str | None = None
    penalties: tuple[float, ...] | None = None
    prompt_size: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.attributes = tuple(self.attributes)
        count = len(self.attributes)
        if not count:
            raise ValueError("attributes: none given and none found in the data (`scores` of the candidates)")
        for name in ("weights", "penalties"):
            given = getattr(self, name)
            if given is not None and len(given) != count:
                raise ValueError(f"{name}: {len(given)} numbers for {count} attributes")
        if (self.penalized is None) != (self.penalties is None):
            raise ValueError("penalized and penalties belong together")
        if self.penalized is not None and self.penalized not in self.attributes:
            raise ValueError(f"penalized must be one of {self.attributes}, got {self.penalized!r}")
        if self.gate_layers is not None and self.weights is not None:
            raise ValueError("weights are fixed; a gate learns them: give one of the two")
        self.head = nn.Linear(self.hidden_size, count, bias=True)
        if self.gate_layers is not None:
            sizes = (self.prompt_size or self.hidden_size, *self.gate_layers)
            self.gate = nn.Sequential(perceptron(sizes), nn.Linear(sizes[-1], count, bias=False))
            self.gate_scale = nn.Parameter(torch.tensor(1.0))

    @property
    def needs(self) -> Needs:
        """Scores by dimension, and with a gate verdicts too."""
        return Needs(dimensions=True, lists=self.gate_layers is not None)

    @property
    def reads_prompt(self) -> bool:
        """The gate reads the prompt."""
        return self.gate_layers is not None

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, 2 M]: the attributes, then the weight of each."""
        attributes = self.head(batch.candidates)
        if self.gate_layers is not None:
            weights = gate_weights(self.gate(require_prompt(batch, self)), self.gate_temperature, self.gate_scale)
        else:
            fixed = self.weights or (1 / len(self.attributes),) * len(self.attributes)
            weights = attributes.new_tensor(fixed).expand(attributes.shape[0], -1)
        values = torch.cat([attributes, weights.unsqueeze(1).expand_as(attributes)], dim=-1)
        return Embedded(values, batch.candidates, batch.prompt, batch.mask)

    def reward(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K] weighted sum of the corrected attributes."""
        attributes, weights = embedded.values.chunk(2, dim=-1)
        return (weights * self._corrected(attributes)).sum(dim=-1)

    def dimensions(self, embedded: Embedded) -> Mapping[str, Tensor]:
        """Each attribute as fitted, before the correction."""
        return {name: embedded.values[..., index] for index, name in enumerate(self.attributes)}

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison, [B]: squared error over its marks, plus the gate's ranking loss."""
        attributes, weights = embedded.values.chunk(2, dim=-1)
        missing = torch.full_like(judged.scores, torch.nan)
        marks = torch.stack([judged.dimensions.get(name, missing) for name in self.attributes], dim=-1)
        present = ~marks.isnan()
        errors = torch.where(present, attributes - marks.nan_to_num(), torch.zeros_like(attributes)).square()
        counts = present.sum(dim=(1, 2))
        losses = errors.sum(dim=(1, 2)) / counts.clamp(min=1)
        wins = wins_of(judged)
        if not ((counts > 0) | wins.any(dim=(1, 2))).all():
            raise InputError("a comparison with neither marks nor a verdict", expected="`scores` by attribute")
        if self.gate_layers is None:
            return losses
        reward = (weights * self._corrected(attributes.detach())).sum(dim=-1)
        ranked = torch.where(wins, logistic(differences(reward)), torch.zeros_like(wins, dtype=reward.dtype))
        return losses + ranked.sum(dim=(1, 2)) / wins.sum(dim=(1, 2)).clamp(min=1)

    def _corrected(self, attributes: Tensor) -> Tensor:
        if self.penalized is None or self.penalties is None:
            return attributes
        return without_attribute(attributes, self.attributes.index(self.penalized), self.penalties)


def gate_weights(logits: Tensor, temperature: float = 10.0, scale: Tensor | float = 1.0) -> Tensor:
    """Returns [..., M] softmax(logits / temperature) * scale."""
    return (logits / temperature).softmax(dim=-1) * scale


def without_attribute(attributes: Tensor, index: int, penalties: Sequence[float]) -> Tensor:
    """Returns [..., M] a_k - p_k a_index: each attribute without its share of one of them."""
    return attributes - attributes[..., index : index + 1] * attributes.new_tensor(tuple(penalties))


def ridge_attributes(features: Tensor, marks: Tensor, alphas: Sequence[float]) -> tuple[Tensor, list[float]]:
    """Returns weights [M, H] of a ridge regression without intercept for each attribute, and the alphas chosen.

    The alpha of each attribute has the smallest squared error on every fifth row, then all rows are fitted.
    Marks [N, M] may be NaN: such rows are left out, never filled. Source: ArmoRM, section 3.1.
    """
    weights, chosen = [], []
    for index in range(marks.shape[1]):
        rows = (~marks[:, index].isnan()).nonzero().flatten()
        if len(rows) < 5:
            raise InputError("too few marks for a ridge regression", found=f"{len(rows)} of attribute {index}")
        held = rows[::5]
        fitted = rows[torch.arange(len(rows), device=rows.device) % 5 != 0]
        target = marks[:, index].double()
        errors = [
            float(
                (features[held].double() @ _ridge(features[fitted], target[fitted], a) - target[held]).square().mean()
            )
            for a in alphas
        ]
        chosen.append(float(alphas[errors.index(min(errors))]))
        weights.append(_ridge(features[rows], target[rows], chosen[-1]))
    return torch.stack(weights).to(features.dtype), chosen


def _ridge(features: Tensor, target: Tensor, alpha: float) -> Tensor:
    rows = features.double()
    gram = rows.T @ rows + alpha * torch.eye(rows.shape[1], dtype=torch.float64, device=rows.device)
    solution: Tensor = torch.linalg.solve(gram, rows.T @ target)
    return solution
