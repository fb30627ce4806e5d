"""A rewriter before the model: poor requests are made clear first, answers are to the clear ones.

Source: Song et al. 2025, arXiv 2508.04626. One greedy pass; where the rewriting cannot be trusted (no marks,
another length altogether, quoted text or code lost) the request stays as it was. Answers are judged against the
request as the person wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assent.comparison import Comparison, Prompt, content_key
from assent.generation.best_of_n import noted
from assent.generation.decoding import comparison_of
from assent.generation.prompts import content_text, messages_of
from assent.generation.sampling import Generator, Sampling

OPEN, CLOSE = "<<<", ">>>"
_LITERALS = re.compile(r"```.*?```|`[^`\n]+`|\"[^\"\n]{2,}\"", re.DOTALL)


@dataclass(frozen=True)
class Rewriting:
    """What became of a request: the text used, and why the original was kept, if it was."""

    text: str
    kept_because: str | None = None


class Rewriter:
    """Rewrites requests, then draws from the model.

    Args:
        generator: the model that answers.
        rewriter: the model that rewrites; by default the same.
        shortest: rewritten length over original length below which it is not trusted.
        longest: the same above which it is not.
    """

    def __init__(
        self, generator: Generator, rewriter: Generator | None = None, shortest: float = 0.3, longest: float = 10.0
    ) -> None:
        self.generator, self.rewriter = generator, rewriter or generator
        self.shortest, self.longest = shortest, longest

    def decode(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Comparison]]:
        """K candidates for each prompt as it was written; `meta.decoding.rewritten` is what was answered."""
        names = [content_key(prompt) for prompt in prompts] if keys is None else list(keys)
        rewritten = self.rewrite(prompts, sampling.max_new_tokens)
        asked = [_replaced(prompt, one.text) for prompt, one in zip(prompts, rewritten, strict=True)]
        for index, samples in self.generator.stream(asked, sampling, names):
            one = rewritten[index]
            note = {"method": "rewriter", "rewritten": one.text, "kept_because": one.kept_because}
            drawn = comparison_of(prompts[index], samples, self.generator.name)
            yield index, noted(drawn, note)

    def rewrite(self, prompts: Sequence[Prompt], max_new_tokens: int = 1024) -> list[Rewriting]:
        """The last user turn of each prompt, rewritten or kept."""
        originals = [_last(prompt) for prompt in prompts]
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0)
        written = dict(self.rewriter.stream([rewriting_prompt(text) for text in originals], sampling))
        return [self._checked(text, written[index][0].text) for index, text in enumerate(originals)]

    def _checked(self, original: str, reply: str) -> Rewriting:
        return read_rewriting(original, reply, self.shortest, self.longest)


def read_rewriting(original: str, reply: str, shortest: float = 0.3, longest: float = 10.0) -> Rewriting:
    """The rewritten request between the marks of a reply, or the original with the reason why it was kept."""
    start, end = reply.find(OPEN), reply.rfind(CLOSE)
    if start < 0 or end <= start:
        return Rewriting(original, "no marks in the reply")
    text = reply[start + len(OPEN) : end].strip()
    ratio = len(text) / max(len(original), 1)
    if not shortest <= ratio <= longest:
        return Rewriting(original, f"length ratio {ratio:.2g}")
    lost = [literal for literal in _LITERALS.findall(original) if literal not in text]
    if lost:
        return Rewriting(original, f"lost {lost[0][:40]!r}")
    return Rewriting(text)


def marked(text: str) -> str:
    """A rewritten request as a rewriter writes it."""
    return f"{OPEN}\n{text}\n{CLOSE}"


def rewriting_prompt(text: str) -> str:
    """What a rewriter is asked."""
    # Concatenated, never formatted: a request may hold braces and marks of its own.
    return (
        "You improve requests before they are answered. Make the following request clear, complete and polite, "
        "keep its intent, its language and every quotation and piece of code, and do not answer it. Write the "
        f"improved request between {OPEN} and {CLOSE}.\n\nRequest:\n" + text
    )


def _last(prompt: Prompt) -> str:
    users = [message for message in messages_of(prompt) if message["role"] == "user"]
    return content_text(users[-1].get("content")) if users else ""


def _replaced(prompt: Prompt, text: str) -> Prompt:
    if isinstance(prompt, str):
        return text
    messages = messages_of(prompt)
    at = max((index for index, message in enumerate(messages) if message["role"] == "user"), default=None)
    return [{**message, "content": text} if index == at else message for index, message in enumerate(messages)]
