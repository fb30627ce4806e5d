"""Holds a transformers Trainer between its optimizer steps; what it logs belongs to the step before."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from benchmarks.gate import Gate


class Gated(TrainerCallback):
    """The trainer's steps as a gate's steps, data loading, optimizer and logging included.

    Args:
        gate: the conversation with the runner.
        began: when the preparation began.
        counts: what to report of the step that ended.
        route: what the side says of itself.
    """

    def __init__(self, gate: Gate, began: float, counts: Callable[[], dict[str, int]], route: str) -> None:
        self.gate, self.began, self.counts, self.route = gate, began, counts, route

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.gate.say("ready", preparation=time.perf_counter() - self.began, route=self.route)
        control.should_training_stop = not self.gate.wait()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.gate.stepped(**self.counts())
        if not self.gate.wait():
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.gate.say("log", loss=float(logs["loss"]))
