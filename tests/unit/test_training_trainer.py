"""The trainer on a tiny model: the same trajectory however a step is cut, and what the Trainer is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from assent.encoding import CausalEncoder, EncodedComparison
from assent.likelihood.build_policy import build_policy
from assent.likelihood.causal_lm import PaddedCausalPolicy
from assent.likelihood.reference import start_reference
from assent.objectives import build_objective
from assent.training.trainer import PreferenceTrainer
from tests.tiny import byte_tokenizer, tiny_comparisons, tiny_lm


def encoded(count: int = 12, candidates: int = 2, seed: int = 0) -> list[EncodedComparison]:
    return CausalEncoder(byte_tokenizer()).encode_all(tiny_comparisons(count, candidates, seed))[0]


def trainer_for(
    folder: Path,
    objective: Any = "dpo",
    data: Sequence[EncodedComparison] | None = None,
    budget: int = 4096,
    dtype: torch.dtype = torch.float64,
    padded: bool = False,
    **arguments: Any,
) -> PreferenceTrainer:
    model = tiny_lm(dtype=dtype, layers=1, hidden=16)
    policy = PaddedCausalPolicy(model) if padded else build_policy(model)
    built = build_objective(objective)
    options: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "max_steps": 5,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "weight_decay": 0.1,
        **arguments,
    }
    return PreferenceTrainer(
        policy,
        built,
        TrainingArguments(output_dir=str(folder), **options),
        data or encoded(),
        reference=start_reference(policy) if built.needs.reference else None,
        max_tokens_per_micro_batch=budget,
    )


def trajectory(trainer: PreferenceTrainer) -> tuple[list[float], torch.Tensor]:
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return losses, torch.cat([p.detach().flatten() for p in trainer.policy.parameters()])


def test_training_learns_and_logs_what_trl_users_know(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, max_steps=12, num_train_epochs=4, learning_rate=3e-3)
    losses, _ = trajectory(trainer)
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses[-1] < losses[0]
    first, last = trainer.state.log_history[0], trainer.state.log_history[-2]
    for name in ("chosen", "rejected", "margins", "accuracies"):
        assert f"rewards/{name}" in last
    assert {"logps/chosen", "logps/rejected", "grad_norm", "learning_rate", "tokens_per_second"} <= set(last)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-9)
    assert last["rewards/margins"] > 0
    assert last["rewards/margins"] == pytest.approx(last["rewards/chosen"] - last["rewards/rejected"], abs=1e-9)
    assert last["num_comparisons"] == 4


OBJECTIVES = [
    "dpo",
    "simpo",
    {"kto": {"reference_point": "batch_mean"}},
    "kto",
    [{"dpo": {}}, {"sft": {"weight": 0.3, "normalise": "step"}}],
    "dr_dpo",
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_the_trajectory_does_not_depend_on_budget_or_accumulation(tmp_path: Path, objective: Any) -> None:
    data = labelled(encoded()) if "kto" in str(objective) else encoded()
    runs = [
        trajectory(
            trainer_for(
                tmp_path / name, objective, data, max_steps=20 if objective == "dpo" else 5, padded=True, **options
            )
        )
        for name, options in {
            "whole": {"budget": 100_000},
            "cut": {"budget": 60},
            "accumulated": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "budget": 150},
        }.items()
    ]
    for losses, weights in runs[1:]:
        assert losses == pytest.approx(runs[0][0], abs=1e-6)
        assert (weights - runs[0][1]).abs().max() < 1e-9


def test_packed_rows_take_the_padded_trajectory(tmp_path: Path) -> None:
    """To the precision of the family's own float32 parts (rotary angles, norms, softmax)."""
    padded = trajectory(trainer_for(tmp_path / "padded", padded=True))
    packed = trajectory(trainer_for(tmp_path / "packed", budget=120))
    assert packed[0] == pytest.approx(padded[0], abs=1e-5)
    assert (packed[1] - padded[1]).abs().max() < 1e-6


def labelled(comparisons: Sequence[EncodedComparison]) -> list[EncodedComparison]:
    from dataclasses import replace

    return [replace(c, labels=(1, 0, *c.labels[2:])) for c in comparisons]
