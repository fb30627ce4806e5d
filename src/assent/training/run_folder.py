"""The files of a run folder, which are the interface to reports and to whoever comes later."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from assent.config import RunConfig
from assent.errors import InputError
from assent.training.checkpoints import write_json

CONFIG, VERSIONS, DATA, METRICS, MODEL = (
    "config.resolved.yaml",
    "versions.json",
    "data.json",
    "metrics.jsonl",
    "model",
)
SIGHT, PROBES = "what_the_model_sees.json", "probes.json"
"""Tokens and loss mask of three records; log-probabilities of some records, which an export is held against."""

PACKAGES = ("assent", "torch", "transformers", "accelerate", "peft", "datasets", "tokenizers", "safetensors")


def claim(folder: Path, resume: bool) -> None:
    """Raises for a folder with files in it, which belongs to another run, unless that is what is resumed."""
    if folder.exists() and not folder.is_dir():
        raise InputError("output_dir is a file", where=str(folder), field="training.output_dir")
    if folder.is_dir() and any(folder.iterdir()) and not resume:
        raise InputError(
            "output_dir is not empty",
            where=str(folder),
            field="training.output_dir",
            remedy="Go on with --resume, or choose another output_dir",
        )


def write_start(folder: Path, config: RunConfig, data: dict[str, Any], sight: list[dict[str, Any]]) -> None:
    """What is known before the first step."""
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(config.resolved(), sort_keys=False, allow_unicode=True)
    (folder / CONFIG).write_text(text, encoding="utf-8")
    write_json(folder / VERSIONS, versions())
    write_json(folder / DATA, data)
    (folder / SIGHT).write_text(json.dumps(sight, indent=1, ensure_ascii=False), encoding="utf-8")


def versions() -> dict[str, Any]:
    """Versions of what computes, and on what."""
    found: dict[str, Any] = {"python": sys.version.split()[0], "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    found["device"] = str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "cpu"
    found["threads"] = torch.get_num_threads()
    return found


class MetricsFile(TrainerCallback):
    """Appends every log to metrics.jsonl as it happens; a resumed run forgets what came after its checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Cuts the file to the step that training goes on from."""
        if state.is_world_process_zero:
            keep_until(self.path, state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Writes one line."""
        if state.is_world_process_zero and logs:
            append_row(self.path, {"step": state.global_step, **logs})


def keep_until(path: Path, step: int) -> None:
    """Cuts a file of rows to those of the steps so far, without the summary of an earlier start."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # the line that was being written when the run was killed
        if row.get("step", 0) <= step and "train_runtime" not in row:
            kept.append(line)
    temporary = path.with_suffix(".unfinished")
    temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    temporary.replace(path)


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Writes one more line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, default=float) + "\n")


def write_model_card(folder: Path, config: RunConfig, facts: dict[str, Any]) -> None:
    """A README.md that says what the model is, from what, with what and how to load it."""
    objective = config.objective if config.objective is not None else config.preference_model
    name = objective if isinstance(objective, str) else json.dumps(objective, ensure_ascii=False)
    front = {
        "base_model": config.model.path,
        "library_name": "peft" if config.peft else "transformers",
        "tags": ["assent", "preference-optimization"],
    }
    loading = (
        "from peft import AutoPeftModelForCausalLM\n\nmodel = AutoPeftModelForCausalLM.from_pretrained(folder)"
        if config.peft
        else "from transformers import AutoModelForCausalLM\n\nmodel = AutoModelForCausalLM.from_pretrained(folder)"
    )
    numbers = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    text = (
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n# {config.model.path} aligned with preferences\n\n"
        f"Objective: `{name}`\n\n| | |\n|---|---|\n{numbers}\n\n```python\n{loading}\n```\n\n"
        "The complete configuration stands beside this folder in `config.resolved.yaml`.\n"
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
