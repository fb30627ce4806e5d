"""A model is asked with the very tokens under which its answer is scored later: sampling and training agree."""

from __future__ import annotations

import pytest

from assent.comparison import Candidate, Comparison, Prompt
from assent.encoding import CausalEncoder
from assent.generation.prompts import prompt_ids
from tests.tiny import byte_tokenizer

PROMPTS: list[Prompt] = [
    "red cat?",
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "sing"}],
    [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": [{"type": "text", "text": "three"}]},
    ],
    [{"role": "user", "content": "go on"}, {"role": "assistant", "content": "I was say"}],
]


# Without a template there is only text.
CASES = [*((template, prompt) for template in ("plain", "bos", "tools") for prompt in PROMPTS), (None, PROMPTS[0])]


@pytest.mark.parametrize("add_bos", [True, False])
@pytest.mark.parametrize(("template", "prompt"), CASES)
def test_the_prompt_of_a_sample_is_the_prompt_of_a_record(
    template: str | None, prompt: Prompt, add_bos: bool
) -> None:
    tokenizer = byte_tokenizer(template=template, add_bos=add_bos)
    pair = Comparison(prompt, [Candidate("ing yes", score=1.0), Candidate("no", score=0.0)])
    (encoded,), _ = CausalEncoder(tokenizer).encode_all([pair])
    for candidate in encoded.candidates:
        assert list(candidate.ids[: candidate.prompt_length]) == prompt_ids(prompt, tokenizer)
