"""The one trainer, and runs from configuration to run folder."""

from assent.training.run import TrainResult, align, train
from assent.training.setting import Given
from assent.training.trainer import PreferenceTrainer

__all__ = ["Given", "PreferenceTrainer", "TrainResult", "align", "train"]
