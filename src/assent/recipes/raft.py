"""RAFT: reward-ranked fine-tuning, the simplest loop with a reward.

Dong et al. 2023, arXiv 2304.06767. With prompts and anything that scores answers, each round:

1. The current model answers a fresh pool of prompts K times.
2. The scorer ranks the answers; the best of each prompt (or those of the best `--share` of prompts) are kept.
3. The model is trained on them as on demonstrations, and the next round begins.

    assent recipe run raft --policy sft-model --prompts prompts.txt --scorer reward-model --output raft

`rounds.jsonl` has the mean score of all answers and of the kept ones: when both meet, there is nothing left to rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from assent.building.best_worst import best_only
from assent.building.drawn import mean_length
from assent.generation.prompt_files import read_prompts
from assent.recipes.asking_parts import (
    asking,
    judge_of,
    judged,
    judging_options,
    loop_of,
    mean_score,
    sampling_of,
    training_options,
)
from assent.recipes.loop_parts import drawn_from, pools


def main(arguments: Sequence[str]) -> None:
    """Runs the rounds."""
    parser = asking("raft", "Reward-ranked fine-tuning.", max_new_tokens=300)
    training_options(parser)
    judging_options(parser)
    parser.add_argument("--prompts", required=True, type=Path, help="dealt into one pool for each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=8, help="answers per prompt")
    parser.add_argument("--share", type=float, default=1.0, help="of the prompts, by their best answer's score")
    given = parser.parse_args(list(arguments))
    if not given.policy:
        parser.error("a --policy is needed: every round draws from the model of the last one")
    loop, judge, model = loop_of(given), judge_of(given), Path(given.policy)
    for number, pool in enumerate(pools(read_prompts(given.prompts), given.rounds), start=1):
        name = f"round-{number}"
        sampling = sampling_of(given, given.samples)
        drawn = loop.built(f"{name}-drawn.jsonl", partial(drawn_from, model, pool, sampling))
        scored = loop.built(f"{name}-scored.jsonl", partial(judged, drawn, judge))
        kept = loop.built(f"{name}-kept.jsonl", partial(best_only, scored, None, given.share))
        length = mean_length(one for row in kept for one in row.answers)
        loop.note({"round": number, "mean": mean_score(scored), "mean_kept": mean_score(kept), "length": length})
        model = loop.trained(name, model, loop.folder / f"{name}-kept.jsonl", {"sft": {}})
    print(f"model: {model}")
