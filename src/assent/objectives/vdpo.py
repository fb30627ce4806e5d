"""V-DPO: DPO on likelihoods guided by the image, against a model that cannot see it.

Source: Xie et al. 2024, arXiv 2411.02712, eq. 10, in the form with a stopped gradient.

    L = l(beta (f(y_w) - f(y_l))),    l(z) = -log sigmoid(z)
    f(y) = log p(y | v) + stopgrad[(gamma - 1) (log p(y | v) - log p_0(y))] - log q(y | v)

p policy, q reference; p_0 = the likelihood under a blank image, of the reference (`blank_model: reference`) or of
the policy. The chosen and the rejected answer under the blank image, in this order, are helpers of role
`blank_image`. gamma = 1 is DPO. Without the stopped gradient gamma = 0 would have none at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import one_of, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class VDPO:
    """Vision-guided DPO.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        gamma: strength of the guidance, at most 1; 1 is DPO.
        blank_model: whose likelihood the image is held against: reference or policy.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, helpers=("blank_image",))
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    gamma: float = 0.75
    blank_model: Literal["reference", "policy"] = "reference"

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        one_of(("reference", "policy"), blank_model=self.blank_model)
        if self.gamma > 1:
            raise ValueError(f"gamma must be at most 1, got {self.gamma}")

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        use_reference = self.blank_model == "reference" and batch.reference is not None
        model = batch.reference if use_reference and batch.reference is not None else batch.policy
        blank = batch.helpers("blank_image", 2, model.sum)
        seen = batch.policy.sum[:, :2]
        guidance = ((self.gamma - 1) * (seen - blank)).detach()
        return -logsigmoid(self.beta * (batch.margin() + guidance[:, 0] - guidance[:, 1]))
