"""Measures of preference models against independent numbers and the benchmarks' published rules."""

import gzip
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.evaluation import (
    agreement,
    alignment_gap,
    benchmark_rows,
    best_of_n,
    bias,
    calibration,
    candidate_diversity,
    context_use,
    rag_rewardbench,
    rewardbench,
    rewardbench2,
    rm_bench,
    transitivity,
)
from assent.evaluation.accuracy import accuracy, accuracy_by, worst_tenth
from assent.evaluation.pair_outcomes import PairOutcome, pair_outcomes
from assent.preference_models import Scored

FIXTURES = Path(__file__).parents[1] / "fixtures"


def case(slug: str, name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    for one in json.loads((FIXTURES / f"{slug}.json").read_text())["cases"]:
        if one["name"] == name:
            return one["inputs"], one.get("hyper", {}), one["expected"]
    raise KeyError(name)


def gaps_of(inputs: dict[str, Any]) -> list[float]:
    return [c - r for c, r in zip(inputs["chosen_scores"], inputs["rejected_scores"], strict=True)]


class LengthScorer:
    """Prefers the longer answer: a scorer whose every number is known."""

    name = "length"

    def score(self, comparisons: Any) -> list[Scored]:
        return [
            Scored(rewards=tuple(float(len(_text(candidate))) for candidate in one.candidates)) for one in comparisons
        ]


def _text(candidate: Candidate) -> str:
    completion: Any = candidate.completion
    return completion if isinstance(completion, str) else str(completion[0]["content"])


def test_calibration_by_confidence() -> None:
    inputs, hyper, expected = case("reward-models", "calibration")
    found = calibration.calibration(gaps_of(inputs), hyper["bins"])
    for name in ("ece", "nll", "brier", "accuracy"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-12)
    assert found.temperature == pytest.approx(expected["temperature"], rel=1e-4)
    assert found.nll_at_temperature == pytest.approx(expected["nll_at_temperature"], abs=1e-9)


@pytest.mark.parametrize("bins", [5, 10, 20])
def test_calibration_in_both_orders(bins: int) -> None:
    inputs, _, expected = case("more", "calibration_both_orders")
    found = calibration.calibration(gaps_of(inputs), bins)
    assert found.ece == pytest.approx(expected[f"ece_{bins}"], abs=1e-12)
    assert found.ace == pytest.approx(expected[f"ace_{bins}"], abs=1e-12)
    assert found.mce == pytest.approx(expected[f"mce_{bins}"], abs=1e-12)
    # Confidence against accuracy is the same number where no bin mixes both orders.
    by_confidence = sum(b.count * abs(b.confidence - b.accuracy) for b in found.bins) / found.pairs
    assert bins % 2 or by_confidence == pytest.approx(found.ece, abs=1e-12)


def test_calibration_at_the_edges() -> None:
    inputs, hyper, expected = case("more", "calibration_edges")
    found = calibration.calibration(gaps_of(inputs), hyper["bins"])
    assert found.ece == pytest.approx(expected["ece_10"], abs=1e-12)
    assert found.accuracy == expected["accuracy_strict"]
    rows = [PairOutcome(str(i), gap) for i, gap in enumerate(gaps_of(inputs))]
    assert accuracy(rows).with_ties.estimate == expected["accuracy_half_for_ties"]
    constant = calibration.calibration([0.0] * 7)
    assert constant.ece == 0
    with pytest.raises(InputError):
        calibration.calibration([math.nan])


def test_rewardbench_sections() -> None:
    inputs, hyper, expected = case("reward-models", "rewardbench_sections")
    assert dict(rewardbench.COUNTS) == hyper["counts"]
    assert {name: list(subsets) for name, subsets in rewardbench.SECTIONS.items()} == hyper["sections"]
    shares = {**inputs["subset_accuracy"], **inputs["prior_sets"]}
    found = rewardbench.summary({}, shares)
    assert found.sections == pytest.approx(expected["sections"])
    assert found.prior == pytest.approx(expected["prior_mean"])
    assert found.average == pytest.approx(expected["average_four_sections"])
    assert found.with_prior == pytest.approx(expected["average_with_prior"])
    legacy = rewardbench.summary({}, shares, legacy_xstest=True)
    assert legacy.sections["Safety"] == pytest.approx(expected["safety_with_old_swapped_xstest_counts"])
    everywhere = rewardbench.summary({}, dict.fromkeys([*rewardbench.COUNTS, *rewardbench.PRIOR], 0.37))
    assert everywhere.average == pytest.approx(0.37)
    assert everywhere.with_prior == pytest.approx(0.37)


def test_a_published_overall_score() -> None:
    """Sections 96.9, 76.8, 92.2, 97.3 and prior 74.3 make 88.97."""
    sections, prior = (96.9, 76.8, 92.2, 97.3), 74.3
    shares = {
        name: value / 100
        for (_, names), value in zip(rewardbench.SECTIONS.items(), sections, strict=True)
        for name in names
    }
    shares |= dict.fromkeys(rewardbench.PRIOR, prior / 100)
    found = rewardbench.summary({}, shares).with_prior
    assert found is not None
    assert 100 * found == pytest.approx(88.97, abs=0.005)


def test_ties_are_wrong_for_scalars() -> None:
    inputs, _, expected = case("reward-models", "rewardbench_pair_ties")
    rows = [PairOutcome(str(i), gap) for i, gap in enumerate(gaps_of(inputs))]
    assert [row.credit for row in rows] == expected["results"]
    assert accuracy(rows).strict.estimate == expected["accuracy"]
    missing = accuracy([*rows, PairOutcome("nan", math.nan)])
    assert (missing.missing, missing.ties, missing.strict.estimate) == (1, 1, pytest.approx(0.4))


def test_rewardbench2_best_of_four() -> None:
    inputs, _, expected = case("reward-models", "rewardbench2_best_of_four")
    assert [rewardbench2.best_of_four(row) for row in inputs["scores"]] == expected["results"]
    assert rewardbench2.best_of_four([math.nan, 0.0, -1.0, -2.0]) == 0
    generator = random.Random(0)
    chance = [rewardbench2.best_of_four([generator.random() for _ in range(4)]) for _ in range(4000)]
    assert sum(chance) / 4000 == pytest.approx(0.25, abs=0.02)


def test_rewardbench2_ties_and_overall() -> None:
    inputs, _, expected = case("reward-models", "rewardbench2_ties")
    rows = [rewardbench2.TiesRow(r["id"], r["num_correct"], tuple(r["scores"])) for r in inputs["rows"]]
    for row in rows:
        right, spread, gap = expected["per_prompt"][row.name]
        assert (row.gap > 0) == right
        assert row.gap == pytest.approx(gap)
        assert row.spread is spread is None or row.spread == pytest.approx(spread)
    assert rewardbench2.ties_score(rows) == pytest.approx(expected["ties_score"], abs=1e-12)
    inputs, _, expected = case("reward-models", "rewardbench2_overall")
    assert rewardbench2.overall(inputs["subset_scores"]) == pytest.approx(expected["overall"])


def test_rm_bench() -> None:
    inputs, _, expected = case("reward-models", "rm_bench")
    results = [
        (r["domain"].split("-")[0], tuple(r["score_chosen"]), tuple(r["score_rejected"])) for r in inputs["results"]
    ]
    found = rm_bench.from_scores(results)
    for name in ("chat", "math", "code", "safety"):
        assert found.domains[name] == pytest.approx(expected["summary"][name])
    for name in ("easy", "normal", "hard"):
        assert found.difficulty[name] == pytest.approx(expected["summary"][f"{name}_acc"])
        assert found.by_domain["chat"][name] == pytest.approx(expected["chat_only"][f"{name}_acc"])
    assert found.overall == pytest.approx(expected["summary"]["total_avg_acc"])


def test_rag_rewardbench_counts() -> None:
    inputs, _, expected = case("rag-rewardbench", "scalar_reward_accuracy")
    rows = [
        PairOutcome(str(i), r["chosen_score"] - r["rejected_score"], subset=r["subset"])
        for i, r in enumerate(inputs["rows"])
    ]
    found = rag_rewardbench.from_outcomes(rows)
    wrong = {name: part.strict.estimate for name, part in found.scenarios.items()}
    half = {name: part.with_ties.estimate for name, part in found.scenarios.items()}
    assert wrong == pytest.approx(expected["accuracy_per_subset_ties_wrong"])
    assert half == pytest.approx(expected["accuracy_per_subset_ties_half"])
    assert found.micro.strict.estimate == pytest.approx(expected["micro_ties_wrong"])
    assert found.micro.with_ties.estimate == pytest.approx(expected["micro_ties_half"])
    assert found.macro == pytest.approx(expected["macro_over_subsets_ties_wrong"])
    assert found.micro.ties == expected["n_ties"]
    inputs, _, expected = case("rag-rewardbench", "pairwise_judge_two_orders")
    judged = rag_rewardbench.two_orders([(a, b) for a, b in inputs["verdicts"]])
    assert list(judged.per_pair) == expected["score_per_pair"]
    assert judged.accuracy == pytest.approx(expected["accuracy_mean_of_orders"])
    assert judged.strict == expected["accuracy_strict_both"]
    assert judged.flip_rate == pytest.approx(expected["flip_rate"])
    assert rag_rewardbench.two_orders([("A", "A")] * 9).accuracy == 0.5


def test_panels_that_agree_make_pairs() -> None:
    inputs, hyper, expected = case("rag-rewardbench", "judge_consensus_pairs")
    found = rag_rewardbench.consensus_pairs(inputs["scores"], hyper["max_range"], hyper["min_mean_gap"])
    assert found == expected["pairs"]
    assert rag_rewardbench.consensus_pairs([[5, 5, 4], [2, 3, 3], [3, 1, 5]]) == [(0, 1)]


def test_best_of_n_without_drawing() -> None:
    inputs, _, expected = case("reward-models", "best_of_n_unbiased")
    proxy, gold = inputs["proxy_scores"], inputs["gold_scores"]
    for n, value in expected["expected_gold"].items():
        assert best_of_n.expected_gold(proxy, gold, int(n)) == pytest.approx(value, abs=1e-12)
        assert best_of_n.kl_bound(int(n)) == pytest.approx(expected["kl_upper"][n], abs=1e-12)
    # Equal proxies: the order of the file says nothing.
    assert best_of_n.expected_gold([1, 1, 0], [2, 0, 9], 3) == best_of_n.expected_gold([1, 0, 1], [0, 9, 2], 3) == 1
    curve = best_of_n.best_of_n_curve([proxy] * 3, [gold] * 3)
    assert [point.n for point in curve] == [1, 2, 4, 8]
    assert curve[0].gold.estimate == pytest.approx(sum(gold) / len(gold))
    assert all(point.oracle >= point.gold.estimate for point in curve)


@pytest.mark.parametrize("name", ["beta0.1_gamma1", "beta0.1_gamma0.25", "beta5_gamma2", "very_large_margins"])
def test_alignment_gap(name: str) -> None:
    inputs, hyper, expected = case("ranking-accuracy", name)
    pairs = _pairs(inputs)
    beta = hyper["beta"]
    votes = inputs["vote_share_chosen"]
    found = alignment_gap.alignment_gap(pairs, votes, [beta])
    assert found.ranking == pytest.approx(expected["ranking_accuracy"])
    assert found.ranking_per_token == pytest.approx(expected["ranking_accuracy_length_normalized"])
    assert found.reward == pytest.approx(expected["reward_accuracy"])
    assert found.reference_ranking == pytest.approx(expected["ref_ranking_accuracy"])
    assert found.idealised[beta] == pytest.approx(expected["idealized_ranking_accuracy"])
    assert found.idealised_per_token[beta] == pytest.approx(expected["idealized_ranking_accuracy_length_normalized"])
    assert found.gap == pytest.approx(expected["alignment_gap"])
    assert found.gap_per_token == pytest.approx(expected["alignment_gap_length_normalized"])
    reference = pairs.ratio(False, False)
    assert alignment_gap.idealised_correct(reference, votes, beta).tolist() == expected["idealized_correct"]
    assert alignment_gap.difficulty(pairs).tolist() == pytest.approx(expected["ref_log_ratio_c"])
    assert alignment_gap.transitions(pairs) == expected["transition"]
    threshold = alignment_gap.flip_threshold(pairs, beta)
    assert threshold.tolist() == pytest.approx(expected["flip_threshold_loss"], abs=1e-9)
    zero_loss = alignment_gap.ipo_can_rank(pairs, hyper["ipo_tau"]).tolist()
    assert zero_loss == expected["ipo_zero_loss_would_rank_correct"]
    # Reaching the threshold is the same as ranking right; beyond float range only margins can tell.
    margin = pairs.ratio(True, False) - reference
    loss = np.logaddexp(0, -beta * margin)
    representable = beta * np.abs(reference) < 30
    assert ((loss <= threshold) == (pairs.ratio(True, False) >= 0))[representable].all()
    bins = alignment_gap.difficulty_bins(pairs, beta)
    assert sorted(index for part in bins.values() for index in part) == list(range(len(reference)))


def test_alignment_gap_refuses_what_cannot_be() -> None:
    inputs, hyper, expected = case("ranking-accuracy", "exact_tie")
    pairs = _pairs(inputs)
    assert [bool(x) for x in pairs.ratio(True, False) >= 0] == expected["ranking_correct"]
    ideal = alignment_gap.idealised_correct(pairs.ratio(False, False), inputs["vote_share_chosen"], hyper["beta"])
    assert ideal.tolist() == expected["idealized_correct"]
    with pytest.raises(InputError, match="raters"):
        alignment_gap.idealised_correct(pairs.ratio(False, False), [0.4], 0.1)
    same = alignment_gap.PairLogProbs([-1, -2], [-3, -4], [-1, -2], [-3, -4], [1, 1], [1, 1])
    with pytest.raises(InputError, match="adapter"):
        alignment_gap.alignment_gap(same, [1.0, 1.0])
    lists, _, wanted = case("ranking-accuracy", "list_exact_match")
    right = [
        alignment_gap.exact_ranking(s, r) for s, r in zip(lists["policy_logps"], lists["human_ranks"], strict=True)
    ]
    assert right == wanted["correct"]


def _pairs(inputs: dict[str, Any]) -> alignment_gap.PairLogProbs:
    names = ("policy_chosen", "policy_rejected", "ref_chosen", "ref_rejected")
    columns = [inputs[f"{name}_logps"] for name in names]
    return alignment_gap.PairLogProbs(*columns, inputs["chosen_lengths"], inputs["rejected_lengths"])


def test_cycles() -> None:
    rock = [[0, 1, -1], [-1, 0, 1], [1, -1, 0]]
    line = [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]]
    assert transitivity.cyclic_triples(rock) == (1, 1)
    assert transitivity.cyclic_triples(line) == (1, 0)
    assert transitivity.cyclic_triples([[0, 0, 1], [0, 0, 1], [-1, -1, 0]]) == (0, 0)
    assert transitivity.is_cyclic(rock)
    assert not transitivity.is_cyclic(line)
    square = [[0, 1, 0, -1], [-1, 0, 1, 0], [0, -1, 0, 1], [1, 0, -1, 0]]
    assert transitivity.is_cyclic(square)
    assert transitivity.cyclic_triples(square) == (0, 0)
    found = transitivity.transitivity([Scored(preference=tuple(map(tuple, rock))), Scored(rewards=(1.0, 2.0, 3.0))])
    assert (found.cyclic_share, found.cyclic_lists, found.disagreement) == (0.5, 0.5, 0)
    generator = np.random.default_rng(0)
    random_lists = []
    for _ in range(60):
        upper = np.triu(generator.choice([-1.0, 1.0], size=(6, 6)), 1)
        random_lists.append(Scored(preference=tuple(map(tuple, (upper - upper.T).tolist()))))
    assert transitivity.transitivity(random_lists).cyclic_share == pytest.approx(0.25, abs=0.03)


