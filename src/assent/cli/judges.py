"""From the command line's options to a judge: who it is, what it needs, and how its answers are kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assent.cli import paid_work
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.generation import EndpointClient, Ledger
    from assent.judging import Judge, Rubric
    from assent.work.journal import Journal


class By(StrEnum):
    """Who judges."""

    endpoint = "endpoint"
    model = "model"
    scorer = "scorer"
    rule = "rule"
    person = "person"


class How(StrEnum):
    """How a rubric is asked."""

    pairwise = "pairwise"
    pointwise = "pointwise"
    listwise = "listwise"
    checklist = "checklist"
    critique = "critique"


@dataclass(frozen=True)
class JudgeOptions:
    """What the command line says of a judge; see `judge` for each."""

    by: By
    rubric: Rubric
    mode: How | None = None
    model: str | None = None
    endpoint: str | None = None
    labels: bool = False
    reference: str | None = None
    beta: float = 1.0
    rule: str | None = None
    form: Path | None = None
    one_order: bool = False
    repair: bool = True
    max_tokens: int = 1024
    seed: int = 0


@dataclass(frozen=True)
class Connection:
    """How an endpoint is spoken to."""

    concurrency: int = 16
    timeout: float = 120.0
    key_variable: str = "OPENAI_API_KEY"


def open_judge(
    options: JudgeOptions, kept: Journal, ledger: Ledger, connection: Connection, trust_remote_code: bool = False
) -> Judge:
    """The judge that the options describe, its answers kept in the journal."""
    if options.by is By.endpoint:
        return _paid(options, _client(options, kept, ledger, connection))
    return _kept(_unpaid(options, trust_remote_code), options, kept)


def check_judge(options: JudgeOptions) -> None:
    """What each judge needs, said before anything is loaded."""
    needed = {
        By.endpoint: ("endpoint", "model"),
        By.model: ("model",),
        By.scorer: ("model",),
        By.rule: ("rule",),
        By.person: ("form",),
    }[options.by]
    for name in needed:
        if getattr(options, name) is None:
            raise InputError(f"--judge {options.by} needs --{name}", field=name)
    if options.labels and options.by not in (By.endpoint, By.model):
        raise InputError(f"--judge {options.by} reads no labels", field="labels")
    wanted = (options.mode or How(options.rubric.mode)).value
    if wanted == "checklist" and not options.rubric.asked:
        raise InputError("the rubric has no checklist", field="mode", found=options.rubric.name)
    if options.labels and wanted not in ("pairwise", "pointwise"):
        raise InputError(
            "labels answer pairs or single ratings", field="mode", found=wanted, expected="pairwise or pointwise"
        )


def _client(options: JudgeOptions, journal: Journal, ledger: Ledger, connection: Connection) -> EndpointClient:
    from assent.generation import Endpoint, EndpointClient

    assert options.endpoint is not None
    assert options.model is not None
    target = Endpoint(
        options.endpoint, options.model, connection.key_variable, connection.concurrency, connection.timeout
    )
    return EndpointClient(target, journal, ledger)


def _paid(options: JudgeOptions, client: EndpointClient) -> Judge:
    from assent.judging import EndpointRespondent, PromptedJudge
    from assent.judging.labels import EndpointLabels, LabelJudge

    if options.labels:
        return LabelJudge(EndpointLabels(client), options.rubric, label_mode(options))
    respondent = EndpointRespondent(client, options.max_tokens)
    return PromptedJudge(respondent, asking_of_options(options), options.rubric.name, repair=options.repair)


def _unpaid(options: JudgeOptions, trust_remote_code: bool) -> Judge:
    if options.by is By.rule:
        from assent.judging.rule import rule_judge

        assert options.rule is not None
        return rule_judge(options.rule)
    assert options.model is not None
    if options.by is By.scorer:
        from assent.judging.scorers import ScorerJudge
        from assent.preference_models.loading import ScorerOptions, open_scorer

        scorer = open_scorer(options.model, ScorerOptions(reference=options.reference, beta=options.beta))
        return ScorerJudge(scorer, "log_ratio" if options.reference else "reward")
    loaded = paid_work.load_local(options.model, trust_remote_code)
    if options.labels:
        from assent.judging.labels import LabelJudge
        from assent.judging.local_labels import LocalLabels

        return LabelJudge(LocalLabels(*loaded, name=options.model), options.rubric, label_mode(options))
    from assent.generation import LocalGenerator
    from assent.judging import GeneratorRespondent, PromptedJudge

    respondent = GeneratorRespondent(LocalGenerator(*loaded, name=options.model), options.max_tokens)
    return PromptedJudge(respondent, asking_of_options(options), options.rubric.name, repair=options.repair)


def _kept(judge: Judge, options: JudgeOptions, journal: Journal) -> Judge:
    from assent.judging.remembered import RememberedJudge

    if options.by is By.rule:
        # A function's code can change between runs, and asking it again costs nothing.
        return judge
    models = [paid_work.fingerprint(one) for one in (options.model, options.reference) if one]
    parts = [options.by.value, *models, options.rubric.model_dump_json(), str(options.mode), str(options.labels)]
    parts += [str(one) for one in (options.beta, options.one_order, options.repair, options.max_tokens, options.seed)]
    return RememberedJudge(judge, journal, json.dumps(parts))


def asking_of_options(options: JudgeOptions) -> Any:
    """How the rubric is asked."""
    from assent.judging import asking_of

    mode: Any = options.mode.value if options.mode else None
    return asking_of(options.rubric, mode, both_orders=not options.one_order, seed=options.seed)


def label_mode(options: JudgeOptions) -> Any:
    """The mode of the options, or the rubric's own."""
    return (options.mode or How(options.rubric.mode)).value
