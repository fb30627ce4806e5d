"""`assent eval compare`: two systems' answers, judged pair by pair, with what can be trusted of the result."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assent.cli import paid_work
from assent.cli.judges import By, Connection, How, JudgeOptions, check_judge, open_judge
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.comparison import Comparison
    from assent.evaluation.head_to_head import HeadToHead, Joined
    from assent.judging import Judge


def register(group: typer.Typer) -> None:
    """Adds the command to `assent eval`."""
    group.command("compare")(compare)


def compare(
    first: Annotated[Path, typer.Argument(help="Answers of the first system, one per prompt.")],
    second: Annotated[Path, typer.Argument(help="Answers of the second system to the same prompts.")],
    by: Annotated[By, typer.Option("--judge", help="Who judges.")],
    rubric: Annotated[str, typer.Option(help="Built-in rubric, or the path of your own YAML file.")] = "helpful",
    mode: Annotated[How, typer.Option(help="How the rubric is asked.")] = How.pairwise,
    model: Annotated[str | None, typer.Option(help="Model folder, or the model's name at the endpoint.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="OpenAI-compatible base URL.")] = None,
    labels: Annotated[bool, typer.Option(help="Read the probability of the label in place of text.")] = False,
    reference: Annotated[str | None, typer.Option(help="scorer: reference of a policy's log-ratio.")] = None,
    rule: Annotated[str | None, typer.Option(help="rule: package.module:function.")] = None,
    names: Annotated[str | None, typer.Option(help="The systems' names, as A,B; default: the files'.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the judged pairs as JSONL.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a report with every comparison to browse.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Room for a judge's reasoning and answer.")] = 1024,
    concurrency: Annotated[int, typer.Option(min=1, help="Endpoint: requests in flight.")] = 16,
    timeout: Annotated[float, typer.Option(help="Endpoint: seconds until an answer counts as lost.")] = 120.0,
    key_variable: Annotated[str, typer.Option(help="Variable that holds the endpoint's key.")] = "OPENAI_API_KEY",
    price_prompt: Annotated[float | None, typer.Option(help="Money per million tokens read.")] = None,
    price_completion: Annotated[float | None, typer.Option(help="Money per million tokens written.")] = None,
    budget: Annotated[float | None, typer.Option(help="Stops before this much money is spent.")] = None,
    journal: Annotated[
        Path | None, typer.Option(help="SQLite file of what is judged; default FIRST.journal.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Joins two files by prompt, has every pair judged in both orders, and says who wins and how surely.

    Equal answers tie without a question. Shows the win rate with its interval, the sign test, the length-controlled
    rate, and how the judge behaves: how often both orders agree, whether it leans to the first or the longer answer.
    The same command after an interruption goes on and pays for nothing twice.

    Example:

      assent eval compare mine.jsonl theirs.jsonl --judge endpoint --endpoint http://localhost:8000/v1 --model judge
    """
    from assent.evaluation.head_to_head import head_to_head, join
    from assent.judging import load_rubric
    from assent.work.journal import Journal

    if out is not None:
        paid_work.refuse_existing(out)
    asked = load_rubric(rubric)
    options = JudgeOptions(
        by, asked, mode, model, endpoint, labels, reference, rule=rule, max_tokens=max_tokens, seed=seed
    )
    if by is By.person:
        raise InputError("a person judges files", field="judge", remedy="Use `assent judge --judge person`")
    check_judge(options)
    both = _names(names, first, second)
    joined = join(paid_work.read_comparisons(first), paid_work.read_comparisons(second), both)
    ledger = paid_work.ledger_of(model or "", None, price_prompt, price_completion, budget, None)
    place = journal or first.with_name(f"{first.name}.journal")
    with Journal(place) as kept:
        judge = open_judge(options, kept, ledger, Connection(concurrency, timeout, key_variable))
        judged = _judged(joined.pairs, judge, ledger if by is By.endpoint else None)
    if out is not None:
        paid_work.write_rows(out, judged)
    result = head_to_head(judged, seed=seed)
    rows = summary(result, joined, judged, both)
    if as_json:
        detail = {"names": both, **asdict(result), "only_first": joined.only_first, "only_second": joined.only_second}
        if detail["orders"]:
            del detail["orders"]["outcomes"]
        typer.echo(json.dumps({**detail, **(ledger.summary() if by is By.endpoint else {})}, indent=1))
    else:
        _print(rows, both)
    if html is not None:
        _report(rows, judged, both, f"{judge.name}, {judge.criterion}").write(html)
        typer.echo(f"report: {html}", err=True)


