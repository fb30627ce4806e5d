"""How a worker process is driven: it takes one step each time it is told to, so that programs can take turns."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any


class Gate:
    """A worker's side of the conversation; everything else the program prints goes to its log."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._started, self._computed = 0.0, 0.0

    def say(self, kind: str, **content: Any) -> None:
        """Sends one line; whoever is ready has its peak of memory measured from here on."""
        if kind == "ready":
            forget_peak()
        self._out.write(json.dumps({"kind": kind, **content}) + "\n")

    def wait(self) -> bool:
        """Waits to be told; False: stop."""
        told = sys.stdin.readline().strip()
        self._started, self._computed = time.perf_counter(), time.process_time()
        return told == "go"

    def stepped(self, **content: Any) -> None:
        """Reports a step, with the seconds since it was told to take it, by the clock and of all processor cores."""
        seconds, computed = time.perf_counter() - self._started, time.process_time() - self._computed
        self.say("step", seconds=seconds, processor_seconds=computed, **content)


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak() -> None:
    """Begins the record of the largest resident size anew, so that loading does not count."""
    record = Path("/proc/self/clear_refs")
    if record.exists():
        record.write_text("5")


def resident_bytes() -> int:
    """The resident size of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def state_bytes(model: Any, optimizer: Any) -> int:
    """Parameters, gradients and optimizer state, exactly; tied weights once."""
    parameters = {id(p): p for p in model.parameters()}.values()
    weights = sum(p.numel() * p.element_size() * (2 if p.requires_grad else 1) for p in parameters)
    states = optimizer.state.values()
    return weights + sum(t.numel() * t.element_size() for s in states for t in s.values() if hasattr(t, "numel"))


def head_weight(size: int) -> Any:
    """[1, size] the weights from which every side's reward head starts."""
    import torch

    return 0.02 * torch.randn(1, size, generator=torch.Generator().manual_seed(0))
