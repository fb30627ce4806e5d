"""Selfie: a few human pairs, then a model that labels its own answers, round after round.

Kim et al. 2024, arXiv 2406.04412 (spread preference annotation). Who has a few thousand judged pairs, many prompts,
and neither a reward model nor a judge, goes on like this:

1. DPO on the seed pairs gives round 0.
2. In each round the last model answers fresh prompts, K times each. Its answers are scored by what it has learnt
   since the initial model, beta [log pi - log pi_0]; the best and the worst make a pair.
3. The next model is trained on these pairs with a loss that doubts some of them: those that a further extrapolated
   model would order the other way are trained on softly.

Prompts are dealt into disjoint pools. Every step leaves a file and is not done twice: the same command goes on.

    assent recipe run selfie --model sft-model --pairs seed.jsonl --prompts prompts.jsonl --output selfie

`rounds.jsonl` has a line for each round; watch the chosen answers' length in it, since sums of log-ratios favour
long answers (`--per-token` judges without).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assent.building import selfie
from assent.comparison import Prompt
from assent.generation import Sampling
from assent.generation.prompt_files import read_prompts
from assent.judging import Judge
from assent.judging.scorers import ScorerJudge
from assent.preference_models.loading import ScorerOptions, open_scorer
from assent.recipes.loop_parts import Loop, drawn_from, pools, settings_of

JudgeOf = Callable[[Path, str], Judge]
"""From (the last round's model, the initial model) to who labels."""


@dataclass(frozen=True)
class Plan:
    """What the loop starts from and how it draws.

    Args:
        model: the initial model: the judge's reference for ever.
        pairs: file of the judged seed pairs.
        prompts: dealt into one pool for each round.
        rounds: rounds of self-labelling after the seed.
        sampling: how answers are drawn.
        beta: of both losses.
    """

    model: str
    pairs: Path
    prompts: Sequence[Prompt]
    rounds: int
    sampling: Sampling
    beta: float = 0.1


def run(plan: Plan, loop: Loop, judge_of: JudgeOf) -> list[Path]:
    """The model of each round, the seed's first."""
    models = [loop.trained("round-0", plan.model, plan.pairs, {"dpo": {"beta": plan.beta}})]
    for number, pool in enumerate(pools(plan.prompts, plan.rounds), start=1):
        last, name = models[-1], f"round-{number}"
        drawn = loop.built(f"{name}-drawn.jsonl", partial(drawn_from, last, pool, plan.sampling))
        judge = judge_of(last, plan.model)
        pairs = loop.built(f"{name}-pairs.jsonl", partial(selfie.self_label, drawn, judge))
        loop.note({"round": number, **selfie.measures(pairs)})
        objective = selfie.objective(number, plan.beta)
        models.append(loop.trained(name, last, loop.folder / f"{name}-pairs.jsonl", objective))
    return models


def log_ratio_judge(model: Path, initial: str) -> Judge:
    """The model judging by what it has learnt since the initial one."""
    return ScorerJudge(open_scorer(str(model), ScorerOptions(reference=initial)), "log_ratio")


def per_token_judge(model: Path, initial: str) -> Judge:
    """The same per token."""
    scorer = open_scorer(str(model), ScorerOptions(reference=initial))
    return ScorerJudge(selfie.PerToken(scorer), "log_ratio_per_token")


def main(arguments: Sequence[str]) -> None:
    """Runs the loop."""
    parser = argparse.ArgumentParser(
        prog="assent recipe run selfie", description="Self-labelled preference learning."
    )
    parser.add_argument("--model", required=True, help="folder of the initial (supervised) model")
    parser.add_argument("--pairs", required=True, type=Path, help="judged seed pairs")
    parser.add_argument("--prompts", required=True, type=Path, help="prompts, dealt into one pool for each round")
    parser.add_argument("--output", required=True, type=Path, help="folder of the loop")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--samples", type=int, default=2, help="answers per prompt")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--max-new-tokens", type=int, default=300)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-token", action="store_true", help="judge by the log-ratio per token")
    parser.add_argument("--settings", help="YAML with training, peft and data keys of a run file, for every round")
    given = parser.parse_args(list(arguments))
    sampling = Sampling(given.samples, given.max_new_tokens, given.temperature, seed=given.seed)
    plan = Plan(given.model, given.pairs, read_prompts(given.prompts), given.rounds, sampling, given.beta)
    judge_of = per_token_judge if given.per_token else log_ratio_judge
    models = run(plan, Loop(given.output, settings_of(given.settings), print), judge_of)
    print(f"models: {', '.join(map(str, models))}")
