"""Goal-conditioned relabelling and pairs from ratings."""

import json
from math import log
from pathlib import Path

import pytest
from torch import float64, tensor

from assent.building.ratings import binarize, extremes, round_robin, score_card
from assent.building.reward_augmented import (
    GoalScale,
    closest,
    goal_reward,
    implicit_scores,
    relabel,
)
from assent.comparison import Candidate, Comparison
from assent.objectives import DPO

FOLDER = Path(__file__).parents[1] / "fixtures"
AUGMENTED, RATED = (
    {case["name"]: case for case in json.loads((FOLDER / f"{slug}.json").read_text())["cases"]}
    for slug in ("reward-augmented", "codeultrafeedback")
)


def pair(better: float, worse: float, prompt: object = "Q?") -> Comparison:
    return Comparison(prompt, [Candidate("good", score=better), Candidate("bad", score=worse)])


def test_every_pair_appears_once_in_each_order_and_asks_for_its_own_score() -> None:
    made = relabel([pair(9, 2)])
    first, second = made.comparisons
    assert [c.completion for c in first.candidates] == ["good", "bad"]
    assert [c.completion for c in second.candidates] == ["bad", "good"]
    assert first.prompt[0]["content"].endswith("Overall score: 9")
    assert second.prompt[0]["content"].endswith("Overall score: 2")
    assert first.meta["parent"] == second.meta["parent"] == pair(9, 2).key


def test_ties_and_unjudged_answers_are_left_out_and_counted() -> None:
    lone = Comparison("Q?", [Candidate("a", score=1.0), Candidate("b")])
    made = relabel([pair(3, 3), lone, pair(2, 1)])
    assert (len(made.comparisons), made.left_out) == (2, 2)


def test_goals_are_rounded_clamped_and_printed_plainly() -> None:
    scale = GoalScale()
    assert [scale.text(goal).rsplit(" ", 1)[1] for goal in (7.0, 7.6, 99)] == ["7", "7.5", "10"]


def test_without_a_system_role_the_goal_stands_before_the_user_s_words() -> None:
    (first, _) = relabel([pair(9, 2)], GoalScale(system_role=False)).comparisons
    assert [message["role"] for message in first.prompt] == ["user"]
    assert first.prompt[0]["content"].endswith("\n\nQ?")


def test_a_system_message_is_kept_behind_the_goal() -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q?"}]
    (first, _) = relabel([pair(9, 2, prompt)]).comparisons
    assert first.prompt[0]["content"].endswith("Be brief.")
    assert len(first.prompt) == 2
    assert prompt[0]["content"] == "Be brief."


def test_a_policy_blind_to_the_goal_cannot_learn_from_the_two_rows() -> None:
    from assent.likelihood import Likelihoods
    from assent.objectives import Judged

    case = AUGMENTED["goal_blind_policy_two_rows_per_pair"]
    rows = case["inputs"]

    def loss(best: str, worst: str) -> object:
        policy = tensor([rows[f"policy_{best}_logps"], rows[f"policy_{worst}_logps"]], dtype=float64).T
        reference = tensor([rows[f"ref_{best}_logps"], rows[f"ref_{worst}_logps"]], dtype=float64).T
        count = len(policy)
        return DPO(beta=0.1)(
            Judged(
                Likelihoods.from_sums(policy),
                Likelihoods.from_sums(reference),
                scores=tensor([[1.0, 0.0]] * count),
                labels=tensor([[-1, -1]] * count),
                roles=((None, None),) * count,
                mask=tensor([[True, True]] * count),
                confidence=None,
                weight=tensor([1.0] * count),
            )
        )

    total = loss("chosen", "rejected") + loss("rejected", "chosen")
    assert total.tolist() == pytest.approx(case["expected"]["sum_loss_per_pair"], abs=1e-9)
    assert (total >= 2 * log(2) - 1e-12).all()


def test_implicit_rewards_fill_the_scale_and_keep_their_order() -> None:
    scores = implicit_scores(AUGMENTED["implicit_reward_scores"]["expected"]["implicit_rewards"])
    flat = [value for row in scores for value in row]
    assert (min(flat), max(flat)) == (1.0, 10.0)
    assert scores[1][0] > scores[0][0] > scores[1][1]


def test_the_goal_reward_orders_answers_by_distance() -> None:
    assert goal_reward(2, 2) == 0 > goal_reward(2, 9)
    assert closest({"helpful": 8, "brief": 2}, [{"helpful": 9, "brief": 9}, {"helpful": 7, "brief": 3}]) == 1


def test_binarize_draws_among_the_best_and_the_worst() -> None:
    case = RATED["binarize"]
    for ratings, expected in zip(case["inputs"]["ratings"], case["expected"]["results"], strict=True):
        given = [None if rating == "N/A" else float(rating) for rating in ratings]
        found = extremes(given)
        assert (found is None) == expected["degenerate"]
        if found:
            assert found == (expected["chosen_allowed"], expected["rejected_allowed"])
    rated = Comparison("Q?", [Candidate(str(i), score=s) for i, s in enumerate([4.0, 1.0, 1.0, 2.0])])
    made = binarize([rated, Comparison("Q?", [Candidate("a", score=3.0), Candidate("b", score=3.0)])])
    assert made.left_out == 1
    assert [c.score for c in made.comparisons[0].candidates] == [4.0, 1.0]
    assert {binarize([rated], seed).comparisons[0].candidates[1].completion for seed in range(20)} == {"1", "2"}


def test_score_card_leaves_missing_ratings_out() -> None:
    case = RATED["codal_score"]
    ratings = {
        name: [None if rating == "N/A" else float(rating) for rating in row]
        for name, row in case["inputs"]["ratings"].items()
    }
    seen, expected = score_card(ratings), case["expected"]
    assert seen.means == pytest.approx(expected["na_dropped"])
    assert seen.average == pytest.approx(expected["na_dropped_average"])
    assert seen.missing == expected["n_missing"]


def test_preferences_are_assigned_in_turn() -> None:
    case = RATED["round_robin_preference_assignment"]
    assert round_robin(case["inputs"]["n"], case["inputs"]["preferences"]) == case["expected"]["preference"]
