"""RSO: pairs from answers that were accepted as if the optimal policy had written them.

Liu et al. 2024, arXiv 2309.06657. Pairs of whatever data there is are not from the policy that DPO derives its loss
for. With prompts, a start model and a scorer:

1. The start model answers each prompt many times; the scorer scores.
2. An answer stays with probability exp((score - best score) / beta): what stays is drawn, up to the bound, from the
   optimal policy of that beta. A small beta keeps the best alone, a large one everything.
3. Best against worst of what stayed makes a pair, for DPO from the same start with the same beta in spirit.

    assent recipe run rejection_sampling --policy sft-model --prompts prompts.txt --scorer reward-model \\
        --beta 0.5 --output rso
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from assent.building.best_worst import best_worst, rejection_sample
from assent.generation.prompt_files import read_prompts
from assent.recipes.asking_parts import (
    asking,
    judge_of,
    judged,
    judging_options,
    loop_of,
    sampling_of,
    trained_in_turn,
    training_options,
)
from assent.recipes.loop_parts import drawn_from


def main(arguments: Sequence[str]) -> None:
    """Draws, accepts, pairs and trains."""
    parser = asking("rejection_sampling", "Statistical rejection sampling.", max_new_tokens=300)
    training_options(parser)
    judging_options(parser)
    parser.add_argument("--prompts", required=True, type=Path)
    parser.add_argument("--samples", type=int, default=32, help="answers per prompt")
    parser.add_argument("--beta", type=float, default=0.5, help="temperature of acceptance, in units of the score")
    given = parser.parse_args(list(arguments))
    if not given.policy:
        parser.error("a --policy is needed: it draws the answers and is trained")
    loop, judge = loop_of(given), judge_of(given)
    sampling = sampling_of(given, given.samples)
    drawn = loop.built("drawn.jsonl", partial(drawn_from, given.policy, read_prompts(given.prompts), sampling))
    scored = loop.built("scored.jsonl", partial(judged, drawn, judge))
    accepted = loop.built("accepted.jsonl", partial(rejection_sample, scored, given.beta, given.seed))
    loop.built("pairs.jsonl", partial(best_worst, accepted))
    trained_in_turn(loop, given.policy, {"dpo": ("pairs.jsonl", {"dpo": {"beta": 0.1}})})
