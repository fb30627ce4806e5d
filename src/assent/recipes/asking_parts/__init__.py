"""What recipes share that ask models and judge answers: options, models, a judge, training on what came out."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

from assent.building.built import Built, counted
from assent.building.models import Models
from assent.comparison import Comparison
from assent.errors import InputError
from assent.generation import Ledger, Price, Sampling
from assent.judging import Judge, apply
from assent.judging.rule import rule_judge
from assent.judging.scorers import ScorerJudge
from assent.preference_models.loading import open_scorer
from assent.recipes.loop_parts import Loop, settings_of
from assent.work.journal import Journal


def asking(recipe: str, about: str, max_new_tokens: int = 512) -> argparse.ArgumentParser:
    """The parser of a recipe that asks models."""
    parser = argparse.ArgumentParser(prog=f"assent recipe run {recipe}", description=about)
    parser.add_argument("--output", required=True, type=Path, help="folder; the same command goes on there")
    parser.add_argument("--endpoint", help="OpenAI-compatible base URL of every model that is not local:FOLDER")
    parser.add_argument("--price-prompt", type=float, help="money per million tokens read")
    parser.add_argument("--price-completion", type=float, help="money per million tokens written")
    parser.add_argument("--budget", type=float, help="stops before this much money is spent")
    parser.add_argument("--max-new-tokens", type=int, default=max_new_tokens)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def training_options(parser: argparse.ArgumentParser) -> None:
    """Adds what a recipe trains, and how."""
    parser.add_argument("--policy", help="folder of a model to train on the data; default: the data alone is made")
    parser.add_argument("--settings", help="YAML with training, peft and data keys of a run file, for every run")


def judging_options(parser: argparse.ArgumentParser) -> None:
    """Adds who judges answers."""
    parser.add_argument("--scorer", help="preference model folder that judges")
    parser.add_argument("--rule", help="package.module:function of (prompt, answer) that judges")


@contextmanager
def models_of(given: argparse.Namespace) -> Iterator[Models]:
    """The models, with their journal in the recipe's folder."""
    price = None
    if given.price_prompt is not None and given.price_completion is not None:
        price = Price(given.price_prompt, given.price_completion)
    with Journal(given.output / "journal.sqlite") as journal:
        yield Models(journal, given.endpoint, Ledger(price, given.budget))


def sampling_of(given: argparse.Namespace, samples: int = 1) -> Sampling:
    """How texts are drawn."""
    return Sampling(samples, given.max_new_tokens, given.temperature, seed=given.seed)


def loop_of(given: argparse.Namespace) -> Loop:
    """The recipe's folder and its training settings."""
    return Loop(given.output, settings_of(getattr(given, "settings", None)), print)


def judge_of(given: argparse.Namespace) -> Judge:
    """Who judges, by `--scorer` or `--rule`."""
    if bool(given.scorer) == bool(given.rule):
        raise InputError(
            "one judge is needed", field="scorer, rule", expected="--scorer FOLDER or --rule MODULE:NAME"
        )
    return rule_judge(given.rule) if given.rule else ScorerJudge(open_scorer(given.scorer))


def judged(rows: Sequence[Comparison], judge: Judge) -> Built:
    """The comparisons with the judge's scores; those without a verdict are left out and counted."""
    found: dict[int, Comparison] = {}
    reasons = Counter[str]()
    for index, verdict in judge.judge(rows):
        if verdict.status == "judged":
            found[index] = apply(rows[index], verdict, judge)
        else:
            reasons[f"verdict {verdict.status}"] += 1
    return Built([found[index] for index in sorted(found)], counted(reasons))


def mean_score(rows: Sequence[Comparison]) -> float | None:
    """Mean score of all judged answers; None where there are none."""
    scores = [one.score for row in rows for one in row.answers if one.score is not None]
    return mean(scores) if scores else None


def trained_in_turn(
    loop: Loop, policy: str, steps: Mapping[str, tuple[str, Any]], tell: Callable[[str], None] = print
) -> Path:
    """The last model of training runs that each start from the one before.

    Args:
        loop: where the files are.
        policy: the first model.
        steps: file of the folder and objective of each run, by name.
        tell: is told the last model.
    """
    model: str | Path = policy
    for name, (data, objective) in steps.items():
        model = loop.trained(name, model, loop.folder / data, objective)
    tell(f"model: {model}")
    return Path(model)
