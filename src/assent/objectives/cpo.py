"""CPO: DPO against a uniform reference, plus imitation of the chosen answer.

Source: Xu et al. 2024, arXiv 2401.08417.

    L = (1 - e) l(z) + e l(-z) - alpha log p_w / n,    z = beta (log p_w - log p_l),    l(z) = -log sigmoid(z)

n is the mean length of the step's chosen answers: alpha times the token mean over the step, as in the authors'
code (`normalise: step`); the paper prints the plain sum (`none`, n = 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import below_half, not_negative, one_of, positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import CHOSEN, PLAIN, Part
from assent.objectives.sft import SFT


@dataclass(frozen=True)
class CPO:
    """Contrastive preference optimization, without a reference.

    Args:
        beta: inverse temperature of the log-probability as a reward, in 1/nat.
        nll_weight: weight alpha of the chosen answer's negative log-likelihood.
        normalise: by what that likelihood is divided: the step's mean length (step), its own (answer), or 1.
        label_smoothing: share of the pairs whose label is taken to be wrong, in [0, 1/2).
    """

    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    nll_weight: float = 1.0
    normalise: Literal["answer", "step", "none"] = "step"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(nll_weight=self.nll_weight)
        one_of(("answer", "step", "none"), normalise=self.normalise)
        below_half(label_smoothing=self.label_smoothing)

    @property
    def needs(self) -> Needs:
        """Pairs; the whole step where its lengths are averaged."""
        return Needs(pairs=True, batch=self.normalise == "step" and self.nll_weight > 0)

    @property
    def logic(self) -> tuple[Part, ...] | None:
        """Its preference structure."""
        if self.label_smoothing or self.normalise == "step":
            return None
        chosen = Part(CHOSEN, weight=self.nll_weight, per_token=self.normalise == "answer")
        return Part(PLAIN, scale=self.beta), chosen

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        z = self.beta * batch.margin(batch.policy.sum)
        preference = -(1 - self.label_smoothing) * logsigmoid(z) - self.label_smoothing * logsigmoid(-z)
        return preference + self.nll_weight * SFT(normalise=self.normalise)(batch)
