"""One request to a chat endpoint, and the answer to it: the content that is sent, keyed, journalled and priced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assent.comparison import content_key
from assent.errors import AssentError
from assent.generation.sampling import FinishReason, Sample


class MalformedAnswer(AssentError):
    """An answer that is not what the protocol says; worth another try."""


@dataclass(frozen=True)
class Request:
    """What is asked of an endpoint.

    Args:
        messages: the chat.
        max_tokens: bound on each completion.
        temperature: 0 for judges.
        top_p: nucleus.
        count: completions wanted of one call (`n`).
        seed: passed on; endpoints do not promise to honour it.
        stop: stop texts.
        schema: JSON schema of the answer, where the endpoint can enforce one.
        top_log_probs: alternatives per token to report; 0: none.
        extra: further fields of the body (`top_k` and the like, for servers that know them).
    """

    messages: Sequence[Mapping[str, Any]]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    count: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    top_log_probs: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def body(self, model: str, *, structured: bool = True) -> dict[str, Any]:
        """The JSON body of a chat completion call."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [dict(message) for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            **self.extra,
        }
        if self.top_p != 1:
            body["top_p"] = self.top_p
        if self.count > 1:
            body["n"] = self.count
        if self.seed is not None:
            body["seed"] = self.seed
        if self.stop:
            body["stop"] = list(self.stop)
        if self.schema is not None and structured:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": dict(self.schema), "strict": True},
            }
        if self.top_log_probs:
            body |= {"logprobs": True, "top_logprobs": self.top_log_probs}
        return body

    def key(self, endpoint: str, model: str) -> str:
        """The content hash under which the answer is kept: everything that is sent, and to whom."""
        return content_key([endpoint, self.body(model)])

    def bound(self) -> dict[str, int]:
        """The most tokens it can cost: a byte-level tokenizer never makes more tokens than bytes."""
        size = sum(len(str(message.get("content") or "").encode()) + 16 for message in self.messages)
        return {"prompt": size, "completion": self.max_tokens * self.count}

    def expected(self) -> dict[str, int]:
        """A guess for dry runs: about four bytes a token, completions half as long as they may be."""
        bound = self.bound()
        return {"prompt": bound["prompt"] // 4 + 1, "completion": bound["completion"] // 2 + 1}


@dataclass(frozen=True)
class Answer:
    """What came back.

    Args:
        samples: the completions; empty if the request failed.
        top_log_probs: for each completion, for each token, the alternatives' log-probabilities by token text.
        usage: tokens by kind.
        error: why there is no answer.
        cached: whether the journal had it.
    """

    samples: tuple[Sample, ...] = ()
    top_log_probs: tuple[tuple[Mapping[str, float], ...], ...] = ()
    usage: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    cached: bool = False

    @property
    def text(self) -> str | None:
        """The first completion's text; None if the request failed."""
        return self.samples[0].text if self.samples else None

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for the journal."""
        return {
            "samples": [sample.to_dict() for sample in self.samples],
            "top_log_probs": [[dict(token) for token in sample] for sample in self.top_log_probs],
            "usage": dict(self.usage),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Answer:
        """The answer as the journal kept it."""
        return cls(
            samples=tuple(Sample.from_dict(sample) for sample in row["samples"]),
            top_log_probs=tuple(tuple(sample) for sample in row["top_log_probs"]),
            usage=row["usage"],
            cached=True,
        )


_REASONS: dict[Any, FinishReason] = {"length": "length", "content_filter": "content_filter"}


def read_answer(body: Any) -> Answer:
    """The answer in a response's JSON; raises MalformedAnswer where it is not a chat completion."""
    try:
        usage = body.get("usage") or {}
        choices = sorted(body["choices"], key=lambda choice: choice.get("index") or 0)
        if not choices:
            raise MalformedAnswer("the answer has no choices")
        return Answer(
            samples=tuple(_sample(choice) for choice in choices),
            top_log_probs=tuple(_alternatives(choice) for choice in choices),
            usage={
                "prompt": int(usage.get("prompt_tokens") or 0),
                "completion": int(usage.get("completion_tokens") or 0),
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedAnswer(f"not a chat completion: {type(error).__name__} {error}") from None


def _sample(choice: Mapping[str, Any]) -> Sample:
    message = choice["message"]
    text = message.get("content")
    filtered = message.get("refusal") is not None or choice.get("finish_reason") == "content_filter"
    if text is None and not filtered:
        raise MalformedAnswer("a choice has no content")
    if text is not None and not isinstance(text, str):
        raise MalformedAnswer(f"content is {type(text).__name__}, not text")
    tokens = (choice.get("logprobs") or {}).get("content") or ()
    return Sample(
        text=(text or "").encode("utf-8", "replace").decode(),
        log_probs=tuple(float(token["logprob"]) for token in tokens),
        finish_reason="content_filter" if filtered else _REASONS.get(choice.get("finish_reason"), "stop"),
    )


def _alternatives(choice: Mapping[str, Any]) -> tuple[dict[str, float], ...]:
    tokens = (choice.get("logprobs") or {}).get("content") or ()
    return tuple(
        {str(other["token"]): float(other["logprob"]) for other in token.get("top_logprobs") or ()}
        for token in tokens
    )
