"""OSP: a model prefers among its own answers, says how strongly, and learns exactly that much.

Zhai et al. 2024, arXiv 2405.14103. Prompts, and at most a few labelled pairs to watch the judge by:

1. The current model answers each prompt K times.
2. The same model, as it stood at the start of the round, is asked by two letters whether each answer beats one
   baseline answer (the initial model's greedy one), in both orders; the letters' probabilities rank the answers and
   give every pair a strength.
3. The next model is trained with the cross-entropy to these strengths, against the initial model as reference: a
   margin stops growing where it says as much as the judge did.

    assent recipe run osp --model chat-model --prompts prompts.jsonl --labelled held-out.jsonl --output osp

Stops when the judge gets worse on the labelled pairs, or when answers have grown by more than a fifth: a model that
judges itself drifts, usually towards length.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from assent.building import osp
from assent.building.built import Built
from assent.building.drawn import mean_length
from assent.comparison import Comparison, Prompt
from assent.generation import Sampling
from assent.generation.prompt_files import read_prompts
from assent.judging import Judge, load_rubric
from assent.judging.labels import LabelJudge
from assent.judging.local_labels import LocalLabels
from assent.likelihood.loading import load_causal_lm
from assent.readers import read
from assent.recipes.loop_parts import Loop, drawn_from, local_decoder, pools, settings_of

JudgeOf = Callable[[Path | str], Judge]
LONGEST_GROWTH = 1.2
WORSE = 0.02
"""Accuracy a judge may lose on the labelled pairs before the loop stops."""


@dataclass(frozen=True)
class Plan:
    """What the loop starts from and how it draws.

    Args:
        model: the initial model: reference of every round, writer of the baseline answers.
        prompts: dealt into one pool for each round.
        rounds: at most so many.
        sampling: how answers are drawn.
        labelled: judged pairs that the judge is measured by; may be empty.
        pairing: which pairs are made of a ranked list.
        direct: ask about each pair directly for its strength.
        beta: of the loss.
    """

    model: str
    prompts: Sequence[Prompt]
    rounds: int
    sampling: Sampling
    labelled: Sequence[Comparison] = ()
    pairing: osp.Pairing = "all"
    direct: bool = False
    beta: float = 0.1


def run(plan: Plan, loop: Loop, judge_of: JudgeOf) -> list[Path]:
    """The model of each round that was trained."""
    models: list[Path] = []
    first_length: float | None = None
    best_accuracy: float | None = None
    for number, pool in enumerate(pools(plan.prompts, plan.rounds), start=1):
        last, name = models[-1] if models else plan.model, f"round-{number}"
        drawn = loop.built(f"{name}-drawn.jsonl", partial(drawn_from, last, pool, plan.sampling))
        judge = judge_of(last)
        report = osp.judge_report(plan.labelled, judge)
        pairs = loop.built(f"{name}-pairs.jsonl", partial(prefer, plan, drawn, judge))
        length = mean_length(one for row in drawn for one in row.answers)
        loop.note({"round": number, **osp.measures(pairs), "mean_length": length, "judge": asdict(report)})
        first_length = first_length or length
        if length and first_length and length > LONGEST_GROWTH * first_length:
            loop.tell(f"stopped: answers grew from {first_length:.0f} to {length:.0f} characters")
            break
        if report.accuracy is not None and best_accuracy is not None and report.accuracy < best_accuracy - WORSE:
            loop.tell(f"stopped: the judge's accuracy fell from {best_accuracy:.3f} to {report.accuracy:.3f}")
            break
        best_accuracy = max(report.accuracy or 0.0, best_accuracy or 0.0) if report.accuracy is not None else None
        data, objective = loop.folder / f"{name}-pairs.jsonl", {"osp": {"beta": plan.beta}}
        models.append(loop.trained(name, last, data, objective, reference=plan.model))
    return models


def prefer(plan: Plan, drawn: Sequence[Comparison], judge: Judge) -> Built:
    """The round's pairs with their strengths."""
    prompts = [one.prompt for one in drawn]
    baselines = osp.baseline_answers(local_decoder(plan.model), prompts, plan.sampling)
    built = osp.self_prefer(drawn, baselines, judge, plan.pairing)
    return osp.strengthened(built.comparisons, judge) if plan.direct else built


def letter_judge(rubric: str) -> JudgeOf:
    """From a model's folder to the model as a judge that answers by two letters."""

    def judge_of(model: Path | str) -> Judge:
        return LabelJudge(LocalLabels(*load_causal_lm(str(model))), load_rubric(rubric))

    return judge_of


def main(arguments: Sequence[str]) -> None:
    """Runs the loop."""
    parser = argparse.ArgumentParser(prog="assent recipe run osp", description="Online self-preferring.")
    parser.add_argument("--model", required=True, help="folder of the initial model")
    parser.add_argument("--prompts", required=True, type=Path, help="prompts, dealt into one pool for each round")
    parser.add_argument("--output", required=True, type=Path, help="folder of the loop")
    parser.add_argument("--labelled", help="judged pairs that the judge is measured by")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=4, help="answers per prompt")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--max-new-tokens", type=int, default=300)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rubric", default="helpful", help="what better means: a built-in rubric, or a file")
    parser.add_argument("--pairing", choices=get_args(osp.Pairing), default="all")
    parser.add_argument("--direct", action="store_true", help="ask about each pair directly for its strength")
    parser.add_argument("--settings", help="YAML with training, peft and data keys of a run file, for every round")
    given = parser.parse_args(list(arguments))
    plan = Plan(
        given.model,
        read_prompts(given.prompts),
        given.rounds,
        Sampling(given.samples, given.max_new_tokens, given.temperature, seed=given.seed),
        read(given.labelled).comparisons if given.labelled else (),
        given.pairing,
        given.direct,
        given.beta,
    )
    models = run(plan, Loop(given.output, settings_of(given.settings), print), letter_judge(given.rubric))
    print(f"models: {', '.join(map(str, models))}")
