"""Two ranks take the trajectory of one: separable and coupled losses, uneven shares, empty micro-batches, resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.two_ranks import run_two
from tests.unit.test_training_trainer import encoded, labelled, trainer_for, trajectory

TRAINER = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from safetensors.torch import save_file
from tests.unit.test_training_trainer import encoded, labelled, trainer_for, trajectory

folder = Path(sys.argv[1])
for name, (objective, budget, steps) in json.loads(sys.argv[2]).items():
    data = labelled(encoded(10)) if "kto" in name else encoded(10)
    trainer = trainer_for(folder / name, objective, data, budget, padded=True, max_steps=steps,
                          per_device_train_batch_size=1, gradient_accumulation_steps=2)
    losses, weights = trajectory(trainer)
    metrics = {k: v for k, v in trainer.state.log_history[0].items() if "/" in k or k.startswith("num_")}
    (folder / f"{name}.{trainer.args.process_index}.json").write_text(json.dumps([losses, metrics]))
    save_file({"weights": weights}, folder / f"{name}.{trainer.args.process_index}.safetensors")
"""

CASES = {
    "dpo": ("dpo", 4096, 20),
    # Three comparisons in the last step of the epoch, one per micro-batch: a rank runs out before the other.
    "dpo uneven": ("dpo", 1, 6),
    "kto": ("kto", 100, 6),
    "sum": ([{"dpo": {}}, {"sft": {"normalise": "step"}}], 100, 6),
}


def test_two_ranks_take_the_trajectory_of_one(tmp_path: Path) -> None:
    run_two(TRAINER, tmp_path, json.dumps(CASES))
    for name, (objective, _, steps) in CASES.items():
        data = labelled(encoded(10)) if "kto" in name else encoded(10)
        # Four comparisons per step on one rank are two on each of two.
        alone = trainer_for(tmp_path / "alone" / name, objective, data, 4096, padded=True, max_steps=steps)
        losses, weights = trajectory(alone)
        for rank in range(2):
            found, metrics = json.loads((tmp_path / f"{name}.{rank}.json").read_text())
            theirs = load_file(tmp_path / f"{name}.{rank}.safetensors")["weights"]
            assert found == pytest.approx(losses, abs=1e-6)
            assert (theirs - weights).abs().max() < 1e-9, name
            expected = {k: v for k, v in alone.state.log_history[0].items() if k in metrics}
            assert metrics == pytest.approx(expected, abs=1e-9)


SHARDED = """
import sys
from pathlib import Path
import torch, torch.distributed as dist
torch.set_num_threads(1)
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from safetensors.torch import save_file
from assent.likelihood.causal_lm import PaddedCausalPolicy
from assent.objectives import build_objective
from assent.training.engine import PlainEngine
from assent.training.step import StepFunction
from tests.tiny import tiny_lm
from tests.unit.test_training_trainer import encoded

folder = Path(sys.argv[1])
sharded = len(sys.argv) > 2
if sharded:
    dist.init_process_group("gloo")
for name in ("simpo", "coupled"):
    policy = PaddedCausalPolicy(tiny_lm(dtype=torch.float64, layers=1, hidden=16))
    if sharded:
        for layer in policy.model.model.layers:
            fully_shard(layer)
        fully_shard(policy)
        assert all(isinstance(p, DTensor) for p in policy.parameters())
    objective = build_objective("simpo" if name == "simpo" else [{"simpo": {}}, {"sft": {"normalise": "step"}}])
    step = StepFunction(policy, objective, None, PlainEngine(), 100, seed=0)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    losses = []
    for number in range(3):
        result = step(policy, encoded(7), number)
        losses.append(result.loss.reshape(1).clone())
        optimizer.step()
        optimizer.zero_grad()
    weights = {k: v.full_tensor() if isinstance(v, DTensor) else v for k, v in policy.state_dict().items()}
    losses = torch.cat(losses)
    if sharded:
        dist.all_reduce(losses, op=dist.ReduceOp.SUM)
        losses /= 2
    if not sharded or dist.get_rank() == 0:
        kept = {k: v.contiguous().clone() for k, v in weights.items()}
        save_file(kept | {"losses": losses}, folder / f"{name}.safetensors")
if sharded:
    import os
    dist.barrier()
    dist.destroy_process_group()
    # Threads of gloo's that are still alive abort the interpreter's own way out.
    os._exit(0)
"""


def test_sharded_parameters_take_the_same_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    run_two(SHARDED, tmp_path / "two", "sharded")
    monkeypatch.setattr("sys.argv", ["-c", str(tmp_path / "one")])
    exec(compile(SHARDED, "sharded", "exec"), {})
    for name in ("simpo", "coupled"):
        one, two = (load_file(tmp_path / place / f"{name}.safetensors") for place in ("one", "two"))
        assert set(one) == set(two)
        for key, value in one.items():
            assert torch.allclose(value, two[key], atol=1e-9, rtol=0), (name, key)
