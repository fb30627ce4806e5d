"""The judge of the demo: a rule that anybody can check by eye. It looks for words that are no plain English.

Two continuations of the same opening are read side by side, word by word, as far as the shorter one goes. The one
with fewer faulty words is better; equally many are a tie. A word is faulty if it

    is no word      occurs fewer than three times in the training text, or carries signs (quotes, brackets, figures)
    is said twice   repeats the word right before it

Reading only as far as the shorter one goes makes the rule blind to length: neither a short nor a long text gains.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assent.comparison import Candidate, Comparison

PLAIN = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
PUNCTUATION = ".,;:!?"
FEWEST_OCCURRENCES = 3

CRITERION = "fewer faulty words, read as far as the shorter text goes"
NAME = "plain-word rule"


@dataclass(frozen=True)
class Reading:
    """A continuation as the judge reads it.

    Args:
        words: its words, the first one completed by the opening where it continues it.
        faulty: which of them are faulty.
    """

    words: tuple[str, ...]
    faulty: tuple[bool, ...]

    def faults(self, words: int | None = None) -> int:
        """How many of the first words (default: of all) are faulty."""
        return sum(self.faulty[:words])

    def told(self) -> str:
        """The verdict in a line: the faulty words."""
        found = [word for word, fault in zip(self.words, self.faulty, strict=True) if fault]
        return f"{len(found)} of {len(self.words)} words faulty" + (f": {'  '.join(found)}" if found else "")


class PlainWordRule:
    """Judges continuations by their faulty words.

    Args:
        sentences: the training text; its words are the words there are.
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        counts = Counter(word.rstrip(PUNCTUATION).lower() for sentence in sentences for word in sentence.split())
        self.known = frozenset(
            word for word, count in counts.items() if count >= FEWEST_OCCURRENCES and PLAIN.fullmatch(word)
        )

    def read(self, opening: str, continuation: str) -> Reading:
        """The words of a continuation and which of them are faulty."""
        before = opening.split()
        words = (opening + continuation).split()[len(before) :]
        if continuation[:1].strip():
            # It goes on inside the opening's last word, and is judged on the word that results.
            words, before = (opening + continuation).split()[len(before) - 1 :], before[:-1]
        previous = [*before[-1:], *words]
        faulty = [
            not self._known(word) or word.lower() == last.lower()
            for last, word in zip(previous if before else ["", *words], words, strict=False)
        ]
        return Reading(tuple(words), tuple(faulty))

    def prefers(self, opening: str, first: str, second: str) -> float:
        """1 where the first text is better, 0 where the second is, 1/2 for a tie."""
        one, other = self.read(opening, first), self.read(opening, second)
        shorter = min(len(one.words), len(other.words))
        mine, theirs = one.faults(shorter), other.faults(shorter)
        return 0.5 if mine == theirs else float(mine < theirs)

    def judged(self, opening: str, continuations: Sequence[str], source: str) -> Comparison:
        """The continuations as a list whose scores are the share of the others that each one beats, ties one half."""
        candidates = []
        for index, text in enumerate(continuations):
            others = [other for at, other in enumerate(continuations) if at != index]
            wins = sum(self.prefers(opening, text, other) for other in others)
            candidates.append(Candidate(text, score=wins / max(1, len(others)), source=source))
        return Comparison(opening, candidates, annotator=NAME, context=CRITERION)

    def _known(self, word: str) -> bool:
        return word.rstrip(PUNCTUATION).lower() in self.known
