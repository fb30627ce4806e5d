"""Reward-augmented data: a policy that is told which score to reach.

Zhang et al. 2024, arXiv 2410.08067. DPO unlearns a rejected answer rated 9 and praises a chosen one rated 2. With
scored pairs:

1. Each pair becomes two: asked for the better answer's score the better one wins, asked for the worse one's score
   the worse one does. The score stands in the prompt.
2. DPO runs on the doubled data, unchanged.
3. At inference one asks for the highest score. With held-out prompts and a judge, goals from low to high are tried:
   the judged score must rise with the goal, or the policy does not read it.

    assent recipe run reward_augmented --data scored.jsonl --policy chat-model --prompts held-out.txt \\
        --scorer reward-model --output goals
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from assent.building.built import Built
from assent.building.reward_augmented import GoalScale, relabel
from assent.generation.prompt_files import read_prompts
from assent.readers import read
from assent.recipes.asking_parts import (
    asking,
    judge_of,
    judged,
    judging_options,
    loop_of,
    mean_score,
    sampling_of,
    trained_in_turn,
    training_options,
)
from assent.recipes.loop_parts import local_decoder
from assent.recipes.preference_parts import written


def main(arguments: Sequence[str]) -> None:
    """Relabels, trains, and tries the goals."""
    parser = asking("reward_augmented", "Goal-conditioned pairs.")
    training_options(parser)
    judging_options(parser)
    parser.add_argument("--data", required=True, type=Path, help="scored pairs or lists")
    parser.add_argument("--low", type=float, default=1.0, help="lowest score")
    parser.add_argument("--high", type=float, default=10.0, help="highest score")
    parser.add_argument("--no-system-role", action="store_true", help="the goal goes before the request")
    parser.add_argument("--prompts", type=Path, help="held-out prompts to try the goals on")
    parser.add_argument("--goals", type=int, default=4, help="how many goals from low to high are tried")
    given = parser.parse_args(list(arguments))
    loop = loop_of(given)
    scale = GoalScale(given.low, given.high, system_role=not given.no_system_role)

    def relabelled() -> Built:
        made = relabel(list(read(given.data).comparisons), scale)
        return Built(made.comparisons, {"no two different scores": made.left_out})

    loop.built("relabelled.jsonl", relabelled)
    (loop.folder / "goal.txt").write_text(scale.text(scale.high) + "\n", encoding="utf-8")
    if not given.policy:
        return
    model = trained_in_turn(loop, given.policy, {"dpo": ("relabelled.jsonl", {"dpo": {"beta": 0.01}})})
    if given.prompts is None:
        return
    judge, decoder, prompts = judge_of(given), local_decoder(model), read_prompts(given.prompts)
    reached = {}
    for step in range(given.goals):
        goal = given.low + (given.high - given.low) * step / max(given.goals - 1, 1)
        asked = [scale.condition(prompt, goal) for prompt in prompts]
        found = dict(decoder.decode(asked, sampling_of(given)))
        # Judged as answers to the prompt itself: the goal is not the judge's business.
        answers = [replace(found[at], prompt=prompt) for at, prompt in enumerate(prompts)]
        reached[f"{goal:g}"] = mean_score(judged(answers, judge).comparisons)
    print(f"mean score by goal: {json.dumps(reached)}")
    written(loop.folder / "results.json", {"mean_score_by_goal": reached})
