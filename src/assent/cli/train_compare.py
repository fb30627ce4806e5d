"""`assent train --compare` and `--sweep-weights`: several runs under one budget, and one report of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from assent.cli.measured_runs import Measuring, judge_of, measured, shared_facts, write_numbers
from assent.errors import InputError, RunError

REPORT, NUMBERS = "comparison.html", "comparison.json"


def compare_from_file(
    run: Path,
    overrides: Sequence[str],
    compared: tuple[str | None, Path | None],
    grid: Sequence[str],
    measuring: Measuring,
    resume: bool,
    show: Any,
) -> None:
    """The comparison that a run file and the options of the command describe."""
    from assent.config.loading import check
    from assent.config.reading import override, read_run_file

    if compared[0] is not None and compared[1] is not None:
        raise InputError("objectives are named by --compare or in --compare-file, not both")
    specs = specs_of(*compared)
    if not specs:
        raise InputError("no objective to compare", field="--compare", expected="names, as dpo,simpo,kto")
    raw = read_run_file(run)
    override(raw, overrides)
    if raw.values.get("objective") is None:
        raw.values["objective"] = specs[0]
    with told(show, f"assent train {run} --compare ... --resume"):
        say(compare_objectives(check(raw), specs, grid_of(grid), measuring, resume, show))


@contextmanager
def told(show: Any, again: str) -> Iterator[None]:
    """Closes the progress display at the end, and says how an interrupted command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        show({"event": "interrupted"})
        sys.stderr.write(f"saved; go on with `{again}`\n")
        raise
    finally:
        show({"event": "end"})


def compare_objectives(
    config: Any,
    specs: Sequence[Any],
    grid: Mapping[str, Sequence[Any]],
    measuring: Measuring,
    resume: bool,
    tell: Callable[[Mapping[str, Any]], None],
) -> Path | None:
    """Trains every objective at every grid point, measures all alike, and returns the report; None on other ranks.

    Raises:
        RunError: every run failed; the report says why.
    """
    from assent.training.arms import arms_of
    from assent.training.compare import claim, common_steps, first_rank, run_arms

    check_held_out(config)
    judge = judge_of(measuring.judge)
    steps = common_steps(config)
    arms = arms_of(config, specs, grid, steps)
    claim(Path(config.output_dir), resume)
    ended = run_arms(arms, tell)
    if not first_rank():
        return None
    profiles = measured(config, ended, measuring, judge, tell)
    report = reported(config, ended, profiles, shared_facts(config, steps, measuring), measuring, bool(grid))
    if not profiles:
        raise RunError(f"every run failed: {ended[0].error}; see {report}")
    return report


def reported(
    config: Any,
    ended: Sequence[Any],
    profiles: Mapping[str, Any],
    facts: Mapping[str, Any],
    measuring: Measuring,
    grid: bool,
) -> Path:
    """Writes the numbers and the report of a comparison."""
    from assent.report.comparison import comparison_report
    from assent.report.conflict import conflict_rows, summary
    from assent.report.label_noise import label_noise

    judged = measuring.judge is not None
    scores = {name: (one.win_rate if judged else one.by_log_ratio) for name, one in profiles.items()}
    groups: dict[str, list[float]] = {}
    for one in ended:
        found = scores.get(one.arm.name)
        groups.setdefault(one.arm.group, []).append(float("nan") if found is None else found.estimate)
    summaries = robustness_of(groups, measuring.near_best) if grid else {}
    runs = {
        one.arm.name: {
            "objective": one.arm.config.objective,
            "settings": dict(one.arm.settings),
            "steps": one.steps,
            "seconds": one.seconds,
            "error": one.error,
            "conflict": summary(conflict_rows(one.arm.folder)),
            "label_noise": label_noise(one.arm.folder),
            "measures": profiles[one.arm.name].to_dict() if one.arm.name in profiles else None,
        }
        for one in ended
    }
    table = {name: asdict(one) for name, one in summaries.items()}
    write_numbers(Path(config.output_dir) / NUMBERS, {**facts, "runs": runs, "robustness": table})
    failed = {one.arm.name: one.error for one in ended if one.error is not None}
    folders = {one.arm.name: one.arm.folder for one in ended if one.error is None}
    title = f"{len(groups)} objectives from one start"
    score = "win rate against the start" if judged else "held-out ranking accuracy by log-ratio"
    report = comparison_report(title, facts, profiles, failed, folders, summaries, score)
    return report.write(Path(config.output_dir) / REPORT)


def robustness_of(groups: Mapping[str, Sequence[float]], near_best: float) -> dict[str, Any]:
    """How much each objective's scores depend on its hyperparameters; failed runs are NaN."""
    from assent.evaluation.robustness import robustness

    known = [value for values in groups.values() for value in values if value == value]
    return {
        name: robustness(values, 0.5, max(known), near_best, min(0.5, *known))
        for name, values in groups.items()
        if any(value == value for value in values)
    }


def specs_of(compare: str | None, compare_file: Path | None) -> list[Any]:
    """The objectives of `--compare a,b,c` or of a YAML list."""
    if compare_file is not None:
        import yaml

        try:
            found = yaml.safe_load(compare_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError("cannot be read", where=str(compare_file), found=str(error)[:200]) from None
        if not isinstance(found, list) or not found:
            raise InputError(
                "not a list of objectives",
                where=str(compare_file),
                expected="- dpo\n- simpo: {beta: 2}",
            )
        return found
    return [name.strip() for name in (compare or "").split(",") if name.strip()]


def grid_of(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Values by key, of `beta=0.05,0.1` once or more."""
    from assent.config.reading import parse_value

    grid: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        parts = [parse_value(part) for part in values.split(",") if part.strip()]
        if not equals or not key.strip() or not parts or key.strip() in grid:
            raise InputError(
                "a grid is key=value,value", field="--grid", found=text, expected="beta=0.05,0.1,0.3, each key once"
            )
        grid[key.strip()] = parts
    return grid


def check_held_out(config: Any) -> None:
    """Raises where there would be nothing to measure on."""
    if config.data.eval is None:
        raise InputError(
            "a comparison is measured on held-out data, and none is held out",
            where=config.where("data"),
            field="data.eval",
            remedy="Add data.eval.split=0.1 to the command, or `eval: {split: 0.1}` under `data:`",
        )


def say(report: Path | None) -> None:
    """Prints where the outcome stands, on the rank that wrote it."""
    if report is None:
        return
    typer.echo(f"numbers: {report.with_suffix('.json')}")
    typer.echo(f"report: {report}")
