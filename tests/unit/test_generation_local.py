"""Local sampling: the same text in any batch, the right law, shared prompts, endings and log-probabilities."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from assent.comparison import Prompt
from assent.errors import InputError
from assent.generation import LocalGenerator, Sampling
from assent.generation.choosing import choose, new_row, restricted
from assent.generation.noise import gumbel, stream_key
from tests.tiny import byte_tokenizer, tiny_lm

PROMPTS: list[Prompt] = [
    "red cat?",
    "the river runs under a stone and over a tree, near the dog?",
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "sing"}],
    "a",
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_tokenizer(template="plain")


def generator(tokenizer: Any, family: str = "llama", **more: Any) -> LocalGenerator:
    return LocalGenerator(tiny_lm(family, dtype=torch.float64), tokenizer, **more)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral", "qwen3", "bloom"])
def test_the_same_record_gives_the_same_text_whatever_the_batch(tokenizer: Any, family: str) -> None:
    together = generator(tokenizer, family).generate(PROMPTS, samples=3, max_new_tokens=12, seed=7)
    alone = generator(tokenizer, family)
    backwards = generator(tokenizer, family, max_tokens_per_batch=200).generate(
        PROMPTS[::-1], samples=3, max_new_tokens=12, seed=7
    )[::-1]
    for index, prompt in enumerate(PROMPTS):
        (single,) = alone.generate([prompt], samples=3, max_new_tokens=12, seed=7)
        assert [sample.token_ids for sample in single] == [sample.token_ids for sample in together[index]]
        assert [sample.token_ids for sample in single] == [sample.token_ids for sample in backwards[index]]
    texts = {sample.text for samples in together for sample in samples}
    assert len(texts) == 12, "samples of a prompt differ"
    other = generator(tokenizer, family).generate(PROMPTS[:1], samples=3, max_new_tokens=12, seed=8)
    assert other[0][0].token_ids != together[0][0].token_ids


def test_a_sample_does_not_depend_on_how_many_are_drawn(tokenizer: Any) -> None:
    local = generator(tokenizer)
    many = local.generate(PROMPTS, samples=5, max_new_tokens=8)
    few = local.generate(PROMPTS, samples=2, max_new_tokens=8)
    assert [[s.text for s in row[:2]] for row in many] == [[s.text for s in row] for row in few]


def test_log_probs_are_the_models_own(tokenizer: Any) -> None:
    local = generator(tokenizer)
    prompt = "the cat sings"
    (samples,) = local.generate([prompt], samples=2, max_new_tokens=10, temperature=0.5, top_k=20)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=False
    )
    for sample in samples:
        whole = torch.tensor([ids + list(sample.token_ids)])
        with torch.no_grad():
            logits = local.model.eval()(input_ids=whole).logits[0].log_softmax(dim=-1)
        expected = logits[len(ids) - 1 : -1].gather(1, whole[0, len(ids) :, None])[:, 0]
        torch.testing.assert_close(torch.tensor(sample.log_probs, dtype=torch.float64), expected)
        assert sample.usage == {"prompt": len(ids), "completion": len(sample.token_ids)}


def test_greedy_equals_the_most_likely_token_each_time(tokenizer: Any) -> None:
    local = generator(tokenizer)
    (found,) = local.generate(["red"], samples=1, max_new_tokens=6, temperature=0)
    ids = torch.tensor(
        [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": "red"}], add_generation_prompt=True, return_dict=False
            )
        ]
    )
    reference = local.model.eval().generate(  # type: ignore[operator]
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, use_cache=True
    )
    assert list(found[0].token_ids) == reference[0, ids.shape[1] :].tolist()


def test_the_model_comes_back_in_its_mode(tokenizer: Any) -> None:
    local = generator(tokenizer)
    assert local.model.training
    local.generate(["red"], max_new_tokens=2)
    assert local.model.training


def test_end_tokens_and_stop_texts_end_a_completion(tokenizer: Any) -> None:
    local = generator(tokenizer)
    assert tokenizer.convert_tokens_to_ids("<|end|>") in local.end_tokens
    (free,) = local.generate(["tree"], samples=1, max_new_tokens=30, seed=3)
    stop = free[0].text[4:6]
    (cut,) = local.generate(["tree"], samples=1, max_new_tokens=30, seed=3, stop=[stop])
    assert cut[0].finish_reason == "stop"
    assert cut[0].text == free[0].text[: free[0].text.index(stop)]
    forced = tiny_lm(dtype=torch.float64)
    with torch.no_grad():
        forced.get_output_embeddings().weight.zero_()  # type: ignore[union-attr]
    local.end_tokens = frozenset(range(288))
    (ended,) = local.generate(["tree"], max_new_tokens=5)
    assert (len(ended[0].token_ids), ended[0].finish_reason) == (1, "stop")


def test_a_prompt_that_fills_the_window_is_an_error(tokenizer: Any) -> None:
    local = LocalGenerator(tiny_lm(max_position_embeddings=32), tokenizer)
    with pytest.raises(InputError, match=r"prompt 1.*32"):
        local.generate(["a", "b" * 40])
    (samples,) = local.generate(["a"], max_new_tokens=200)
    assert samples[0].usage["prompt"] + samples[0].usage["completion"] <= 32


def test_messages_without_a_chat_template_are_an_error() -> None:
    local = LocalGenerator(tiny_lm(), byte_tokenizer())
    with pytest.raises(InputError, match="chat template"):
        local.generate([[{"role": "user", "content": "a"}]])
    assert len(local.generate(["plain text"], max_new_tokens=3)[0]) == 1


@pytest.mark.parametrize("bad", [{"samples": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"stop": [""]}])
def test_options_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Sampling(**bad)


def test_gumbel_noise_has_its_law_and_ignores_its_neighbours() -> None:
    keys = [stream_key(0, "r", sample, 0) for sample in range(200)]
    noise = gumbel(keys, 1000).double()
    assert torch.equal(gumbel(keys[5:6], 1000)[0], noise[5].float())
    # Mean and variance of Gumbel(0, 1): 0.5772, pi^2 / 6; 200 000 draws.
    assert abs(noise.mean() - 0.57722) < 0.01
    assert abs(noise.var() - 1.64493) < 0.03
    correlation = torch.corrcoef(noise[:50]).fill_diagonal_(0).abs().max()
    assert correlation < 0.16, "streams are independent (five standard errors of 1000 draws)"


@pytest.mark.parametrize("coupling", ["independent", "arithmetic"])
def test_tokens_are_drawn_at_their_probability(coupling: Any) -> None:
    sampling = Sampling(samples=8, coupling=coupling, temperature=1.0)
    law = torch.tensor([0.5, 0.3, 0.15, 0.05])
    rows = [new_row(f"r{record}", sample, sampling) for record in range(1000) for sample in range(8)]
    first = choose(law.log().expand(8000, 4), rows, sampling)
    second = choose(law.log().expand(8000, 4), rows, sampling)
    for drawn in (first, second):
        shares = torch.bincount(drawn, minlength=4) / 8000
        assert torch.allclose(shares, law, atol=0.025)
    both = torch.bincount(first * 4 + second, minlength=16).view(4, 4) / 8000
    assert torch.allclose(both, law[:, None] * law, atol=0.03), "the two positions are independent"
    spread = torch.stack([(first.view(1000, 8) == 0).sum(dim=1)]).float().var()
    if coupling == "arithmetic":
        assert spread < 0.3, "the eight codes spread evenly: half of them take the token of probability one half"
    else:
        assert 1.5 < spread < 2.5


def test_top_k_and_top_p_keep_what_they_say() -> None:
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]]).log()
    assert (restricted(logits, 2, 1.0) > -torch.inf).sum(dim=1).tolist() == [2, 2]
    assert (restricted(logits, 0, 0.69) > -torch.inf).sum(dim=1).tolist() == [2, 3]
    assert (restricted(logits, 0, 1e-9) > -torch.inf).sum(dim=1).tolist() == [1, 1]
    assert torch.equal(restricted(logits, 0, 1.0), logits)
