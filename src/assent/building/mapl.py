"""Comparisons of prompts and of preference gaps, made from the answers one already has (MAPL's data).

Source: Sun et al. 2025, arXiv 2505.12845; the gap comparison is our completion of what the paper only names.

Intra-sample: one answer under two prompts, the base prompt plus different lists of verifiable instructions. The
prompt with list w is better for the answer than the one with list l if the answer satisfies
    (A) all of w but not all of l,   or   (B) at least one of w and none of l.
An instruction is true or false of the answer by construction, so only truth tells the two lists apart.

Inter-sample: a pair under the prompt widened by instructions that the chosen answer satisfies and the rejected one
violates, where the preference gap must be larger than under the base prompt; the two answers under the base prompt
are helpers. Intra pairs carry the group `intra`, by which the objective and the reward-model loss tell them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assent.building.constraints import Instruction, draw, plain_words
from assent.comparison import Candidate, Comparison, Prompt

INTRA, BASE_PROMPT = "intra", "base_prompt"
MOST_INSTRUCTIONS, TRIES = 3, 20


@dataclass(frozen=True)
class Synthesised:
    """The new comparisons, and how many answers or pairs no instructions could be found for."""

    comparisons: list[Comparison]
    left_out: int


def better_prompt(first: Sequence[bool], second: Sequence[bool]) -> int | None:
    """Which of two instruction lists is better for an answer: 0, 1 or None, from what it satisfies of each."""
    forwards, backwards = _beats(first, second), _beats(second, first)
    return None if forwards == backwards else (0 if forwards else 1)


def intra(comparisons: Sequence[Comparison], seed: int = 0) -> Synthesised:
    """For each answer of text, one comparison of two prompts; the better one scores 1."""
    vocabulary = _vocabulary(comparisons)
    made, left_out = [], 0
    for comparison in comparisons:
        for index, candidate in enumerate(comparison.answers):
            answer = candidate.completion
            generator = random.Random(f"{seed}:{comparison.key}:{index}")
            lists = _two_lists(answer, generator, vocabulary) if isinstance(answer, str) else None
            if lists is None:
                left_out += 1
                continue
            prompt = comparison.prompt_of(candidate)
            better, worse = (with_instructions(prompt, [i.text for i in chosen], generator) for chosen in lists)
            made.append(
                replace(
                    comparison,
                    candidates=[
                        Candidate(answer, prompt=better, score=1.0, source=candidate.source),
                        Candidate(answer, prompt=worse, score=0.0, source=candidate.source),
                    ],
                    confidence=None,
                    group=INTRA,
                    meta={**comparison.meta, "parent": comparison.key, "made_by": "mapl.intra"},
                )
            )
    return Synthesised(made, left_out)


def inter(comparisons: Sequence[Comparison], seed: int = 0) -> Synthesised:
    """For each pair, the pair under a widened prompt, with its two answers under the base prompt as helpers."""
    vocabulary = _vocabulary(comparisons)
    made = []
    for comparison in comparisons:
        judged = [candidate for candidate in comparison.ordered() if candidate.judged]
        if len(judged) < 2 or judged[0].score == judged[-1].score:
            continue
        chosen, rejected = judged[0], judged[-1]
        generator = random.Random(f"{seed}:{comparison.key}")
        found = _separating(chosen.completion, rejected.completion, generator, vocabulary)
        if not found:
            continue
        prompt = comparison.prompt_of(chosen)
        widened = with_instructions(prompt, [instruction.text for instruction in found], generator)
        helpers = [
            Candidate(answer.completion, prompt=prompt, role=BASE_PROMPT, source=answer.source)
            for answer in (chosen, rejected)
        ]
        made.append(
            replace(
                comparison,
                prompt=widened,
                candidates=[replace(chosen, prompt=None), replace(rejected, prompt=None), *helpers],
                confidence=None,
                meta={**comparison.meta, "parent": comparison.key, "made_by": "mapl.inter"},
            )
        )
    return Synthesised(made, len(comparisons) - len(made))


def with_instructions(prompt: Prompt, texts: Sequence[str], generator: random.Random) -> Prompt:
    """The prompt with instructions after its last user message, in random order."""
    shuffled = list(texts)
    generator.shuffle(shuffled)
    addition = "\n\n" + "\n".join(f"- {text}" for text in shuffled)
    if isinstance(prompt, str):
        return prompt + addition
    messages = [dict(message) for message in prompt]
    for message in reversed(messages):
        if message["role"] == "user":
            content = message["content"]
            message["content"] = (
                content + addition if isinstance(content, str) else [*content, {"type": "text", "text": addition}]
            )
            return messages
    return [*messages, {"role": "user", "content": addition.strip()}]


def _beats(first: Sequence[bool], second: Sequence[bool]) -> bool:
    return (all(first) and not all(second)) or (any(first) and not any(second))


def _two_lists(
    answer: str, generator: random.Random, vocabulary: Sequence[str]
) -> tuple[list[Instruction], list[Instruction]] | None:
    """Instructions that make a better and a worse prompt for the answer."""
    for _ in range(TRIES):
        count = generator.randint(1, MOST_INSTRUCTIONS)
        truths = [[generator.random() < 0.5 for _ in range(count)] for _ in range(2)]
        order = better_prompt(*truths)
        if order is None:
            continue
        better = draw(answer, truths[order], generator, vocabulary)
        worse = draw(answer, truths[1 - order], generator, vocabulary)
        if better is not None and worse is not None:
            return better, worse
    return None


def _separating(
    chosen: object, rejected: object, generator: random.Random, vocabulary: Sequence[str]
) -> list[Instruction]:
    """Up to two instructions that the chosen answer satisfies and the rejected one violates."""
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        return []
    found: list[Instruction] = []
    for _ in range(TRIES * 2):
        drawn = draw(chosen, [True], generator, vocabulary)
        if drawn and not drawn[0].check(rejected) and all(drawn[0].kind != other.kind for other in found):
            found += drawn
        if len(found) == 2:
            break
    return found


def _vocabulary(comparisons: Sequence[Comparison], most: int = 2000) -> list[str]:
    """Words that some answer uses, from which instructions about absent words are drawn."""
    seen: dict[str, None] = {}
    for comparison in comparisons:
        for candidate in comparison.answers:
            if isinstance(candidate.completion, str):
                seen.update(dict.fromkeys(plain_words(candidate.completion)))
        if len(seen) > most:
            break
    return sorted(seen)[:most]