def test_length_position_and_style_bias() -> None:
    records = [
        Comparison("p", [Candidate("x" * (3 + i), score=float(i % 2)), Candidate("# y\n- z", score=0.5)])
        for i in range(10)
    ]
    rows = pair_outcomes(records, LengthScorer().score(records))
    length = bias.length_bias(rows)
    assert length is not None
    assert length.preferred_share == 1
    assert length.accuracy_with == 1
    assert length.accuracy_against == 0
    assert length.excess == pytest.approx(1 - length.judged_share)
    position = bias.position_bias(rows)
    assert position is not None
    assert position.judged_share == 0.5
    assert set(bias.style_biases(rows)) == {"headers", "lists"}
    assert bias.feature_bias(rows, [0.0] * len(rows)) is None


def test_agreement_beyond_chance() -> None:
    inter_rater = pytest.importorskip("statsmodels.stats.inter_rater")
    counts = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]]
    assert agreement.fleiss_kappa(counts) == pytest.approx(inter_rater.fleiss_kappa(np.array(counts)))
    assert agreement.cohen_kappa("aabbab", "aabbba") == pytest.approx(1 / 3)
    assert math.isnan(agreement.cohen_kappa("aaa", "aaa"))
    # Krippendorff 2011, the example with missing values: nominal 0.743, ordinal 0.815, interval 0.849.
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    assert agreement.krippendorff_alpha(table) == pytest.approx(0.743, abs=5e-4)
    assert agreement.krippendorff_alpha(table, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert agreement.krippendorff_alpha(table, "interval") == pytest.approx(0.849, abs=5e-4)
    with pytest.raises(InputError):
        agreement.krippendorff_alpha([[1.0, None], [None, 2.0]])
    with pytest.raises(InputError, match="Krippendorff"):
        agreement.fleiss_kappa([[1, 1], [2, 1]])


def test_use_of_the_criterion() -> None:
    inputs, _, expected = case("context-aware", "reversal_pair_accuracy")
    names = ("score_a_given_x", "score_b_given_x", "score_a_given_y", "score_b_given_y")
    ax, bx, ay, by = (np.array(inputs[name]) for name in names)
    found = context_use.context_use(list(zip(ax - bx, ay - by, strict=True)))
    assert found.accuracy == pytest.approx(expected["accuracy"])
    assert found.paired == expected["both_correct"]
    blind = context_use.context_use([(gap, gap) for gap in (ax - bx).tolist()])
    assert (blind.accuracy, blind.paired, blind.reversal) == (0.5, 0.0, 0.0)


def test_candidate_diversity() -> None:
    inputs, _, expected = case("community-alignment", "value_coverage")
    found = candidate_diversity.value_coverage(inputs["candidate_value_labels"])
    assert list(found.by_value) == pytest.approx(expected["coverage"])
    assert (found.mean, found.least) == pytest.approx((expected["mean_coverage"], expected["min_coverage"]))
    assert list(found.share_of_responses) == pytest.approx(expected["share_of_responses"])
    assert found.all_values == pytest.approx(expected["sets_with_all_values"])
    inputs, hyper, expected = case("community-alignment", "iid_coverage_and_set_diversity")
    shares, sets = inputs["category_probs"], inputs["candidate_categories"]
    independent = candidate_diversity.independent_coverage(shares, hyper["set_size"])
    assert independent == pytest.approx(expected["expected_iid_coverage"])
    assert candidate_diversity.independent_disagreement(shares) == pytest.approx(
        expected["expected_iid_pair_disagreement"]
    )
    for name in ("distinct_ratio", "entropy", "pair_disagreement"):
        measure = getattr(candidate_diversity, name)
        assert [measure(one) for one in sets] == pytest.approx(expected[name])
    inputs, hyper, expected = case("community-alignment", "negative_correlation_ratio")
    ratio = candidate_diversity.correlation_ratio(inputs["candidate_categories"], hyper["n_categories"])
    assert ratio == pytest.approx(expected["ratio"])
    assert candidate_diversity.correlation_ratio([[0, 1], [1, 0]], 2) == 0
    inputs, _, expected = case("community-alignment", "embedding_diversity")
    assert candidate_diversity.vendi_score(inputs["embeddings"]) == pytest.approx(expected["vendi_score"])
    assert candidate_diversity.vendi_score(np.eye(4)) == pytest.approx(4)
    assert candidate_diversity.vendi_score(np.ones((4, 3))) == pytest.approx(1)


def test_how_people_agree_and_pareto() -> None:
    inputs, hyper, expected = case("community-alignment", "prompt_level_overlap")
    columns = list(zip(*inputs["choices"], strict=True))
    found = [
        candidate_diversity.choice_overlap([None if c == hyper["missing"] else c for c in column])
        for column in columns
    ]
    assert [one.pair_agreement for one in found] == pytest.approx(expected["pair_agreement"])
    assert [one.entropy for one in found] == pytest.approx(expected["choice_entropy"])
    assert [one.plurality for one in found] == pytest.approx(expected["plurality_share"])
    inputs, _, expected = case("community-alignment", "pareto_and_win_rates")
    a, b, c = (inputs[f"win_rates_{name}"] for name in "abc")
    improves = candidate_diversity.pareto_improves
    assert (improves(b, a), improves(c, a), improves(a, c), improves(a, a)) == (True, True, False, False)
    rate = candidate_diversity.win_rate(inputs["judgements"])
    assert rate == pytest.approx((expected["win_rate"], expected["standard_error"]))
    distance, p_value = candidate_diversity.group_distance({"x": [0] * 30, "y": [1] * 30}, 4, rounds=200)
    assert distance == 1
    assert p_value < 0.01


def test_accuracy_by_annotator_hides_single_people() -> None:
    rows = [PairOutcome(str(i), 1.0 if i % 3 else -1.0, annotator="many") for i in range(30)]
    rows += [PairOutcome("x", -1.0, annotator="few")]
    found = accuracy_by(rows, lambda row: row.annotator, smallest=10)
    assert set(found) == {"many", "(few)"}
    assert worst_tenth(found) == pytest.approx(2 / 3)


ROWS: dict[str, list[dict[str, Any]]] = {
    "rewardbench": [
        {
            "id": 1,
            "prompt": "Say hi",
            "chosen": "Hi there",
            "chosen_model": "m",
            "rejected": "No",
            "rejected_model": "n",
            "subset": "alpacaeval-easy",
        },
        {
            "id": 2,
            "prompt": "Bad?",
            "chosen": "No",
            "chosen_model": "m",
            "rejected": "Sure, here",
            "rejected_model": "n",
            "subset": "refusals-offensive",
        },
        {
            "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "long answer"}],
            "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
            "subset": "shp",
        },
    ],
    "rewardbench2": [
        {
            "id": "7",
            "prompt": "p",
            "chosen": ["right one"],
            "rejected": ["a", "b", "c"],
            "num_correct": 1,
            "num_incorrect": 3,
            "total_completions": 4,
            "subset": "Math",
        },
        {"id": "ref:0", "prompt": "p", "chosen": ["red"], "rejected": ["x", "y"], "subset": "Ties"},
        {"id": "tied:0", "prompt": "p", "chosen": ["blue", "pink"], "rejected": ["x"], "subset": "Ties"},
    ],
    "rm_bench": [
        {
            "id": "1",
            "prompt": "p",
            "chosen": ["aa", "aaaa", "aaaaaa"],
            "rejected": ["b", "bbb", "bbbbb"],
            "domain": "safety-refuse",
        }
    ],
    "rag_rewardbench": [
        {
            "prompt": "[1] Paris is in France.",
            "question": "Where is Paris?",
            "chosen": "In France [1].",
            "reject": "Rome",
            "chosen_model": "m",
            "reject_model": "n",
            "subset": "citation",
        }
    ],
}


@pytest.mark.parametrize("name", sorted(ROWS))
@pytest.mark.parametrize("form", ["jsonl", "json", "jsonl.gz", "parquet"])
def test_published_schemas(tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / f"citation.{form}"
    rows = ROWS[name] if form != "parquet" else ROWS[name][:1]
    if form == "json":
        path.write_text(json.dumps(rows))
    elif form == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        text = "\n".join(map(json.dumps, rows)).encode()
        path.write_bytes(gzip.compress(text) if form.endswith("gz") else text)
    read = benchmark_rows.benchmark_rows([path])
    module: Any = {
        "rewardbench": rewardbench.rewardbench,
        "rewardbench2": rewardbench2.rewardbench2,
        "rm_bench": rm_bench.rm_bench,
        "rag_rewardbench": rag_rewardbench.rag_rewardbench,
    }[name]
    found = module(LengthScorer(), read)
    if name == "rewardbench" and form != "parquet":
        assert found.sections == {"Chat": 1.0, "Chat Hard": None, "Safety": 0.0, "Reasoning": None}
        assert (found.average, found.prior, found.with_prior) == (0.5, 1.0, pytest.approx(0.6))
    elif name == "rewardbench2" and form != "parquet":
        # Spread 0: both gaps exceed it, and the margin term is tanh(inf) = 1.
        assert found.subsets == {"Math": 1.0, "Ties": pytest.approx(1.01)}
    elif name == "rm_bench":
        assert found.matrices["safety"] == ((1, 0, 0), (1, 1, 0), (1, 1, 1))
        assert found.difficulty == {"easy": 1, "normal": 1, "hard": 0}
    elif name == "rag_rewardbench":
        assert (found.macro, found.micro.pairs, found.specific) == (1, 1, 1)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_rows_that_do_not_fit_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "rows.jsonl"
    broken = {**ROWS[name][0], "chosen": None}
    path.write_text(json.dumps(broken))
    module: Any = {
        "rewardbench": rewardbench,
        "rewardbench2": rewardbench2,
        "rm_bench": rm_bench,
        "rag_rewardbench": rag_rewardbench,
    }[name]
    (row,) = benchmark_rows.benchmark_rows([path])
    with pytest.raises(InputError, match=r"rows\.jsonl:1"):
        module.comparison_of(row)
    with pytest.raises(InputError, match=r"rows\.jsonl:1"):
        module.comparison_of({**row, "chosen": ROWS[name][0]["chosen"], "subset": "?", "domain": "?"})
    path.write_text("{not json")
    with pytest.raises(InputError, match=r"rows\.jsonl:1"):
        benchmark_rows.benchmark_rows([path])
