"""Published preference sets in the schema they were released in, and what damage in them says."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from assent.comparison import Comparison
from assent.errors import InputError
from assent.readers import read


def turn(name: str, prompt: str | None, preferred: str | None, **more: Any) -> dict[str, Any]:
    texts = {f"{name}_turn_response_{x}": None if prompt is None else f"{name} {x}" for x in "abcd"}
    return {f"{name}_turn_prompt": prompt, **texts, f"{name}_turn_preferred_response": preferred, **more}


def conversation(**more: Any) -> dict[str, Any]:
    return {
        "conversation_id": "c1",
        "assigned_lang": "it",
        "annotator_id": "p7",
        "annotator_age": "25-34",
        "annotator_country": "Italy",
        "is_pregenerated_first_prompt": True,
        **turn("first", "Ciao?", "response_b", first_turn_feedback="because"),
        **turn("second", "E poi?", "response_d"),
        **turn("third", None, None),
        **turn("fourth", None, None),
        **more,
    }


def rows(path: Path, values: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as parquet

        parquet.write_table(pa.Table.from_pylist(values), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, values[0])
            writer.writeheader()
            writer.writerows(values)
    else:
        path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def scores(comparison: Comparison) -> list[float | None]:
    return [candidate.score for candidate in comparison.candidates]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_conversation_holds_a_comparison_for_each_turn(tmp_path: Path, suffix: str) -> None:
    marked = conversation(first_turn_response_b="first b<|eot_id|>")
    found = read(rows(tmp_path / f"rows.{suffix}", [marked, conversation(annotator_id="p8")]))
    assert found.format == "community_alignment"
    assert (found.rows, len(found.comparisons), len(found.origins)) == (2, 4, 4)
    first, second, other, _ = found.comparisons
    assert first.prompt == "Ciao?"
    assert [c.completion for c in first.candidates] == ["first a", "first b", "first c", "first d"]
    assert scores(first) == [0, 1, 0, 0]
    assert (first.annotator, first.group, other.annotator) == ("p7", "Italy", "p8")
    assert first.meta["annotator"] == {"age": "25-34", "country": "Italy"}
    assert (first.meta["feedback"], first.meta["turn"], second.meta["turn"]) == ("because", "first", "second")
    assert [m["content"] for m in second.prompt] == ["Ciao?", "first b", "E poi?"]  # type: ignore[index]
    assert scores(second) == [0, 0, 0, 1]
    assert found.origins[0] == found.origins[1] != found.origins[2]
    assert len(read(tmp_path / f"rows.{suffix}", limit=3).comparisons) == 3


def test_a_turn_without_a_choice_ends_the_conversation_unjudged(tmp_path: Path) -> None:
    row = conversation(second_turn_preferred_response=None)
    found = read(rows(tmp_path / "a.jsonl", [row])).comparisons
    assert [scores(one) for one in found] == [[0, 1, 0, 0], [None] * 4]


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        ({"first_turn_preferred_response": "response_e"}, "first_turn_preferred_response"),
        ({"second_turn_response_c": 7}, "second_turn_response_c"),
        ({"first_turn_prompt": None}, "first_turn_prompt"),
        ({"first_turn_preferred_response": None}, "second_turn_prompt"),
        (turn("fourth", "late", "response_a"), "fourth_turn_prompt"),
    ],
)
def test_damage_in_a_conversation_is_located(tmp_path: Path, damage: dict[str, Any], field: str) -> None:
    path = rows(tmp_path / "a.jsonl", [conversation(), conversation(**damage)])
    with pytest.raises(InputError) as said:
        read(path)
    assert "a.jsonl:2" in str(said.value)
    assert field in str(said.value)
    kept = read(path, on_invalid="quarantine")
    assert (len(kept.comparisons), kept.quarantined) == (2, 1)


ARENA = {
    "question_id": "q",
    "model_a": "one",
    "model_b": "two",
    "winner": "model_b",
    "judge": "arena_user_1",
    "conversation_a": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "a1"},
        {"role": "user", "content": "more"},
        {"role": "assistant", "content": "a2"},
    ],
    "conversation_b": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "b1"},
        {"role": "user", "content": "more"},
        {"role": "assistant", "content": "b2"},
    ],
    "turn": 2,
    "language": "English",
}
LISTS = {
    "id": 1,
    "model_a": "one",
    "model_b": "two",
    "prompt": '["hi", "more"]',
    "response_a": '["a1", "a2"]',
    "response_b": '["b1", null]',
    "winner_model_a": 0,
    "winner_model_b": 0,
    "winner_tie": 1,
}
SHP = {
    "post_id": "x",
    "domain": "askbaking_train",
    "history": "Why?",
    "human_ref_A": "a",
    "human_ref_B": "b",
    "labels": 0,
    "score_A": 2,
    "score_B": 9,
    "seconds_difference": 10.0,
    "score_ratio": 4.5,
}
SAFE = {
    "prompt": "How?",
    "response_0": "no",
    "response_1": "so",
    "is_response_0_safe": True,
    "is_response_1_safe": False,
    "response_0_severity_level": 0,
    "response_1_severity_level": 3,
    "better_response_id": 1,
    "safer_response_id": 0,
    "prompt_source": "s",
    "response_0_source": "m0",
    "response_1_source": "m1",
}
STEER2 = {"split": "train", "prompt": "P", "response_1": "a", "response_2": "b", "preference_strength": -2}
STEER3 = {
    "domain": "code",
    "language": "python",
    "context": [{"role": "user", "content": "P"}],
    "response1": "a",
    "response2": "b",
    "overall_preference": 1,
}


@pytest.mark.parametrize(
    ("row", "name", "expected"),
    [
        (ARENA, "arena", [0.0, 1.0]),
        ({**ARENA, "winner": "tie (bothbad)"}, "arena", [0.0, 0.0]),
        (LISTS, "arena_turns", [0.5, 0.5]),
        (SHP, "shp", [0.0, 1.0]),
        (SAFE, "safe_rlhf", [0.0, 1.0]),
        (STEER2, "preference_strength", [0.0, -2.0]),
        (STEER3, "preference_strength", [0.0, 1.0]),
    ],
)
def test_published_pairs_are_read(tmp_path: Path, row: dict[str, Any], name: str, expected: list[float]) -> None:
    found = read(rows(tmp_path / "a.jsonl", [row]))
    assert found.format == name
    assert scores(found.comparisons[0]) == expected


def test_what_stands_beside_the_verdict_is_kept(tmp_path: Path) -> None:
    battle = read(rows(tmp_path / "a.jsonl", [ARENA])).comparisons[0]
    assert [c.source for c in battle.candidates] == ["one", "two"]
    assert battle.annotator == "arena_user_1"
    assert [m["content"] for m in battle.prompt] == ["hi"]  # type: ignore[index]
    assert [m["content"] for m in battle.candidates[1].completion] == ["b1", "more", "b2"]  # type: ignore[index,union-attr]
    lists = read(rows(tmp_path / "b.jsonl", [LISTS])).comparisons[0]
    assert lists.prompt == "hi"
    assert [m["content"] for m in lists.candidates[1].completion] == ["b1", "more", ""]  # type: ignore[index,union-attr]
    shp = read(rows(tmp_path / "c.jsonl", [SHP])).comparisons[0]
    assert (shp.group, [c.scores["votes"] for c in shp.candidates]) == ("askbaking_train", [2.0, 9.0])
    safe = read(rows(tmp_path / "d.jsonl", [SAFE])).comparisons[0]
    assert safe.candidates[0].scores == {"safer": 1.0, "safe": 1.0, "severity": 0.0}
    assert safe.candidates[1].source == "m1"


@pytest.mark.parametrize(
    ("row", "damage", "field"),
    [
        (ARENA, {"winner": "both"}, "winner"),
        (ARENA, {"conversation_b": [{"role": "user", "content": "other"}]}, "conversation_b"),
        (LISTS, {"winner_tie": 0}, "winner"),
        (LISTS, {"response_b": '["b1"]'}, "response_b"),
        (LISTS, {"response_a": "not a list"}, "response_a"),
        (SHP, {"labels": 2}, "labels"),
        (SHP, {"human_ref_A": None}, "human_ref_A"),
        (SAFE, {"better_response_id": True}, "better_response_id"),
        (SAFE, {"is_response_0_safe": "yes"}, "is_response_0_safe"),
        (STEER2, {"preference_strength": 4}, "preference_strength"),
        (STEER3, {"overall_preference": "better"}, "overall_preference"),
    ],
)
def test_damage_in_published_pairs_is_located(
    tmp_path: Path, row: dict[str, Any], damage: dict[str, Any], field: str
) -> None:
    path = rows(tmp_path / "a.jsonl", [row, {**row, **damage}])
    with pytest.raises(InputError) as said:
        read(path)
    assert "a.jsonl:2" in str(said.value)
    assert field in str(said.value)
