"""Reward and preference models: heads, losses, scoring. One file per model; its name is the model's slug."""

from assent.preference_models.bradley_terry import BradleyTerry
from assent.preference_models.context_aware import ContextAware
from assent.preference_models.ensemble import Ensemble
from assent.preference_models.gpm import GPM
from assent.preference_models.mapl import MultiLevel
from assent.preference_models.model import (
    Embedded,
    Features,
    NoReward,
    PreferenceModel,
    mean_preference,
    slug_of,
)
from assent.preference_models.more import MORE
from assent.preference_models.multi_attribute import MultiAttribute
from assent.preference_models.ordinal import Ordinal
from assent.preference_models.pairwise import Pairwise
from assent.preference_models.pal import PAL
from assent.preference_models.process import Process
from assent.preference_models.registry import DataFacts, build_preference_model, preference_model_classes
from assent.preference_models.rrr import RelevanceReward, RelevanceScorer
from assent.preference_models.scoring import Scored, Scorer

MODELS = (
    "GPM",
    "MORE",
    "PAL",
    "BradleyTerry",
    "ContextAware",
    "Ensemble",
    "MultiAttribute",
    "MultiLevel",
    "Ordinal",
    "Pairwise",
    "Process",
)
"""The built-in trainable models; a test asserts that each is exported and built by its slug."""

__all__ = [
    "GPM",
    "MODELS",
    "MORE",
    "PAL",
    "BradleyTerry",
    "ContextAware",
    "DataFacts",
    "Embedded",
    "Ensemble",
    "Features",
    "MultiAttribute",
    "MultiLevel",
    "NoReward",
    "Ordinal",
    "Pairwise",
    "PreferenceModel",
    "Process",
    "RelevanceReward",
    "RelevanceScorer",
    "Scored",
    "Scorer",
    "build_preference_model",
    "mean_preference",
    "preference_model_classes",
    "slug_of",
]
