"""`gradients.jsonl` of a run folder: for every optimizer step how the terms' gradients lay to each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from assent.training.run_folder import append_row, keep_until

CONFLICT = "gradients.jsonl"


class ConflictFile(TrainerCallback):
    """Appends the record of each step: norms, cosines and coefficients; logs hold that of some steps only.

    Args:
        folder: of the run.
        combination: what keeps the record of the last step.
    """

    def __init__(self, folder: Path, combination: Any) -> None:
        self.path, self.combination = folder / CONFLICT, combination

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Cuts the file to the step that training goes on from."""
        if state.is_world_process_zero:
            keep_until(self.path, state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Writes one line."""
        if state.is_world_process_zero and self.combination.record:
            append_row(self.path, {"step": state.global_step, **self.combination.record})
