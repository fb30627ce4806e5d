"""From the steps of workers to one row per side, and from rows to the page of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.cases import Case
from benchmarks.preparation import needed_operations, needed_tokens
from benchmarks.running import Worker

LOSS_TOLERANCE = 2e-3
"""Two programs' losses of a step may differ by this share: clipping and sums in other orders, over several steps."""


def summarised(
    case: Case, workers: Sequence[Worker], told: dict[str, Any], warm: int, rate: float
) -> list[dict[str, Any]]:
    """One record per side; the first side's time is the unit, `rate` the machine's for matrix products."""
    rows = json.loads(Path(told["rows"]).read_text())
    per_step, count = told["per_step"], len(workers[0].steps)
    measured = rows[warm * per_step : count * per_step]
    needed = needed_tokens(measured)
    ours = median(step["seconds"] for step in workers[0].steps[warm:])
    records = []
    for worker in workers:
        operations = needed_operations(measured, told, head=not worker.side.worker.endswith("_reward"))
        seconds = [step["seconds"] for step in worker.steps[warm:]]
        spread = quantiles(seconds, n=4) if len(seconds) > 1 else [seconds[0]] * 3
        records.append(
            {
                "side": worker.side.name,
                "seconds": median(seconds),
                "quartiles": [spread[0], spread[2]],
                "processor_seconds": median(step["processor_seconds"] for step in worker.steps[warm:]),
                "times_slower": median(seconds) / ours,
                "bar": worker.side.bar,
                "needed_tokens_per_second": needed / sum(seconds),
                "share_of_matmul_rate": operations / sum(seconds) / rate,
                "read_tokens": sum(step["read_tokens"] for step in worker.steps[warm:]),
                "head_rows": sum(step["head_rows"] for step in worker.steps[warm:]),
                "reference_passes": sum(step["reference_passes"] for step in worker.steps[warm:]),
                "needed_tokens": needed,
                "preparation_seconds": worker.ready["preparation"],
                "peak_bytes": worker.end["peak_bytes"],
                "losses": [step.get("loss") for step in worker.steps],
                "route": worker.ready["route"],
            }
        )
    return records


def losses_agree(records: Sequence[dict[str, Any]]) -> bool:
    """Whether every side reports the first side's loss in every step."""
    for record in records[1:]:
        for ours, theirs in zip(records[0]["losses"], record["losses"], strict=True):
            if theirs is not None and abs(ours - theirs) > LOSS_TOLERANCE * max(abs(ours), 1e-6):
                return False
    return True


def page(results: dict[str, dict[str, Any]], machine: dict[str, Any]) -> str:
    """The Markdown page."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks`; do not edit. Programs take turns step by step on the same model, data",
        "and order, so that a busy machine slows all of them alike; times are medians of the steps after the",
        "warm-up, with quartiles. *Needed* tokens count each prompt once. The share of the matmul rate is what",
        "forward and backward of the needed tokens take in matrix products with weights, by the time, by the",
        "machine's best measured rate; work that need not be done counts as nothing. Processor seconds are summed",
        "over threads; a machine that does something else besides changes them less than it changes seconds.",
        "Bars are held against the ratio of medians; where steps differ much in size, so does the ratio of the",
        "time that all measured steps took together, in brackets.",
        "",
        "Machine: " + ", ".join(f"{name} {value}" for name, value in machine.items()) + ".",
    ]
    for result in results.values():
        lines += ["", f"## {result['title']}", ""]
        lines += _table(result)
    return "\n".join(lines) + "\n"


def _table(result: dict[str, Any]) -> list[str]:
    lines = []
    if result.get("kind") == "steps":
        agreed = "equal in every step" if result["losses_agree"] else "**NOT EQUAL**"
        lines += [
            f"Losses of the sides: {agreed}. Measured {result['when']}: {result['steps']} steps after "
            f"{result['warm']}, {result['sides'][0]['needed_tokens']} needed tokens.",
            "",
        ]
    if result.get("note"):
        lines += [result["note"], ""]
    columns = list(result["columns"])
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in result["cells"]]
    return lines


COLUMNS = (
    "side",
    "seconds a step (quartiles)",
    "processor seconds a step",
    "times Assent's (of all steps together)",
    "bar",
    "needed tokens/s",
    "share of the matmul rate",
    "tokens read / needed",
    "tokens read",
    "head rows",
    "reference passes",
    "preparation, s",
    "peak memory, MiB",
)


def cells(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The table's cells of a case of steps."""
    return [
        [
            r["side"],
            f"{r['seconds']:.2f} ({r['quartiles'][0]:.2f}-{r['quartiles'][1]:.2f})",
            _known(r["processor_seconds"], 1, 2),
            f"{r['times_slower']:.2f} ({records[0]['needed_tokens_per_second'] / r['needed_tokens_per_second']:.2f})",
            "" if r["bar"] is None else f"{r['bar']} {'reached' if r['times_slower'] >= r['bar'] else 'not reached'}",
            f"{r['needed_tokens_per_second']:.0f}",
            f"{100 * r['share_of_matmul_rate']:.0f}%",
            f"{r['read_tokens'] / r['needed_tokens']:.2f}",
            str(r["read_tokens"]),
            str(r["head_rows"]),
            str(r["reference_passes"]),
            _known(r["preparation_seconds"], 1, 1),
            _known(r["peak_bytes"], 2**20, 0),
        ]
        for r in records
    ]


def _known(value: float | None, unit: float, digits: int) -> str:
    return "" if value is None else f"{value / unit:.{digits}f}"
