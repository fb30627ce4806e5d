"""Killed at any moment, also while saving, a run resumes to the same weights, bit by bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import save_tiny_lm

SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from assent.config import run_from
from assent.training import Given, train
from assent.training import checkpoints, saving
from tests.tiny import tiny_comparisons

folder, out, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def on_event(event):
    if moment == "at step 3" and event["event"] == "step" and event["step"] == 3:
        die()

if moment == "before the optimizer is saved":
    saving.SavingTrainer._save_optimizer_and_scheduler = lambda self, place: die()
if moment == "before the manifest":
    checkpoints.write_manifest = lambda place: die()
if moment == "before the rename":
    checkpoints.put_in_place = lambda written, place: die()

config = run_from({
    "model": str(folder / "model"),
    "objective": [{"kto": {}}, {"sft": {"weight": 0.1}}],
    "reference": {"store": str(folder / "store")},
    "training": {"output_dir": str(folder / out), "max_steps": 7, "save_steps": 2, "save_total_limit": 2,
                 "per_device_train_batch_size": 4, "learning_rate": 1e-2, "logging_steps": 1, "use_cpu": True},
    "max_tokens_per_micro_batch": 256,
})
train(config, resume=(folder / out).is_dir(), on_event=on_event, given=Given(tiny_comparisons(14)))
print("finished")
"""


def run(folder: Path, out: str, moment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), out, moment],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    save_tiny_lm(tmp_path / "model", layers=1, hidden=16)
    whole = run(tmp_path, "whole", "never")
    assert "finished" in whole.stdout, whole.stderr
    for moment in ("at step 3", "before the optimizer is saved", "before the manifest", "before the rename"):
        killed = run(tmp_path, "killed", moment)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        complete = {path.name for path in (tmp_path / "killed").glob("checkpoint-*")}
        assert complete == {"checkpoint-2"}, (moment, complete)
    finished = run(tmp_path, "killed", "never")
    assert "finished" in finished.stdout, finished.stderr
    expected = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    found = load_file(tmp_path / "killed" / "model" / "model.safetensors")
    assert set(expected) == set(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not (tmp_path / "killed" / ".unfinished").exists()
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")


def losses(folder: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    assert len(dict(found)) == len(found) == 7, "every step stands once"
    return dict(found)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    from assent.training.checkpoints import write_manifest

    for step in (2, 4, 10):
        place = tmp_path / f"checkpoint-{step}"
        place.mkdir()
        (place / "trainer_state.json").write_text("{}")
        (place / "model.safetensors").write_bytes(b"x" * 100)
        write_manifest(place)
    return tmp_path


def test_the_newest_complete_checkpoint_is_taken(damaged: Path) -> None:
    from assent.training.checkpoints import newest_complete

    assert newest_complete(damaged).step == 10
    (damaged / "checkpoint-10" / "model.safetensors").write_bytes(b"x" * 99)
    found = newest_complete(damaged)
    assert found.step == 4
    assert found.skipped == ((damaged / "checkpoint-10", "model.safetensors has 99 bytes instead of 100"),)
    (damaged / "checkpoint-4" / "manifest.json").unlink()
    (damaged / "checkpoint-2" / "trainer_state.json").unlink()
    found = newest_complete(damaged)
    assert found.path is None
    assert [reason for _, reason in found.skipped] == [
        "model.safetensors has 99 bytes instead of 100",
        "it has no manifest.json, so it was not written to its end",
        "trainer_state.json is missing",
    ]
