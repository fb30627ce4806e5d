"""How objectives state what they mean: a structure, a link on its score, and the probabilities it speaks about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.logic.structure import Structure

PLAIN = Structure("Implies(l, w)", "Or(w, l)", "And(w, l)")
"""The log-ratio of chosen to rejected."""

REFERENCED = Structure("Implies(And(rw, l), And(w, rl))", "Or(And(w, rl), And(rw, l))", "And(w, l, rw, rl)")
"""The same, minus the reference's."""

ODDS = Structure("Implies(l, w)", "Xor(w, l)")
"""The log of the odds ratio."""

CHOSEN = Structure("w")
"""The likelihood of the chosen answer."""

Link = Literal["log", "squared", "hinge", "margin"]


@dataclass(frozen=True)
class Part:
    """One term of a loss.

    Args:
        structure: what it asks for.
        link: log: softplus(shift - scale rho); squared: (rho - 1 / (2 scale))^2; hinge: max(0, shift - scale rho);
            margin: max(0, shift - rho).
        scale: factor on rho.
        shift: see link.
        weight: of the term in the loss.
        per_token: probabilities are means per token (geometric) instead of sequence probabilities.
    """

    structure: Structure
    link: Link = "log"
    scale: float = 1.0
    shift: float = 0.0
    weight: float = 1.0
    per_token: bool = False

    def loss(self, log_probs: Mapping[str, Tensor]) -> Tensor:
        """[B] the term, compiled from its formulas by weighted model counting."""
        from assent.objectives.logic.counting import rho

        score = rho(self.structure, log_probs)
        if self.link == "log":
            return self.weight * -logsigmoid(self.scale * score - self.shift)
        if self.link == "squared":
            return self.weight * (score - 1 / (2 * self.scale)).square()
        scaled = self.scale * score if self.link == "hinge" else score
        return self.weight * (self.shift - scaled).clamp(min=0)

    def in_words(self) -> str:
        """The link as a formula in rho."""
        scaled = "rho" if self.scale == 1 else f"{self.scale:g} rho"
        text = {
            "log": f"-log sigmoid({scaled}{f' - {self.shift:g}' if self.shift else ''})",
            "squared": f"(rho - {1 / (2 * self.scale):g})^2",
            "hinge": f"max(0, {self.shift:g} - {scaled})",
            "margin": f"max(0, {self.shift:g} - rho)",
        }[self.link]
        return text if self.weight == 1 else f"{self.weight:g} * [{text}]"
