"""How the gradients of several terms become one: a file per method, pure functions of inner products and weights."""

from assent.training.gradients.cagrad import CAGrad
from assent.training.gradients.combine import Combination, build_combination
from assent.training.gradients.mgda import MGDA
from assent.training.gradients.pcgrad import PCGrad
from assent.training.gradients.raco import RACO
from assent.training.gradients.weighted_sum import WeightedSum

METHODS = {"cagrad": CAGrad, "mgda": MGDA, "pcgrad": PCGrad, "raco": RACO, "weighted_sum": WeightedSum}
"""The methods by their YAML names."""

__all__ = [
    "METHODS",
    "MGDA",
    "RACO",
    "CAGrad",
    "Combination",
    "PCGrad",
    "WeightedSum",
    "build_combination",
]
