"""What a causal language model reads: start and end tokens once, stable boundaries, and masks that are data."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from assent.comparison import Candidate, Comparison, TokenStreams
from assent.encoding import COMPLETION, PROMPT, UNSCORED, CausalEncoder, EncodedComparison, describe
from assent.errors import InputError
from tests.tiny import BOS, EOS, TEMPLATES, byte_tokenizer, tiny_comparisons

QUESTION = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why?"}]


def pair(prompt: object = "why?", chosen: object = "because", rejected: object = "no", **more: object) -> Comparison:
    return Comparison(prompt, [Candidate(chosen, score=1.0), Candidate(rejected, score=0.0)], **more)  # type: ignore[arg-type]


def encode(comparison: Comparison, tokenizer: object, **options: object) -> EncodedComparison:
    return CausalEncoder(tokenizer, **options).encode_all([comparison])[0][0]  # type: ignore[arg-type]


def text(encoded: EncodedComparison, tokenizer: object, column: int = 0, scored: bool | None = None) -> str:
    """The text of a candidate's tokens; of the scored (or unscored) ones only if asked."""
    candidate = encoded.candidates[column]
    ids = [i for i, s in zip(candidate.ids, candidate.segments, strict=True) if scored in (None, s != UNSCORED)]
    return tokenizer.decode(ids, skip_special_tokens=False)  # type: ignore[attr-defined,no-any-return]


# -- start and end tokens


@pytest.mark.parametrize("template", [None, "bos", "plain"])
@pytest.mark.parametrize("written", [False, True], ids=["plain data", "data that wrote them out"])
def test_bos_and_eos_stand_once(template: str | None, written: bool) -> None:
    tokenizer = byte_tokenizer(template=template)
    end = "<|end|>" if template == "plain" else EOS
    prompt = f"{BOS}why?" if written and template is None else "why?"
    encoded = encode(pair(prompt, f"because{end if written else ''}"), tokenizer)
    for candidate in encoded.candidates:
        tokens = tokenizer.convert_ids_to_tokens(list(candidate.ids))
        assert tokens.count(BOS) == (0 if template == "plain" else 1)
        assert tokens[0] == BOS or template == "plain"
        assert tokens[-1] == end
        assert tokens.count(EOS) == (0 if template == "plain" else 1)
        assert candidate.segments[-1] == COMPLETION


def test_a_template_is_followed_to_the_letter() -> None:
    """The ids are those of `apply_chat_template`, which servers use, up to the stop token."""
    for name in TEMPLATES:
        tokenizer = byte_tokenizer(template=name)
        messages = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "because"}]
        served = tokenizer.apply_chat_template(messages, return_dict=False)
        ids = encode(pair(), tokenizer).candidates[0].ids
        assert list(ids) == served[: len(ids)]
        assert not tokenizer.decode(served[len(ids) :]).strip()


def test_a_tokenizer_without_bos_or_eos_gets_none() -> None:
    tokenizer = byte_tokenizer(bos=False, eos=False, pad="own")
    encoded, report = CausalEncoder(tokenizer).encode_all([pair()])
    assert text(encoded[0], tokenizer) == "why?because"
    assert report.without_end == 2


def test_the_end_token_is_scored_although_it_is_also_the_pad_token() -> None:
    tokenizer = byte_tokenizer(pad="eos")
    assert text(encode(pair(), tokenizer), tokenizer, scored=True) == f"because{EOS}"


def test_a_doubled_bos_of_template_and_data_is_one() -> None:
    tokenizer = byte_tokenizer(template="{{ bos_token }}" + TEMPLATES["bos"])
    tokens = tokenizer.convert_ids_to_tokens(list(encode(pair(), tokenizer).candidates[0].ids))
    assert tokens.count(BOS) == 1


# -- the boundary


MERGES = [("?", "b"), ("s", "e"), ("Ċ", "Ċ"), ("Ġ", "b")]


