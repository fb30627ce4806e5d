"""`assent judge`: verdicts by an endpoint, a model, a scorer, a rule or a person, written into the records."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assent.cli import paid_work
from assent.cli import work_options as o
from assent.cli.judges import (
    By,
    Connection,
    How,
    JudgeOptions,
    asking_of_options,
    check_judge,
    label_mode,
    open_judge,
)
from assent.cli.sharded_work import Engine, run_sharded
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.comparison import Comparison
    from assent.generation import Ledger
    from assent.judging import Judge


class OnInvalid(StrEnum):
    """What happens to rows that cannot be read."""

    error = "error"
    quarantine = "quarantine"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("judge")(judge)


def judge(
    data: Annotated[Path, typer.Argument(help="Comparisons, such as those that `assent generate` wrote.")],
    out: Annotated[Path, typer.Argument(help="The same comparisons with the verdicts in them.")],
    by: Annotated[By, typer.Option("--judge", help="Who judges.")],
    rubric: o.RubricName = "helpful",
    mode: Annotated[How | None, typer.Option(help="How it is asked; default: as the rubric says.")] = None,
    model: o.JudgeModel = None,
    endpoint: o.EndpointUrl = None,
    labels: o.Labels = False,
    reference: o.ReferenceModel = None,
    beta: Annotated[float, typer.Option(help="scorer: scale of the log-ratio.")] = 1.0,
    rule: o.RuleName = None,
    form: Annotated[
        Path | None, typer.Option(help="person: CSV to fill in; written first, read when it is there.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the records' annotator says.")] = None,
    one_order: Annotated[bool, typer.Option(help="Ask each pair once, in a random order, not in both.")] = False,
    repair: Annotated[bool, typer.Option(help="Ask once more where an answer cannot be read.")] = True,
    max_tokens: o.JudgeTokens = 1024,
    seed: Annotated[int, typer.Option(help="Seed of shuffled orders.")] = 0,
    concurrency: o.Concurrency = 16,
    timeout: o.Timeout = 120.0,
    key_variable: o.KeyVariable = "OPENAI_API_KEY",
    prices: o.Prices = None,
    price_prompt: o.PricePrompt = None,
    price_completion: o.PriceCompletion = None,
    budget: o.Budget = None,
    token_budget: o.TokenBudget = None,
    journal: o.JournalFile = None,
    dry_run: o.DryRun = False,
    on_invalid: Annotated[
        OnInvalid, typer.Option(help="Rows that cannot be read: stop, or set them aside with the reason.")
    ] = OnInvalid.error,
    trust_remote_code: o.TrustRemoteCode = False,
    engine: o.EngineName = Engine.process,
    workers: o.Workers = None,
    rank: o.Rank = None,
    gpus: o.Gpus = 0,
    shard_size: o.ShardSize = 256,
) -> None:
    """Judges every comparison once; resumable, both orders by default, unreadable verdicts marked and counted.

    Scores, annotator (the judge) and context (the rubric) are written into the records; `meta.judgement` says what
    became of each. A record without a verdict is kept, marked `unparsed`, `failed` or `waiting`, without scores.
    """
    settings = {name: value for name, value in locals().items() if name not in ("data", "out")}
    from assent.judging import load_rubric
    from assent.work.journal import Journal

    paid_work.refuse_existing(out)
    if (engine is not Engine.process or rank is not None) and not dry_run:
        if by is By.person:
            raise InputError("a person fills one form", field="engine", remedy="Leave out --engine and --rank")
        run_sharded("assent.cli.judge:judge", data, out, settings)
        return
    asked = load_rubric(rubric)
    comparisons = paid_work.read_comparisons(data, on_invalid.value)
    options = JudgeOptions(
        by, asked, mode, model, endpoint, labels, reference, beta, rule, form, one_order, repair, max_tokens, seed
    )
    check_judge(options)
    ledger = paid_work.ledger_of(model or "", prices, price_prompt, price_completion, budget, token_budget)
    if by is By.person:
        _person(options, comparisons, out, name)
        return
    if dry_run:
        typer.echo(json.dumps(_estimate(options, comparisons, ledger), indent=1))
        return
    place = journal or out.with_name(f"{out.name}.journal")
    with Journal(place) as kept:
        connection = Connection(concurrency, timeout, key_variable)
        chosen = open_judge(options, kept, ledger, connection, trust_remote_code)
        chosen.name = name or chosen.name
        _run(chosen, comparisons, out, place, ledger if by is By.endpoint else None)


def _person(options: JudgeOptions, comparisons: list[Comparison], out: Path, name: str | None) -> None:
    from assent.judging.person import PersonJudge

    assert options.form is not None
    person = PersonJudge(options.form, options.rubric, name or "person", options.seed)
    if not options.form.exists():
        count = person.write(comparisons)
        paid_work.say(f"{count} rows to fill in: {options.form}; then run the same command again")
        return
    _run(person, comparisons, out, options.form, None)


def _run(judge: Judge, comparisons: list[Comparison], out: Path, journal: Path, ledger: Ledger | None) -> None:
    from assent.judging import Tally, apply

    tally = Tally()
    found: dict[int, Comparison] = {}
    total = len(comparisons)
    with paid_work.saving(out, found, total, journal), paid_work.progress("judge", total, ledger) as step:
        for index, verdict in judge.judge(comparisons):
            found[index] = apply(comparisons[index], verdict, judge)
            tally.add(verdict)
            step()
    paid_work.write_rows(out, (found[index] for index in sorted(found)))
    summary = {"records": len(found), **tally.summary(), "out": str(out)}
    typer.echo(json.dumps({**summary, **(ledger.summary() if ledger else {})}, indent=1))


def _estimate(options: JudgeOptions, comparisons: list[Comparison], ledger: Ledger) -> dict[str, Any]:
    from assent.generation import Request

    if options.by in (By.scorer, By.rule):
        return {"records": len(comparisons), "requests": 0}
    mode = f"{label_mode(options)}_label" if options.labels else None
    asking = asking_of_options(options)
    requests = [
        Request([{"role": "user", "content": question.text}], 1 if mode else options.max_tokens, temperature=0)
        for comparison in comparisons
        for question in asking.questions(comparison)
    ]
    found = paid_work.estimate(requests, ledger)
    return found if options.by is By.endpoint else {"records": len(comparisons), "questions": len(requests)}
