"""Selfie's and OSP's data of a round, on the derived numbers and on scripted judges."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from assent.building import osp, selfie
from assent.building.drawn import draw, varied
from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.generation import Sampling
from assent.judging import Verdict
from assent.judging.scorers import ScorerJudge
from assent.preference_models import Scored

FOLDER = Path(__file__).parents[1] / "fixtures"


def cases(slug: str) -> dict[str, dict]:
    return {case["name"]: case for case in json.loads((FOLDER / f"{slug}.json").read_text())["cases"]}


class Table:
    """A scorer whose rewards stand in the answers."""

    name = "table"

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        return [
            Scored(
                rewards=tuple(float(str(one.completion)) for one in comparison.candidates),
                dimensions={"tokens": tuple(float(len(str(one.completion))) for one in comparison.candidates)},
            )
            for comparison in comparisons
        ]


class Beats:
    """A judge with a strength for each pair of answers."""

    name, criterion = "scripted", "planted"

    def __init__(self, strength: dict[str, float]) -> None:
        self.strength = strength

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        for index, comparison in reversed(list(enumerate(comparisons))):
            first, second = (str(one.completion) for one in comparison.candidates)
            if first == "unreadable":
                yield index, Verdict("unparsed")
                continue
            if second in self.strength:
                logits = [math.log(self.strength[one] / (1 - self.strength[one])) for one in (first, second)]
                yield index, Verdict("judged", confidence=1 / (1 + math.exp(logits[1] - logits[0])), consistent=True)
            else:
                yield index, Verdict("judged", confidence=self.strength[first], consistent=True)


@pytest.mark.parametrize("name", ["judge_pair", "judge_four_responses"])
def test_labels_of_derived_log_ratios(name: str) -> None:
    case = cases("selfie")[name]
    beta = case["hyper"]["beta"]
    rewards = [
        [beta * (one - other) for one, other in zip(*row, strict=True)]
        for row in zip(case["inputs"]["policy_logps"], case["inputs"]["ref_logps"], strict=True)
    ]
    assert rewards == [pytest.approx(row) for row in case["expected"]["implicit_rewards"]]
    drawn = [Comparison("Q", [Candidate(repr(value)) for value in row]) for row in rewards]
    pairs = selfie.self_label(drawn, ScorerJudge(Table(), "log_ratio")).comparisons
    chosen = [
        [repr(value) for value in row].index(one.candidates[0].completion)
        for one, row in zip(pairs, rewards, strict=True)
    ]
    rejected = [
        [repr(value) for value in row].index(one.candidates[1].completion)
        for one, row in zip(pairs, rewards, strict=True)
    ]
    assert (chosen, rejected) == (case["expected"]["chosen_index"], case["expected"]["rejected_index"])
    for one, probability in zip(pairs, case["expected"]["preference_prob"], strict=True):
        margin = one.candidates[0].score - one.candidates[1].score
        assert 1 / (1 + math.exp(-margin)) == pytest.approx(probability, abs=1e-12)


def test_a_judge_without_reference_drift_makes_no_pairs_and_says_so() -> None:
    built = selfie.self_label([Comparison("Q", [Candidate("0"), Candidate("0.0")])], ScorerJudge(Table()))
    assert built.comparisons == []
    assert built.left_out == {"all scores equal": 1}


def test_per_token_rewards_lose_their_length() -> None:
    scored = selfie.PerToken(Table()).score([Comparison("Q", [Candidate("2"), Candidate("1000")])])[0]
    assert scored.ranking_scores() == (2.0, 250.0)


def test_the_detecting_model_comes_nearer_each_round() -> None:
    found = [selfie.objective(number)["selfie"]["extrapolation"] for number in (1, 2, 3, 4)]
    assert found == [0.5, 0.25, 0.125, 0.125]


def test_ranked_pairs_of_derived_baseline_scores() -> None:
    case = cases("osp")["ranked_pairing_from_baseline_scores"]
    found = osp.ranked_pairs(case["inputs"]["win_prob_vs_baseline"])
    assert [{"winner": p.winner, "loser": p.loser} for p in found] == [
        {"winner": p["winner"], "loser": p["loser"]} for p in case["expected"]["pairs"]
    ]
    assert [p.strength for p in found] == pytest.approx([p["strength"] for p in case["expected"]["pairs"]], abs=1e-9)


def test_pairings_and_gaps() -> None:
    wins = [0.2, 0.9, 0.5, 0.9]
    assert [(p.winner, p.loser) for p in osp.ranked_pairs(wins, "adjacent")] == [(3, 2), (2, 0)]
    assert [(p.winner, p.loser) for p in osp.ranked_pairs(wins, "best_vs_rest")] == [(1, 2), (1, 0)]
    assert [(p.winner, p.loser) for p in osp.ranked_pairs(wins, "best_worst")] == [(1, 0)]
    assert [(p.winner, p.loser) for p in osp.ranked_pairs(wins, "all", 0.35)] == [(1, 2), (1, 0), (3, 2), (3, 0)]
    with pytest.raises(InputError, match="pairing"):
        osp.ranked_pairs(wins, "some")  # type: ignore[arg-type]


def test_strengths_stay_finite_and_shifts_of_all_logits_change_no_rank() -> None:
    assert osp.bradley_terry_strength(1.0, 0.0) < 1
    shifted = [1 / (1 + math.exp(-(math.log(q / (1 - q)) + 3))) for q in (0.3, 0.8, 0.6)]
    before, after = osp.ranked_pairs([0.3, 0.8, 0.6]), osp.ranked_pairs(shifted)
    assert [(p.winner, p.loser) for p in before] == [(p.winner, p.loser) for p in after]
    assert [p.strength for p in before] == pytest.approx([p.strength for p in after])


def test_self_preference_carries_strength_and_counts_what_failed() -> None:
    judge = Beats({"good": 0.8, "fair": 0.5, "bad": 0.2})
    drawn = [
        Comparison("Q1", [Candidate("fair"), Candidate("good"), Candidate("unreadable"), Candidate("bad")]),
        Comparison("Q2", [Candidate("unreadable"), Candidate("good")]),
    ]
    built = osp.self_prefer(drawn, ["base", "base"], judge)
    assert [[c.completion for c in one.candidates] for one in built.comparisons] == [
        ["good", "fair"],
        ["good", "bad"],
        ["fair", "bad"],
    ]
    assert [one.confidence for one in built.comparisons] == pytest.approx([0.8, 16 / 17, 0.8])
    assert [one.meta["ranks"] for one in built.comparisons] == [[1, 2], [1, 3], [2, 3]]
    assert built.left_out == {"answers with verdict unparsed": 2, "prompts without a pair": 1}
    turned = osp.strengthened(built.comparisons, Beats({"good": 0.2, "fair": 0.5, "bad": 0.7}))
    assert [[c.completion for c in one.candidates] for one in turned.comparisons] == [
        ["fair", "good"],
        ["bad", "good"],
        ["bad", "fair"],
    ]
    assert all(one.confidence > 0.5 for one in turned.comparisons)


def test_a_judge_of_length_is_seen_by_its_report() -> None:
    class Longer:
        name, criterion = "longer", "length"

        def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
            for index, one in enumerate(comparisons):
                first, second = (len(str(c.completion)) for c in one.answers)
                yield index, Verdict("judged", confidence=0.9 if first > second else 0.1, consistent=index > 0)

    labelled = [
        Comparison("Q", [Candidate("short", score=1), Candidate("much longer", score=0)]),
        Comparison("Q", [Candidate("a long one", score=1), Candidate("shorter", score=0)]),
    ]
    assert osp.judge_report(labelled, Longer()) == osp.JudgeReport(0.5, 0.5, 1.0, 2)
    assert osp.judge_report([], Longer()).accuracy is None


def test_equal_and_empty_answers_are_dropped_before_judging() -> None:
    rows = [
        Comparison("Q1", [Candidate("a"), Candidate("a"), Candidate("b"), Candidate("")]),
        Comparison("Q2", [Candidate("a"), Candidate("a")]),
        Comparison("Q3", [Candidate("")], meta={"failed": "no completion could be drawn"}),
    ]
    built = varied(rows)
    assert [[c.completion for c in one.candidates] for one in built.comparisons] == [["a", "b"]]
    assert built.left_out == {
        "answers drawn twice": 3,
        "fewer than two different answers": 1,
        "no answer could be drawn": 1,
    }


def test_drawing_keeps_the_order_of_the_prompts() -> None:
    class Backwards:
        def decode(self, prompts, sampling, keys=None):  # type: ignore[no-untyped-def]
            for index in reversed(range(len(prompts))):
                yield index, Comparison(prompts[index], [Candidate("x"), Candidate("y")])

    steps: list[int] = []
    built = draw(["one", "two"], Backwards(), Sampling(samples=2), lambda: steps.append(1))
    assert [one.prompt for one in built.comparisons] == ["one", "two"]
    assert len(steps) == 2
