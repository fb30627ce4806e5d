"""`assent train --compare` and `--sweep-weights`: several runs under one budget, and one report of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from assent.errors import InputError

REPORT, NUMBERS = "comparison.html", "comparison.json"


@dataclass(frozen=True)
class Measuring:
    """How the runs are measured, as the options of the command say.

    Args:
        judge: `package.module:function`, or a folder of a preference model.
        prompts: held-out prompts that are answered.
        samples: answers to each.
        max_new_tokens: longest answer.
        near_best: share of the best score that a run may fall short and still count as near it.
    """

    judge: str | None = None
    prompts: int = 64
    samples: int = 1
    max_new_tokens: int = 128
    near_best: float = 0.05


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
) -> Path:
    """Trains every objective at every grid point, measures all alike, and returns the report."""
    from assent.evaluation.robustness import robustness
    from assent.report.comparison import comparison_report
    from assent.training.compare import arms_of, claim, common_steps, run_arms

    check_held_out(config)
    judge = judge_of(measuring.judge)
    steps = common_steps(config)
    arms = arms_of(config, specs, grid, steps)
    claim(Path(config.output_dir), resume)
    ended = run_arms(arms, tell)
    profiles = measured(config, ended, measuring, judge, tell)
    failed = {one.arm.name: one.error for one in ended if one.error is not None}
    measured_by = "win rate against the start" if judge is not None else "held-out ranking accuracy by log-ratio"
    scores = {
        name: (profile.win_rate if judge is not None else profile.by_log_ratio) for name, profile in profiles.items()
    }
    groups: dict[str, list[float]] = {}
    for one in ended:
        found = scores.get(one.arm.name)
        groups.setdefault(one.arm.group, []).append(float("nan") if found is None else found.estimate)
    known = [value for values in groups.values() for value in values if value == value]
    summaries = {
        name: robustness(values, 0.5, max(known), measuring.near_best, min(0.5, *known))
        for name, values in groups.items()
        if grid and any(value == value for value in values)
    }
    facts = shared_facts(config, steps, measuring)
    runs = {
        one.arm.name: {
            "objective": one.arm.config.objective,
            "settings": dict(one.arm.settings),
            "steps": one.steps,
            "seconds": one.seconds,
            "error": one.error,
            "measures": profiles[one.arm.name].to_dict() if one.arm.name in profiles else None,
        }
        for one in ended
    }
    write_numbers(
        Path(config.output_dir) / NUMBERS,
        {**facts, "runs": runs, "robustness": {name: asdict(one) for name, one in summaries.items()}},
    )
    folders = {one.arm.name: one.arm.folder for one in ended if one.error is None}
    title = f"{len(groups)} objectives from one start"
    report = comparison_report(title, facts, profiles, failed, folders, summaries, measured_by)
    return report.write(Path(config.output_dir) / REPORT)


def measured(
    config: Any,
    ended: Sequence[Any],
    measuring: Measuring,
    judge: Any,
    tell: Callable[[Mapping[str, Any]], None],
    dimensions: Sequence[str] = (),
) -> dict[str, Any]:
    """The profile of every run that did not fail, by name; one that was measured alike before is read."""
    from assent.comparison import content_key
    from assent.evaluation.policy_profile import Drawing, held_out_of, profile, profile_from, snapshot
    from assent.likelihood.loading import load_tokenizer
    from assent.objectives import Needs
    from assent.training.compare import MEASURED, policy_of_run, start_policy
    from assent.training.data import encoder_of, read_records

    records = read_records(config)
    tokenizer = load_tokenizer(
        config.model.path,
        trust_remote_code=config.model.trust_remote_code,
        revision=config.model.revision,
        tokenizer=config.model.tokenizer,
    )
    everything = [one for part in records.evaluation.values() for one in part]
    held_out = held_out_of(everything, encoder_of(config, tokenizer, Needs()), measuring.prompts, dimensions)
    drawing = Drawing(measuring.samples, measuring.max_new_tokens, config.seed)
    how = content_key([asdict(measuring), list(dimensions), [one.key for one in everything]])
    found: dict[str, Any] = {}
    missing = []
    for one in ended:
        place = one.arm.folder / MEASURED
        facts = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
        if facts.get("key") == content_key([how, one.arm.key]):
            found[one.arm.name] = profile_from(facts["measures"])
        elif one.error is None:
            missing.append(one)
    if missing:
        tell(
            {"event": "stage", "text": f"measuring {len(missing)} runs on {len(held_out.comparisons):,} comparisons"}
        )
        start = start_policy(config)
        before = snapshot(start, tokenizer, held_out, drawing)
    for one in missing:
        policy = policy_of_run(one.arm)
        measures, _ = profile(policy, start, tokenizer, held_out, before, drawing, judge)
        found[one.arm.name] = measures
        write_numbers(
            one.arm.folder / MEASURED,
            {"key": content_key([how, one.arm.key]), "measures": measures.to_dict()},
        )
        del policy
        tell({"event": "stage", "text": f"measured {one.arm.name}: KL {measures.kl} nats"})
    return {one.arm.name: found[one.arm.name] for one in ended if one.arm.name in found}


def judge_of(name: str | None) -> Any:
    """The judge that an option names: a function as `package.module:function`, or a folder with a scorer."""
    if name is None:
        return None
    if Path(name).is_dir():
        from assent.cli.score import opened, scorer_options
        from assent.judging.scorers import ScorerJudge

        return ScorerJudge(opened(name, scorer_options(beta=1.0)))
    if ":" not in name:
        raise InputError(
            "no such judge",
            field="--judge",
            found=name,
            expected="package.module:function, or the folder of a preference model",
        )
    from assent.judging.rule import rule_judge

    return rule_judge(name)


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


def shared_facts(config: Any, steps: int, measuring: Measuring) -> dict[str, Any]:
    """What all runs have in common, for reports."""
    return {
        "start": config.model.path,
        "optimizer steps of each run": steps,
        "seed": config.seed,
        "judge": measuring.judge or "none",
        "prompts answered": measuring.prompts,
        "longest answer, tokens": measuring.max_new_tokens,
    }


def write_numbers(path: Path, values: Mapping[str, Any]) -> None:
    """Writes JSON that any reader takes: what is not a finite number is null."""
    from assent.training.checkpoints import write_json

    write_json(path, _finite(values))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not -float("inf") < value < float("inf") else value


def check_held_out(config: Any) -> None:
    """Raises where there would be nothing to measure on."""
    if config.data.eval is None:
        raise InputError(
            "a comparison is measured on held-out data, and none is held out",
            where=config.where("data"),
            field="data.eval",
            remedy="Add data.eval.split=0.1 to the command, or `eval: {split: 0.1}` under `data:`",
        )


def say(report: Path) -> None:
    """Prints where the outcome stands."""
    typer.echo(f"numbers: {report.with_suffix('.json')}")
    typer.echo(f"report: {report}")
