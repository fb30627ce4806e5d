"""CodeUltraFeedback: a code model that learns what reviewers look at besides correctness.

Weyssow et al. 2024, arXiv 2403.09032. Who has coding requests and a few models goes like this:

1. Each request is given one of five preferences (instruction following, readability, complexity, style,
   explanation); a few models of the pool answer it, each under a principle of that preference.
2. A judge sees all answers to a request at once, in a random order, and rates each from 1 to 5 by that preference.
   Replies that cannot be read are counted, never guessed; whether ratings depend on the place shown is tested.
3. The best against the worst answer makes a pair; a share of each preference is held out.
4. A model is trained on the chosen answers, then by DPO on the pairs.

    assent recipe run codeultrafeedback --prompts requests.txt --endpoint http://localhost:8000/v1 --model judge \\
        --writers a b c d --policy code-model --output code

Coding preferences say nothing of whether code is right: test that apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from assent.building import codeultrafeedback as coding
from assent.building.built import Built
from assent.building.models import checked_names
from assent.building.ratings import binarize, slot_dependence
from assent.comparison import Comparison
from assent.generation.prompt_files import read_prompts
from assent.judging import GeneratorRespondent, Judge, PromptedJudge, asking_of, load_rubric
from assent.judging.rule import rule_judge
from assent.readers import write_jsonl
from assent.recipes.asking_parts import asking, loop_of, models_of, sampling_of, trained_in_turn, training_options


def main(arguments: Sequence[str]) -> None:
    """Has requests answered and rated, makes pairs, and trains on them."""
    parser = asking("codeultrafeedback", "Coding preferences by several models and a judge.")
    training_options(parser)
    parser.add_argument("--prompts", required=True, type=Path, help="coding requests")
    parser.add_argument("--writers", required=True, nargs="+", help="models that answer")
    parser.add_argument("--answers", type=int, default=4, help="writers of each request")
    judge = parser.add_mutually_exclusive_group(required=True)
    judge.add_argument("--model", help="the judge")
    judge.add_argument("--rule", help="package.module:function of a comparison as the judge")
    parser.add_argument("--held-out", type=float, default=0.05, help="share of each preference")
    given = parser.parse_args(list(arguments))
    loop, sampling, principles = loop_of(given), sampling_of(given), coding.load_principles()
    writers = checked_names(given.writers)
    requests = coding.assigned(read_prompts(given.prompts), writers, given.answers, given.seed)
    with models_of(given) as models:

        def judge_of(preference: str) -> Judge:
            if given.rule:
                return rule_judge(given.rule)
            respondent = GeneratorRespondent(models.generator(given.model), given.max_new_tokens)
            asked = asking_of(load_rubric(preference), "listwise", seed=given.seed)
            return PromptedJudge(respondent, asked, preference)

        drawn = loop.built("drawn.jsonl", lambda: coding.respond(requests, models.generator, principles, sampling))
        rated = loop.built("rated.jsonl", lambda: coding.rate(drawn, judge_of).built)
    print(f"ratings independent of the place shown: p = {slot_dependence(rated)}")
    pairs = loop.built("pairs.jsonl", partial(_pairs, rated, given.seed))
    train, test = coding.stratified(pairs, given.held_out, given.seed)
    for name, rows in (("train.jsonl", train), ("test.jsonl", test)):
        write_jsonl(rows, loop.folder / name)
    if given.policy:
        steps = {"sft": ("train.jsonl", {"sft": {}}), "dpo": ("train.jsonl", {"dpo": {"beta": 0.1}})}
        trained_in_turn(loop, given.policy, steps)


def _pairs(rated: Sequence[Comparison], seed: int) -> Built:
    made = binarize(rated, seed)
    return Built(made.comparisons, {"fewer than two different ratings": made.left_out})
