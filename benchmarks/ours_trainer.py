"""Worker: Assent's trainer, one optimizer step at a time. Called as `python -m benchmarks.ours_trainer '<json>'`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from assent.encoding import EncodedComparison
from assent.likelihood import Likelihoods
from assent.likelihood.policy import Policy
from assent.training.trainer import PreferenceTrainer
from benchmarks.gate import Gate, peak_bytes, resident_bytes, state_bytes
from benchmarks.gated import Gated
from benchmarks.ours import BUDGET, Step, encoded


def drawn_in_order(comparisons: list[EncodedComparison], trainer: PreferenceTrainer) -> list[EncodedComparison]:
    """The data set whose first epoch draws the comparisons in the given order."""
    order = [index for step in range(len(trainer.order)) for index in trainer.order.step(0, step)]
    arranged = list(comparisons)
    for drawn, comparison in zip(order, comparisons, strict=True):
        arranged[drawn] = comparison
    return arranged


@dataclass
class Job:
    """What a worker trains, and how it tells of it.

    Args:
        told: what the runner said.
        gate: the conversation with the runner.
        policy: what is trained, by which `objective`, on which `comparisons`, against which `reference`.
        counted: what the steps have computed since they were last reported.
        imported: resident bytes after the imports.
        began: when the preparation began.
    """

    told: dict[str, Any]
    gate: Gate
    policy: Policy
    objective: Any
    comparisons: list[EncodedComparison]
    reference: Any
    counted: dict[str, int]
    imported: int
    began: float

    def counts(self) -> dict[str, int]:
        """What was counted, which begins anew."""
        found = dict(self.counted)
        self.counted.update(dict.fromkeys(self.counted, 0))
        return found


def train(job: Job) -> None:
    """Lets the trainer step whenever told to."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=job.told["per_step"],
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
            num_train_epochs=1,
            use_cpu=not torch.cuda.is_available(),
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = PreferenceTrainer(
            job.policy,
            job.objective,
            arguments,
            job.comparisons,
            reference=job.reference,
            max_tokens_per_micro_batch=job.told["options"].get("budget", BUDGET),
        )
        trainer.train_dataset = drawn_in_order(job.comparisons, trainer)
        trainer.add_callback(Gated(job.gate, job.began, job.counts, getattr(job.policy, "route", "shared prefixes")))
        trainer.train()
        exact = state_bytes(job.policy.model, trainer.optimizer)
    job.gate.say("end", working_bytes=peak_bytes() - exact - job.imported, peak_bytes=peak_bytes())


def main() -> None:
    """Reads what to do, gets ready, and trains."""
    gate, imported = Gate(), resident_bytes()
    told = json.loads(sys.argv[1])
    rows = json.loads(Path(told["rows"]).read_text())
    comparisons = [encoded(row, str(index)) for index, row in enumerate(rows)]
    began = time.perf_counter()
    step = Step(told["model"], told["options"], told["objective"])
    if told["options"]["reference"] == "store":
        step.store(comparisons, told.get("store"))
    counted = {"read_tokens": 0, "head_rows": 0, "reference_passes": 0}
    models = 1 if step.reference is None else 2

    def reference(part: Any, batch: Any) -> Likelihoods:
        counted["read_tokens"] += batch["input_ids"].numel() * models
        counted["head_rows"] += len(batch["target"]) * models
        counted["reference_passes"] += models - 1
        return step.reference_of(part, batch, layout_of(batch))

    train(Job(told, gate, step.policy, step.objective, comparisons, reference, counted, imported, began))


def layout_of(batch: Any) -> Likelihoods:
    """The layout that stored reference tokens are put into: only owners, shape and mask are read."""
    mask = batch["mask"]
    empty = torch.zeros(len(batch["owner"]))
    return Likelihoods(empty, batch["owner"], (mask.shape[0], mask.shape[1]), mask, batch["segment"])


if __name__ == "__main__":
    main()
