"""What is asked of a generator and what it returns, the same for local models, offline engines and endpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol, TypedDict

from assent.comparison import Prompt, content_key
from assent.errors import InputError

FinishReason = Literal["stop", "length", "content_filter", "error"]
"""Why a sample ended: an end token or stop string, the token limit, a provider's filter, or a failure."""


class SamplingOptions(TypedDict, total=False):
    """The keyword arguments of `generate`; see `Sampling`."""

    samples: int
    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    stop: Sequence[str]
    coupling: Literal["independent", "arithmetic"]


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Args:
        samples: completions per prompt (K).
        max_new_tokens: tokens after which a completion is cut.
        temperature: logits are divided by it; 0 takes the most likely token.
        top_p: smallest set of tokens whose probability reaches it; 1 keeps all.
        top_k: the k most likely tokens; 0 keeps all.
        seed: the same seed, record and sample index give the same text.
        stop: texts that end a completion; they are not part of it.
        coupling: `independent` samples, or `arithmetic`: negatively correlated ones that spread over the
            distribution while each keeps its own law (Vilnis et al. 2023, arXiv 2210.15458).
    """

    samples: int = 1
    max_new_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop: tuple[str, ...] = ()
    coupling: Literal["independent", "arithmetic"] = "independent"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        _require(self.samples >= 1, "samples", self.samples, "at least 1")
        _require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "at least 1")
        _require(0 <= self.temperature < float("inf"), "temperature", self.temperature, "0 or more")
        _require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0, at most 1")
        _require(self.top_k >= 0, "top_k", self.top_k, "0 (all) or more")
        _require(all(self.stop), "stop", self.stop, "non-empty texts")
        _require(self.coupling in ("independent", "arithmetic"), "coupling", self.coupling, "independent, arithmetic")

    def key(self, prompt: Prompt) -> str:
        """The content hash of one request: what is drawn, from what."""
        return content_key([prompt, asdict(self)])

    def with_samples(self, samples: int) -> Sampling:
        """The same, with another number of samples."""
        return replace(self, samples=samples)


@dataclass(frozen=True)
class Sample:
    """One completion and how it came about.

    Args:
        text: the completion without end token and stop string.
        token_ids: its tokens, the end token included; empty where the generator does not tell.
        log_probs: the log-probability of each token under the model itself, in nats, before temperature, top-k
            and top-p (what an off-policy correction needs); empty where unknown.
        finish_reason: why it ended.
        usage: tokens paid for, by kind (`prompt`, `completion`), where known.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: dict[str, int] = field(default_factory=dict)

    @property
    def log_prob(self) -> float | None:
        """Sum of the log-probabilities in nats; None where unknown."""
        return sum(self.log_probs) if self.log_probs else None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Sample:
        """The sample of its JSON form."""
        return cls(**{**row, "token_ids": tuple(row["token_ids"]), "log_probs": tuple(row["log_probs"])})


class Generator(Protocol):
    """Anything that draws completions: a local model, an offline engine, an endpoint."""

    name: str

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        """Pairs (index of the prompt, its K samples) as they are finished, in any order.

        `keys` identify the records for the seeds; by default the content of the prompt.
        """


def in_order(
    generator: Generator, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
) -> list[list[Sample]]:
    """The K samples of every prompt, in the order of the prompts."""
    found = dict(generator.stream(prompts, sampling, keys))
    return [found[index] for index in range(len(prompts))]


def _require(condition: bool, name: str, found: Any, expected: str) -> None:
    if not condition:
        raise InputError("a sampling option is out of range", field=name, found=repr(found), expected=expected)
