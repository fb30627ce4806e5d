"""Every registered objective trains from a run file, on a tiny model and data of the kind it needs."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from assent.comparison import Candidate, Comparison, to_dict
from assent.config import run_from
from assent.objectives import build_objective, objective_classes
from assent.training import align, train
from tests.contract.test_objectives_contract import options
from tests.tiny import save_tiny_lm, tiny_comparisons
from tests.tiny_diffusion import image_pairs, save_tiny_pipeline

PICTURES = ("diffusion_dpo", "diffusion_kto", "mapo", "tpo_free_lunch")
"""Losses over a diffusion model's likelihoods."""

ROLLOUTS = ("step_aware",)
"""Losses over pairs that a sampler makes while it trains; `test_train_diffusion_rollouts` does."""

TEXT = sorted(set(objective_classes()) - {*PICTURES, *ROLLOUTS})
QUICK = {"use_cpu": True, "logging_steps": 1, "max_steps": 2, "learning_rate": 1e-2, "save_strategy": "no"}


def record(at: int, one: Comparison, helpers: tuple[str, ...]) -> Comparison:
    """A pair with everything any objective reads: scores by dimension, annotators, and the helpers that are asked."""
    better, worse = one.candidates
    roles = [role for role in helpers for _ in range(2 if role in ("base_prompt", "blank_image") else 1)]
    return replace(
        one,
        candidates=(
            replace(better, score=0.9, scores={"helpful": 1.0, "brief": 0.0}),
            replace(worse, score=0.2, scores={"helpful": 0.0, "brief": 1.0}),
            *(
                Candidate(
                    (better, worse)[number % 2].completion, prompt=f"{one.prompt} seen otherwise {number}", role=role
                )
                for number, role in enumerate(roles)
            ),
        ),
        annotator=("ann", "bob")[at % 2],
    )


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("start")
    save_tiny_lm(place / "model", layers=1, hidden=16)
    save_tiny_lm(place / "negative", layers=1, hidden=16, seed=1)
    # Every run collects garbage, over all that other tests left; that would be most of its time.
    gc.freeze()
    yield place
    gc.unfreeze()


@pytest.mark.parametrize("slug", TEXT)
def test_it_trains_from_a_run_file(slug: str, start: Path, tmp_path: Path) -> None:
    spec = {slug: options(slug)}
    needs = build_objective(spec).needs
    helpers = tuple(role for role in needs.helpers if role != "mismatched")
    rows = [record(at, one, helpers) for at, one in enumerate(tiny_comparisons(4))]
    (tmp_path / "prefs.jsonl").write_text("\n".join(json.dumps(to_dict(row)) for row in rows))
    reference: dict[str, Any] = {"store": "none"}
    if needs.contrast:
        reference["contrast"] = {"positive": str(start / "model"), "negative": str(start / "negative")}
    values = {
        "model": str(start / "model"),
        "data": str(tmp_path / "prefs.jsonl"),
        "objective": spec,
        "training": {**QUICK, "output_dir": str(tmp_path / "out"), "per_device_train_batch_size": 2},
    }
    if needs.reference or needs.live_reference:
        values["reference"] = reference
    result = train(run_from(values))
    assert result.steps == 2
    assert math.isfinite(result.metrics["loss"])
    before, after = (load_file(place / "model.safetensors") for place in (start / "model", result.model_folder))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(bool(value.isfinite().all()) for value in after.values())


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("pictures"), "stable_diffusion")


@pytest.mark.parametrize("slug", PICTURES)
def test_it_trains_a_diffusion_model(slug: str, pipeline: Path, tmp_path: Path) -> None:
    found = align(
        pipeline,
        image_pairs(2),
        {slug: options(slug)},
        tmp_path / "out",
        training={**QUICK, "per_device_train_batch_size": 2},
        diffusion={"samples": 0, "resolution": 16, "latents": str(pipeline.parent / "latents")},
    )
    assert found.steps == 2
    assert math.isfinite(found.metrics["loss"])
