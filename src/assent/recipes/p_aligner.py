"""P-Aligner: better instructions before the model, found by search and learnt by a rewriter.

Song et al. 2025, arXiv 2508.04626. Whose model is frozen, and whose users ask badly, goes like this:

1. Each instruction grows a tree of versions, each made by applying one named principle. A version is worth what
   answers to it score against the ORIGINAL instruction, so that drifting from what was asked costs.
2. The best version against the worst makes a rewriter's training pair.
3. A rewriter (`--policy`) is trained on the best versions, then by DPO on the pairs.
4. On held-out instructions the model answers the raw and the rewritten request; both are scored against the raw one.

    assent recipe run p_aligner --prompts asked.txt --model chat-model --scorer reward-model --policy small-model \\
        --held-out other.txt --output aligner

Best and worst are the extremes of some twenty noisy means and too extreme: believe the held-out numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from assent.building import p_aligner as building
from assent.building.built import Built
from assent.building.instruction_tree import STRATEGIES, Tree
from assent.building.models import LOCAL
from assent.generation.decoding import Decoder, Plain
from assent.generation.prompt_files import read_prompts
from assent.generation.prompts import text_of
from assent.generation.rewriter import Rewriter
from assent.judging.scorers import JudgeScorer
from assent.recipes.asking_parts import (
    asking,
    judge_of,
    judged,
    judging_options,
    loop_of,
    mean_score,
    models_of,
    sampling_of,
    trained_in_turn,
    training_options,
)
from assent.recipes.preference_parts import written


def main(arguments: Sequence[str]) -> None:
    """Searches, trains the rewriter, and measures it."""
    parser = asking("p_aligner", "Search for better instructions, and a rewriter.")
    training_options(parser)
    judging_options(parser)
    parser.add_argument("--prompts", required=True, type=Path, help="instructions, one turn each")
    parser.add_argument("--model", required=True, help="answers")
    parser.add_argument("--rewriter", help="makes versions in the search; default: the model")
    parser.add_argument("--iterations", type=int, default=20, help="versions of each instruction")
    parser.add_argument("--answers", type=int, default=3, help="answers that value a version")
    parser.add_argument("--exploration", type=float, default=0.1)
    parser.add_argument("--strategy", choices=sorted(STRATEGIES), default="mcts")
    parser.add_argument("--principles", type=Path, help="YAML {category: [{name, text}]}")
    parser.add_argument("--held-out", type=Path, help="other instructions, to measure on")
    given = parser.parse_args(list(arguments))
    loop, judge, table = loop_of(given), judge_of(given), building.load_principles(given.principles)
    principles = building.principles_of(None, table)
    with models_of(given) as models:
        answering = models.generator(given.model)
        writing = models.generator(given.rewriter) if given.rewriter else answering

        def searched() -> Built:
            trees = [Tree.of(text_of(prompt), list(principles)) for prompt in read_prompts(given.prompts)]
            plan = building.Search(given.iterations, given.exploration, given.strategy, given.seed)
            rewrite = building.GeneratorRewriter(writing, principles, sampling_of(given))
            value = building.AnswerValue(answering, JudgeScorer(judge), sampling_of(given, given.answers))
            # Everything drawn is in the journal: a search that was interrupted grows the same trees again at once.
            building.search(trees, rewrite, value, plan)
            return building.path_rows(trees)

        loop.built("rewritings.jsonl", searched)
        if not given.policy:
            return
        steps = {"sft": ("rewritings.jsonl", {"sft": {}}), "dpo": ("rewritings.jsonl", {"dpo": {"beta": 0.1}})}
        trained = trained_in_turn(loop, given.policy, steps)
        if given.held_out is None:
            return
        prompts, sampling = read_prompts(given.held_out), sampling_of(given, given.answers)
        decoders: dict[str, Decoder] = {
            "raw": Plain(answering),
            "rewritten": Rewriter(answering, models.generator(f"{LOCAL}{trained}")),
        }
        scores = {}
        for name, decoder in decoders.items():
            found = dict(decoder.decode(prompts, sampling))
            scores[name] = mean_score(judged([found[at] for at in range(len(prompts))], judge).comparisons)
    print(f"mean score against the raw requests: {json.dumps(scores)}")
    written(loop.folder / "results.json", {"mean_score": scores})
