"""`python -m benchmarks [CASE ...]`: runs cases, or those not run yet, and writes docs/benchmarks.md and .json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import CASES, Case, Side
from benchmarks.curve import measure_curve
from benchmarks.data import data_folder
from benchmarks.diffusion import measure_diffusion
from benchmarks.environment import trl_python, trl_version
from benchmarks.memory import measure_memory
from benchmarks.preparation import prepare
from benchmarks.running import run
from benchmarks.summary import COLUMNS, cells, losses_agree, page, summarised

ROOT = Path(__file__).resolve().parent.parent
WARM = 3
OTHERS = ("memory", "curve", "diffusion")
"""What is measured otherwise than by steps of text."""
PROBING = 16
"""Comparisons of the one step by which the fastest of several settings of the same program is found."""


def main() -> None:
    """Runs what is asked for; a case that was run is kept unless it is asked for by name."""
    names = [*(case.name for case in CASES), *OTHERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"one of {', '.join(names)}; default: those not run yet"
    )
    parser.add_argument("--steps", type=int, default=10, help="steps measured (default 10)")
    parser.add_argument("--warm", type=int, default=WARM, help=f"steps before those measured (default {WARM})")
    parser.add_argument(
        "--work", type=Path, default=ROOT / ".bench", help="folder for models, data and TRL's environment"
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs", help="folder of benchmarks.md and benchmarks.json"
    )
    parser.add_argument("--without-trl", action="store_true", help="only Assent against itself")
    options = parser.parse_args()
    unknown = sorted(set(options.cases) - set(names))
    if unknown:
        parser.error(f"no case is called {unknown[0]}; there are {', '.join(names)}")
    options.work.mkdir(parents=True, exist_ok=True)
    options.output.mkdir(parents=True, exist_ok=True)
    record = options.output / "benchmarks.json"
    saved = recorded(record)
    for name in options.cases or [name for name in usual_names() if name not in saved["results"]]:
        interpreters = {} if options.without_trl else {"trl": trl_python(options.work / "trl")}
        if name == "memory":
            result = measure_memory(options.work, interpreters, options.warm + options.steps)
        elif name == "diffusion":
            result = measure_diffusion(options.work, options.steps, options.warm)
        elif name == "curve":
            result = measure_curve({})
        else:
            result = run_case(next(case for case in CASES if case.name == name), options, interpreters)
        saved = recorded(record)
        saved["results"][name] = {**result, "when": time.strftime("%Y-%m-%d")}
        saved["machine"] = machine(interpreters)
        record.write_text(json.dumps(saved, indent=1) + "\n")
        (options.output / "benchmarks.md").write_text(page(saved["results"], saved["machine"]))
        print("\n".join(" | ".join(row) for row in [result["columns"], *result["cells"]]), flush=True)


def recorded(record: Path) -> dict[str, Any]:
    """What was measured so far; read anew before every writing, since another run may have added to it."""
    found: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {"machine": {}, "results": {}}
    return found


def usual_names() -> list[str]:
    """What runs when nothing is named; stops with the reason where the data is missing."""
    data_folder()
    return [*(case.name for case in CASES if case.by_default), *OTHERS]


def run_case(case: Case, options: argparse.Namespace, interpreters: dict[str, Path]) -> dict[str, Any]:
    """One case, from data to a result."""
    sides = [side for side in case.sides if not (side.worker.startswith("trl") and options.without_trl)]
    sides = with_the_fastest(case, sides, options.work, interpreters)
    told = prepare(case, options.work, options.warm + options.steps)
    rate = matmul_rate()
    workers = run(case, sides, options.warm + options.steps, told, interpreters)
    records = summarised(case, workers, told, options.warm, max(rate, matmul_rate()))
    return {
        "kind": "steps",
        "title": case.title,
        "steps": options.steps,
        "warm": options.warm,
        "losses_agree": losses_agree(records),
        "columns": list(COLUMNS),
        "cells": cells(records),
        "sides": records,
    }


def with_the_fastest(case: Case, sides: list[Side], folder: Path, interpreters: dict[str, Path]) -> list[Side]:
    """The sides, of the settings that stand for one program only the one that is fastest in a few steps."""
    settings = [side for side in sides if side.options.get("fastest_of")]
    if len(settings) < 2:
        return sides
    small = replace(case, per_step=min(PROBING, case.per_step))
    workers = [run(case, [side], 1, prepare(small, folder, 1), interpreters)[0] for side in settings]
    fastest = min(workers, key=lambda worker: float(worker.steps[-1]["seconds"])).side
    return [side for side in sides if side is fastest or side not in settings]


def matmul_rate() -> float:
    """Float32 operations per second of the best of many products of two 1024 x 1024 matrices."""
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = 0.0
    for _ in range(50):
        began = time.perf_counter()
        torch.mm(left, right)
        best = max(best, 2 * 1024**3 / (time.perf_counter() - began))
    return best


def machine(interpreters: dict[str, Path]) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "device": f"CPU ({platform.machine()}, {os.cpu_count()} cores)",
        "threads": torch.get_num_threads(),
        "float32 matmul GFLOP/s": round(matmul_rate() / 1e9),
        "torch": version("torch"),
        "transformers": version("transformers"),
        **({"trl": trl_version(interpreters["trl"])} if interpreters else {}),
    }


if __name__ == "__main__":
    main()
