"""DOVE: a preference between (instruction, answer) pairs, on the likelihood of both.

Source: Bansal et al. 2024, arXiv 2404.00530, eq. 5 (DOVE; JPO in later versions).

    L = l(beta [log p(I_w, R_w) - log q(I_w, R_w) - log p(I_l, R_l) + log q(I_l, R_l)]),    l(z) = -log sigmoid(z)

p policy, q reference; the joint likelihood counts prompt and completion tokens. With one instruction the prompt
terms cancel and it is DPO. With two, gradient flows into the prompt tokens: the level of an instruction is
absorbed by p(I), so answers are compared fairly; masking the prompts there is biased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class DOVE:
    """Joint preference optimization over instruction and answer.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat; prompts add variance to the margin.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, joint_prompts=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 0.5)}
    beta: float = 0.1

    def __post_init__(self) -> None:
        positive(beta=self.beta)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        joint = batch.policy.joint if batch.reference is None else batch.policy.joint - batch.reference.joint
        return -logsigmoid(self.beta * batch.margin(joint))