def summary(
    result: HeadToHead, joined: Joined, judged: list[Comparison], names: tuple[str, str]
) -> list[dict[str, str]]:
    """The numbers as rows of `measure`, `value` and `meaning`, for the terminal and the report."""
    from assent.evaluation.head_to_head import statuses

    rate, orders = result.rate, result.orders
    rows = [
        ("win rate", f"{rate.win_rate:.1f}% [{result.interval.low:.1f}, {result.interval.high:.1f}]", "95% interval"),
        ("wins, ties, losses", f"{rate.wins}, {rate.ties}, {rate.losses}", f"of {names[0]}"),
        ("sign test", _number(result.sign_test, "p = {:.3g}"), "wins against losses, two-sided, ties left out"),
        (
            "length-controlled",
            _number(result.controlled.win_rate if result.controlled else None, "{:.1f}%"),
            "had both answers the same length",
        ),
        ("mean characters", f"{result.lengths[0]:.0f} against {result.lengths[1]:.0f}", "of the answers"),
        ("equal answers", str(result.identical), "ties without a question"),
        ("only in one file", f"{joined.only_first} and {joined.only_second}", "left out: no partner"),
        ("verdicts", ", ".join(f"{name} {count}" for name, count in statuses(judged).items()), ""),
        ("unjudged", f"{rate.unjudged}", f"the rate is {rate.lowest:.1f}% to {rate.highest:.1f}% with them"),
    ]
    if orders is not None:
        rows += [
            ("both orders agree", _share(orders.consistency), "of the pairs asked in both orders"),
            ("leans to the first", _share(orders.biased_to_first), "named the answer shown first, both times"),
            ("leans to the second", _share(orders.biased_to_second), "named the answer shown second, both times"),
        ]
    if result.names_longer is not None:
        value, interval = result.names_longer
        text = f"{100 * value:.0f}% [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"
        rows.append(("names the longer", text, "of the decided pairs of different length"))
    return [{"measure": measure, "value": value, "meaning": meaning} for measure, value, meaning in rows]


def _judged(pairs: list[Comparison], judge: Judge, ledger: Any) -> list[Comparison]:
    from assent.evaluation.head_to_head import identical, tied
    from assent.judging import apply

    found = {at: tied(pair) for at, pair in enumerate(pairs) if identical(pair)}
    asked = [at for at in range(len(pairs)) if at not in found]
    with paid_work.progress("judge", len(asked), ledger) as step:
        for position, verdict in judge.judge([pairs[at] for at in asked]):
            found[asked[position]] = apply(pairs[asked[position]], verdict, judge)
            step()
    return [found[at] for at in range(len(pairs))]


def _report(rows: list[dict[str, str]], judged: list[Comparison], names: tuple[str, str], by: str) -> Any:
    from assent.report import Report

    report = Report(f"{names[0]} against {names[1]}", f"judged by {by}")
    report.section("Result").table(rows, "Rates of the first system.")
    report.section("Comparisons").comparisons(judged, "Each pair with its verdict, the preferred answer first.")
    return report


def _names(given: str | None, first: Path, second: Path) -> tuple[str, str]:
    if given is None:
        names = (first.name.partition(".")[0], second.name.partition(".")[0])
        return names if names[0] != names[1] else (str(first), str(second))
    parts = [part.strip() for part in given.split(",")]
    if len(parts) != 2 or not all(parts) or parts[0] == parts[1]:
        raise InputError("two different names are needed", field="names", found=given, expected="A,B")
    return parts[0], parts[1]


def _print(rows: list[dict[str, str]], names: tuple[str, str]) -> None:
    safe = ["".join(ch if ch.isprintable() else "?" for ch in name) for name in names]
    table = Table(title=Text(f"{safe[0]} against {safe[1]}"))
    for column in ("measure", "value", "meaning"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[name]) for name in ("measure", "value", "meaning")))
    Console().print(table)


def _number(value: float | None, form: str) -> str:
    return "not known" if value is None else form.format(value)


def _share(value: float | None) -> str:
    return _number(None if value is None else 100 * value, "{:.0f}%")
