"""BCO: good and bad answers told apart by their rewards, against a shift that tracks training.

Source: Jung et al. 2024, arXiv 2404.04656, eq. 9 and 12.

    good   L = l(r - d)            bad   L = w l(-(r - d)),    r = beta (log policy - log reference)

l(z) = -log sigmoid(z). Any d leaves it an upper bound of DPO; midway between good and bad rewards it is the
tightest, so `class_balanced` takes half the mean of the good plus half the mean of the bad ones. Some tools take one
mean over both (`mean`), which sits near the commoner label. Both run over training, each reward counting once, and
have no gradient; a label never seen counts as reward 0, which is where the reference stands. w is the density ratio
of good to bad prompts (a field `density_ratio` of the record; 1 where absent): both then come from one distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from assent.objectives.checks import one_of, positive
from assent.objectives.judged import Judged, Needs


@dataclass(eq=False)
class BCO(nn.Module):
    """Binary classifier optimization from thumbs up and down.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        shift: how the reward's zero is found: class_balanced, mean or none.
        running: over all of training (true) or over each step by itself.
        min_density_ratio: smallest weight of a bad answer.
        max_density_ratio: largest weight of a bad answer.
    """

    needs: ClassVar[Needs] = Needs(labels=True, reference=True, batch=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 0.5)}
    beta: float = 0.1
    shift: Literal["class_balanced", "mean", "none"] = "class_balanced"
    running: bool = True
    min_density_ratio: float = 0.5
    max_density_ratio: float = 10.0

    def __post_init__(self) -> None:
        super().__init__()
        positive(beta=self.beta, min_density_ratio=self.min_density_ratio, max_density_ratio=self.max_density_ratio)
        one_of(("class_balanced", "mean", "none"), shift=self.shift)
        # Rows: bad, good; columns: sum of rewards, count. Float64: late rewards would vanish in a long float32 sum.
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros(2, 2, dtype=torch.float64))

    def forward(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]; its mean is the mean over the labelled ones."""
        batch.require_labels()
        reward = self.beta * batch.log_ratio
        shifted = reward - self.delta(batch, reward.detach()).to(reward.dtype)
        bad = -self.density_ratio(batch).unsqueeze(1) * logsigmoid(-shifted)
        loss = torch.where(batch.labels == 1, -logsigmoid(shifted), bad)
        return batch.labelled_mean(loss) * batch.labelled_share()

    def delta(self, batch: Judged, reward: Tensor) -> Tensor:
        """The reward at which an answer counts as neither good nor bad, a scalar."""
        groups = [reward[batch.labelled & (batch.labels == label)].double() for label in (0, 1)]
        step = torch.stack([torch.stack([group.sum(), group.new_tensor(len(group))]) for group in groups])
        if self.running and self.training:
            self.seen.add_(step)
        sums, counts = (self.seen if self.running else step).unbind(dim=1)
        if self.shift == "none":
            return torch.zeros_like(sums[0])
        if self.shift == "mean":
            return sums.sum() / counts.sum().clamp(min=1)
        return (sums / counts.clamp(min=1)).mean()

    def density_ratio(self, batch: Judged) -> Tensor:
        """[B] the weight of the comparison's bad answers."""
        given = batch.extra.get("density_ratio", [None] * len(batch.mask))
        ratios = [1.0 if ratio is None else float(ratio) for ratio in given]
        weights = torch.tensor(ratios, dtype=batch.policy.tokens.dtype, device=batch.mask.device)
        return weights.clamp(self.min_density_ratio, self.max_density_ratio)
