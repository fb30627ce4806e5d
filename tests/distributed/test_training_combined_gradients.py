"""Gradients of several terms, combined on two ranks with sharded or replicated parameters, are those of one rank."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.two_ranks import run_two

METHODS = ("weighted_sum", "cagrad", "raco", "mgda", "pcgrad")

COMBINED = """
import sys
from dataclasses import replace
from pathlib import Path
import torch, torch.distributed as dist
torch.set_num_threads(1)
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from safetensors.torch import save_file
from assent.encoding import CausalEncoder
from assent.likelihood.causal_lm import PaddedCausalPolicy
from assent.objectives import build_objective
from assent.training.engine import PlainEngine
from assent.training.gradients import build_combination
from assent.training.step import StepFunction
from tests.tiny import byte_tokenizer, tiny_comparisons, tiny_lm

folder, kind, METHODS = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
SPECS = {
    "dimensions": {"raco": {"dimensions": ["long", "short", "odd"], "reference_free": True}},
    "coupled": [{"simpo": {}}, {"sft": {"normalise": "step"}}],
}
WEIGHTS = {"dimensions": {"long": 0.6, "short": 0.3, "odd": 0.1}, "coupled": {"simpo": 0.7, "sft": 0.3}}


def scored(at, one):
    better, worse = one.candidates
    return replace(one, candidates=(
        replace(better, scores={"long": 1.0, "short": 0.0, "odd": float(at % 2)}),
        replace(worse, scores={"long": 0.0, "short": 1.0, "odd": 0.5}),
    ))


def policy_of(lora, sharded):
    model = tiny_lm(dtype=torch.float64, layers=1, hidden=16)
    layers = model.model.layers
    if lora:
        torch.manual_seed(5)
        options = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
        model = get_peft_model(model, options)
        model = model.double()
    policy = PaddedCausalPolicy(model)
    if sharded:
        for layer in layers:
            fully_shard(layer)
        fully_shard(policy)
        assert all(isinstance(p, DTensor) for p in policy.parameters())
    return policy


data = CausalEncoder(byte_tokenizer()).encode_all([scored(*row) for row in enumerate(tiny_comparisons(7))])[0]
if kind != "one":
    dist.init_process_group("gloo")
found = {}
for name, spec in SPECS.items():
    for lora in (False, True):
        for method in METHODS if name == "dimensions" else ["raco"]:
            policy = policy_of(lora, kind == "sharded")
            module = torch.nn.parallel.DistributedDataParallel(policy) if kind == "ddp" else policy
            combination = build_combination({method: {"weights": WEIGHTS[name]}}, seed=3)
            step = StepFunction(policy, build_objective(spec), None, PlainEngine(), 100, seed=0, combiner=combination)
            trained = [p for p in policy.parameters() if p.requires_grad]
            optimizer = torch.optim.SGD(trained, lr=1e-2)
            key = f"{name} {'lora' if lora else 'full'} {method}"
            for number in range(2):
                step(module, data, number)
                optimizer.step()
                optimizer.zero_grad()
                for record, value in combination.record.items():
                    found[f"{key} {number} {record}"] = torch.tensor(value, dtype=torch.float64)
            whole = [p.full_tensor() if isinstance(p, DTensor) else p for p in trained]
            found[f"{key} weights"] = torch.cat([p.detach().flatten() for p in whole])
rank = dist.get_rank() if kind != "one" else 0
save_file(found, folder / f"{kind}.{rank}.safetensors")
if kind != "one":
    import os
    dist.barrier()
    dist.destroy_process_group()
    # Threads of gloo's that are still alive abort the interpreter's own way out.
    os._exit(0)
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["-c", str(folder), "one", ",".join(METHODS)])
        exec(compile(COMBINED, "alone", "exec"), {})
    return load_file(folder / "one.0.safetensors")


@pytest.mark.parametrize("kind", ["sharded", "ddp"])
def test_two_ranks_combine_as_one_does(kind: str, alone: dict[str, torch.Tensor], tmp_path: Path) -> None:
    run_two(COMBINED, tmp_path, kind, ",".join(METHODS))
    for rank in range(2):
        found = load_file(tmp_path / f"{kind}.{rank}.safetensors")
        assert set(found) == set(alone)
        for key, value in alone.items():
            torch.testing.assert_close(found[key], value, rtol=1e-7, atol=1e-9, msg=f"rank {rank}: {key}")


def test_the_rules_differ_from_each_other_here(alone: dict[str, torch.Tensor]) -> None:
    """Equal weights for every rule would show nothing."""
    ends = {method: alone[f"dimensions lora {method} weights"] for method in METHODS}
    # PCGrad changes only gradients that oppose each other, and these need not.
    for method in ("raco", "mgda"):
        assert not torch.allclose(ends[method], ends["weighted_sum"], rtol=0, atol=1e-9), method
    assert abs(alone["dimensions full raco 0 gradients/cosine/long/short"]) < 0.99


MIXED = """
import os, sys
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Partial, Replicate, Shard, distribute_tensor, DTensor
from assent.training.gradients.combine import gram_matrix

dist.init_process_group("gloo")
torch.manual_seed(0)
whole = [[torch.randn(5, 3, dtype=torch.float64) for _ in range(6)] for _ in range(2)]
flat, grid, other = (init_device_mesh("cpu", shape, mesh_dim_names=names) for shape, names in
                     (((2,), ("s",)), ((2, 1), ("r", "s")), ((1, 2), ("r", "s"))))
places = [None, (flat, [Shard(0)]), (flat, [Replicate()]), (grid, [Replicate(), Shard(0)]),
          (other, [Replicate(), Shard(1)])]


def spread(row):
    made = [one if place is None else distribute_tensor(one, *place) for one, place in zip(row, places)]
    return [*made, DTensor.from_local(row[5] / 2, flat, [Partial()])]


found = gram_matrix([spread(row) for row in whole])
expected = gram_matrix(whole)
torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
rows = torch.stack([torch.cat([one.flatten() for one in row]) for row in whole])
torch.testing.assert_close(expected, rows @ rows.T, rtol=1e-12, atol=0)
# A term that reaches only some parameters.
partly = [spread(whole[0]), [None, *spread(whole[1])[1:]]]
torch.testing.assert_close(gram_matrix(partly)[0, 1], expected[0, 1] - (whole[0][0] * whole[1][0]).sum())
dist.barrier()
dist.destroy_process_group()
os._exit(0)
"""


def test_copies_count_once_and_shards_are_added_up() -> None:
    run_two(MIXED)
