"""Runs the sides of a case in turn: every program takes a step, then every program takes the next."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, Side


class Killed(SystemExit):
    """A worker was killed from outside, as happens where memory runs out."""


@dataclass
class Worker:
    """A running side."""

    side: Side
    process: subprocess.Popen[str]
    log: Path
    ready: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)

    def tell(self, word: str) -> None:
        """Sends one word."""
        assert self.process.stdin is not None
        # A worker without rows left has said its last word and may be gone.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()

    def hear(self, kind: str) -> dict[str, Any]:
        """The next message of a kind; losses that are logged in between go to the last step."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if said["kind"] == "log" and self.steps:
                self.steps[-1]["loss"] = said["loss"]
            if said["kind"] == kind:
                return dict(said)
        if self.process.wait() == -signal.SIGKILL:
            raise Killed(f"`{self.side.name}` was killed, most likely for its memory; its log is {self.log}")
        raise SystemExit(f"`{self.side.name}` ended early; its log is {self.log}")


def run(
    case: Case, sides: Sequence[Side], steps: int, told: dict[str, Any], interpreters: dict[str, Path]
) -> list[Worker]:
    """The workers of the sides after the given number of steps, taken in turn."""
    workers: list[Worker] = []
    try:
        for side in sides:
            workers.append(start(side, told, interpreters))
            workers[-1].ready = workers[-1].hear("ready")
        for step in range(steps):
            for worker in workers:
                worker.tell("go")
                worker.steps.append(worker.hear("step"))
                print(
                    f"  {case.name} step {step + 1}/{steps} {worker.side.name}: {worker.steps[-1]['seconds']:.2f} s",
                    flush=True,
                )
        for worker in workers:
            worker.tell("stop")
            worker.end = worker.hear("end")
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
    return workers


def start(side: Side, told: dict[str, Any], interpreters: dict[str, Path]) -> Worker:
    """The side's process."""
    slug = re.sub(r"[^a-z0-9]+", "-", side.name.lower()).strip("-")
    log = Path(told["folder"]) / f"{told['case']}-{slug}.log"
    root = Path(__file__).resolve().parent.parent
    script = root / "benchmarks" / f"{side.worker}.py"
    command = (
        [str(interpreters["trl"]), str(script)]
        if side.worker.startswith("trl")
        else [sys.executable, "-m", f"benchmarks.{side.worker}"]
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "MALLOC_ARENA_MAX": "1"}
    process = subprocess.Popen(
        [*command, json.dumps({**told, "options": side.options})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        text=True,
        cwd=root,
        env=environment,
    )
    first_to_go = Path(f"/proc/{process.pid}/oom_score_adj")
    if first_to_go.exists():
        # Should memory run out, a worker is what may be lost.
        first_to_go.write_text("900")
    return Worker(side, process, log)
