"""Losses: pure functions of likelihoods. One file per method; its name is the method's slug."""

from assent.objectives.dpo import DPO
from assent.objectives.judged import Judged, Needs
from assent.objectives.registry import Objective, build_objective, objective_classes
from assent.objectives.weighted_sum import WeightedSum

METHODS = ("DPO",)
"""The built-in methods; a test asserts that every file of the room is exported here."""

__all__ = [
    "DPO",
    "METHODS",
    "Judged",
    "Needs",
    "Objective",
    "WeightedSum",
    "build_objective",
    "objective_classes",
]
