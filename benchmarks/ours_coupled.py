"""Worker: a loss that couples the comparisons of a step. Called as `python -m benchmarks.ours_coupled '<json>'`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assent.encoding import EncodedComparison
from assent.likelihood.policy import Batch, Policy
from assent.objectives.judged import Judged, Needs
from assent.objectives.registry import build_objective
from assent.training.engine import PlainEngine
from assent.training.mismatched import with_mismatched
from assent.training.step import StepFunction
from benchmarks.gate import Gate, peak_bytes, resident_bytes, state_bytes
from benchmarks.ours import BUDGET, Step, encoded
from benchmarks.ours_trainer import layout_of


@dataclass(frozen=True)
class Uncoupled:
    """A coupled objective applied to each micro-batch as if it were a step: one phase, and another loss."""

    objective: Any

    @property
    def needs(self) -> Needs:
        return replace(self.objective.needs, batch=False)

    def __call__(self, batch: Judged) -> Tensor:
        losses: Tensor = self.objective(batch)
        return losses


def count(policy: Policy, counted: dict[str, int]) -> None:
    """Counts what is laid out from now on."""
    collate = policy.collate

    def counting(comparisons: Sequence[EncodedComparison]) -> Batch:
        batch: Any = collate(comparisons)
        counted["read_tokens"] += batch["input_ids"].numel()
        counted["head_rows"] += len(batch["target"])
        return batch

    policy.collate = counting  # type: ignore[method-assign]


def main() -> None:
    """Reads what to do, gets ready, and steps whenever told to."""
    gate, imported = Gate(), resident_bytes()
    told = json.loads(sys.argv[1])
    rows = json.loads(Path(told["rows"]).read_text())
    plain = [encoded(row, str(index)) for index, row in enumerate(rows)]
    size, options = told["per_step"], told["options"]
    steps: list[list[EncodedComparison]] = [
        with_mismatched(plain[start : start + size], 0, start) for start in range(0, len(plain), size)
    ]
    began = time.perf_counter()
    step = Step(told["model"], options, told["objective"])
    step.store([comparison for comparisons in steps for comparison in comparisons], told.get("store"))
    counted = {"read_tokens": 0, "head_rows": 0, "reference_passes": 0}
    count(step.policy, counted)
    objective = build_objective({told["objective"]: {}})

    def reference(part: Any, batch: Any) -> Any:
        return step.reference_of(part, batch, layout_of(batch))

    function = StepFunction(
        step.policy,
        Uncoupled(objective) if options.get("one_phase") else objective,
        reference,
        PlainEngine(),
        options.get("budget", BUDGET),
        seed=0,
    )
    gate.say("ready", preparation=time.perf_counter() - began, route=step.policy.route)
    for number, comparisons in enumerate(steps):
        if not gate.wait():
            break
        loss = function(step.policy, comparisons, number).loss.item()
        torch.nn.utils.clip_grad_norm_(step.policy.parameters(), 1.0)
        step.optimizer.step()
        step.optimizer.zero_grad()
        gate.stepped(loss=None if options.get("one_phase") else loss, **counted)
        counted.update(dict.fromkeys(counted, 0))
    else:
        gate.wait()
    exact = state_bytes(step.policy.model, step.optimizer)
    gate.say("end", working_bytes=peak_bytes() - exact - imported, peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
