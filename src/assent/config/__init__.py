"""Run files: read with line numbers, overridden from the command line, checked before anything is loaded."""

from assent.config.loading import load_run, run_from
from assent.config.run_config import (
    AlarmsConfig,
    DataConfig,
    DiffusionConfig,
    EvalConfig,
    FixedNoise,
    InversionConfig,
    LabelThreshold,
    LatentsConfig,
    ModelConfig,
    ReferenceConfig,
    RolloutConfig,
    RunConfig,
    SourceConfig,
    SyncConfig,
)
from assent.config.schema import run_schema
from assent.config.training_fields import TRAINING_FIELDS, Rule
from assent.config.trl import Translation, from_trl

__all__ = [
    "TRAINING_FIELDS",
    "AlarmsConfig",
    "DataConfig",
    "DiffusionConfig",
    "EvalConfig",
    "FixedNoise",
    "InversionConfig",
    "LabelThreshold",
    "LatentsConfig",
    "ModelConfig",
    "ReferenceConfig",
    "RolloutConfig",
    "Rule",
    "RunConfig",
    "SourceConfig",
    "SyncConfig",
    "Translation",
    "from_trl",
    "load_run",
    "run_from",
    "run_schema",
]
