"""`python -m experiments [SLUG ...]`: runs what is missing or out of date, then rewrites docs/results.md."""

from __future__ import annotations

import argparse
import sys
import time

import torch

from experiments.results import ROOT, Experiment, experiments, store, stored
from experiments.summary import write_methods, write_summary


def main() -> int:
    parser = argparse.ArgumentParser(prog="experiments", description=__doc__)
    parser.add_argument("slugs", nargs="*", help="only these experiments")
    parser.add_argument("--force", action="store_true", help="run again what is up to date")
    parser.add_argument("--summary", action="store_true", help="only rewrite docs/results.md and docs/methods.md")
    arguments = parser.parse_args()
    chosen = experiments(arguments.slugs)
    # Small tensors: threads that wait for each other cost up to a hundred times what they give on a busy machine.
    torch.set_num_threads(1)
    failed = 0
    for experiment in [] if arguments.summary else chosen:
        failed += not run(experiment, force=arguments.force)
    write_summary(experiments([]), ROOT / "docs" / "results.md")
    write_methods(experiments([]), ROOT / "docs" / "methods.md")
    return 1 if failed else 0


def run(experiment: Experiment, force: bool) -> bool:
    """Runs the seeds of one experiment that have no current result; returns whether all of them ended."""
    missing_data = experiment.missing_data()
    if missing_data:
        print(f"{experiment.slug}: not run, needs {', '.join(missing_data)} (set ASSENT_DATA)", flush=True)
        return True
    for seed in experiment.seeds:
        result = stored(experiment, seed)
        if result and result["key"] == experiment.key and not force:
            print(f"{experiment.slug} seed {seed}: up to date", flush=True)
            continue
        started = time.monotonic()
        try:
            numbers = experiment.module.run(seed)
        except Exception as error:
            print(f"{experiment.slug} seed {seed}: failed: {type(error).__name__}: {error}", file=sys.stderr)
            return False
        seconds = time.monotonic() - started
        store(experiment, seed, numbers, seconds)
        print(f"{experiment.slug} seed {seed}: {seconds:.0f} s", numbers, flush=True)
    return True


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
