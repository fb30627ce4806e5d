"""The report of a training run, from the files in its folder: nothing is measured again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure
from matplotlib.image import imread

from assent.errors import InputError
from assent.report.conflict import add_conflict
from assent.report.figures import line_chart
from assent.report.label_noise import add_label_noise
from assent.report.page import Report
from assent.report.rows import read_lines

Rows = Sequence[Mapping[str, Any]]

CURVES: Mapping[str, tuple[str, ...]] = {
    "Loss": ("loss", "eval_loss"),
    "Rewards": ("rewards/chosen", "rewards/rejected", "rewards/margins"),
    "Share of pairs ranked right": ("rewards/accuracies", "eval_rewards/accuracies"),
    "Log-probability of a completion, nats": ("logps/chosen", "logps/rejected"),
    "Gradient norm": ("grad_norm",),
    "Learning rate": ("learning_rate",),
}
"""Which metrics share a plot; metrics of an objective's own get a plot by their prefix."""

CLOCKS = ("step", "epoch", "total_flos", "train_runtime", "eval_runtime")
"""Metrics that only grow or only say how long something took: in the table, not in a plot."""


def write_run_report(run_folder: Path) -> Path:
    """Writes `report.html` into a run folder and returns its path.

    It reads `config.resolved.yaml`, `versions.json`, `data.json`, `metrics.jsonl` and, where there is one,
    `samples.jsonl` (rows of `prompt`, `before`, `after`). A file that is missing is named in the report.
    """
    if not run_folder.is_dir():
        raise InputError(
            "not a run folder", where=str(run_folder), remedy="Give the `output_dir` of a run of `assent train`"
        )
    config = _read_yaml(run_folder / "config.resolved.yaml")
    metrics, unreadable = read_lines(run_folder / "metrics.jsonl")
    report = Report(f"Run {run_folder.resolve().name}", _subtitle(config))
    report.headlines(_headlines(metrics))
    if unreadable:
        report.callout(f"{unreadable} line(s) of metrics.jsonl could not be read: the run was cut off while writing.")
    _add_curves(report, metrics)
    add_conflict(report, {run_folder.resolve().name: run_folder})
    samples, _ = read_lines(run_folder / "samples.jsonl")
    if samples:
        report.section("Samples").samples(samples, "The same prompts, before and after training.")
    _add_pictures(report, run_folder / "pictures")
    add_label_noise(report, run_folder)
    _add_facts(report.section("Data"), _read_json(run_folder / "data.json"), "data.json")
    _add_config(report.section("Configuration"), run_folder / "config.resolved.yaml")
    _add_facts(report.section("Versions"), _read_json(run_folder / "versions.json"), "versions.json")
    return report.write(run_folder / "report.html")


def _add_pictures(report: Report, folder: Path) -> None:
    """Pictures drawn before and after training, from the same prompts and seeds."""
    found = [name for name in ("before", "after") if (folder / f"{name}.png").is_file()]
    if not found:
        return
    figure = Figure(figsize=(6.4, 1.9 * len(found)))
    for axes, name in zip(np.atleast_1d(figure.subplots(len(found), 1)), found, strict=True):
        axes.imshow(imread(folder / f"{name}.png"), interpolation="nearest")
        axes.set_title(name, fontsize=9, loc="left")
        axes.axis("off")
    prompts = _read_json(folder / "prompts.json")
    listed = "; ".join(str(prompt)[:80] for prompt in prompts) if isinstance(prompts, list) else ""
    report.section("Pictures").photographs(figure, f"The same prompts and seeds, from left to right: {listed}")


def read_metrics(run_folder: Path, key: str) -> tuple[list[float], list[float]]:
    """The steps and values of one metric of a run; empty where it was not logged."""
    points = _series(read_lines(run_folder / "metrics.jsonl")[0], key)
    return [step for step, _ in points], [value for _, value in points]


def _subtitle(config: Mapping[str, Any]) -> str:
    model, objective = config.get("model"), config.get("objective")
    if isinstance(objective, Mapping):
        objective = ", ".join(map(str, objective))
    return " aligned with ".join(str(part) for part in (model, objective) if part)


def _headlines(metrics: Rows) -> list[dict[str, Any]]:
    """The last value of what one looks at first, beside the first value."""
    named = {
        "loss": "Loss",
        "rewards/accuracies": "Pairs ranked right",
        "rewards/margins": "Reward margin, nats",
        "eval_loss": "Held-out loss",
        "eval_rewards/accuracies": "Held-out pairs ranked right",
    }
    rows = [{"label": "Optimizer steps", "value": max((int(row.get("step", 0)) for row in metrics), default=0)}]
    for key, label in named.items():
        values = [value for _, value in _series(metrics, key)]
        if values:
            rows.append({"label": label, "value": values[-1], "detail": f"at first {values[0]:.4g}"})
    return rows


def _add_curves(report: Report, metrics: Rows) -> None:
    if not metrics:
        report.section("Curves").text("No metrics were written: metrics.jsonl is missing or empty.")
        return
    report.section("Curves")
    drawn: set[str] = set()
    for title, keys in _plots(metrics).items():
        lines = {key: _series(metrics, key) for key in keys}
        lines = {key: points for key, points in lines.items() if points}
        drawn |= set(lines)
        if lines:
            series = {key: ([x for x, _ in points], [y for _, y in points]) for key, points in lines.items()}
            report.figure(line_chart(series, "step", title), title)
    others = [
        {"metric": key, "first": points[0][1], "last": points[-1][1]}
        for key in dict.fromkeys(key for row in metrics for key in row)
        if key not in drawn and (points := _series(metrics, key)) and key != "step"
    ]
    if others:
        report.table(others, "Other metrics")


def _plots(metrics: Rows) -> dict[str, tuple[str, ...]]:
    """The fixed plots, then one for every other prefix `name/...` of the metrics, those of conflict apart."""
    plots = dict(CURVES)
    known = {key for keys in CURVES.values() for key in keys}
    for key in dict.fromkeys(key for row in metrics for key in row):
        prefix = key.removeprefix("eval_").split("/")[0]
        if "/" in key and key not in known and key not in CLOCKS and prefix != "gradients":
            plots[prefix] = (*plots.get(prefix, ()), key)
    return plots


def _series(metrics: Rows, key: str) -> list[tuple[float, float]]:
    return [
        (float(row.get("step", index)), float(row[key]))
        for index, row in enumerate(metrics)
        if isinstance(row.get(key), int | float)
    ]


def _add_facts(report: Report, facts: Any, name: str) -> None:
    """Names and values; what is nested deeper than a reader can take in one line stands folded below."""
    if not facts:
        report.text(f"{name} was not written.")
        return
    if isinstance(facts, Mapping):
        short = {key: value for key, value in facts.items() if not isinstance(value, Mapping | list)}
        report.key_values(short)
        if len(short) == len(facts):
            return
    report.code(json.dumps(facts, indent=2, ensure_ascii=False), name)


def _add_config(report: Report, path: Path) -> None:
    if path.is_file():
        report.code(path.read_text(encoding="utf-8", errors="replace"), path.name)
    else:
        report.text(f"{path.name} was not written.")


def _read_yaml(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8", errors="replace"))
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, Mapping) else {}


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except json.JSONDecodeError:
        return None
