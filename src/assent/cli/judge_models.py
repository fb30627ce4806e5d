"""A judge as a preference model on the command line: `--model judge:<endpoint or folder>`."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from assent.cli.judges import By, Connection, How, JudgeOptions, check_judge, open_judge
from assent.comparison import Comparison
from assent.errors import InputError, RunError

PREFIX = "judge:"

JudgeModel = Annotated[str | None, typer.Option(help="judge:URL: the model's name at the endpoint.")]
JudgeRubric = Annotated[str, typer.Option("--rubric", help="judge: a built-in rubric's name, or your own YAML file.")]
JudgeMode = Annotated[How | None, typer.Option("--mode", help="judge: how it is asked; default: as the rubric says.")]
JudgeLabels = Annotated[bool, typer.Option("--labels", help="judge: read the label's probability, not a text.")]
JudgeJournal = Annotated[
    Path | None, typer.Option("--journal", help="judge: file of its answers; nothing is asked twice.")
]
JudgeConcurrency = Annotated[int, typer.Option("--concurrency", min=1, help="judge: requests in flight.")]
JudgeTokens = Annotated[int | None, typer.Option("--token-budget", help="judge: stops before so many tokens.")]


@dataclass(frozen=True)
class JudgeAsked:
    """What the command line says of a judge that stands for a preference model.

    Args:
        journal: where its answers are kept.
        model: its name at an endpoint.
    """

    journal: Path
    model: str | None = None
    rubric: str = "helpful"
    mode: How | None = None
    labels: bool = False
    concurrency: int = 16
    token_budget: int | None = None


def open_judge_scorer(name: str, asked: JudgeAsked) -> Any:
    """The scorer of `judge:URL` or `judge:FOLDER`; raises where the endpoint cannot be reached."""
    from assent.cli import paid_work
    from assent.judging import load_rubric
    from assent.judging.scorers import JudgeScorer
    from assent.work.journal import Journal

    target = name.removeprefix(PREFIX)
    remote = target.startswith(("http://", "https://"))
    if not remote and not Path(target).is_dir():
        raise InputError(
            "no such judge",
            field="--model",
            found=name,
            expected="judge:http://host:port/v1 (with --judge-model), or judge:<model folder>",
        )
    if remote and not asked.model:
        raise InputError("a judge at an endpoint needs its model's name", field="--judge-model", found="nothing")
    options = JudgeOptions(
        By.endpoint if remote else By.model,
        load_rubric(asked.rubric),
        asked.mode,
        asked.model if remote else target,
        target if remote else None,
        asked.labels,
    )
    check_judge(options)
    connection = Connection(asked.concurrency)
    if remote:
        check_reached(target)
    journal = Journal(asked.journal)
    # The command goes on with it to its end, whatever that is; every answer is on disk as it comes.
    atexit.register(journal.close)
    ledger = paid_work.ledger_of(str(options.model), None, None, None, None, asked.token_budget)
    return JudgeScorer(AnsweringJudge(open_judge(options, journal, ledger, connection), target))


def check_reached(url: str, seconds: float = 10.0) -> None:
    """Raises where no server answers at a URL; what it answers does not matter here."""
    import httpx

    try:
        httpx.get(f"{url.rstrip('/')}/models", timeout=seconds)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        found = str(error) or type(error).__name__
        raise RunError(
            f"the judge's endpoint cannot be reached: {url} ({found}). Check the address, and that the server runs."
        ) from None
    except httpx.TransportError:
        # Somebody is there and does not know this page.
        return


class AnsweringJudge:
    """A judge that stops the run where it answers nothing, and counts what became of every comparison.

    Args:
        judge: who is asked.
        where: named in the message.
    """

    def __init__(self, judge: Any, where: str) -> None:
        from assent.judging import Tally

        self.judge_asked, self.where, self.tally = judge, where, Tally()
        self.name, self.criterion = judge.name, judge.criterion

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Any]]:
        """Its verdicts, once at least one of these comparisons was answered.

        Raises:
            RunError: every request for them failed.
        """
        found = list(self.judge_asked.judge(comparisons))
        for _, verdict in found:
            self.tally.add(verdict)
        if found and all(verdict.status == "failed" for _, verdict in found):
            raise RunError(
                f"the judge at {self.where} answered none of {len(found)} comparisons. Answers so far are kept: give "
                "the same command again once it answers."
            )
        yield from found


def verdict_line(scorer: Any) -> str | None:
    """What became of a judge's comparisons, in a sentence; None for other scorers."""
    tally = getattr(getattr(scorer, "judge", None), "tally", None)
    if tally is None:
        return None
    counts = {name: tally.statuses[name] for name in ("judged", "unparsed", "failed") if tally.statuses[name]}
    return "judge: " + ", ".join(f"{count} {name}" for name, count in counts.items())
