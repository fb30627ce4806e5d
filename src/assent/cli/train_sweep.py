"""`assent train --sweep-weights`: a run for each user weight, and a report of the front they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from assent.cli.measured_runs import Measuring, measured, shared_facts, write_numbers
from assent.cli.train_compare import REPORT, check_held_out, say, told
from assent.errors import InputError


def sweep_from_file(config: Any, text: str, measuring: Measuring, resume: bool, show: Any, run: Path) -> None:
    """The sweep that a run file and the options of the command describe."""
    with told(show, f'assent train {run} --sweep-weights "{text}" --resume'):
        say(sweep_weights(config, text, measuring, resume, show))


def sweep_weights(
    config: Any, text: str, measuring: Measuring, resume: bool, tell: Callable[[Mapping[str, Any]], None]
) -> Path | None:
    """Trains over user weights, measures each dimension alike, and returns the report; None on other ranks."""
    from assent.evaluation.pareto import hypervolume, non_dominated, reference_point
    from assent.objectives import build_objective
    from assent.report.conflict import conflict_rows, summary
    from assent.report.weight_sweep import sweep_report
    from assent.training.compare import claim, common_steps, first_rank, run_arms
    from assent.training.weight_sweep import weight_arms

    names, points = swept(text)
    terms = tuple(getattr(build_objective(config.objective), "terms", ()))
    if set(names) != set(terms):
        raise InputError(
            "the sweep does not name the objective's terms",
            field="--sweep-weights",
            found=", ".join(names),
            expected=", ".join(terms)
            or "an objective with several terms, as {raco: {dimensions: [quality, brevity]}}",
        )
    check_held_out(config)
    steps = common_steps(config)
    arms = weight_arms(config, names, points, steps)
    claim(Path(config.output_dir), resume)
    ended = run_arms(arms, tell)
    if not first_rank():
        return None
    profiles = measured(config, ended, measuring, None, tell, names)
    rows = [one for one in ended if one.arm.name in profiles]
    if not rows:
        raise InputError("every run of the sweep failed", where=config.output_dir, found=str(ended[0].error))
    scores = [[_accuracy(profiles[one.arm.name], name) for name in names] for one in rows]
    front, origin = non_dominated(scores), reference_point(scores)
    facts = {
        **shared_facts(config, steps, measuring),
        "gradients": arms[0].group,
        "hypervolume": hypervolume(scores, origin),
        "reference point": dict(zip(names, origin.tolist(), strict=True)),
    }
    runs = {
        one.arm.name: {
            "weights": dict(one.arm.settings),
            "scores": dict(zip(names, row, strict=True)),
            "on_front": at in front,
            "conflict": summary(conflict_rows(one.arm.folder)),
            "measures": profiles[one.arm.name].to_dict(),
        }
        for at, (one, row) in enumerate(zip(rows, scores, strict=True))
    }
    failed = {one.arm.name: one.error for one in ended if one.error is not None}
    write_numbers(Path(config.output_dir) / "comparison.json", {**facts, "runs": runs, "failed": failed})
    folders = {one.arm.name: one.arm.folder for one in rows}
    report = sweep_report(facts, names, runs, profiles, failed, folders)
    return report.write(Path(config.output_dir) / REPORT)


def swept(text: str) -> tuple[list[str], int]:
    """The terms and the number of points of `quality,brevity:5`."""
    listed, colon, count = text.rpartition(":")
    names = [name.strip() for name in listed.split(",") if name.strip()]
    if not colon or len(names) < 2 or len(set(names)) < len(names) or not count.strip().isdigit() or int(count) < 2:
        raise InputError(
            "a sweep names terms and a number of points",
            field="--sweep-weights",
            found=text,
            expected="quality,brevity:5 (weights in steps of 1/4)",
        )
    return names, int(count)


def _accuracy(profile: Any, name: str) -> float:
    if not profile.dimensions or name not in profile.dimensions:
        raise InputError(
            "no held-out comparison has differing scores in this dimension", field="data.eval", found=name
        )
    return float(profile.dimensions[name].estimate)
