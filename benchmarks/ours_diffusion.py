"""Worker: Assent's trainer on a diffusion pipeline, from kept latents and embeddings, one step at a time."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import TrainingArguments

from assent.encoding.diffusion import DiffusionComparisons, Encoders
from assent.likelihood.adapters import add_adapter
from assent.likelihood.diffusion import DiffusionPolicy, Draws
from assent.likelihood.pipelines import load_pipeline
from assent.likelihood.reference import start_reference
from assent.objectives.registry import build_objective
from assent.readers import read
from assent.training.trainer import PreferenceTrainer
from assent.work.store import ArrayStore
from benchmarks.diffusion_model import lora
from benchmarks.gate import Gate, peak_bytes
from benchmarks.gated import Gated


def main() -> None:
    """Encodes everything once, then steps whenever told to."""
    gate = Gate()
    torch.set_num_threads(1)
    told = json.loads(sys.argv[1])
    began = time.perf_counter()
    loaded = load_pipeline(told["model"])
    comparisons = list(read(told["rows"]).comparisons)
    encoders = Encoders(loaded.images, loaded.prompts, ArrayStore(Path(told["store"])))
    data = DiffusionComparisons(comparisons, encoders)
    loaded.network.requires_grad_(False)
    torch.manual_seed(0)
    policy = DiffusionPolicy(add_adapter(loaded.network, lora()), loaded.noising, Draws("fixed", 1))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=told["per_step"],
            learning_rate=told["learning_rate"],
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
            num_train_epochs=1,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = PreferenceTrainer(
            policy,
            build_objective({"diffusion_dpo": {"beta": told["beta"]}}),
            arguments,
            data,
            max_tokens_per_micro_batch=2 * told["per_step"],
        )
        # The first epoch draws the records in the order of the file, as the other side reads them.
        order = [index for step in range(len(trainer.order)) for index in trainer.order.step(0, step)]
        arranged = list(comparisons)
        for drawn, comparison in zip(order, comparisons, strict=True):
            arranged[drawn] = comparison
        trainer.train_dataset = DiffusionComparisons(arranged, encoders)
        trainer.use_reference(start_reference(policy))
        trainer.add_callback(Gated(gate, began, dict, "kept latents and embeddings"))
        trainer.train()
    gate.say("end", peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