@pytest.mark.parametrize("template", [None, "plain"])
def test_a_token_across_the_boundary_belongs_to_neither(template: str | None) -> None:
    tokenizer = byte_tokenizer(template=template, merges=MERGES)
    prompt, answer = ("why?", "because") if template is None else ("why?", "\nbecause")
    encoded, report = CausalEncoder(tokenizer).encode_all([pair(prompt, answer, "no")])
    assert report.boundary_merges == 1
    chosen, rejected = encoded[0].candidates
    assert chosen.ids[: chosen.prompt_length] == rejected.ids[: rejected.prompt_length]
    assert text(encoded[0], tokenizer, 0, scored=True).startswith(answer)
    assert "se" in [token for token, _ in describe(chosen, tokenizer)]  # merges inside the answer stay


@pytest.mark.parametrize("scheme", ["first", "always"])
def test_an_answer_tokenised_apart_gets_no_space_of_its_own(scheme: str) -> None:
    """Tokenizers of the SentencePiece kind put a space before every text they are given."""
    letters = {letter: index for index, letter in enumerate("▁abcdehnosuwy?\n")}
    backend = Tokenizer(models.BPE(vocab={**letters, "?b": 20}, merges=[("?", "b")]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    backend.add_special_tokens([AddedToken(EOS, special=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=EOS)
    encoded, report = CausalEncoder(tokenizer).encode_all([pair("why?", "because", "no")])
    assert report.boundary_merges == 1
    for column, answer in enumerate(["because", "no"]):
        tokens = [token for token, scored in describe(encoded[0].candidates[column], tokenizer) if scored]
        ids = [i for i, s in zip(*_ids(encoded[0], column), strict=True) if s != UNSCORED]
        assert tokenizer.convert_ids_to_tokens(ids) == [*answer, EOS]
        assert len(tokens) == len(answer) + 1


def _ids(encoded: EncodedComparison, column: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return encoded.candidates[column].ids, encoded.candidates[column].segments


@settings(max_examples=60, deadline=None)
@given(
    st.text(alphabet="ab \n?é<", max_size=8),
    st.lists(st.text(alphabet="ab \n?é<", min_size=1, max_size=8), min_size=1, max_size=3),
    st.sampled_from([None, "plain", "tools"]),
)
def test_prompts_are_shared_and_nothing_is_lost(prompt: str, answers: list[str], template: str | None) -> None:
    merges = [("a", "b"), ("Ġ", "a"), ("Ċ", "Ċ"), ("?", "a"), ("ab", "ab"), ("Ġ", "Ġ")]
    tokenizer = byte_tokenizer(template=template, merges=merges)
    comparison = Comparison(prompt, [Candidate(answer) for answer in answers])
    encoded = encode(comparison, tokenizer)
    first = encoded.candidates[0]
    for column, (candidate, answer) in enumerate(zip(encoded.candidates, answers, strict=True)):
        assert candidate.ids[: candidate.prompt_length] == first.ids[: first.prompt_length]
        end = EOS if template is None else "<|end|>"
        assert text(encoded, tokenizer, column, scored=True) == answer + end
        assert text(encoded, tokenizer, column).removeprefix(BOS if template is None else "").endswith(answer + end)


def test_the_first_position_is_never_scored() -> None:
    """No context predicts it."""
    tokenizer = byte_tokenizer(bos=False)
    candidate = encode(pair("", "because"), tokenizer).candidates[0]
    assert candidate.prompt_length == 0
    assert candidate.segments[0] == UNSCORED
    assert candidate.scored == len("because")  # seven letters and the end token, less the first


# -- conversations


def test_only_the_assistants_turns_are_scored() -> None:
    tokenizer = byte_tokenizer(template="plain")
    turns = [
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": "two"},
    ]
    other = [*turns[:2], {"role": "assistant", "content": "three"}]
    last = encode(pair(QUESTION, turns, other), tokenizer)
    assert text(last, tokenizer, 0, scored=True) == "two<|end|>"
    assert text(last, tokenizer, 1, scored=True) == "three<|end|>"
    # The first answers agree, so there is nothing to learn from them.
    differing = encode(pair(QUESTION, turns, other), tokenizer, score_turns="all_differing")
    assert text(differing, tokenizer, 0, scored=True) == "two<|end|>"
    changed = [{"role": "assistant", "content": "uno"}, *turns[1:]]
    both = encode(pair(QUESTION, turns, changed), tokenizer, score_turns="all_differing")
    assert text(both, tokenizer, 0, scored=True) == "one<|end|>two<|end|>"
    assert text(both, tokenizer, 1, scored=True) == "uno<|end|>two<|end|>"


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_every_template_finds_the_turns(name: str) -> None:
    """Trimming, missing generation prompts and thinking blocks included."""
    tokenizer = byte_tokenizer(template=name)
    turns = [
        {"role": "assistant", "content": "s"},  # a letter that the template itself writes
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "n"},
    ]
    comparison = Comparison("why?", [Candidate(turns), Candidate([{"role": "assistant", "content": "k"}])])
    encoded = encode(comparison, tokenizer, score_turns="all_differing")
    stop = EOS if name == "bos" else "<|end|>"
    assert text(encoded, tokenizer, 0, scored=True).replace(" ", "") == f"s{stop}n{stop}"
    assert text(encoded, tokenizer, 1, scored=True).replace(" ", "") == f"k{stop}"


def test_an_empty_thinking_block_is_not_the_answers() -> None:
    tokenizer = byte_tokenizer(template="thinking")
    encoded, report = CausalEncoder(tokenizer).encode_all([pair()])
    assert text(encoded[0], tokenizer, scored=True) == "because<|end|>"
    assert text(encoded[0], tokenizer, scored=False).endswith("<think>\n\n</think>\n\n")
    assert report.prompts_unlike_serving == 2


def test_a_generation_prompt_that_opens_thinking_is_reported() -> None:
    opening = TEMPLATES["plain"].replace("<|turn|>assistant\n{% endif", "<|turn|>assistant\n<think>\n{% endif")
    tokenizer = byte_tokenizer(template=opening)
    encoded, report = CausalEncoder(tokenizer).encode_all([pair("why?", "a", "s")])
    assert [text(encoded[0], tokenizer, column, scored=True) for column in (0, 1)] == ["a<|end|>", "s<|end|>"]
    assert report.prompts_unlike_serving == 2


def test_an_answer_can_continue_a_started_turn() -> None:
    tokenizer = byte_tokenizer(template="plain")
    prompt = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "Well, "}]
    encoded = encode(pair(prompt, "because"), tokenizer)
    assert text(encoded, tokenizer).endswith("<|turn|>assistant\nWell, because<|end|>")
    assert text(encoded, tokenizer, scored=True) == "because<|end|>"


def test_a_completion_may_open_with_the_users_turn() -> None:
    tokenizer = byte_tokenizer(template="plain")
    prompt = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    turns = [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "because"}]
    encoded = encode(Comparison(prompt, [Candidate(turns)]), tokenizer)
    assert text(encoded, tokenizer, scored=True) == "because<|end|>"


def test_tool_calls_are_written_where_the_template_has_them() -> None:
    call = {"type": "function", "function": {"name": "clock", "arguments": '{"zone": "UTC"}'}}
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "noon"},
        {"role": "assistant", "content": "It is noon."},
    ]
    comparison = Comparison("time?", [Candidate(turns), Candidate("No idea.")], meta={"tools": [{"name": "clock"}]})
    tokenizer = byte_tokenizer(template="tools")
    encoded = encode(comparison, tokenizer, score_turns="all_differing")
    scored = text(encoded, tokenizer, 0, scored=True)
    assert scored == '<call>clock {"zone": "UTC"}</call><|end|>It is noon.<|end|>'
    assert 'Tools: [{"name": "clock"}]' in text(encoded, tokenizer, 0)
    with pytest.raises(InputError, match="knows no tool"):
        encode(comparison, byte_tokenizer(template="plain"))


