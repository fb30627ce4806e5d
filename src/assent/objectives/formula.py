"""Formula: a loss compiled from what a good model should satisfy.

Source: Richardson, Srikumar, Sabharwal 2025, arXiv 2412.17696.

    rho = log WMC((P or P_A) and P_C) - log WMC((not P or P_A) and P_C)
    log   -log sigmoid(beta rho)        squared   (rho - 1 / (2 beta))^2        margin   max(0, beta - rho)

P is `expression`, P_C `condition`, P_A `additive`: formulas over `w`, `l` (the policy gives the chosen, the rejected
answer) and `rw`, `rl` (the reference does), written with Not, And, Or, Implies, Xor, Iff or ~ >> & ^ |, which bind in
this order. WMC is the weighted model count, variables being independent. Implies(l, w) alone is the classical
semantic loss; with condition Or(w, l) and additive And(w, l) it is CPO. With sequence probabilities 1 - p is 1 and
many formulas coincide, so probabilities are means per token unless `per_token: false`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from assent.errors import InputError
from assent.objectives.checks import one_of, positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import Part, Structure

VARIABLES = ("l", "rl", "rw", "w")


@dataclass(frozen=True)
class Formula:
    """A preference structure as an objective.

    Args:
        expression: what a good model satisfies (P).
        condition: which assignments count at all (P_C).
        additive: which assignments count on both sides (P_A).
        link: how the score becomes a loss: log, squared or margin.
        beta: scale of the score, or the margin.
        per_token: geometric mean per token (true) or sequence probability (false).
    """

    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.1, 10.0)}
    expression: str = "Implies(l, w)"
    condition: str = "true"
    additive: str = "false"
    link: Literal["log", "squared", "margin"] = "log"
    beta: float = 1.0
    per_token: bool = True

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        one_of(("log", "squared", "margin"), link=self.link)
        unknown = [name for name in self.structure.variables if name not in VARIABLES]
        if unknown:
            raise InputError(
                "a formula has an unknown variable", field="formula", found=unknown[0], expected=", ".join(VARIABLES)
            )
        self.structure.check()

    @property
    def structure(self) -> Structure:
        """The preference structure."""
        return Structure(self.expression, self.condition, self.additive)

    @property
    def logic(self) -> tuple[Part, ...]:
        """Itself."""
        shift = 0.0 if self.link == "log" else self.beta
        return (Part(self.structure, self.link, self.beta, shift, per_token=self.per_token),)

    @property
    def needs(self) -> Needs:
        """Pairs; a reference where the formula speaks of it."""
        return Needs(pairs=True, reference=any(name.startswith("r") for name in self.structure.variables))

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_pairs()
        score = batch.policy.mean if self.per_token else batch.policy.sum
        log_probs = {"w": score[:, 0], "l": score[:, 1]}
        if self.needs.reference and batch.reference is not None:
            known = batch.reference.mean if self.per_token else batch.reference.sum
            log_probs |= {"rw": known[:, 0], "rl": known[:, 1]}
        return self.logic[0].loss(log_probs)
