"""Features that models give for routing: tags from closed lists, and how alike two answers are to an encoder."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from assent.building.route_features import route_features
from assent.building.route_similarity import answer_similarity, bert_score
from assent.building.route_tagger import closed_lists, question, tag_prompts, tags_of
from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.generation.sampling import Sample, Sampling
from tests.tiny import byte_tokenizer, save_tiny_lm

ANSWER = {
    "subjects": ["Physics", "alchemy"],
    "expertise": "expert domain knowledge",
    "open_endedness": "low",
    "safety_concern": "terrible",
    "complexity": "simple",
    "english": True,
    "in_context_material": False,
    "format_constraints": "yes",
}


class Scripted:
    """Answers each prompt by what is planted in it."""

    name = "scripted"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def stream(
        self, prompts: Sequence[Any], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        assert sampling.temperature == 0
        for at, prompt in enumerate(prompts):
            text = prompt[0]["content"]
            self.asked.append(text)
            said = "no idea" if "riddle" in text else f"Here: {json.dumps(ANSWER)}"
            yield at, [Sample(said)]


def pair(prompt: str, first: str, second: str, **meta: Any) -> Comparison:
    return Comparison(prompt, [Candidate(first), Candidate(second)], meta=meta)


def test_there_are_as_many_tags_as_published() -> None:
    lists = closed_lists()
    assert len(lists["subjects"]["values"]) == len(set(lists["subjects"]["values"])) == 46
    assert 46 + sum(map(len, lists["levels"].values())) + len(lists["flags"]) == 63
    for value in (*lists["subjects"]["values"], *lists["levels"], *lists["flags"]):
        assert f'"{value}"' in question("x")


def test_values_outside_the_lists_are_no_tags_and_are_counted() -> None:
    tags, outside = tags_of(ANSWER)
    expected = ["subject: physics", "expertise: expert domain knowledge", "open_endedness: low", "complexity: simple"]
    assert tags == [*expected, "english"]
    assert outside == 2
    assert tags_of({"subjects": 3, "complexity": ["simple"]}) == ([], 1)


def test_each_prompt_is_asked_about_once_and_its_tags_become_features() -> None:
    rows = [pair("why?", "a", "b"), pair("why?", "c", "d", tags=["mine"]), pair("a riddle", "e", "f")]
    scripted = Scripted()
    found = tag_prompts(rows, scripted)
    assert len(scripted.asked) == 2
    assert (found.unreadable, found.outside) == (1, 2)
    assert found.comparisons[1].meta["tags"][:2] == ["mine", "subject: physics"]
    assert "tags" not in found.comparisons[2].meta
    names = route_features(found.comparisons).names
    assert {"tag: subject: physics", "tag: english", "tag: mine"} <= set(names)


def test_bert_score_is_greedy_matching() -> None:
    axes = torch.eye(4)
    assert bert_score(axes[:2], axes[:2]) == 1
    assert bert_score(axes[:1], axes[1:2]) == 0
    # Precision 1 (the one token is matched), recall 1/2.
    assert bert_score(axes[:1], axes[:2]) == pytest.approx(2 / 3)
    assert bert_score(axes[:2], axes[:1]) == pytest.approx(2 / 3)
    assert bert_score(axes[:0], axes[:0]) == 1
    assert bert_score(axes[:0], axes[:1]) == 0


def test_an_encoder_says_how_alike_answers_are(tmp_path: Path) -> None:
    folder = save_tiny_lm(tmp_path, tokenizer=byte_tokenizer())
    rows = [pair("p", "the same words", "the same words"), pair("p", "the same words", "42"), pair("q", "x", "yy zz")]
    found = answer_similarity(rows, folder)
    for values in found.values():
        assert values[0] == pytest.approx(1, abs=1e-5)
        assert values[1] < 0.99
    described = route_features(rows, {"BERTScore": [0.1, 0.5, 0.9]})
    assert {"BERTScore: low", "BERTScore: middle", "BERTScore: high"} <= set(described.names)
    assert any(name.startswith("BERTScore times length ratio") for name in (*described.names, *described.constant))
    assert not any(name.startswith("length ratio") for name in described.names)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a model folder"):
        answer_similarity(rows, tmp_path / "empty")
