"""What ends a run early: numbers that are not finite, interrupts, checkpoints of another run."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from assent.config import RunConfig, run_from
from assent.errors import InputError, RunError
from assent.objectives import Judged, Needs
from assent.training import Given, train
from assent.training.checkpoints import newest_complete
from tests.tiny import save_tiny_lm, tiny_comparisons

COMPARISONS = tiny_comparisons(8)


@dataclass(frozen=True)
class Bad:
    """NaN, or an infinite gradient, for one comparison from the second step on."""

    needs = Needs(pairs=True)
    kind: str = "loss"

    def __call__(self, batch: Judged) -> Tensor:
        margin = batch.margin()
        bad = torch.tensor([name == COMPARISONS[5].key for name in batch.ids])
        if self.kind == "loss":
            return torch.where(bad, torch.full_like(margin, float("nan")), -margin)
        # The square root's slope at 0 is infinite while its value is finite.
        return torch.where(bad, torch.where(bad, margin - margin, torch.ones_like(margin)).sqrt(), -margin)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("model"), layers=1, hidden=16)


def config(model: Path, out: Path, objective: Any = "simpo", **training: Any) -> RunConfig:
    options = {
        "max_steps": 6,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "save_steps": 50,
        "use_cpu": True,
    }
    return run_from(
        {"model": str(model), "objective": objective, "training": {"output_dir": str(out), **options, **training}}
    )


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_what_is_not_finite_stops_the_run_after_saving(model: Path, tmp_path: Path, kind: str) -> None:
    spec = {"tests.faults.test_training_stops:Bad": {"kind": kind}}
    out = tmp_path / "out"
    with pytest.raises(RunError) as caught:
        train(config(model, out, spec), given=Given(COMPARISONS))
    assert f"the {kind} is not finite" in str(caught.value)
    assert COMPARISONS[5].key in str(caught.value)
    if kind == "loss":
        assert COMPARISONS[0].key not in str(caught.value)
    found = newest_complete(out)
    assert found.path is not None
    from safetensors.torch import load_file

    saved = load_file(found.path / "model.safetensors")
    assert all(bool(value.isfinite().all()) for value in saved.values())


def test_an_interrupt_saves_and_the_run_goes_on(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Tests that run in the background of a shell inherit an interrupt that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(event: Mapping[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config(model, out), given=Given(COMPARISONS), on_event=interrupt)
    assert newest_complete(out).step == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    result = train(config(model, out), given=Given(COMPARISONS), resume=True)
    assert result.steps == 6
    assert result.resumed_from is not None
    whole = train(config(model, tmp_path / "whole"), given=Given(COMPARISONS))
    for mine, theirs in zip(result.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_another_run_cannot_be_resumed(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(config(model, out, max_steps=2, save_steps=1), given=Given(COMPARISONS))
    with pytest.raises(InputError, match="another `data`"):
        train(config(model, out, save_steps=1), given=Given(COMPARISONS[:6]), resume=True)
    with pytest.raises(InputError, match="another `comparisons_per_step`"):
        train(config(model, out, per_device_train_batch_size=4), given=Given(COMPARISONS), resume=True)
    with pytest.raises(InputError, match="not empty"):
        train(config(model, out), given=Given(COMPARISONS))


def test_a_resumed_run_keeps_its_token_budget(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = config(model, out, max_steps=2, save_steps=2)
    first.max_tokens_per_micro_batch = 64
    train(first, given=Given(COMPARISONS))
    second = config(model, out, max_steps=4, save_steps=2)
    second.max_tokens_per_micro_batch = 100_000
    result = train(second, given=Given(COMPARISONS), resume=True)
    facts = json.loads((out / "checkpoint-4" / "assent.json").read_text())
    assert result.steps == 4
    assert facts["max_tokens_per_micro_batch"] == 64
