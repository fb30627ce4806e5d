"""Worker: TRL's RewardTrainer, one optimizer step at a time. Runs in the environment that has TRL."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.gate import Gate, head_weight, peak_bytes, resident_bytes, state_bytes
from benchmarks.gated import Gated


def count_tokens(model: torch.nn.Module, counted: dict[str, int]) -> None:
    """Counts the tokens that go through a model's backbone."""

    def seen(module: Any, arguments: Any, keywords: Any) -> None:
        ids = keywords.get("input_ids", arguments[0] if arguments else None)
        if ids is not None:
            counted["read_tokens"] += ids.numel()
            counted["head_rows"] += ids.shape[0]

    model.register_forward_pre_hook(seen, with_kwargs=True)


def main() -> None:
    gate, imported = Gate(), resident_bytes()
    told = json.loads(sys.argv[1])
    options, per_step = told["options"], told["per_step"]
    rows = json.loads(Path(told["rows"]).read_text())
    if options.get("sort"):
        rows = [
            row
            for start in range(0, len(rows), per_step)
            for row in sorted(
                rows[start : start + per_step],
                key=lambda row: -len(row["prompt_ids"]) - max(map(len, row["completion_ids"])),
            )
        ]
    data = Dataset.from_list(
        [{"chosen": r["prompt"] + r["completions"][0], "rejected": r["prompt"] + r["completions"][1]} for r in rows]
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(told["model"], dtype=torch.float32, num_labels=1)
    with torch.no_grad():
        model.score.weight.copy_(head_weight(model.config.hidden_size))
    with tempfile.TemporaryDirectory() as folder:
        config = RewardConfig(
            output_dir=folder,
            per_device_train_batch_size=options["per_device"],
            gradient_accumulation_steps=per_step // options["per_device"],
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
            num_train_epochs=1,
            max_length=None,
            train_sampling_strategy="sequential",
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        began = time.perf_counter()
        trainer = RewardTrainer(
            model=model,
            args=config,
            train_dataset=data,
            processing_class=AutoTokenizer.from_pretrained(told["model"]),
        )
        counted = {"read_tokens": 0, "head_rows": 0, "reference_passes": 0}

        def counts() -> dict[str, int]:
            found = dict(counted)
            counted.update(dict.fromkeys(counted, 0))
            return found

        count_tokens(trainer.model.base_model, counted)
        counts()
        trainer.add_callback(Gated(gate, began, counts, "TRL"))
        trainer.train()
        exact = state_bytes(trainer.model, trainer.optimizer)
    gate.say("end", working_bytes=peak_bytes() - exact - imported, peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
