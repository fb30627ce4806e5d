"""Captions edited so that they are false: rules, a model's answers, checks and records."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from assent.building.caption_checks import CaptionChecks
from assent.building.caption_edits import Edit, ModelEditor, RuleEditor, edit_captions, parsed_edits, rejection
from assent.comparison import Candidate, Comparison, Media, Prompt
from assent.errors import InputError
from assent.generation import Sample, Sampling
from assent.objectives import build_objective
from assent.training.matching import match

IMAGE = Media("image", data=b"a picture")


def captioned(*captions: str) -> list[Comparison]:
    return [Comparison(caption, (Candidate(IMAGE),)) for caption in captions]


def test_each_rule_changes_one_word_of_its_class() -> None:
    caption = "Two red boats and a dog on the left of a sunny beach"
    edits = {edit.rule: edit.caption for edit in RuleEditor(3)([caption])[0]}
    assert set(edits) == {"content", "attribute", "spatial", "contextual"}
    for edited in edits.values():
        differing = [(a, b) for a, b in zip(caption.split(), edited.split(), strict=True) if a != b]
        assert len(differing) == 1
        assert rejection(caption, edited) is None
    assert RuleEditor(3)([caption]) == RuleEditor(3)([caption])
    assert any(RuleEditor(seed)([caption]) != RuleEditor(3)([caption]) for seed in range(4, 9))


def test_a_caption_without_known_words_borrows_a_noun() -> None:
    found = RuleEditor()(["a lonely violin", "a broken lamp"])
    assert found == [[Edit("a lonely lamp", "content")], [Edit("a broken violin", "content")]]
    assert RuleEditor()(["a lonely violin"]) == [[]]


@pytest.mark.parametrize(
    ("edited", "reason"),
    [
        ("A red  boat!", "equal to the caption"),
        ("the red boat", "only reworded"),
        ("", "equal to the caption"),
        ("green trees in fog", "changes more than half of the words"),
        ("a blue boat", None),
    ],
)
def test_edits_are_checked(edited: str, reason: str | None) -> None:
    assert rejection("a red boat", edited) == reason


def test_an_edit_beyond_the_text_encoder_is_refused() -> None:
    def first_three(text: str) -> tuple[str, ...]:
        return tuple(text.split()[:3])

    assert rejection("a b c red", "a b c blue", first_three) == "beyond what the text encoder reads"
    assert rejection("red b c d", "blue b c d", first_three) is None


def test_records_fit_the_objectives_and_everything_is_counted() -> None:
    records = [*captioned("a red boat", "zzz"), Comparison("p", (Candidate("text"),))]
    pairs = edit_captions(records, RuleEditor())
    # "zzz" borrows nothing: no other caption has a word that is in no class, except "boat" itself.
    assert pairs.left_out["records without a picture"] == 1
    first = pairs.comparisons[0]
    assert [candidate.completion for candidate in first.candidates] == [IMAGE, IMAGE]
    assert first.candidates[1].prompt is not None
    assert first.meta["editor"] == "rules"
    fitting = match(pairs.comparisons, build_objective({"tpo_free_lunch": {"variant": "tdpo"}}).needs)
    assert len(fitting.comparisons) == len(pairs.comparisons)
    labelled = edit_captions(records, RuleEditor(), "labels").comparisons
    assert {candidate.label for one in labelled for candidate in one.candidates} == {True, False}
    kept = match(labelled, build_objective({"tpo_free_lunch": {"variant": "tkto"}}).needs)
    assert len(kept.comparisons) == len(labelled)


class Scripted:
    name = "editor"

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = answers

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        for index in reversed(range(len(prompts))):
            yield index, [Sample(self.answers[index])]


def test_a_models_answers_are_read_defensively() -> None:
    twice = [{"rule": "attribute", "caption": caption} for caption in ("a blue  boat", "a blue boat")]
    good = f"```json\n{json.dumps(twice)}\n```"
    answers = [good, "I cannot do that.", '[{"rule": "magic", "caption": "x"}, 7, {"caption": 3}]', "[" * 5000]
    captions = ["a red boat", "a dog", "a cat", "a fox"]
    built = edit_captions(captioned(*captions), ModelEditor(Scripted(answers)))
    assert [one.candidates[1].prompt for one in built.comparisons] == ["a blue boat"]
    assert built.left_out == {"captions without an edit": 3, "repeated edits": 1}
    assert parsed_edits("") == []


def test_the_command_writes_pairs(tmp_path: Path) -> None:
    from assent.cli.main import main
    from assent.readers import read
    from assent.readers.writing import write_jsonl

    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_jsonl(captioned("a red boat", "two dogs at night"), source)
    with pytest.raises(SystemExit) as ended:
        main(["build", "caption-edits", str(source), str(out)])
    assert ended.value.code == 0
    assert len(read(out).comparisons) >= 2


def test_a_true_caption_is_no_edit() -> None:
    class Scripted:
        name = "scripted"

        def __call__(self, captions: Sequence[str]) -> list[list[Edit]]:
            return [[Edit("a red boat at sea", "content"), Edit("a blue boat", "attribute")] for _ in captions]

    found = edit_captions(captioned("a red boat", "A red boat, at sea"), Scripted())
    assert {one.candidates[1].prompt for one in found.comparisons} == {"a blue boat"}
    assert found.left_out["edits refused (content): a caption of the same picture"] == 1
    assert found.left_out["edits refused (content): equal to the caption"] == 1


def test_edits_outside_the_bounds_of_the_text_encoder_are_refused_and_counted() -> None:
    class Scripted:
        name = "scripted"

        def __call__(self, captions: Sequence[str]) -> list[list[Edit]]:
            return [
                [Edit(f"{caption} {word}", "content") for word in ("same", "fine", "far")] for caption in captions
            ]

    asked: list[int] = []

    def cosines(captions: Sequence[str], edits: Sequence[str]) -> list[float]:
        asked.append(len(captions))
        assert all(edit.startswith(caption) for caption, edit in zip(captions, edits, strict=True))
        return [{"same": 0.999, "fine": 0.8, "far": 0.1}[edit.split()[-1]] for edit in edits]

    checks = CaptionChecks(cosines=cosines)
    found = edit_captions(captioned("a red boat", "a white house"), Scripted(), checks=checks)
    assert asked == [6]
    assert [one.candidates[1].prompt for one in found.comparisons] == ["a red boat fine", "a white house fine"]
    assert found.left_out["edits refused (content): the text encoder cannot tell it from the caption"] == 2
    assert found.left_out["edits refused (content): too far from the caption"] == 2


@pytest.mark.parametrize("kind", ["pipeline", "clip"])
def test_a_text_encoder_of_a_folder_says_what_it_reads_and_how_near_captions_are(tmp_path: Path, kind: str) -> None:
    from assent.building.caption_checks import open_text_encoder
    from tests.tiny_diffusion import save_tiny_clip, save_tiny_pipeline

    folder = save_tiny_clip(tmp_path) if kind == "clip" else save_tiny_pipeline(tmp_path, "stable_diffusion")
    encoder = open_text_encoder(folder)
    # 16 tokens, of which two are the start and the end: 14 letters.
    assert encoder.seen("abcdefghijklmnop") == encoder.seen("abcdefghijklmnxy")
    assert encoder.seen("abc") != encoder.seen("abd")
    same, other = encoder.cosines(["a dog", "a dog"], ["a dog", "a cat"])
    assert same == pytest.approx(1.0, abs=1e-5)
    assert other < 0.99999
    with pytest.raises(InputError, match="no text encoder"):
        open_text_encoder(tmp_path / "nowhere")
