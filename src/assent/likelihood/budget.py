"""How many tokens a micro-batch may hold: found by scoring the longest comparison before training begins.

The longest comes first, so that a run that cannot fit stops in its first minute and not in its last hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assent.encoding import EncodedComparison
from assent.errors import RunError
from assent.likelihood.policy import Policy

RESERVE = 0.7
"""Share of the free memory that may be planned for: the rest is for gradients in flight and fragmentation."""

ENOUGH = {"cpu": 8192, "cuda": 131072}
"""Tokens beyond which a larger micro-batch gains nothing."""


def auto_budget(policy: Policy, comparisons: Sequence[EncodedComparison], free_bytes: int | None = None) -> int:
    """The token budget of a micro-batch, at least the cost of the longest comparison.

    Runs one forward and backward of the longest comparison; gradients are left as they were found. Every rank has
    to call it, and the smallest answer counts.

    Args:
        policy: the policy to be trained.
        comparisons: what it will be trained on.
        free_bytes: memory that may be used; default: what is free on the policy's device.

    Raises:
        RunError: the longest comparison does not fit.
    """
    device = next(policy.parameters()).device
    costs = [policy.cost(comparison) for comparison in comparisons]
    longest = max(range(len(costs)), key=costs.__getitem__)
    free = free_memory(device) if free_bytes is None else free_bytes
    try:
        used = activation_bytes(policy, [comparisons[longest]])
    except torch.OutOfMemoryError:
        used = free + 1
    if used > free:
        raise RunError(
            f"the longest comparison ({comparisons[longest].id}, {costs[longest]} tokens) does not fit: it needs "
            f"{used / 2**30:.1f} GiB of {free / 2**30:.1f} free. Lower `data.max_length`, or switch on "
            "`training.gradient_checkpointing`"
        )
    fitting = int(RESERVE * free * costs[longest] / max(used, 1))
    return max(costs[longest], min(fitting, ENOUGH.get(device.type, ENOUGH["cuda"])))


def activation_bytes(policy: Policy, comparisons: Sequence[EncodedComparison]) -> int:
    """Memory that a forward and backward of some comparisons takes beyond the weights.

    Measured on CUDA; elsewhere the sum of what autograd keeps, each storage once.
    """
    device = next(policy.parameters()).device
    batch = {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in policy.collate(comparisons).items()
    }
    wanted = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        torch.autograd.grad(policy(batch).tokens.sum(), wanted, allow_unused=True)
        return int(torch.cuda.max_memory_allocated(device) - before)
    weights = {parameter.untyped_storage().data_ptr() for parameter in policy.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, _same):
        scored = policy(batch).tokens.sum()
    torch.autograd.grad(scored, wanted, allow_unused=True)
    return sum(kept.values())


def free_memory(device: torch.device) -> int:
    """Free bytes on a device; on a CPU what the machine, or the container, still has."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = [_available(Path("/proc/meminfo")), _container(Path("/sys/fs/cgroup"))]
    return min((number for number in free if number is not None), default=4 * 2**30)


def _available(meminfo: Path) -> int | None:
    if not meminfo.exists():
        return None
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), None)


def _container(folder: Path) -> int | None:
    try:
        limit, used = (folder / "memory.max").read_text().strip(), (folder / "memory.current").read_text()
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))


def _same(value: Any) -> Any:
    return value
