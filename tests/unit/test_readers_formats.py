"""What each format's rows become, and how formats are told apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from assent.comparison import Comparison
from assent.errors import InputError
from assent.readers import FORMATS, detect, read


def one(tmp_path: Path, row: dict[str, Any], **options: Any) -> Comparison:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return read(path, **options).comparisons[0]


def answers(comparison: Comparison) -> list[tuple[Any, float | None]]:
    return [(candidate.completion, candidate.score) for candidate in comparison.candidates]


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


@pytest.mark.parametrize("row_format", FORMATS, ids=lambda f: f.name)
def test_a_format_recognises_its_own_example_and_says_why(row_format: Any) -> None:
    found, reason = detect([row_format.example], "here")
    assert found is row_format
    assert reason
    assert row_format.read(row_format.example).candidates
    assert set(row_format.required) <= row_format.columns


def test_format_names_are_unique() -> None:
    assert len({row_format.name for row_format in FORMATS}) == len(FORMATS)


def test_standard_explicit_preference(tmp_path: Path) -> None:
    found = one(tmp_path, {"prompt": "The sky is", "chosen": " blue.", "rejected": " green.", "id": 7})
    assert found.prompt == "The sky is"
    assert answers(found) == [(" blue.", 1.0), (" green.", 0.0)]
    assert found.meta == {"id": 7}


def test_a_system_column_is_the_first_turn(tmp_path: Path) -> None:
    found = one(tmp_path, {"system": "Be brief.", "prompt": "Sky?", "chosen": "Blue.", "rejected": "A b c."})
    assert found.prompt == [{"role": "system", "content": "Be brief."}, user("Sky?")]


def test_standard_implicit_prompt_ends_at_a_word(tmp_path: Path) -> None:
    found = one(tmp_path, {"chosen": "The sky is greyish.", "rejected": "The sky is green."})
    assert found.prompt == "The sky is"
    assert answers(found) == [(" greyish.", 1.0), (" green.", 0.0)]


def test_an_answer_that_continues_the_other_keeps_its_last_word(tmp_path: Path) -> None:
    found = one(tmp_path, {"chosen": "The sky is blue", "rejected": "The sky is bluebell blue"})
    assert found.prompt == "The sky is"
    assert answers(found) == [(" blue", 1.0), (" bluebell blue", 0.0)]


def test_conversational_implicit_prompt_is_the_common_turns(tmp_path: Path) -> None:
    before = [user("Hi"), assistant("Hello"), user("Sky?")]
    row = {"chosen": [*before, assistant("Blue.")], "rejected": [*before, assistant("Green.")]}
    found = one(tmp_path, row)
    assert found.prompt == before
    assert answers(found) == [([assistant("Blue.")], 1.0), ([assistant("Green.")], 0.0)]


def test_equal_conversations_keep_an_answer(tmp_path: Path) -> None:
    talk = [user("Sky?"), assistant("Blue.")]
    found = one(tmp_path, {"chosen": talk, "rejected": talk})
    assert found.prompt == [user("Sky?")]
    assert [candidate.completion for candidate in found.candidates] == [[assistant("Blue.")]] * 2


def test_answers_that_repeat_the_prompt_lose_it(tmp_path: Path) -> None:
    row = {
        "prompt": "Sky?",
        "chosen": [user("Sky?"), assistant("Blue.")],
        "rejected": [user("Sky?"), assistant("Green.")],
        "score_chosen": 8.5,
        "score_rejected": 8.5,
    }
    found = one(tmp_path, row)
    assert answers(found) == [([assistant("Blue.")], 8.5), ([assistant("Green.")], 8.5)]


def test_an_answer_to_another_prompt_is_a_mismatch(tmp_path: Path) -> None:
    row = {"prompt": "Sky?", "chosen": [user("Sea?"), assistant("Blue.")], "rejected": [assistant("Green.")]}
    with pytest.raises(InputError, match=r"rows.jsonl:1: prompt mismatch.*field `chosen\[0\]`"):
        one(tmp_path, row)


def test_dialogues_without_a_common_turn_are_a_mismatch(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"prompt mismatch.*i_chosen"):
        one(tmp_path, {"chosen": [user("a"), assistant("b")], "rejected": [user("c"), assistant("d")]})


def test_a_chosen_answer_with_the_lower_score_is_an_error(tmp_path: Path) -> None:
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": 1, "score_rejected": 2}
    with pytest.raises(InputError, match=r"the chosen answer has the lower score .*1 against 2"):
        one(tmp_path, row)


@pytest.mark.parametrize(("label", "expected"), [(True, True), (0, False), (1.0, True), (None, None)])
def test_unpaired_labels(tmp_path: Path, label: Any, expected: bool | None) -> None:
    found = one(tmp_path, {"prompt": "p", "completion": "c", "label": label})
    assert [(c.completion, c.score, c.label) for c in found.candidates] == [("c", None, expected)]


def test_turns_in_other_spellings(tmp_path: Path) -> None:
    found = one(tmp_path, {"conversations": [{"from": "human", "value": "Sky?"}, {"from": "gpt", "value": "Blue."}]})
    assert found.prompt == [user("Sky?")]
    assert answers(found) == [([assistant("Blue.")], None)]


def test_ranks_and_scores_beside_and_inside_the_answers(tmp_path: Path) -> None:
    beside = one(tmp_path, {"prompt": "p", "completions": ["a", "b", "c"], "scores": [1, None, 2.5]})
    assert answers(beside) == [("a", 1.0), ("b", None), ("c", 2.5)]
    ranked = one(tmp_path, {"prompt": "p", "responses": ["a", "b", "c"], "ranks": [2, 1, 3]})
    assert answers(ranked) == [("a", 1.0), ("b", 2.0), ("c", 0.0)]
    items = [{"answer": "a", "model": "m", "rank": 1}, {"answer": "b", "rank": 2}]
    inside = one(tmp_path, {"prompt": "p", "answers": items})
    assert answers(inside) == [("a", 1.0), ("b", 0.0)]
    assert inside.candidates[0].source == "m"


def test_ultrafeedback_scores_by_aspect_and_overall(tmp_path: Path) -> None:
    row = {
        "source": "evol_instruct",
        "instruction": "Sky?",
        "models": ["m"],
        "completions": [
            {
                "model": "m",
                "response": "Blue.",
                "annotations": {
                    "helpfulness": {"Rating": "5", "Rationale": "fine"},
                    "honesty": {"Rating": "N/A"},
                    "truthfulness": [{"Rating": "4"}],
                },
                "fine-grained_score": 4.5,
                "overall_score": None,
            },
            {"model": "n", "response": "Red.", "annotations": {}, "overall_score": "10"},
        ],
    }
    found = one(tmp_path, row)
    assert found.group == "evol_instruct"
    assert answers(found) == [("Blue.", 4.5), ("Red.", 10.0)]
    assert found.candidates[0].scores == {"helpfulness": 5.0, "truthfulness": 4.0, "fine_grained": 4.5}


@pytest.mark.parametrize(
    ("preference", "scores"),
    [(1, (1.0, 0.0)), (1.25, (0.75, 0.25)), (2, (0.0, 1.0)), (0, (0.5, 0.5)), (None, (None, None))],
)
def test_alpaca_eval_annotations(tmp_path: Path, preference: Any, scores: Any) -> None:
    row = {"instruction": "i", "output_1": "a", "output_2": "b", "preference": preference, "generator_2": "mine"}
    found = one(tmp_path, row)
    assert tuple(candidate.score for candidate in found.candidates) == scores
    assert found.confidence == scores[0]
    assert found.candidates[1].source == "mine"


def test_ratings_by_aspect_make_up_no_score(tmp_path: Path) -> None:
    found = one(tmp_path, {"prompt": "p", "response": "r", "helpfulness": 4, "correctness": 3, "verbosity": 1})
    assert found.candidates[0].score is None
    assert found.candidates[0].scores == {"helpfulness": 4.0, "correctness": 3.0, "verbosity": 1.0}


def test_a_prompt_under_another_name_is_never_taken_for_an_implicit_one(tmp_path: Path) -> None:
    row = {"question": "Sky?", "chosen": "It is blue.", "rejected": "It is green."}
    with pytest.raises(InputError, match=r"data\.columns: \{prompt: question\}.*--column prompt=question"):
        one(tmp_path, row)
    found = one(tmp_path, row, columns={"prompt": "question"})
    assert (found.prompt, answers(found)) == ("Sky?", [("It is blue.", 1.0), ("It is green.", 0.0)])


def test_a_mapping_can_name_the_annotator_and_the_criterion(tmp_path: Path) -> None:
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "worker": 12, "criterion": "wit"}
    found = one(tmp_path, row, columns={"annotator": "worker", "context": "criterion"})
    assert (found.annotator, found.context, found.meta) == ("12", "wit", {})


def test_an_error_names_the_field_as_the_file_does(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": "p", "good": "a", "bad": "b"}\n{"q": "p", "good": 3, "bad": "b"}\n')
    with pytest.raises(InputError, match=r"rows\.jsonl:2: .*field `good`"):
        read(path, columns={"prompt": "q", "chosen": "good", "rejected": "bad"})


def test_a_mapping_onto_no_column_of_any_format_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean `chosen`"):
        one(tmp_path, {"prompt": "p"}, columns={"chosn": "good"})


def test_the_nearest_format_and_a_mapping_that_works(tmp_path: Path) -> None:
    row = {"instruction": "Sky?", "better_response": "Blue.", "worse_response": "Green.", "worker_id": 3}
    with pytest.raises(InputError) as caught:
        one(tmp_path, row)
    message = str(caught.value)
    assert "columns instruction, better_response, worse_response, worker_id" in message
    assert "nearest format is `preference`" in message
    assert "data.columns: {prompt: instruction, chosen: better_response, rejected: worse_response}" in message
    mapping = {"prompt": "instruction", "chosen": "better_response", "rejected": "worse_response"}
    assert answers(one(tmp_path, row, columns=mapping)) == [("Blue.", 1.0), ("Green.", 0.0)]


def test_an_unknown_format_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean `preference`"):
        one(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b"}, format="preferense")


def test_mixed_formats_name_the_odd_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    pair = json.dumps({"prompt": "p", "chosen": "a", "rejected": "b"})
    path.write_text("\n".join([pair, pair, json.dumps({"prompt": "p", "completion": "c", "label": True})]))
    with pytest.raises(InputError, match=r"rows\.jsonl:3: the row lacks a field \(field `chosen`"):
        read(path)
