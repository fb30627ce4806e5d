"""Judges that compute: label probabilities, scorers, the policy's log-ratio, rules, people."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from assent.comparison import Candidate, Comparison
from assent.encoding import CausalEncoder
from assent.errors import InputError
from assent.judging import load_rubric
from assent.judging.labels import LabelJudge, expected_rating, two_order_strength
from assent.judging.local_labels import LocalLabels, label_tokens
from assent.judging.person import PersonJudge
from assent.judging.rule import RuleJudge, rule_judge
from assent.judging.scorers import ScorerJudge
from assent.likelihood.causal_lm import PaddedCausalPolicy
from assent.preference_models import Scored
from assent.preference_models.backbone import ImplicitScorer
from tests.tiny import byte_tokenizer, tiny_comparisons, tiny_lm

FIXTURES = Path(__file__).parents[1] / "fixtures"


def fixture(slug: str, name: str) -> Any:
    cases = json.loads((FIXTURES / f"{slug}.json").read_text())["cases"]
    return next(case for case in cases if case["name"] == name)


def test_two_order_strengths_of_osp() -> None:
    case = fixture("osp", "judge_strength_two_orders")
    keys = ("logit_A_order1", "logit_B_order1", "logit_A_order2", "logit_B_order2")
    columns = zip(*(case["inputs"][key] for key in keys), strict=True)
    found = [two_order_strength({"A": a1, "B": b1}, {"A": a2, "B": b2}) for a1, b1, a2, b2 in columns]
    assert found == pytest.approx(case["expected"]["strength_i_over_j"], abs=1e-12)


def test_strengths_of_both_sides_add_to_one_and_a_letter_bias_reverses_nothing() -> None:
    one, other = {"A": 0.4, "B": -0.3}, {"A": -0.9, "B": 0.2}
    assert two_order_strength(one, other) + two_order_strength(other, one) == pytest.approx(1)
    for bias in (-8.0, -1.0, 0.0, 1.0, 8.0):
        gap = 0.7
        first, second = {"A": gap + bias, "B": 0.0}, {"A": bias, "B": gap}
        assert two_order_strength(first, second) > 0.5
    assert two_order_strength({"A": -900.0, "B": -1800.0}, {"A": -1800.0, "B": -900.0}) == 1.0


def test_expected_rating_is_the_mean_over_the_scale() -> None:
    labels = {str(number): math.log(share) for number, share in zip(range(1, 4), (0.1, 0.2, 0.1), strict=True)}
    assert expected_rating(labels) == pytest.approx(2.0)


class Letters:
    name = "letters"

    def __init__(self, good: float, bias: float) -> None:
        self.good, self.bias = good, bias

    def read(self, texts: Any, labels: Any) -> Any:
        first = [text.find("winner") < text.find("loser") for text in texts]
        logits = [{"A": self.bias + self.good * at, "B": self.good * (not at)} for at in first]
        total = [math.log(sum(map(math.exp, row.values()))) for row in logits]
        return [
            {label: value - norm for label, value in row.items()} for row, norm in zip(logits, total, strict=True)
        ]


def test_label_judge_averages_orders_and_reports_flips() -> None:
    data = [Comparison("q", [Candidate("loser"), Candidate("winner")])]
    ((_, fair),) = LabelJudge(Letters(2.0, 0.0), load_rubric("helpful")).judge(data)
    assert fair.scores[1] == pytest.approx(1 / (1 + math.exp(-2)))
    assert fair.confidence == pytest.approx(1 / (1 + math.exp(2)))
    assert fair.consistent is True
    ((_, biased),) = LabelJudge(Letters(2.0, 5.0), load_rubric("helpful")).judge(data)
    assert biased.scores[1] is not None
    assert biased.scores[0] is not None
    assert biased.scores[1] > biased.scores[0]
    assert biased.consistent is False


def test_local_labels_are_next_token_probabilities_in_any_batch() -> None:
    tokenizer = byte_tokenizer(template="plain")
    model = tiny_lm(dtype=torch.float64)
    texts = ["which?", "which one of these two is better, say", "A or B"]
    together = LocalLabels(model, tokenizer).read(texts, ["A", "B"])
    for text, found in zip(texts, together, strict=True):
        assert found is not None
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )
        with torch.no_grad():
            logits = model.eval()(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(dim=-1)
        assert found["A"] == pytest.approx(float(logits[tokenizer.convert_tokens_to_ids("A")]), abs=1e-9)
    assert label_tokens(tokenizer, ["A"]) == {"A": [tokenizer.convert_tokens_to_ids("A")]}
    with pytest.raises(InputError, match="single token"):
        label_tokens(tokenizer, ["10"])
    judge = LabelJudge(LocalLabels(model, tokenizer), load_rubric("helpful"), "pointwise")
    for _, verdict in judge.judge(tiny_comparisons(3)):
        assert all(1 <= (score or 0) <= 5 for score in verdict.scores)
        assert 0 < verdict.details["outside_labels"] < 1


def summed(model: Any, ids: tuple[int, ...], start: int) -> float:
    whole = torch.tensor([ids])
    with torch.no_grad():
        logs = model.eval()(input_ids=whole).logits[0].log_softmax(dim=-1)
    return float(logs[start - 1 : -1].gather(1, whole[0, start:, None]).sum())


def test_log_ratio_judge_equals_the_policies_and_keeps_the_records_order() -> None:
    tokenizer = byte_tokenizer(template="plain")
    policy, reference = tiny_lm(seed=1, dtype=torch.float64), tiny_lm(seed=2, dtype=torch.float64)
    encoder = CausalEncoder(tokenizer)
    # Scores that are worst first: encoding would turn the columns round.
    data = [
        Comparison(one.prompt, [*one.candidates[::-1], Candidate("helper", role="mismatched")])
        for one in tiny_comparisons(5, candidates=3)
    ]
    scorer = ImplicitScorer(
        PaddedCausalPolicy(policy), encoder, PaddedCausalPolicy(reference), beta=0.3, batch_tokens=150
    )
    verdicts = dict(ScorerJudge(scorer).judge(data))
    for index, one in enumerate(data):
        for at, candidate in enumerate(one.candidates[:3]):
            (encoded,), _ = encoder.encode_all([Comparison(one.prompt, [Candidate(candidate.completion)])])
            (row,) = encoded.candidates
            logs = [summed(model, row.ids, row.prompt_length) for model in (policy, reference)]
            assert verdicts[index].scores[at] == pytest.approx(0.3 * (logs[0] - logs[1]), abs=1e-7)
        assert verdicts[index].scores[3] is None
    itself = ImplicitScorer(PaddedCausalPolicy(policy), encoder, PaddedCausalPolicy(policy))
    assert {score for _, verdict in ScorerJudge(itself).judge(data) for score in verdict.scores[:3]} == {0.0}


@pytest.mark.parametrize("name", ["judge_pair", "judge_four_responses"])
def test_implicit_rewards_of_selfie(name: str) -> None:
    case = fixture("selfie", name)

    class Sums:
        name = "sums"

        def score(self, comparisons: Any) -> list[Scored]:
            policy, reference = case["inputs"]["policy_logps"], case["inputs"]["ref_logps"]
            rows = (
                [policy[int(one.prompt)] for one in comparisons],
                [reference[int(one.prompt)] for one in comparisons],
            )
            beta = case["hyper"]["beta"]
            return [
                Scored(rewards=tuple(beta * (p - r) for p, r in zip(*pair, strict=True)))
                for pair in zip(*rows, strict=True)
            ]

    expected = case["expected"]
    data = [
        Comparison(str(index), [Candidate(f"c{at}") for at in range(len(row))])
        for index, row in enumerate(expected["implicit_rewards"])
    ]
    for index, verdict in ScorerJudge(Sums()).judge(data):
        assert list(verdict.scores) == pytest.approx(expected["implicit_rewards"][index], abs=1e-12)
        scores = [score for score in verdict.scores if score is not None]
        assert scores.index(max(scores)) == expected["chosen_index"][index]
        assert scores.index(min(scores)) == expected["rejected_index"][index]
        if name == "judge_pair":
            assert verdict.confidence == pytest.approx(expected["prob_first_over_second"][index], abs=1e-12)


def test_a_scorer_without_a_number_makes_no_verdict() -> None:
    class Broken:
        name = "broken"

        def score(self, comparisons: Any) -> list[Scored]:
            return [Scored(rewards=(1.0, math.nan)) for _ in comparisons]

    ((_, verdict),) = ScorerJudge(Broken()).judge(tiny_comparisons(1))
    assert (verdict.status, verdict.scores) == ("unparsed", ())


def test_rules_score_answers_or_comparisons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = [Comparison("two words", [Candidate("a b"), Candidate("a"), Candidate("h", role="x")])]
    ((_, verdict),) = RuleJudge(lambda prompt, answer: len(answer.split()), "words").judge(data)
    assert verdict.scores == (2.0, 1.0, None)
    ((_, verdict),) = RuleJudge(lambda comparison: [None, True], "whole").judge(data)
    assert verdict.scores == (None, 1.0, None)
    (tmp_path / "my_rules.py").write_text("def short(prompt, answer):\n    return -len(answer)\n")
    monkeypatch.chdir(tmp_path)
    assert rule_judge("my_rules:short").name == "short"
    for bad in ("my_rules:long", "nowhere:short", "my_rules"):
        with pytest.raises(InputError, match="cannot import"):
            rule_judge(bad)
    for function, message in (
        (lambda p, a: 1 / 0, "ZeroDivisionError"),
        (lambda p, a: "good", "no number"),
        (lambda p, a: math.nan, "no number"),
        (lambda c: [1.0], "wrong number"),
    ):
        with pytest.raises(InputError, match=message):
            list(RuleJudge(function, "bad").judge(data))
    with pytest.raises(InputError, match="3 required"):
        RuleJudge(lambda a, b, c: 0, "three")


def test_a_person_fills_a_form(tmp_path: Path) -> None:
    data = [
        Comparison(
            f"=SUM({index})", [Candidate(f"x{index}", source="secret"), Candidate(f"y{index}"), Candidate("z")]
        )
        for index in range(4)
    ]
    judge = PersonJudge(tmp_path / "form.csv", load_rubric("helpful"), "ann")
    assert judge.write(data) == 4
    with pytest.raises(InputError, match="exists already"):
        judge.write(data)
    assert "secret" not in judge.form.read_text()
    with judge.form.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = list(csv.reader(file))
    assert rows[0][1] == "'=SUM(0)", "a spreadsheet does not run it"
    place = header.index(next(name for name in header if name.startswith("best")))
    letters = {row[2 + at]: "ABC"[at] for row in rows for at in range(3) if row[2 + at] != "z"}
    rows[0][place] = letters["y0"]
    rows[1][place] = f"{letters['x1']} > {letters['y1']}"
    rows[2][place] = letters["x2"] + letters["y2"]
    with judge.form.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([header, *rows])
    verdicts = dict(judge.judge(data))
    assert verdicts[0].scores == (0.0, 1.0, 0.0)
    assert verdicts[1].scores == (2.0, 1.0, 0.0)
    assert verdicts[2].scores == (1.0, 1.0, 0.0)
    assert verdicts[3].status == "waiting"
    rows[3][place] = "maybe Q"
    with judge.form.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([header, *rows])
    with pytest.raises(InputError, match=r"form\.csv:5.*maybe Q"):
        list(judge.judge(data))
