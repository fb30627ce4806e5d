"""Constitutional AI: a model that improves its answers by principles, and then by its own preferences.

Bai et al. 2022, arXiv 2212.08073. With prompts that invite bad answers, and a list of principles:

1. The model answers, criticises its answer by a principle and revises it, twice over.
2. It is trained on the revisions.
3. The trained model answers fresh prompts twice; a judge by a rubric (the probability of two letters, in both
   orders) says which answer is better. The judge is the model before training, or `--judge`.
4. The model is trained on these preferences, softly: as strongly as the judge was sure (cross-entropy to the
   judge's probability, in place of the paper's reward model and PPO).

    assent recipe run constitution --prompts red-team.txt --model chat-model --policy chat-model --output kinder
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from assent.building.constitution import critique_and_revise, load_constitution
from assent.building.drawn import draw
from assent.building.models import LOCAL
from assent.building.osp import strengthened
from assent.generation.decoding import Plain
from assent.generation.prompt_files import read_prompts
from assent.judging import load_rubric
from assent.recipes.asking_parts import asking, loop_of, models_of, sampling_of, trained_in_turn, training_options
from assent.recipes.loop_parts import pools


def main(arguments: Sequence[str]) -> None:
    """Revises, trains, has the trained model judged, trains again."""
    parser = asking("constitution", "Critique and revision, then preferences by principle.")
    training_options(parser)
    parser.add_argument("--prompts", required=True, type=Path, help="half for revision, half for preferences")
    parser.add_argument("--model", required=True, help="answers, criticises, revises")
    parser.add_argument("--judge", help="who compares answers; default: the model")
    parser.add_argument("--rubric", default="harmless", help="what better means: a built-in rubric, or a file")
    parser.add_argument("--principles", type=Path, help="YAML list of {name, critique, revision, weight}")
    parser.add_argument("--rounds", type=int, default=2, help="critiques and revisions of an answer")
    given = parser.parse_args(list(arguments))
    loop, articles = loop_of(given), load_constitution(given.principles)
    revised, compared = pools(read_prompts(given.prompts), 2)
    with models_of(given) as models:
        generator = models.generator(given.model)
        revise = partial(critique_and_revise, revised, generator, articles, sampling_of(given), given.rounds)
        loop.built("revised.jsonl", revise)
        if not given.policy:
            return
        kinder = trained_in_turn(loop, given.policy, {"sft": ("revised.jsonl", {"sft": {}})})
        trained = Plain(models.generator(f"{LOCAL}{kinder}"))
        drawn = loop.built("drawn.jsonl", lambda: draw(compared, trained, sampling_of(given, 2)))
        judge = models.letter_judge(given.judge or given.model, load_rubric(given.rubric))
        loop.built("preferred.jsonl", lambda: strengthened(drawn, judge))
    trained_in_turn(loop, str(kinder), {"preferences": ("preferred.jsonl", {"osp": {"beta": 0.1}})})
