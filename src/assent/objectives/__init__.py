"""Losses: pure functions of likelihoods. One file per method; its name is the method's slug."""

from assent.objectives.dpo import DPO
from assent.objectives.ipo import IPO
from assent.objectives.judged import Judged, Needs
from assent.objectives.kto import KTO
from assent.objectives.orpo import ORPO
from assent.objectives.registry import Objective, build_objective, objective_classes
from assent.objectives.sft import SFT
from assent.objectives.simpo import SimPO
from assent.objectives.weighted_sum import WeightedSum

METHODS = ("DPO", "IPO", "KTO", "ORPO", "SFT", "SimPO")
"""The built-in methods; a test asserts that every file of the room is exported here."""

__all__ = [
    "DPO",
    "IPO",
    "KTO",
    "METHODS",
    "ORPO",
    "SFT",
    "Judged",
    "Needs",
    "Objective",
    "SimPO",
    "WeightedSum",
    "build_objective",
    "objective_classes",
]
