"""Prompt comparisons and widened pairs hold what they promise."""

import json
from pathlib import Path

from assent.building.mapl import BASE_PROMPT, INTRA, better_prompt, inter, intra
from assent.comparison import Candidate, Comparison

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "mapl.json").read_text())["cases"]
PAIRS = [
    Comparison(
        f"Tell me about city {index}.",
        [
            Candidate(
                f"City {index} is large. It has {index} museums, parks and bridges.\n\n- museums\n- parks", score=1.0
            ),
            Candidate("i do not know much about it, sorry", score=0.0),
        ],
    )
    for index in range(30)
]


def test_the_order_of_prompts_follows_the_two_admitted_relations() -> None:
    case = next(case for case in CASES if case["name"] == "prompt_order_from_satisfaction")
    names = {0: "first", 1: "second", None: "none"}
    seen = [
        names[better_prompt([bool(x) for x in pair["first"]], [bool(x) for x in pair["second"]])]
        for pair in case["inputs"]["pairs"]
    ]
    assert seen == case["expected"]["better_prompt"]


def test_intra_compares_two_prompts_for_one_answer() -> None:
    made = intra(PAIRS)
    assert len(made.comparisons) + made.left_out == 60
    assert made.left_out < 10
    for comparison in made.comparisons:
        better, worse = comparison.candidates
        assert better.completion == worse.completion
        assert (better.score, worse.score) == (1.0, 0.0)
        assert better.prompt != worse.prompt
        assert comparison.group == INTRA


def test_inter_widens_the_prompt_and_keeps_both_answers_under_the_base_prompt() -> None:
    made = inter(PAIRS)
    assert len(made.comparisons) + made.left_out == 30
    for comparison in made.comparisons:
        chosen, rejected, first, second = comparison.candidates
        assert (first.role, second.role) == (BASE_PROMPT, BASE_PROMPT)
        assert (first.completion, second.completion) == (chosen.completion, rejected.completion)
        assert (chosen.score, rejected.score) == (1.0, 0.0)
        assert str(comparison.prompt).startswith(str(first.prompt))
        assert comparison.prompt != first.prompt == second.prompt


def test_ties_are_left_out_and_counted() -> None:
    tie = Comparison("Q?", [Candidate("one two three", score=1.0), Candidate("four five six", score=1.0)])
    assert inter([tie]).left_out == 1


def test_the_same_seed_makes_the_same_data() -> None:
    assert [c.key for c in intra(PAIRS, 3).comparisons] == [c.key for c in intra(PAIRS, 3).comparisons]
    assert [c.key for c in intra(PAIRS, 3).comparisons] != [c.key for c in intra(PAIRS, 4).comparisons]
