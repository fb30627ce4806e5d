"""The expected reading of every public data file that tests are given, not just that it is read."""

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from assent.comparison import Comparison
from assent.readers import ReadResult, read

pytestmark = pytest.mark.skipif(not os.environ.get("ASSENT_DATA"), reason="ASSENT_DATA is not set")


def both(name: str) -> tuple[list[dict[str, Any]], ReadResult]:
    path = Path(os.environ["ASSENT_DATA"]) / f"{name}.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    result = read(path)
    assert result.rows == len(rows) == len(result.comparisons)
    assert result.quarantined == 0
    assert result.quarantine is None
    assert result.origins[-1] == f"{path}:{len(rows)}"
    return rows, result


def judged(comparison: Comparison) -> list[tuple[Any, Any, float | None]]:
    return [(comparison.prompt_of(c), c.completion, c.score) for c in comparison.candidates]


def test_alpaca_eval_lists_are_the_baseline_at_one_half_and_the_systems_at_their_preference() -> None:
    rows, result = both("alpaca_eval_lists")
    assert result.format == "alpaca_eval_list"
    for row, comparison in zip(rows, result.comparisons, strict=True):
        assert comparison.prompt == row["prompt"]
        assert comparison.group == row["dataset"]
        base, *systems = comparison.candidates
        assert (base.completion, base.score) == (row["baseline"]["completion"], 0.5)
        assert base.source == row["baseline"]["model"]
        assert [(c.completion, c.score, c.source) for c in systems] == [
            (c["completion"], c["preference"], c["model"]) for c in row["candidates"]
        ]
    assert {len(c.candidates) for c in result.comparisons} == {8, 9}


def test_personas_are_yes_and_no_with_the_matching_one_preferred() -> None:
    rows, result = both("personas")
    assert result.format == "personas"
    for row, comparison in zip(rows, result.comparisons, strict=True):
        assert comparison.prompt == row["question"]
        assert {c.completion: c.score for c in comparison.candidates} == {
            " Yes": float(row["matching"] == "Yes"),
            " No": float(row["matching"] == "No"),
        }
        # The confidence is that of candidate 0, so the matching answer stands first.
        assert comparison.candidates[0].completion == f" {row['matching']}"
        assert comparison.confidence == row["confidence"]
        assert comparison.annotator == row["persona"]
    assert len({c.annotator for c in result.comparisons}) == 17


def test_bpo_is_the_rewritten_prompt_with_its_answer_against_the_original_with_its() -> None:
    rows, result = both("bpo_prompts")
    assert result.format == "bpo"
    for row, comparison in zip(rows, result.comparisons, strict=True):
        assert judged(comparison) == [
            (row["optimized_prompt"], row["good_res"], 1.0),
            (row["prompt"], row["bad_res"], 0.0),
        ]


def test_tldr_is_one_unscored_candidate_and_reported_as_demonstrations() -> None:
    rows, result = both("tldr_posts")
    assert result.demonstrations
    for row, comparison in zip(rows, result.comparisons, strict=True):
        assert judged(comparison) == [(row["instruction"], row["gold_response"], None)]
        assert comparison.meta["title"] == row["title"]


def test_joint_preferences_keep_one_prompt_where_the_instructions_are_equal() -> None:
    rows, result = both("hh_helpful_conditional")
    assert result.format == "joint"
    for row, comparison in zip(rows, result.comparisons, strict=True):
        assert judged(comparison) == [
            (row["i_chosen"], row["r_chosen"], 1.0),
            (row["i_reject"], row["r_reject"], 0.0),
        ]
        assert (comparison.candidates[1].prompt is None) == (row["i_chosen"] == row["i_reject"])


def test_transcripts_are_the_common_turns_and_the_rest_of_each() -> None:
    rows, result = both("hh_harmless_test")
    assert result.format == "transcripts"
    shorter = 0
    for row, comparison in zip(rows, result.comparisons, strict=True):
        chosen, rejected = comparison.candidates
        assert (chosen.score, rejected.score) == (1.0, 0.0)
        for name, candidate in (("chosen", chosen), ("rejected", rejected)):
            spoken = re.split(r"\n\n(Human|Assistant):", row[name])
            turns = [(who, words.strip()) for who, words in zip(spoken[1::2], spoken[2::2], strict=True)]
            told = [*comparison.prompt, *candidate.completion]
            roles = {"user": "Human", "assistant": "Assistant"}
            assert [(roles[turn["role"]], turn["content"]) for turn in told] == turns
            assert candidate.completion[-1]["role"] == "assistant"
            assert candidate.prompt is None
        assert comparison.prompt[0]["role"] == "user"
        same = chosen.completion[0] == rejected.completion[0]
        # The prompt is as long as it can be: the first turns of the two answers differ, unless all turns are equal.
        assert not same or min(len(chosen.completion), len(rejected.completion)) == 1
        shorter += len(chosen.completion) > 1 or len(rejected.completion) > 1
    assert shorter == 5
