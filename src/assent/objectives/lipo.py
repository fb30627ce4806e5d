"""LiPO: learning-to-rank losses on the implicit rewards of a judged list.

Source: Liu et al. 2024, arXiv 2402.01878, eq. 5 to 11; the rax style follows the defaults of google/rax.

With r = beta (log policy - log reference), psi a candidate's label in [0, 1], pairs i, j with psi_i > psi_j:

    lambda         sum |G_i - G_j| |1/D(t_i) - 1/D(t_j)| l(r_i - r_j),  G = 2^psi - 1, D(t) = log(1 + t), t the
                   rank by the current r: what swapping two answers does to the discounted gain; no gradient
    pair_logistic  sum l(r_i - r_j), l(z) = -log sigmoid(z)         pair_hinge     sum max(0, 1 - (r_i - r_j))
    list_mle       Plackett-Luce in the order of the labels         softmax        cross-entropy to psi / sum psi
    point_mse      sum (psi - r)^2                                  point_sigmoid  cross-entropy of each to psi

style of the pair losses: `mean`, over the list's pairs; `paper`, their sum; `rax`, the mean over the pairs of the
whole step, with log2 discounts and lambda times the list size. Two answers: pair_logistic and list_mle are DPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import one_of, positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.lists import differences, kept, masked_log_softmax, ordered_pairs
from assent.objectives.ranking import lambda_weights, list_labels, plackett_luce

Loss = Literal["lambda", "pair_logistic", "pair_hinge", "list_mle", "softmax", "point_mse", "point_sigmoid"]
PAIRWISE = ("lambda", "pair_logistic", "pair_hinge")


@dataclass(frozen=True)
class LiPO:
    """Listwise preference optimization.

    Args:
        loss: which ranking loss; lambda is the paper's recommendation.
        beta: inverse temperature of the implicit reward, in 1/nat.
        labels: scores as they are (they must lie in [0, 1]), or each answer's share of wins in its list (wins).
        style: how pairs are summed: mean, paper or rax.
    """

    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 0.5)}
    loss: Loss = "lambda"
    beta: float = 0.05
    labels: Literal["scores", "wins"] = "scores"
    style: Literal["mean", "paper", "rax"] = "mean"

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        one_of(get_args(Loss), loss=self.loss)
        one_of(("scores", "wins"), labels=self.labels)
        one_of(("mean", "paper", "rax"), style=self.style)

    @property
    def needs(self) -> Needs:
        """Lists and a reference; the whole step where its pairs are averaged together."""
        return Needs(lists=True, reference=True, batch=self.style == "rax" and self.loss in PAIRWISE)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_lists()
        reward = self.beta * batch.log_ratio
        if self.loss in PAIRWISE:
            return self.over_pairs(batch, reward)
        if self.loss == "list_mle":
            return plackett_luce(reward, batch.judged)
        labels = list_labels(batch, self.labels)
        if self.loss == "softmax":
            share = labels / labels.sum(dim=1, keepdim=True).clamp(min=1e-12)
            return -kept(share * masked_log_softmax(reward, batch.judged), batch.judged).sum(dim=1)
        if self.loss == "point_mse":
            return kept((labels - reward).square(), batch.judged).sum(dim=1)
        each = labels * logsigmoid(reward) + (1 - labels) * logsigmoid(-reward)
        return -kept(each, batch.judged).sum(dim=1)

    def over_pairs(self, batch: Judged, reward: Tensor) -> Tensor:
        """[B] the pairwise losses, summed or averaged as the style says; 0 for a list without an ordered pair."""
        pairs, gaps = ordered_pairs(batch), differences(reward)
        each = (1 - gaps).clamp(min=0) if self.loss == "pair_hinge" else -logsigmoid(gaps)
        if self.loss == "lambda":
            weights = lambda_weights(list_labels(batch, self.labels), reward.detach(), batch.judged)
            if self.style == "rax":
                weights = weights * batch.judged.sum(dim=1).view(-1, 1, 1) * 0.6931471805599453  # log2 discounts
            each = weights * each
        total, count = kept(each, pairs).sum(dim=(1, 2)), pairs.sum(dim=(1, 2))
        if self.style == "paper":
            return total
        if self.style == "mean":
            return total / count.clamp(min=1)
        return total * len(total) / count.sum().clamp(min=1)
