"""Best of n: what ranking at inference buys, before anything is trained.

Nakano et al. 2021, arXiv 2112.09332; the bound on how far it moves: Beirami et al. 2024, arXiv 2401.01879.

1. The model answers each prompt n times; a scorer ranks the answers.
2. Reported for n = 1, 2, 4, ...: the expected score of the best of n (exactly, over all subsets of what was drawn)
   beside log n - (n - 1)/n, the most that best-of-n can diverge from the model, in nats. A trained policy should beat
   this curve at its own divergence, or ranking alone would have done.
3. The same answers make pairs, best against worst, and demonstrations, for training the ranking into the model.

    assent recipe run best_of_n --model chat-model --prompts prompts.txt --scorer reward-model --output best
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean

from assent.building.best_worst import best_only, best_worst
from assent.building.drawn import draw
from assent.comparison import Comparison
from assent.generation.best_of_n import kl_bound
from assent.generation.decoding import Plain
from assent.generation.prompt_files import read_prompts
from assent.recipes.asking_parts import (
    asking,
    judge_of,
    judged,
    judging_options,
    loop_of,
    models_of,
    sampling_of,
)
from assent.recipes.preference_parts import written


def main(arguments: Sequence[str]) -> None:
    """Draws, ranks and reports."""
    parser = asking("best_of_n", "The best of n answers.", max_new_tokens=300)
    judging_options(parser)
    parser.add_argument("--prompts", required=True, type=Path)
    parser.add_argument("--model", required=True, help="who answers")
    parser.add_argument("--samples", type=int, default=16, help="answers per prompt")
    given = parser.parse_args(list(arguments))
    loop, judge, prompts = loop_of(given), judge_of(given), read_prompts(given.prompts)
    with models_of(given) as models:
        decoder = Plain(models.generator(given.model))
        sampling = sampling_of(given, given.samples)
        drawn = loop.built("drawn.jsonl", lambda: draw(prompts, decoder, sampling))
    scored = loop.built("scored.jsonl", partial(judged, drawn, judge))
    loop.built("pairs.jsonl", partial(best_worst, scored))
    loop.built("best.jsonl", partial(best_only, scored))
    curve = {}
    for n in (2**power for power in range(int(math.log2(given.samples)) + 1)):
        curve[n] = {"score": expected_best(scored, n), "kl_at_most": kl_bound(n)}
        print(f"best of {n}: score {curve[n]['score']}, divergence at most {curve[n]['kl_at_most']:.2f} nats")
    written(loop.folder / "results.json", {"best_of": curve})


def expected_best(scored: Sequence[Comparison], n: int) -> float | None:
    """Mean over prompts of the expected best score among n of their answers; prompts with fewer are left out."""
    means = []
    for row in scored:
        scores = sorted(one.score for one in row.answers if one.score is not None)
        if len(scores) >= n:
            # The best of a random subset of n is the k-th smallest with probability C(k - 1, n - 1) / C(K, n).
            ways = [math.comb(k, n - 1) for k in range(len(scores))]
            means.append(sum(w * s for w, s in zip(ways, scores, strict=True)) / math.comb(len(scores), n))
    return mean(means) if means else None
