"""Exports: adapters merged, stored records scored again, refused where they moved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from assent.cli.main import main
from assent.config import run_from
from assent.errors import InputError, RunError
from assent.training import Given, train
from assent.training.exporting import export
from tests.tiny import save_tiny_lm, tiny_comparisons


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export")
    save_tiny_lm(place / "model", layers=1, hidden=16)
    values: dict[str, Any] = {
        "model": str(place / "model"),
        "objective": "simpo",
        "peft": {"r": 4, "target_modules": "all-linear"},
        "training": {"output_dir": str(place / "run"), "max_steps": 3, "learning_rate": 3e-2, "use_cpu": True},
    }
    train(run_from(values), given=Given(tiny_comparisons(6)))
    return place


def test_a_merged_model_is_scored_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["export", str(folder / "run"), str(folder / "merged"), "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["records"] == 6
    assert found["merged"] == ["default"]
    assert 0 < found["largest"] < 1e-4 or found["largest"] == 0
    model = AutoModelForCausalLM.from_pretrained(folder / "merged")
    before = AutoModelForCausalLM.from_pretrained(folder / "model")
    ids = torch.tensor([[1, 2, 3]])
    assert (model(ids).logits - before(ids).logits).abs().max() > 1e-3
    with pytest.raises(InputError, match="not empty"):
        export(folder / "run", folder / "merged")


def test_a_model_that_moved_is_refused(folder: Path, tmp_path: Path) -> None:
    """The base model changed under its name after training: the merge is somebody else's model."""
    import shutil

    shutil.copytree(folder / "model", tmp_path / "kept")
    try:
        save_tiny_lm(folder / "model", layers=1, hidden=16, seed=1)
        with pytest.raises(RunError, match=r"not the trained one.*bound 0\.001"):
            export(folder / "run", tmp_path / "merged")
        assert not (tmp_path / "merged").exists()
        assert not (tmp_path / ".merged.unfinished").exists()
    finally:
        shutil.rmtree(folder / "model")
        shutil.copytree(tmp_path / "kept", folder / "model")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finished run"):
        export(tmp_path, tmp_path / "out")