def test_text_parts_are_text_and_images_are_refused() -> None:
    tokenizer = byte_tokenizer(template="plain")
    parts = [{"role": "user", "content": [{"type": "text", "text": "wh"}, {"type": "text", "text": "y?"}]}]
    assert encode(pair(parts), tokenizer).candidates == encode(pair(), tokenizer).candidates
    image = [{"role": "user", "content": [{"type": "image", "path": "a.png"}]}]
    with pytest.raises(InputError, match="text model"):
        encode(pair(image), tokenizer)
    with pytest.raises(InputError, match="text model"):
        encode(Comparison("sing", [Candidate(TokenStreams(((1, 2),)))]), tokenizer)


def test_what_a_template_refuses_names_the_record() -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    tokenizer = byte_tokenizer(template=strict + TEMPLATES["plain"])
    bad = pair(QUESTION)
    with pytest.raises(InputError, match=rf"{bad.key[:12]}.*system user assistant: no system role"):
        CausalEncoder(tokenizer).encode_all([bad])
    encoded, report = CausalEncoder(tokenizer, on_invalid="drop").encode_all([bad, pair()])
    assert len(encoded) == 1
    assert [dropped.id for dropped in report.dropped] == [bad.key]


def test_a_template_cannot_reach_python() -> None:
    hostile = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(InputError, match="refuses"):
        CausalEncoder(byte_tokenizer(template=hostile)).encode_all([pair()])


