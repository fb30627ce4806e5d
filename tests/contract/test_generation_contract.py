"""What every generator and every decoder promises: each prompt once, K samples, the same text in any batch."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from assent import generation as room
from assent.comparison import Comparison, Prompt, to_dict
from assent.errors import InputError
from assent.generation import Endpoint, EndpointClient, Generator, LocalGenerator, Sampling, in_order
from assent.generation.best_of_n import BestOfN
from assent.generation.decoding import Decoder, Plain
from assent.generation.preference_orchestrator import (
    Normalisation,
    OrchestratedBestOfN,
    Orchestrator,
    PromptWeights,
)
from assent.generation.remembered import RememberedDecoder
from assent.generation.remembered_generator import RememberedGenerator
from assent.generation.rewriter import Rewriter
from assent.generation.rps import RPS
from assent.generation.varied import Varied
from assent.generation.vllm_offline import VLLMGenerator
from assent.preference_models import Scored
from assent.preference_models.encoders import HashedNgrams
from assent.work.journal import Journal
from tests.fault_proxy import FaultProxy
from tests.tiny import byte_tokenizer, tiny_lm

PROMPTS: list[Prompt] = ["red cat?", "the river runs under a stone, near the dog?", "sing", "a"]
REASONS = ("stop", "length", "content_filter", "error")


def test_every_export_is_there() -> None:
    for name in room.__all__:
        assert getattr(room, name) is not None
    with pytest.raises(AttributeError):
        room.nothing  # noqa: B018


# -- vLLM's surface, as far as it is used: written after its documentation; nothing here has run on a device.


@dataclass
class _SamplingParams:
    n: int
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    stop: list[str] | None
    seed: int
    logprobs: int


@dataclass
class _Logprob:
    logprob: float


@dataclass
class _CompletionOutput:
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, _Logprob]]
    finish_reason: str


@dataclass
class _RequestOutput:
    prompt_token_ids: list[int]
    outputs: list[_CompletionOutput]


class _LLM:
    def __init__(self, *, model: str, enable_prefix_caching: bool, **options: Any) -> None:
        assert enable_prefix_caching
        self.local = LocalGenerator(tiny_lm(dtype=torch.float64), byte_tokenizer(template="plain"))
        self.texts = {tuple(self.local._encode(prompt, 0)): prompt for prompt in PROMPTS}

    def get_tokenizer(self) -> Any:
        return self.local.tokenizer

    def generate(
        self, prompts: list[dict[str, list[int]]], params: list[_SamplingParams], *, use_tqdm: bool
    ) -> list[_RequestOutput]:
        assert len(prompts) == len(params)
        found = []
        for prompt, one in zip(prompts, params, strict=True):
            ids = prompt["prompt_token_ids"]
            (drawn,) = self.local.generate(
                [self.texts[tuple(ids)]], samples=one.n, max_new_tokens=one.max_tokens, seed=one.seed
            )
            outputs = [
                _CompletionOutput(
                    sample.text,
                    list(sample.token_ids),
                    [{t: _Logprob(p)} for t, p in zip(sample.token_ids, sample.log_probs, strict=True)],
                    sample.finish_reason,
                )
                for sample in drawn
            ]
            found.append(_RequestOutput(ids, outputs))
        return found


@pytest.fixture
def generators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Generator]]:
    stub = types.ModuleType("vllm")
    stub.LLM, stub.SamplingParams = _LLM, _SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", stub)

    def says(body: dict[str, Any]) -> str:
        return f"{body['messages'][-1]['content']} {body.get('seed')} {body['choice']}"

    with FaultProxy(says) as proxy, Journal(tmp_path / "journal") as journal:
        yield {
            "local": local(),
            "endpoint": EndpointClient(Endpoint(proxy.url, "stub", concurrency=3)),
            "vllm": VLLMGenerator("stub"),
            "remembered": RememberedGenerator(local(), journal, "tiny"),
        }


def local() -> LocalGenerator:
    return LocalGenerator(tiny_lm(dtype=torch.float64), byte_tokenizer(template="plain"), name="tiny")


@pytest.mark.parametrize("kind", ["local", "endpoint", "vllm", "remembered"])
def test_every_generator_answers_each_prompt_once_with_k_samples(kind: str, generators: dict[str, Generator]) -> None:
    generator = generators[kind]
    assert isinstance(generator.name, str)
    sampling = Sampling(samples=3, max_new_tokens=6, seed=1)
    rows = list(generator.stream(PROMPTS, sampling))
    assert sorted(index for index, _ in rows) == list(range(len(PROMPTS)))
    for _, samples in rows:
        assert len(samples) == 3
        for sample in samples:
            assert sample.finish_reason in REASONS
            assert isinstance(sample.text, str)
            assert len(sample.log_probs) in (0, len(sample.token_ids))
            assert all(value <= 0 for value in sample.log_probs)
    texts = [[sample.text for sample in samples] for samples in in_order(generator, PROMPTS, sampling)]
    backwards = in_order(generator, PROMPTS[::-1], sampling)[::-1]
    assert [[sample.text for sample in samples] for samples in backwards] == texts
    alone = [in_order(generator, [prompt], sampling)[0] for prompt in PROMPTS]
    assert [[sample.text for sample in samples] for samples in alone] == texts
    assert list(generator.stream([], sampling)) == []


def test_vllm_is_refused_clearly_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match="vLLM is not installed"):
        VLLMGenerator("anything")


def test_vllm_draws_independent_samples_only(generators: dict[str, Generator]) -> None:
    with pytest.raises(InputError, match="independent"):
        list(generators["vllm"].stream(PROMPTS, Sampling(samples=2, coupling="arithmetic")))


class Attributes:
    """Scores what a text has: characters and vowels."""

    name = "attributes"

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        rows = [[str(one.completion) for one in comparison.candidates] for comparison in comparisons]
        return [
            Scored(
                rewards=tuple(float(len(text)) for text in row),
                dimensions={
                    "long": tuple(float(len(text)) for text in row),
                    "vowels": tuple(float(sum(text.count(letter) for letter in "aeiou")) for text in row),
                },
            )
            for row in rows
        ]


def orchestrated() -> Decoder:
    encoder = HashedNgrams(4)
    encoder.fit(["red cat", "a river under a stone", "sing a song", "the dog", "a"])
    weights = PromptWeights(encoder.size, ("long", "vowels"), hidden=0)
    normalisation = Normalisation.fit(torch.tensor([[1.0, 2.0], [3.0, 5.0], [2.0, 1.0]]))
    return OrchestratedBestOfN(local(), Attributes(), Orchestrator(weights, normalisation, encoder))


class Replies:
    """A model that writes a set of different replies between the marks it is told."""

    name = "replies"

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Any]]]:
        for index in reversed(range(len(prompts))):
            text = str(prompts[index])
            tag = text.split("<reply-")[1].split(">")[0]
            words = ("north wind", "deep sea", "old town")
            reply = "".join(f"<reply-{tag}>\n{word} {text[-5:]}\n</reply-{tag}>\n" for word in words)
            yield index, [room.Sample(reply)]


DECODERS: dict[str, Callable[[], Decoder]] = {
    "plain": lambda: Plain(local()),
    "best_of_n": lambda: BestOfN(local(), Attributes()),
    "rps": lambda: RPS(local(), Attributes(), ("long", "vowels"), 45.0),
    "rewriter": lambda: Rewriter(local(), None),
    "orchestrator": orchestrated,
    "varied": lambda: Varied(Replies()),
}


def plain(record: Any) -> Any:
    """A record as plain data; what another batch may round otherwise, log-probabilities and scores, to six places."""
    if isinstance(record, Comparison):
        return plain(to_dict(record))
    if isinstance(record, float):
        return round(record, 6)
    if isinstance(record, dict):
        return {name: plain(value) for name, value in record.items()}
    return [plain(value) for value in record] if isinstance(record, list | tuple) else record


@pytest.mark.parametrize("mode", DECODERS)
def test_every_decoder_gives_a_record_the_same_answers_whatever_the_batch(mode: str, tmp_path: Path) -> None:
    sampling = Sampling(samples=3, max_new_tokens=6, seed=4)
    found = dict(DECODERS[mode]().decode(PROMPTS, sampling))
    assert sorted(found) == list(range(len(PROMPTS)))
    for index, prompt in enumerate(PROMPTS):
        ((_, alone),) = DECODERS[mode]().decode([prompt], sampling)
        assert plain(alone) == plain(found[index])
        assert found[index].prompt == prompt, "what was asked stands in the record, not what a decoder made of it"
    backwards = dict(DECODERS[mode]().decode(PROMPTS[::-1], sampling))
    assert [plain(backwards[index]) for index in reversed(range(len(PROMPTS)))] == [
        plain(found[index]) for index in range(len(PROMPTS))
    ]
    with Journal(tmp_path / "journal") as journal:
        for _ in range(2):
            again = dict(RememberedDecoder(DECODERS[mode](), journal, mode).decode(PROMPTS, sampling))
            assert {index: plain(one) for index, one in again.items()} == {
                index: plain(one) for index, one in found.items()
            }


def test_every_decoder_of_the_command_line_is_held_to_the_contract() -> None:
    from assent.cli.generate import Decode

    assert {mode.value for mode in Decode} == set(DECODERS)
