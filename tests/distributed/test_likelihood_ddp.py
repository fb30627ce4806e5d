"""Two processes with different comparisons reduce to the gradient of all of them in one."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from assent.likelihood.build_policy import build_policy
from tests.tiny import tiny_lm
from tests.unit.test_likelihood_families import drawn_comparisons


def _rank(rank: int, meeting: str, kind: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    model = tiny_lm("llama", dtype=torch.float64)
    policy = build_policy(model)
    part = drawn_comparisons()[rank * 2 : rank * 2 + 2]
    if kind == "ddp":
        wrapped = DistributedDataParallel(policy)
        likelihoods = wrapped(policy.collate(part))
    else:
        for layer in model.model.layers:
            fully_shard(layer)
        fully_shard(policy)
        assert all(isinstance(parameter, DTensor) for parameter in policy.parameters())
        likelihoods = policy(policy.collate(part))
    likelihoods.sum.sum().backward()
    gradients = {
        name: p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad for name, p in model.named_parameters()
    }
    if rank == 0:
        torch.save(gradients, Path(folder) / "gradients.pt")
    dist.barrier()
    dist.destroy_process_group()


def _check(kind: str, folder: Path) -> None:
    mp.spawn(_rank, (str(folder / "meeting"), kind, str(folder)), nprocs=2)
    model = tiny_lm("llama", dtype=torch.float64)
    policy = build_policy(model)
    likelihoods = policy(policy.collate(drawn_comparisons()))
    (likelihoods.sum.sum() / 2).backward()
    found = torch.load(folder / "gradients.pt")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_ddp_reduces_every_parameter(tmp_path: Path) -> None:
    _check("ddp", tmp_path)


def test_sharded_parameters_give_the_same_gradient(tmp_path: Path) -> None:
    _check("fsdp", tmp_path)
