"""English prose that every Python ships with: the language reference of `help()`, and the library's docstrings.

Nothing is downloaded and nothing is imported: docstrings are read from the sources.
"""

from __future__ import annotations

import ast
import random
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assent.errors import InputError

SHORTEST, LONGEST = 40, 240
"""Characters of a sentence; shorter ones say nothing, longer ones are lists in disguise."""

OPENING_WORDS = 5
"""Words of a held-out sentence that the model is given; it writes the rest."""

SENTENCE_END = re.compile(r"(?<=[a-z)\"'][.]) (?=[A-Z])")
PLAIN_OPENING = re.compile(r"[A-Z][a-z]*(?:,? [a-z]+){4}")
"""Openings are plain words: a bracket or quote left open in one would be no fault of the model's."""

NOT_PROSE = (">>>", "::=", "   ", "http")


@dataclass(frozen=True)
class Text:
    """The sentences, split so that no sentence is in two parts.

    Args:
        training: what the language model learns from.
        practice: openings of unseen sentences whose continuations are compared.
        held_out: openings of other unseen sentences, on which everything is measured.
    """

    training: tuple[str, ...]
    practice: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def characters(self) -> int:
        """Length of the training text."""
        return sum(map(len, self.training))


def read_text(practice: int, held_out: int, seed: int, limit: int | None = None) -> Text:
    """The text of this Python, at most `limit` sentences of it, split at random by `seed`.

    Openings are unique and begin no training sentence, so that nothing that is measured was read before.

    Raises:
        InputError: this Python came without its documentation.
    """
    sentences = list(dict.fromkeys(_sentences()))
    random.Random(seed).shuffle(sentences)
    sentences = sentences[:limit]
    wanted = practice + held_out
    if len(sentences) < 4 * wanted:
        raise InputError(
            "this Python came with too little text to learn from",
            where=sysconfig.get_path("stdlib"),
            found=f"{len(sentences)} sentences",
            expected=f"{4 * wanted} or more",
            remedy="Use a full installation: some packages leave out pydoc_data and the sources of the library",
        )
    openings: dict[str, str] = {}
    for sentence in sentences:
        if PLAIN_OPENING.fullmatch(opening_of(sentence)):
            openings.setdefault(opening_of(sentence), sentence)
    chosen = list(openings)[:wanted]
    kept_apart = set(chosen)
    training = tuple(sentence for sentence in sentences if opening_of(sentence) not in kept_apart)
    return Text(training, tuple(chosen[:practice]), tuple(chosen[practice:]))


def opening_of(sentence: str) -> str:
    """The sentence's first words."""
    return " ".join(sentence.split()[:OPENING_WORDS])


def _sentences() -> Iterator[str]:
    for text in (*_reference(), *_docstrings()):
        for paragraph in re.split(r"\n\s*\n", text):
            line = re.sub(r"(?<=[.]) {2}(?=[A-Z])", " ", " ".join(part.strip() for part in paragraph.split("\n")))
            if not line.isascii() or any(mark in line for mark in NOT_PROSE):
                continue
            for sentence in SENTENCE_END.split(line):
                if SHORTEST <= len(sentence) <= LONGEST and sentence[0].isupper() and sentence.endswith("."):
                    yield sentence


def _reference() -> Iterator[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return
    yield from topics.values()


def _docstrings() -> Iterator[str]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted([*root.glob("*.py"), *root.glob("*/*.py")]):
        if path.parent.name in ("site-packages", "dist-packages", "test", "idle_test"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, OSError):
            continue  # a file of a vendor's that this Python cannot read is not worth a failed demo
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""
