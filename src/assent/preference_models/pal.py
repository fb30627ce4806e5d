"""PAL: people as mixtures of a few prototypical preferences in one latent space.

Source: Chen, Chen, Rege, Wang and Vinayak 2024, arXiv 2406.08469.

    w_i = softmax(u_i),    u_i in R^K: all that is learned of annotator i
    variant A   a_i = f(sum_k w_ik p_k),    r = -||f(h) - a_i||,             hinge of width 1
    variant B   a_i(x) = sum_k w_ik g_k(prompt),  r = s cos(f(h), a_i(x)),   logistic;  s = min(exp(t), 100)

h embeds prompt and completion (A) or the completion alone (B). One prototype makes everybody equal whatever u is.
A new annotator is fitted by their K numbers alone (`adapt`), starting from u = 0. Unknown annotators get the mean
weights of the known. The authors' "dist_logistic" trains larger distances to mean "preferred"; it is not offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from assent.errors import InputError
from assent.objectives import Judged
from assent.preference_models.losses import differences, hinge, logistic, mean_over_wins, wins_of
from assent.preference_models.model import Annotators, Embedded, Features, PreferenceModel, require_prompt

LARGEST_SCALE = 100.0


@dataclass(eq=False)
class PAL(PreferenceModel):
    """A reward for each annotator.

    Args:
        hidden_size: H, the size of the features.
        variant: `a`: prototypes are points; `b`: prototypes depend on the prompt.
        prototypes: K. Take the smallest after which held-out accuracy stops rising; 1 is one reward for all.
        annotators: their names; taken from the data if not given.
        latent_size: d; H by default.
        projector_layers: hidden layers of f, as wide as the latent space.
        pull_to_mean: weight of the squared distance of u_i from the mean of all u, for annotators with few pairs.
        prompt_size: P, the size of the prompt's features (variant b); H by default.
    """

    hidden_size: int
    variant: Literal["a", "b"] = "a"
    prototypes: int = 2
    annotators: tuple[str, ...] = ()
    latent_size: int | None = None
    projector_layers: int = 2
    pull_to_mean: float = 0.0
    prompt_size: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.annotators = tuple(self.annotators)
        if self.variant not in ("a", "b"):
            raise ValueError(f"variant must be a or b, got {self.variant!r}")
        if self.prototypes < 1:
            raise ValueError(f"prototypes must be at least 1, got {self.prototypes}")
        if not self.annotators:
            raise ValueError("annotators: none given and none found in the data (`annotator` of the records)")
        if len(set(self.annotators)) != len(self.annotators):
            raise ValueError("annotators: a name stands twice")
        latent = self.latent_size or self.hidden_size
        self.user_logits = nn.Parameter(torch.randn(len(self.annotators), self.prototypes))
        self.projector = Projector(self.hidden_size, latent, self.projector_layers)
        self._index = {name: index for index, name in enumerate(self.annotators)}
        if self.variant == "a":
            self.points = nn.Parameter(
                nn.functional.normalize(torch.randn(self.prototypes, self.hidden_size), dim=-1)
            )
        else:
            size = self.prompt_size or self.hidden_size
            self.prompt_projectors = nn.ModuleList(
                [Projector(size, latent, self.projector_layers) for _ in range(self.prototypes)]
            )
            self.log_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))

    @property
    def completion_only(self) -> bool:
        """Variant b embeds completions without their prompt."""
        return self.variant == "b"

    @property
    def reads_prompt(self) -> bool:
        """Variant b embeds the prompt on its own."""
        return self.variant == "b"

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, d], or [B, K, d + K d] with the prompt's prototypes behind (variant b)."""
        values = self.projector(batch.candidates)
        if self.variant == "b":
            prompt = require_prompt(batch, self)
            prototypes = torch.cat([project(prompt) for project in self.prompt_projectors], dim=-1)
            values = torch.cat([values, prototypes.unsqueeze(1).expand(-1, values.shape[1], -1)], dim=-1)
        return Embedded(values, batch.candidates, batch.prompt, batch.mask)

    def weights(self, annotator: Annotators | None, count: int) -> Tensor:
        """[B, K] mixture weights: an annotator's own, or for None the mean over all known."""
        known = self.user_logits.softmax(dim=-1)
        if annotator is None:
            return known.mean(dim=0).expand(count, -1)
        unknown = sorted({name for name in annotator if name is not None and name not in self._index})
        if unknown:
            raise InputError(
                "an annotator that the model does not know",
                field="annotator",
                found=unknown[0],
                expected=f"one of {len(self.annotators)} known",
                remedy="Fit them with a few pairs (`adapt`), or ask for the population with no annotator",
            )
        rows = [known.mean(dim=0) if name is None else known[self._index[name]] for name in annotator]
        return torch.stack(rows)

    def reward(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K] under each comparison's annotator; None: the population."""
        return self.mixture_reward(embedded, self.weights(annotator, embedded.values.shape[0]))

    def mixture_reward(self, embedded: Embedded, weights: Tensor) -> Tensor:
        """[B, K] rewards under given mixture weights [B, K prototypes], which are not passed through softmax."""
        if not torch.allclose(weights.sum(dim=-1), torch.ones_like(weights[..., 0]), atol=1e-4):
            raise InputError("mixture weights do not sum to 1", found=str(weights.sum(dim=-1)[0].item()))
        latent = self.latent_size or self.hidden_size
        items = embedded.values[..., :latent]
        if self.variant == "a":
            return -distances(items, self.projector(weights @ self.points).unsqueeze(1))
        prototypes = embedded.values[:, 0, latent:].unflatten(-1, (self.prototypes, latent))
        ideal = (weights.unsqueeze(-1) * prototypes).sum(dim=1)
        scale = self.log_scale.exp().clamp(max=LARGEST_SCALE)
        return scale * cosine_similarity(items, ideal.unsqueeze(1), dim=-1, eps=1e-8)

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison, [B]."""
        if judged.annotator is None or any(name is None for name in judged.annotator):
            raise InputError(
                "a personalised model got a comparison without an annotator",
                field="annotator",
                remedy="Name who judged, or train `bradley_terry`",
            )
        return (
            self.mixture_loss(embedded, judged, self.weights(judged.annotator, len(judged.annotator))) + self._pull()
        )

    def mixture_loss(self, embedded: Embedded, judged: Judged, weights: Tensor) -> Tensor:
        """The loss of each comparison [B] under given mixture weights [B, K prototypes]."""
        gaps = differences(self.mixture_reward(embedded, weights))
        losses = hinge(gaps) if self.variant == "a" else logistic(gaps)
        return mean_over_wins(losses, wins_of(judged), judged)

    def _pull(self) -> Tensor | float:
        if not self.pull_to_mean:
            return 0.0
        centred = self.user_logits - self.user_logits.mean(dim=0, keepdim=True)
        return self.pull_to_mean * centred.square().sum(dim=-1).mean()

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Prototypes and annotators move 50, the scale 1000 times as fast as the projectors, as published."""
        fast = [self.user_logits, *([self.points] if self.variant == "a" else [])]
        slow = [
            parameter
            for name, parameter in self.named_parameters()
            if name not in ("user_logits", "points", "log_scale")
        ]
        groups: list[dict[str, Any]] = [{"params": slow, "lr": learning_rate}]
        groups.append({"params": fast, "lr": 50 * learning_rate, "weight_decay": 0.0})
        if self.variant == "b":
            groups.append({"params": [self.log_scale], "lr": min(1000 * learning_rate, 0.1), "weight_decay": 0.0})
        return groups

    def adapt(self, batch: Features, judged: Judged, steps: int = 200, learning_rate: float = 0.05) -> Tensor:
        """Returns the K logits of a new annotator from their comparisons, everything else frozen; starts at 0."""
        with torch.no_grad():
            embedded = self.embed(batch)
        logits = torch.zeros(self.prototypes, dtype=embedded.values.dtype, requires_grad=True)
        optimizer = torch.optim.AdamW([logits], lr=learning_rate, weight_decay=0.0)
        for _ in range(steps):
            weights = logits.softmax(dim=-1).expand(embedded.values.shape[0], -1)
            (gradient,) = torch.autograd.grad(self.mixture_loss(embedded, judged, weights).mean(), [logits])
            logits.grad = gradient
            optimizer.step()
        return logits.detach()

    def with_annotators(self, names: Sequence[str], logits: Tensor) -> PAL:
        """The same model that also knows new annotators, given their logits [N, K]."""
        model = PAL(**{**self.options(), "annotators": (*self.annotators, *names)})
        state = self.state_dict()
        state["user_logits"] = torch.cat([state["user_logits"], logits.to(state["user_logits"])])
        model.load_state_dict(state)
        return model.to(state["user_logits"])


