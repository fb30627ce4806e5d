"""`assent eval preference-model`: benchmarks by their published rules, or everything about judged comparisons."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from assent.cli.judge_models import (
    JudgeAsked,
    JudgeConcurrency,
    JudgeJournal,
    JudgeLabels,
    JudgeMode,
    JudgeModel,
    JudgeRubric,
    JudgeTokens,
    verdict_line,
)
from assent.cli.number_tables import print_numbers, tables_of
from assent.cli.score import opened, scorer_options
from assent.errors import InputError

BENCHMARKS = ("rewardbench", "rewardbench2", "rm-bench", "rag-rewardbench")


def register(group: typer.Typer) -> None:
    """Adds the command to `assent eval`."""
    group.command("preference-model")(preference_model)


def preference_model(
    files: Annotated[
        list[Path], typer.Argument(help="Judged comparisons; with --benchmark, its files in the published schema.")
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Folder of a preference model, reward head or language model; rrr:<encoder folder>; "
            "judge:<endpoint or folder>; or rule:package.module:function."
        ),
    ],
    benchmark: Annotated[str | None, typer.Option(help=f"One of {', '.join(BENCHMARKS)}.")] = None,
    legacy_xstest: Annotated[
        bool, typer.Option(help="RewardBench before September 2024: the xstest counts exchanged.")
    ] = False,
    bins: Annotated[int, typer.Option(min=1, help="Bins of the reliability diagram.")] = 10,
    gold: Annotated[
        str | None, typer.Option(help="Name of the score taken as true reward: adds a best-of-n curve.")
    ] = None,
    votes: Annotated[
        float | None,
        typer.Option(min=0.5, max=1, help="With --reference: share of raters for pairs without a confidence."),
    ] = None,
    smallest_cell: Annotated[int, typer.Option(min=1, help="Pairs below which an annotator is not named.")] = 10,
    reference: Annotated[str | None, typer.Option(help="Reference of an implicit reward: a model folder.")] = None,
    beta: Annotated[float, typer.Option(help="Scale of an implicit reward; calibration depends on it.")] = 1.0,
    max_length: Annotated[int | None, typer.Option(min=2, help="Longest candidate in tokens.")] = None,
    truncate: Annotated[
        str, typer.Option(help="For longer ones: prompt_left, completion_right or drop.")
    ] = "prompt_left",
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens that are computed at once.")] = 16_384,
    chat_template: Annotated[str | None, typer.Option(help="Template in place of the tokenizer's own.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the weights, such as bfloat16.")] = None,
    judge_model: JudgeModel = None,
    rubric: JudgeRubric = "helpful",
    mode: JudgeMode = None,
    labels: JudgeLabels = False,
    journal: JudgeJournal = None,
    concurrency: JudgeConcurrency = 16,
    token_budget: JudgeTokens = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the numbers as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write an HTML report with the reliability diagram.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Measures a preference model.

    On judged comparisons: accuracy with intervals by group and annotator, calibration (ECE, reliability, fitted
    temperature), cycles, length, position and style bias, agreement beyond chance, and use of the criterion where
    verdicts flip with it; for a policy with --reference its ranking accuracy, the best that training could reach
    (where --votes or confidences say how raters voted) and how hard its pairs are. With --benchmark: the published
    numbers by the published rules; a tie is wrong.

    Examples:

      assent eval preference-model prefs.jsonl --model reward-model --html report.html

      assent eval preference-model filtered.parquet --model reward-model --benchmark rewardbench

      assent eval preference-model prefs.jsonl --model judge:http://localhost:8000/v1 --judge-model my-judge
    """
    from assent.evaluation.preference_report import ReportOptions

    options = scorer_options(
        reference=reference,
        beta=beta,
        max_length=max_length,
        truncate=truncate,
        batch_tokens=batch_tokens,
        chat_template=chat_template,
        dtype=dtype,
    )
    if benchmark is not None and benchmark not in BENCHMARKS:
        raise InputError("unknown benchmark", field="--benchmark", found=benchmark, expected=", ".join(BENCHMARKS))
    for path in files:
        if not path.is_file():
            raise InputError("no such file", where=str(path))
    kept = journal or (out or files[0]).with_name(f"{(out or files[0]).name}.journal")
    judge = JudgeAsked(kept, judge_model, rubric, mode, labels, concurrency, token_budget)
    scorer = opened(model, options, judge)
    if benchmark is not None:
        numbers = benchmark_numbers(benchmark, files, scorer, legacy_xstest)
    else:
        numbers = _comparison_numbers(files, scorer, ReportOptions(bins, gold, smallest_cell, seed, votes, beta))
    said = verdict_line(scorer)
    if said is not None:
        typer.echo(f"{said}; its answers are kept in {kept}", err=True)
    numbers = {"model": model, "benchmark": benchmark, **numbers}
    text = json.dumps(_without_nan(numbers), indent=1)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
    if as_json:
        typer.echo(text)
    else:
        print_numbers(numbers)
    if html is not None:
        _write_html(numbers, html)
        typer.echo(f"report: {html}", err=True)


def benchmark_numbers(name: str, files: list[Path], scorer: Any, legacy_xstest: bool) -> dict[str, Any]:
    """The published numbers of a benchmark, as plain data."""
    from assent.evaluation.benchmark_rows import benchmark_rows
    from assent.evaluation.rag_rewardbench import rag_rewardbench
    from assent.evaluation.rewardbench import rewardbench
    from assent.evaluation.rewardbench2 import rewardbench2
    from assent.evaluation.rm_bench import rm_bench

    rows = benchmark_rows(files)
    if name == "rewardbench":
        return asdict(rewardbench(scorer, rows, legacy_xstest))
    found: Any = {"rewardbench2": rewardbench2, "rm-bench": rm_bench, "rag-rewardbench": rag_rewardbench}[name]
    return asdict(found(scorer, rows))


def _comparison_numbers(files: list[Path], scorer: Any, options: Any) -> dict[str, Any]:
    from assent.evaluation.preference_report import preference_report
    from assent.readers import read

    comparisons = [comparison for path in files for comparison in read(path).comparisons]
    scored = []
    with Console(stderr=True).status("scoring") as status:
        for start in range(0, len(comparisons), 128):
            scored += scorer.score(comparisons[start : start + 128])
            status.update(f"scored {len(scored)} of {len(comparisons)}")
    return preference_report(comparisons, scored, options)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: such a number is null."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_html(numbers: Mapping[str, Any], path: Path) -> None:
    from assent.report import Report, line_chart

    report = Report("Preference model", str(numbers["model"]))
    calibrated = numbers.get("calibration")
    if calibrated and calibrated["bins"]:
        bins = calibrated["bins"]
        confidence = [one["confidence"] for one in bins]
        report.section("Reliability")
        report.figure(
            line_chart(
                {"model": (confidence, [one["accuracy"] for one in bins]), "calibrated": ([0.5, 1.0], [0.5, 1.0])},
                "confidence",
                "accuracy",
            ),
            f"ECE {calibrated['ece']:.3f}; fitted temperature {calibrated['temperature']:.3g}.",
        )
    curve = numbers.get("best_of_n")
    if curve:
        report.section("Best of n")
        kl = [math.sqrt(point["kl"]) for point in curve]
        gold = {
            "by the model": (kl, [point["gold"]["estimate"] for point in curve]),
            "by the true reward": (kl, [point["oracle"] for point in curve]),
        }
        report.figure(line_chart(gold, "square root of KL (nats)", "true reward"), "Over-optimisation.")
    for title, rows in tables_of(numbers).items():
        report.section(title)
        report.table(rows)
    report.write(path)
