"""Coding preferences: who answers what under which principle, how judges' replies read, what makes a pair."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from assent.building.codeultrafeedback import (
    PREFERENCES,
    assigned,
    load_principles,
    rate,
    respond,
    stratified,
)
from assent.building.ratings import binarize, slot_dependence
from assent.comparison import Candidate, Comparison, Prompt
from assent.errors import InputError
from assent.generation import Sample, Sampling
from assent.judging import PromptedJudge, asking_of, load_rubric
from assent.judging.listwise_blocks import rating_blocks
from assent.judging.reading import read_ratings
from assent.judging.rubric import Scale

CASES = {
    case["name"]: case
    for case in json.loads((Path(__file__).parents[1] / "fixtures" / "codeultrafeedback.json").read_text())["cases"]
}


def test_blocks_of_lines_read_as_the_published_parser_reads_them() -> None:
    case = CASES["parse_listwise_judgement"]
    for given, expected in zip(case["inputs"]["judgements"], case["expected"]["results"], strict=True):
        found = rating_blocks(given["text"], Scale(), 4)
        assert (found is not None) == expected["parsed"]
        if found is not None:
            shown = [None if rating == "N/A" else float(rating) for rating in expected["ratings_in_shown_order"]]
            assert list(found) == shown
            by_original = dict(zip(given["order"], found, strict=True))
            named = {int(at): rating for at, rating in expected["ratings_by_original_index"].items()}
            assert by_original == {at: None if one == "N/A" else float(one) for at, one in named.items()}


BLOCK = "[Response {}]\nRating: {}\nRationale: x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\n".join([BLOCK.format(1, 4), BLOCK.format(2, 2)]), (4.0, 2.0)),
        ("\n\n".join(["**Response 1**\n**Rating:** 4/5\nfine", "**Response 2:**\nrating: 2"]), (4.0, 2.0)),
        ("\n\n".join([BLOCK.format(2, 4), BLOCK.format(1, 2)]), None),
        ("\n\n".join([BLOCK.format(1, 4), BLOCK.format(2, 7)]), None),
        ("\n\n".join([BLOCK.format(1, "N/A"), BLOCK.format(2, "N/A")]), None),
        ("\n\n".join([BLOCK.format(1, 4), BLOCK.format(2, 2), BLOCK.format(2, 5)]), None),
        ("\n\n".join([BLOCK.format(1, 4) + "\nRating: 1", BLOCK.format(2, 2)]), None),
        ("", None),
        ("{{ 7 * 7 }}\n\n<script>", None),
    ],
)
def test_only_exactly_one_rating_for_each_answer_counts(text: str, expected: object) -> None:
    assert rating_blocks(text, Scale(), 2) == expected
    read = read_ratings(text, load_rubric("readability"), 2)
    assert (read.value if read else None) == expected


def test_preferences_are_balanced_and_no_model_answers_twice() -> None:
    requests = assigned([f"task {at}" for at in range(23)], list("abcdef"), seed=3)
    counts = Counter(one.preference for one in requests)
    assert set(counts) == set(PREFERENCES)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(len(set(one.writers)) == 4 for one in requests)
    assert {name for one in requests for name in one.writers} == set("abcdef")
    assert requests == assigned([f"task {at}" for at in range(23)], list("abcdef"), seed=3)
    assert requests != assigned([f"task {at}" for at in range(23)], list("abcdef"), seed=4)
    with pytest.raises(InputError, match="twice"):
        assigned(["task"], ["a", "b"], answers=3)


class Writer:
    """Answers with its name and what it was told; some models fail."""

    def __init__(self, name: str) -> None:
        self.name = name

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        for at, prompt in reversed(list(enumerate(prompts))):
            assert not isinstance(prompt, str)
            if self.name == "broken":
                yield at, [Sample("", finish_reason="error")]
            else:
                text = "same" if self.name.startswith("copy") else f"{self.name}: {prompt[0]['content']}"
                yield at, [Sample(text)]


def test_answers_are_steered_and_the_steering_stays_out_of_the_prompt() -> None:
    principles = load_principles()
    requests = assigned([f"task {at}" for at in range(10)], ["a", "b", "broken"], answers=3)
    made = respond(requests, Writer, principles, Sampling(seed=1))
    assert made.left_out == {"answers empty, failed or repeated": 10}
    for one, request in zip(made.comparisons, requests, strict=True):
        assert one.prompt == request.prompt
        assert one.meta["preference"] == request.preference
        for candidate, number in zip(one.candidates, one.meta["principles"], strict=True):
            text = principles[request.preference][number]
            assert candidate.completion == f"{candidate.source}: {text}"
    assert made == respond(requests, Writer, principles, Sampling(seed=1))
    alike = respond(assigned(["task"], ["copy 1", "copy 2"], answers=2), Writer, principles, Sampling())
    assert (alike.comparisons, alike.left_out["fewer than two different answers"]) == ([], 1)


class Replies:
    """A respondent that rates by the digit in each shown answer, with a bias for the first place."""

    name = "replies"

    def __init__(self, bias: int = 0, lines: bool = False, malformed: float = 0.0, seed: int = 0) -> None:
        self.bias, self.lines, self.malformed = bias, lines, malformed
        self.draw = random.Random(seed)
        self.broken = 0

    def respond(self, chats: Sequence[tuple[Any, Mapping[str, Any]]]) -> Iterator[tuple[int, str | None]]:
        for at, (chat, _) in enumerate(chats):
            if self.draw.random() < self.malformed:
                self.broken += 1
                yield at, self.draw.choice(["", "I cannot", '{"ratings": [{"answer": 1, "rating": 9}]}'])
                continue
            answers = [part.partition("quality ")[2][0] for part in chat[0]["content"].split("<answer-")[1:]]
            ratings = [min(5, int(digit) + self.bias * (slot == 0)) for slot, digit in enumerate(answers)]
            if self.lines:
                yield at, "\n\n".join(BLOCK.format(slot + 1, rating) for slot, rating in enumerate(ratings))
            else:
                rows = [{"answer": slot + 1, "rating": rating} for slot, rating in enumerate(ratings)]
                yield at, json.dumps({"reasoning": "because", "ratings": rows})


def lists(count: int, seed: int) -> list[Comparison]:
    draw = random.Random(seed)
    return [
        Comparison(
            f"task {at}",
            [Candidate(f"quality {draw.randint(1, 5)} of {name}", source=name) for name in "abcd"],
            meta={"preference": PREFERENCES[at % 5]},
        )
        for at in range(count)
    ]


def judges(replies: Replies) -> Any:
    return lambda name: PromptedJudge(replies, asking_of(load_rubric(name), "listwise"), name, repair=False)


@pytest.mark.parametrize("lines", [False, True])
def test_ratings_come_back_to_their_answers_and_what_cannot_be_read_is_counted(lines: bool) -> None:
    replies = Replies(lines=lines, malformed=0.1)
    found = rate(lists(100, 0), judges(replies))
    assert replies.broken > 3
    assert len(found.built.comparisons) == 100 - replies.broken
    assert sum(found.built.left_out.values()) == replies.broken
    assert sum(tally.statuses["unparsed"] for tally in found.tallies.values()) == replies.broken
    for one in found.built.comparisons:
        assert [c.score for c in one.candidates] == [float(str(c.completion).split()[1]) for c in one.candidates]
        assert one.context == one.meta["preference"]


def test_a_judge_of_places_is_told_from_a_fair_one() -> None:
    fair = rate(lists(300, 1), judges(Replies())).built.comparisons
    biased = rate(lists(300, 1), judges(Replies(bias=1))).built.comparisons
    assert (slot_dependence(fair) or 0) > 0.01
    assert (slot_dependence(biased) or 1) < 1e-6
    assert slot_dependence([]) is None


def test_pairs_and_a_split_that_keeps_the_preferences_shares() -> None:
    rated = rate(lists(200, 2), judges(Replies())).built.comparisons
    pairs = binarize(rated, 0)
    assert all((p.candidates[0].score or 0) > (p.candidates[1].score or 0) for p in pairs.comparisons)
    assert pairs == binarize(rated, 0)
    train, test = stratified(rated, 0.1)
    assert Counter(one.meta["preference"] for one in test) == dict.fromkeys(PREFERENCES, 4)
    assert sorted(one.key for one in train + test) == sorted(one.key for one in rated)


def test_principles_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("readability: [short names]")
    with pytest.raises(InputError, match="no principles"):
        load_principles(tmp_path / "p.yaml")
    assert load_principles(tmp_path / "p.yaml", ["readability"]) == {"readability": ["short names"]}
    (tmp_path / "p.yaml").write_text("- a list")
    with pytest.raises(InputError, match="cannot be read"):
        load_principles(tmp_path / "p.yaml")
