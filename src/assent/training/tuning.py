"""The token budget of micro-batches, tuned on the loaded policy just before training begins.

The plan of a dry run can only predict memory from the model's shape. Once the weights are there, the longest
comparison is run forward and backward, so that a run that cannot fit stops now and not in its last hour.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from assent.config import RunConfig
from assent.errors import RunError
from assent.likelihood.budget import auto_budget, free_memory
from assent.training.plan import Plan


def tune_budget(config: RunConfig, plan: Plan, trainer: Any) -> int:
    """Sets the trainer's token budget, where the run file leaves it to us, and returns what is in force.

    Planned memory that is not taken yet (gradients, optimizer state, a reference) is left free. A policy that will
    be sharded keeps the plan's number: before sharding it is as large as it never is again.

    Raises:
        RunError: the longest comparison does not fit on some rank.
    """
    function = trainer.step_function
    if config.max_tokens_per_micro_batch != "auto" or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return int(function.budget)
    device = trainer.args.device
    to_come = plan.memory.gradients + plan.memory.optimizer + plan.memory.reference
    devices = [device] if device.type == "cuda" else []
    found, failure = 0, None
    training = trainer.policy.training
    # Activations are recomputed, and so not kept, in training mode alone.
    trainer.policy.train()
    with torch.random.fork_rng(devices), function.engine.precision():
        try:
            found = auto_budget(trainer.policy, trainer.train_dataset, max(0, free_memory(device) - to_come))
        except RunError as error:
            failure = error
    trainer.policy.train(training)
    function.budget = _smallest(found, device)
    if failure is not None:
        raise failure
    if function.budget == 0:
        raise RunError("the longest comparison does not fit on another rank; its log says how much is missing")
    return int(function.budget)


def _smallest(budget: int, device: torch.device) -> int:
    """Over ranks: what fits on the fullest device fits everywhere."""
    if not dist.is_initialized():
        return budget
    smallest = torch.tensor(budget, device=device)
    dist.all_reduce(smallest, dist.ReduceOp.MIN)
    return int(smallest)
