"""What a step needs from the machinery around it: a place, ranks, and a way to run a backward pass."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters in whose `.grad` gradients are found.

    A forward pass without a backward one (the first phase of a coupled loss, an evaluation) leaves the outermost
    sharded module whole: its parameters are then copies for computing, and gradients go to the shards behind them.
    """
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


class Engine(Protocol):
    """The machinery that wraps the policy (nothing, DDP, FSDP)."""

    rank: int
    world: int
    device: torch.device

    def accumulate(self, module: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """The context of one micro-batch, forward and backward: gradients are reduced over ranks at the last."""

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which models are run outside the wrapped module's forward (the reference)."""

    def backward(self, loss: Tensor) -> None:
        """Adds the loss's gradients to `.grad`, reduced over ranks by averaging."""


class PlainEngine:
    """PyTorch alone: one process, or modules sharded with `fully_shard` (which reduce at every backward pass)."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.world = dist.get_world_size() if together else 1
        self.device = torch.device(device)

    def accumulate(self, module: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """No context: every backward pass reduces."""
        return nullcontext()

    def precision(self) -> AbstractContextManager[Any]:
        """No context: weights are used as they are."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """PyTorch's own backward pass."""
        loss.backward()


class AccelerateEngine:
    """The Trainer's accelerator: DDP, FSDP, mixed precision and loss scaling are its business."""

    def __init__(self, accelerator: Any, device: torch.device) -> None:
        self.accelerator = accelerator
        self.rank = int(accelerator.process_index)
        self.world = int(accelerator.num_processes)
        self.device = device

    def accumulate(self, module: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Under `no_sync` for all but the last micro-batch with DDP; FSDP reduces every time, to free memory."""
        self.accelerator.gradient_state._set_sync_gradients(last)
        if last or not isinstance(module, nn.parallel.DistributedDataParallel):
            return nullcontext()
        context: AbstractContextManager[Any] = self.accelerator.no_sync(module)
        return context

    def precision(self) -> AbstractContextManager[Any]:
        """The accelerator's autocast."""
        context: AbstractContextManager[Any] = self.accelerator.autocast()
        return context

    def backward(self, loss: Tensor) -> None:
        """Through the accelerator, which scales and reduces."""
        self.accelerator.backward(loss)
