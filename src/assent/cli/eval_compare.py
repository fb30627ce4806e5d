"""`assent eval compare`: two systems' answers, judged pair by pair, with what can be trusted of the result."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assent.cli import paid_work, shown
from assent.cli import work_options as o
from assent.cli.compare_trust import Tables, Trust, checked_second, own_names, rating_tables
from assent.cli.eval_scores import CAPTIONS
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
    rubric: o.RubricName = "helpful",
    mode: Annotated[How, typer.Option(help="How the rubric is asked.")] = How.pairwise,
    model: o.JudgeModel = None,
    endpoint: o.EndpointUrl = None,
    labels: o.Labels = False,
    reference: o.ReferenceModel = None,
    rule: o.RuleName = None,
    second_judge: Annotated[
        Path | None,
        typer.Option("--second", help="The same pairs judged by people or a second judge, to compare with."),
    ] = None,
    own: Annotated[
        str | None, typer.Option(help="Which system is the judge itself or of its family; default: by equal names.")
    ] = None,
    names: Annotated[str | None, typer.Option(help="The systems' names, as A,B; default: the files'.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the judged pairs as JSONL.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a report with every comparison to browse.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    max_tokens: o.JudgeTokens = 1024,
    concurrency: o.Concurrency = 16,
    timeout: o.Timeout = 120.0,
    key_variable: o.KeyVariable = "OPENAI_API_KEY",
    prices: o.Prices = None,
    price_prompt: o.PricePrompt = None,
    price_completion: o.PriceCompletion = None,
    budget: o.Budget = None,
    token_budget: o.TokenBudget = None,
    journal: Annotated[
        Path | None, typer.Option(help="SQLite file of what is judged; default FIRST.journal.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Joins two files by prompt, has every pair judged in both orders, and says who wins and how surely.

    Equal answers tie without a question. Shows the win rate with its interval, the sign test, the length-controlled
    rate, and how the judge behaves: how often both orders agree, whether it leans to the first or the longer answer,
    with --second how far it agrees with people or another judge, and whether it favours answers of its own. A rating
    mode (--mode critique) adds each system's mean rating by turn and category. The same command after an
    interruption goes on and pays for nothing twice.

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
    sides = [paid_work.read_comparisons(path) for path in (first, second)]
    joined = join(sides[0], sides[1], both)
    other = checked_second(second_judge)
    if own is not None and own not in both:
        raise InputError("no such system", field="own", found=own, expected=" or ".join(both))
    ledger = paid_work.ledger_of(model or "", prices, price_prompt, price_completion, budget, token_budget)
    place = journal or first.with_name(f"{first.name}.journal")
    with Journal(place) as kept:
        judge = open_judge(options, kept, ledger, Connection(concurrency, timeout, key_variable))
        judged = _judged(joined.pairs, judge, ledger if by is By.endpoint else None, mode is How.pairwise)
    if out is not None:
        paid_work.write_rows(out, judged)
    result = head_to_head(judged, seed=seed)
    trust = Trust.of(judge.name, judged, own_names(judge.name, own, sides, both), other, seed)
    ratings = rating_tables(judged, mode.value, seed)
    rows = [*summary(result, joined, judged, both), *trust.rows()]
    if as_json:
        detail = {"names": both, **asdict(result), "only_first": joined.only_first, "only_second": joined.only_second}
        if detail["orders"]:
            del detail["orders"]["outcomes"]
        detail |= {**asdict(trust), "ratings": dict(ratings)}
        typer.echo(json.dumps({**detail, **(ledger.summary() if by is By.endpoint else {})}, indent=1))
    else:
        shown.print_table(f"{both[0]} against {both[1]}", rows)
        for title, table in ratings:
            shown.print_table(title, table)
    if html is not None:
        _report(rows, ratings, judged, both, f"{judge.name}, {judge.criterion}").write(html)
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
            "had both answers the same length" if result.controlled else "too few pairs, or length decides all",
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


def _judged(pairs: list[Comparison], judge: Judge, ledger: Any, paired: bool) -> list[Comparison]:
    """The judged pairs; equal answers tie without a question where answers are compared, and are rated otherwise."""
    from assent.evaluation.head_to_head import identical, tied
    from assent.judging import apply

    found = {at: tied(pair) for at, pair in enumerate(pairs) if paired and identical(pair)}
    asked = [at for at in range(len(pairs)) if at not in found]
    with paid_work.progress("judge", len(asked), ledger) as step:
        for position, verdict in judge.judge([pairs[at] for at in asked]):
            found[asked[position]] = apply(pairs[asked[position]], verdict, judge)
            step()
    return [found[at] for at in range(len(pairs))]


def _report(
    rows: list[dict[str, str]], ratings: Tables, judged: list[Comparison], names: tuple[str, str], by: str
) -> Any:
    from assent.report import Report

    report = Report(f"{names[0]} against {names[1]}", f"judged by {by}")
    report.section("Result").table(rows, "Rates of the first system.")
    for title, table in ratings:
        report.section(title).table(table, CAPTIONS[title])
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


def _number(value: float | None, form: str) -> str:
    return "not known" if value is None else form.format(value)


def _share(value: float | None) -> str:
    return _number(None if value is None else 100 * value, "{:.0f}%")
