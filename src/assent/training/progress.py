"""What a run says while it goes on: a line with loss, margin, accuracy, tokens per second and time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

OnEvent = Callable[[Mapping[str, Any]], None]
"""Is told what happens: {"event": "stage" | "reference" | "start" | "step" | "log" | "evaluation" | "end", ...}."""

SHOWN = {
    "loss": "loss {:.4f}",
    "rewards/margins": "margin {:+.3f}",
    "rewards/accuracies": "accuracy {:.2f}",
    "tokens_per_second": "{:,.0f} tok/s",
}


def headline(logs: Mapping[str, Any]) -> str:
    """The numbers one looks at, in one line."""
    return "  ".join(
        text.format(logs[name]) for name, text in SHOWN.items() if isinstance(logs.get(name), int | float)
    )


class Events(TrainerCallback):
    """Passes what the Trainer reports on to a listener, on one rank only."""

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event

    def _tell(self, state: TrainerState, event: str, **facts: Any) -> None:
        if state.is_world_process_zero:
            self.on_event({"event": event, "step": state.global_step, "steps": state.max_steps, **facts})

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Before the first step, or the first after a resume."""
        self._tell(state, "start")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """After every optimizer step."""
        self._tell(state, "step")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """With every log."""
        self._tell(state, "log", logs=dict(logs or {}))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """After every checkpoint."""
        self._tell(state, "save")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """After the last step."""
        self._tell(state, "end")


class TerminalProgress:
    """Shows events: a live bar on a terminal, plain lines now and then where there is none."""

    def __init__(self, console: Console | None = None, seconds: float = 30.0) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.seconds = seconds
        self.bar: Progress | None = None
        self.task: Any = None
        self.said_at = float("-inf")

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Shows one event."""
        kind = event["event"]
        if kind == "stage":
            self._stop()
            self.console.print(event["text"], markup=False, soft_wrap=True)
        elif kind == "reference":
            self._move("reference", event["done"], event["total"], "")
        elif kind == "start":
            self._stop()
            self._move("training", event["step"], event["steps"], "")
        elif kind == "step" and self.bar is not None:
            self.bar.update(self.task, completed=event["step"])
        elif kind == "log":
            self._log(event)
        elif kind in ("end", "interrupted"):
            self._stop()

    def _log(self, event: Mapping[str, Any]) -> None:
        logs = event["logs"]
        if any(name.startswith("eval_") for name in logs):
            shown = headline({name.removeprefix("eval_"): value for name, value in logs.items()})
            self.console.print(f"step {event['step']}: held out  {shown}", markup=False)
        elif "loss" in logs:
            self._move("training", event["step"], event["steps"], headline(logs))

    def _move(self, name: str, done: int, total: int, text: str) -> None:
        if not self.console.is_terminal:
            now = time.monotonic()
            if text and (now - self.said_at >= self.seconds or done >= total):
                self.said_at = now
                self.console.print(f"step {done}/{total}  {text}", markup=False)
            return
        if self.bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, TextColumn("{task.fields[text]}"), console=self.console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task(name, total=total, text=text)
        self.bar.update(self.task, completed=done, total=total, description=name, text=text)

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
