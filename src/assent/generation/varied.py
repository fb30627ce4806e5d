"""Candidates that stand for different values: one model writes the whole set at once, so that it can differ.

Source: Zhang, Milli et al. 2025 (Community Alignment), arXiv 2507.09650: negatively correlated sampling by prompt.
K independent draws show a value of share p with chance 1 - (1 - p)^K; most people who hold a rare value never see
it, and their choices among the rest say nothing of it. Here one request asks for K full answers that stand for
clearly different values, none of which is named, each between marks of its own. The prompt's wording is ours.

Sets with fewer than K answers, or with near-duplicates, are asked for again. Answers are shuffled, since people and
models like the first. Compare samplers with the same judge of values, and watch lengths: answers written together
tend to be shorter and one-sided.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from assent.comparison import Candidate, Comparison, Prompt, content_key
from assent.errors import InputError
from assent.generation.prompts import text_of
from assent.generation.sampling import Generator, Sampling

WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Parsed:
    """The answers of one reply, and why they are no set, if they are not."""

    answers: tuple[str, ...]
    refused_because: str | None = None


class Varied:
    """Asks for all candidates in one generation; `sampling.samples` is their number (4 in the source).

    Args:
        generator: a chat model, local or at an endpoint.
        attempts: how often a set is asked for until it is whole.
        most_alike: largest share of words that two answers may have in common (Jaccard).
    """

    def __init__(self, generator: Generator, attempts: int = 3, most_alike: float = 0.8) -> None:
        if attempts < 1 or not 0 < most_alike <= 1:
            raise InputError("at least one attempt, and a share above 0", found=f"{attempts}, {most_alike}")
        self.generator, self.attempts, self.most_alike = generator, attempts, most_alike

    def decode(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Comparison]]:
        """The K candidates of each prompt, shuffled; `meta.failed` where no attempt gave a whole set."""
        if sampling.samples < 2:
            raise InputError("a varied set has two candidates or more", field="samples", found=str(sampling.samples))
        names = [content_key(prompt) for prompt in prompts] if keys is None else list(keys)
        alone = for_a_set(sampling)
        waiting, last = list(range(len(prompts))), dict[int, Parsed]()
        for attempt in range(self.attempts):
            asked = [asking(prompts[at], sampling.samples, mark(names[at], attempt)) for at in waiting]
            drawing = replace(alone, seed=sampling.seed + attempt)
            again = []
            for position, samples in self.generator.stream(asked, drawing, [names[at] for at in waiting]):
                at = waiting[position]
                last[at] = parsed(samples[0].text, sampling.samples, mark(names[at], attempt), self.most_alike)
                if last[at].refused_because is None:
                    yield at, self._comparison(prompts[at], last[at], names[at], sampling.seed, attempt + 1)
                else:
                    again.append(at)
            waiting = sorted(again)
            if not waiting:
                return
        for at in waiting:
            yield at, self._failed(prompts[at], last[at])

    def _comparison(self, prompt: Prompt, found: Parsed, name: str, seed: int, attempts: int) -> Comparison:
        answers = list(found.answers)
        random.Random(f"{seed}/{name}").shuffle(answers)
        note = {"method": "varied", "attempts": attempts}
        candidates = [Candidate(text, source=self.generator.name) for text in answers]
        return Comparison(prompt, candidates, meta={"decoding": note})

    def _failed(self, prompt: Prompt, found: Parsed) -> Comparison:
        answers = found.answers or ("",)
        reason = f"no whole set in {self.attempts} attempts: {found.refused_because}"
        return Comparison(
            prompt, [Candidate(text, source=self.generator.name) for text in answers], meta={"failed": reason}
        )


def for_a_set(sampling: Sampling) -> Sampling:
    """One completion with the room of K: all answers of a prompt come in one reply."""
    return replace(sampling, samples=1, max_new_tokens=sampling.max_new_tokens * sampling.samples)


def mark(name: str, attempt: int) -> str:
    """A word that neither the prompt nor the answers hold by chance, the same for the same record."""
    return hashlib.sha256(f"{name}/{attempt}".encode()).hexdigest()[:6]


def asking(prompt: Prompt, count: int, tag: str) -> Prompt:
    """The request for K answers to the last message of a conversation."""
    # Concatenated, never formatted: a conversation may hold braces and marks of its own.
    return (
        f"Here is a conversation. Write {count} separate, complete replies to its last message, as if each were the "
        f"only one. People around the world hold different values; let the {count} replies stand for clearly "
        "different ones, none a compromise, without naming the values. Keep them of similar length and quality, and "
        f"in the language of the last message. Begin each reply with a line <reply-{tag}> and end it with a line "
        f"</reply-{tag}>; write nothing else.\n\nConversation:\n" + text_of(prompt)
    )


def parsed(reply: str, count: int, tag: str, most_alike: float = 0.8) -> Parsed:
    """The answers between the marks of a reply; more than K are cut, fewer and near-duplicates refused."""
    found = re.findall(rf"<reply-{tag}>(.*?)</reply-{tag}>", reply, flags=re.DOTALL)
    answers = tuple(text.strip() for text in found if text.strip())[:count]
    if len(answers) < count:
        return Parsed(answers, f"{len(answers)} of {count} answers between the marks")
    for at, text in enumerate(answers):
        if any(alike(text, other) > most_alike for other in answers[:at]):
            return Parsed(answers, "two answers are nearly the same")
    return Parsed(answers)


def alike(first: str, second: str) -> float:
    """Share of the words of either text that are in both; 1 for equal texts."""
    words = [set(WORD.findall(text.lower())) for text in (first, second)]
    union = words[0] | words[1]
    return len(words[0] & words[1]) / len(union) if union else 1.0
