"""Instructions whose satisfaction by a given answer is decided by code, in a true and a false form.

Source: the constraint library of Sun et al. 2025, arXiv 2505.12845 (MAPL), whose function set is not published; ours
follows the kinds of Zhou et al. 2023, arXiv 2311.07911 (IFEval). Each kind draws an instruction that an answer
satisfies (`truth=True`) or violates, with thresholds 10 to 30% away from the answer's own value, and one checker
serves both. Words are what whitespace separates; sentences end with . ! or ?; paragraphs are separated by a blank
line. No kind applies to an empty answer.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NEAREST, FARTHEST = 0.10, 0.30


@dataclass(frozen=True)
class Instruction:
    """One instruction and its checker.

    Args:
        kind: the kind it was drawn from; instructions of one kind in one prompt could contradict each other.
        text: what the prompt says.
        check: whether an answer satisfies it.
    """

    kind: str
    text: str
    check: Callable[[str], bool]


Maker = Callable[[str, bool, random.Random, Sequence[str]], Instruction | None]
"""From (answer, truth, randomness, words of other answers) to an instruction; None where the kind does not apply."""


def words(answer: str) -> list[str]:
    """What whitespace separates."""
    return answer.split()


def plain_words(answer: str) -> list[str]:
    """Lower-case runs of letters, for instructions about particular words."""
    return re.findall(r"[^\W\d_]+", answer.lower())


def sentences(answer: str) -> list[str]:
    """Runs that end with . ! or ? (or the text's end)."""
    return [part for part in re.split(r"(?<=[.!?])\s+", answer.strip()) if part]


def paragraphs(answer: str) -> list[str]:
    """Parts between blank lines."""
    return [part for part in re.split(r"\n\s*\n", answer.strip()) if part.strip()]


def bullets(answer: str) -> list[str]:
    """Lines that begin with a list mark."""
    return [line for line in answer.splitlines() if re.match(r"\s*([-*•]|\d+[.)])\s+\S", line)]


UNITS: dict[str, tuple[Callable[[str], Sequence[str]], str]] = {
    "words": (words, "words"),
    "sentences": (sentences, "sentences"),
    "paragraphs": (paragraphs, "paragraphs"),
    "characters": (lambda answer: answer, "characters"),
    "bullet_points": (bullets, "bullet points"),
}

PHRASES_AT_MOST = ("Use at most {n} {unit}.", "Do not go beyond {n} {unit}.", "Keep it to {n} {unit} or fewer.")
PHRASES_AT_LEAST = ("Use at least {n} {unit}.", "Write no fewer than {n} {unit}.", "Give {n} {unit} or more.")


def count_limit(unit: str, upper: bool) -> Maker:
    """Instructions "at most n" or "at least n" of a unit, near the answer's own count."""
    measure, name = UNITS[unit]

    def make(answer: str, truth: bool, generator: random.Random, _: Sequence[str]) -> Instruction | None:
        count = len(measure(answer))
        step = max(1, round(count * generator.uniform(NEAREST, FARTHEST)))
        limit = count + step if truth == upper else count - step
        if count == 0 or limit < 1:
            return None
        phrase = generator.choice(PHRASES_AT_MOST if upper else PHRASES_AT_LEAST)
        return Instruction(
            f"count_{unit}",
            phrase.format(n=limit, unit=name),
            (lambda text: len(measure(text)) <= limit) if upper else (lambda text: len(measure(text)) >= limit),
        )

    return make


def mentions(required: bool) -> Maker:
    """Instructions to use, or to avoid, a word; drawn from the answer or from other answers as the truth needs."""

    def make(answer: str, truth: bool, generator: random.Random, others: Sequence[str]) -> Instruction | None:
        own = set(plain_words(answer))
        pool = sorted(word for word in (own if truth == required else set(others) - own) if len(word) > 3)
        if not pool:
            return None
        word = generator.choice(pool)
        phrases = (
            ('Use the word "{word}".', 'The word "{word}" must appear.')
            if required
            else ('Do not use the word "{word}".', 'Avoid the word "{word}".')
        )
        return Instruction(
            f"mention_{word}",
            generator.choice(phrases).format(word=word),
            lambda text: (word in plain_words(text)) == required,
        )

    return make


def edge(last: bool) -> Maker:
    """Instructions about the first or the last word."""

    def make(answer: str, truth: bool, generator: random.Random, others: Sequence[str]) -> Instruction | None:
        own = plain_words(answer)
        if not own:
            return None
        actual = own[-1] if last else own[0]
        pool = [actual] if truth else sorted({word for word in (*own, *others) if word != actual and len(word) > 1})
        if not pool:
            return None
        word = generator.choice(pool)
        place = "End" if last else "Begin"
        return Instruction(
            "last_word" if last else "first_word",
            f'{place} with the word "{word}".',
            lambda text: bool(plain_words(text)) and plain_words(text)[-1 if last else 0] == word,
        )

    return make


def feature(kind: str, holds: Callable[[str], bool], wanted: Sequence[str], unwanted: Sequence[str]) -> Maker:
    """Instructions to have, or not to have, a feature that code can see."""

    def make(answer: str, truth: bool, generator: random.Random, _: Sequence[str]) -> Instruction | None:
        has = holds(answer)
        ask = has == truth
        phrase = generator.choice(wanted if ask else unwanted)
        return Instruction(kind, phrase, lambda text: holds(text) == ask)

    return make


def repeats(answer: str, truth: bool, generator: random.Random, _: Sequence[str]) -> Instruction | None:
    """Instructions to use a word of the answer at least k times."""
    own = plain_words(answer)
    pool = sorted({word for word in own if len(word) > 3})
    if not pool:
        return None
    word = generator.choice(pool)
    times = own.count(word) + (0 if truth else 1)
    text = f'Use the word "{word}" at least {times} time{"s" if times > 1 else ""}.'
    return Instruction(f"mention_{word}", text, lambda other: plain_words(other).count(word) >= times)


CONSTRAINTS: tuple[Maker, ...] = (
    *(count_limit(unit, upper) for unit in UNITS for upper in (True, False)),
    mentions(required=True),
    mentions(required=False),
    edge(last=False),
    edge(last=True),
    repeats,
    feature("lower_case", str.islower, ["Write in lower case only."], ["Use capital letters somewhere."]),
    feature("digits", lambda t: bool(re.search(r"\d", t)), ["Include a number in digits."], ["Use no digits."]),
    feature("question", lambda t: "?" in t, ["Ask at least one question."], ["Ask no question."]),
    feature("exclamation", lambda t: "!" in t, ["Use an exclamation mark."], ["Use no exclamation mark."]),
    feature("quotation", lambda t: '"' in t, ["Quote something in double quotes."], ["Use no double quotes."]),
    feature("code_block", lambda t: "```" in t, ["Include a fenced code block."], ["Use no fenced code block."]),
    feature("bullets", lambda t: bool(bullets(t)), ["Use a list."], ["Do not use a list."]),
    feature("comma", lambda t: "," in t, ["Use a comma somewhere."], ["Use no commas."]),
)
"""Every kind of instruction; extend it with functions of the same form."""


def draw(
    answer: str, truths: Sequence[bool], generator: random.Random, others: Sequence[str] = (), tries: int = 40
) -> list[Instruction] | None:
    """Instructions of different kinds, one for each truth value; None where not enough kinds apply."""
    found: list[Instruction] = []
    for truth in truths:
        for _ in range(tries):
            instruction = generator.choice(CONSTRAINTS)(answer, truth, generator, others)
            if instruction is None or any(instruction.kind == other.kind for other in found):
                continue
            if instruction.check(answer) == truth:
                found.append(instruction)
                break
        else:
            return None
    return found