def test_messages_for_a_base_model_need_a_template() -> None:
    tokenizer = byte_tokenizer()
    with pytest.raises(InputError, match="no chat template"):
        encode(pair(QUESTION), tokenizer)
    encoded = encode(pair(QUESTION), tokenizer, chat_template="transcript")
    assert text(encoded, tokenizer).endswith("be brief\n\nHuman: why?\n\nAssistant: because</s>")
    assert text(encoded, tokenizer, scored=True) == " because</s>"


# -- truncation


LONG = pair("p" * 20, "c" * 10, "r" * 6)


@pytest.mark.parametrize(
    ("truncate", "expected"),
    [("drop", []), ("prompt_left", ["cccccccccc</s>", "rrrrrr</s>"]), ("completion_right", ["ccc", "rrr"])],
)
def test_truncation_never_eats_an_answer(truncate: str, expected: list[str]) -> None:
    tokenizer = byte_tokenizer()
    encoder = CausalEncoder(tokenizer, max_length=24, truncate=truncate)  # type: ignore[arg-type]
    encoded, report = encoder.encode_all([LONG, pair("a", "b", "c")])
    assert len(encoded) == (2 if expected else 1)
    assert encoded[-1].candidates[0].scored == 2  # what fits is left alone
    scored = [text(encoded[0], tokenizer, column, scored=True) for column in range(2)] if expected else []
    assert scored == expected
    if expected:
        assert {candidate.ids[0] for candidate in encoded[0].candidates} == {tokenizer.bos_token_id}
        assert max(len(candidate.ids) for candidate in encoded[0].candidates) <= 24
    assert report.unfinished == (2 if truncate == "completion_right" else 0)
    assert [dropped.id for dropped in report.dropped] == ([] if expected else [LONG.key])
    costs = {name: (loss.cut, loss.dropped, loss.tokens_lost) for name, loss in report.truncation.items()}
    assert costs == {"drop": (0, 1, 60), "prompt_left": (1, 0, 16), "completion_right": (1, 0, 12)}
    assert any("in force" in line for line in report.lines())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 30),
    st.lists(st.integers(0, 30), min_size=1, max_size=3),
    st.integers(2, 40),
    st.sampled_from(["drop", "prompt_left", "completion_right"]),
    st.booleans(),
    st.booleans(),
)
def test_every_kept_candidate_has_a_scored_token_within_the_bound(
    prompt: int, answers: list[int], bound: int, truncate: str, bos: bool, joint: bool
) -> None:
    tokenizer = byte_tokenizer(bos=bos)
    comparison = Comparison("p" * prompt, [Candidate("c" * length) for length in answers])
    encoder = CausalEncoder(tokenizer, max_length=bound, truncate=truncate, score_prompts=joint)  # type: ignore[arg-type]
    encoded, report = encoder.encode_all([comparison])
    assert len(encoded) + len(report.dropped) == 1
    for candidate in (c for one in encoded for c in one.candidates):
        assert len(candidate.ids) == len(candidate.segments) <= bound
        assert COMPLETION in candidate.segments
        assert candidate.segments[0] == UNSCORED
        first = encoded[0].candidates[0]
        assert candidate.ids[: candidate.prompt_length] == first.ids[: first.prompt_length]