class Projector(nn.Module):
    """A residual perceptron into the latent space: x + MLP(x), after a linear map where the sizes differ."""

    def __init__(self, size: int, latent: int, layers: int) -> None:
        super().__init__()
        self.match = nn.Identity() if size == latent else nn.Linear(size, latent, bias=False)
        blocks: list[nn.Module] = []
        for _ in range(layers):
            blocks += [nn.Linear(latent, latent), nn.ReLU()]
        self.layers = nn.Sequential(*blocks, nn.Linear(latent, latent)) if layers else None

    def forward(self, values: Tensor) -> Tensor:
        """[..., latent]."""
        matched: Tensor = self.match(values)
        if self.layers is None:
            return matched
        moved: Tensor = self.layers(matched)
        return matched + moved


def distances(items: Tensor, ideal: Tensor) -> Tensor:
    """Returns [...] Euclidean distances whose gradient at distance 0 is 0 instead of NaN."""
    squared = (items - ideal).square().sum(dim=-1)
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, torch.ones_like(squared)).sqrt(), squared)


def norm_beyond(ideal: Tensor, bound: float) -> Tensor:
    """Returns the summed length of ideal points [N, d] beyond a bound; a diagnostic, not part of the loss."""
    beyond: Tensor = (ideal.norm(dim=-1) - bound).clamp(min=0)
    return beyond.sum()