def test_answers_that_truncation_makes_alike_are_counted() -> None:
    encoder = CausalEncoder(byte_tokenizer(), max_length=6, truncate="completion_right")
    _, report = encoder.encode_all([pair("q", "same start, one end", "same start, other end"), pair()])
    assert report.alike == 1


def test_an_empty_answer_is_its_end_token_or_nothing() -> None:
    encoded, report = CausalEncoder(byte_tokenizer()).encode_all([pair("why?", "", "no")])
    assert encoded[0].candidates[0].scored == 1
    encoded, report = CausalEncoder(byte_tokenizer(eos=False)).encode_all([pair("why?", "", "no")])
    assert not encoded
    assert report.reasons == {"a completion is empty and leaves no token to score": 1}


# -- verdicts and masks


def test_candidates_come_best_first_with_their_verdicts() -> None:
    tokenizer = byte_tokenizer()
    comparison = Comparison(
        "q",
        [
            Candidate("helper", role="mismatched"),
            Candidate("worse", score=0.0, scores={"tone": 2.0}, label=False),
            Candidate("better", score=1.0, label=True),
        ],
        confidence=0.2,
        annotator="ann",
        weight=2.0,
    )
    encoded, report = CausalEncoder(tokenizer).encode_all([comparison])
    one = encoded[0]
    assert text(one, tokenizer, 0, scored=True) == f"better{EOS}"
    assert one.confidence == pytest.approx(0.8)
    assert report.reordered == 1
    assert one.roles == (None, None, "mismatched")
    assert one.labels == (1, 0, -1)
    assert one.scores[:2] == (1.0, 0.0)
    assert math.isnan(one.scores[2])
    assert one.dimensions["tone"][1] == 2.0
    assert math.isnan(one.dimensions["tone"][0])
    assert (one.annotator, one.weight, one.id) == ("ann", 2.0, comparison.key)


def test_joint_preferences_score_the_prompt_but_not_bos() -> None:
    tokenizer = byte_tokenizer()
    comparison = Comparison("ab", [Candidate("x", score=1.0), Candidate("y", prompt="cde", score=0.0)])
    first, second = encode(comparison, tokenizer, score_prompts=True).candidates
    assert first.segments == (UNSCORED, PROMPT, PROMPT, COMPLETION, COMPLETION)
    assert second.segments == (UNSCORED, PROMPT, PROMPT, PROMPT, COMPLETION, COMPLETION)


def test_the_mask_is_data_and_shown() -> None:
    tokenizer = byte_tokenizer()
    shown = describe(encode(pair("q", "a"), tokenizer).candidates[0], tokenizer)
    assert shown == [(BOS, False), ("q", False), ("a", True), (EOS, True)]


def test_control_tokens_in_the_data_are_counted() -> None:
    _, report = CausalEncoder(byte_tokenizer()).encode_all([pair("why?", f"a{EOS}b"), pair()])
    assert report.control_tokens == 1


def test_chunks_do_not_change_the_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    comparisons = tiny_comparisons(7)
    encoder = CausalEncoder(byte_tokenizer(template="plain"), max_length=60)
    whole = encoder.encode_all(comparisons)
    monkeypatch.setattr("assent.encoding.causal.CHUNK", 2)
    parts = encoder.encode_all(comparisons)
    assert repr(whole) == repr(parts)
