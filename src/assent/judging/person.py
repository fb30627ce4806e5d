"""A person as judge: a form to fill in with any spreadsheet, read back when it is filled.

Answers stand in a shuffled order and without their sources, so that nobody judges by name or place.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from assent.comparison import Comparison
from assent.errors import InputError
from assent.generation.prompts import text_of
from assent.judging.asking import answer_text
from assent.judging.rubric import Rubric
from assent.judging.verdict import Verdict, answers_of, spread

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class PersonJudge:
    """Judges by a filled form; records whose row is empty or missing are `waiting`.

    Args:
        form: the CSV file.
        rubric: what the person is asked; its criterion is named in the form's header.
        name: who judges.
        seed: of the order of the answers; the same when writing and reading.
    """

    def __init__(self, form: Path, rubric: Rubric, name: str = "person", seed: int = 0) -> None:
        self.form, self.rubric, self.name, self.seed = form, rubric, name, seed
        self.criterion = rubric.name

    def write(self, comparisons: Sequence[Comparison]) -> int:
        """Writes the form, never over another one; returns its number of rows."""
        most = max((len(answers_of(comparison)) for comparison in comparisons), default=0)
        if most > len(LETTERS):
            raise InputError("too many answers for a form", found=str(most), expected=f"at most {len(LETTERS)}")
        try:
            with self.form.open("x", newline="", encoding="utf-8-sig") as file:
                writer = csv.writer(file)
                writer.writerow(["record", "prompt", *LETTERS[:most], self._question(), "comment"])
                for comparison in comparisons:
                    texts = [answer_text(comparison.candidates[at]) for at in self._order(comparison)]
                    row = [text_of(comparison.prompt), *texts, *[""] * (most - len(texts))]
                    writer.writerow([comparison.key, *map(_inert, row), "", ""])
        except FileExistsError:
            raise InputError(
                "the form exists already", where=str(self.form), remedy="Fill it in, or name another"
            ) from None
        return len(comparisons)

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        """Verdicts from the form, in order."""
        rows = self._rows()
        for index, comparison in enumerate(comparisons):
            row = rows.get(comparison.key)
            yield index, self._verdict(comparison, row) if row else Verdict("waiting")

    def _question(self) -> str:
        return f"best ({self.rubric.title}): a letter, several for a tie, or a ranking like B>A>C"

    def _order(self, comparison: Comparison) -> list[int]:
        order = answers_of(comparison)
        random.Random(f"{self.seed}/{comparison.key}").shuffle(order)
        return order

    def _rows(self) -> dict[str, tuple[int, Mapping[str, str]]]:
        """Filled rows by record: (line, row)."""
        try:
            with self.form.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                columns = [name for name in reader.fieldnames or () if name.startswith("best (")]
                if "record" not in (reader.fieldnames or ()) or len(columns) != 1:
                    raise InputError(
                        "not a form",
                        where=str(self.form),
                        found=str(reader.fieldnames),
                        expected="record, best (...)",
                    )
                return {
                    row["record"]: (reader.line_num, {"best": row[columns[0]], "comment": row.get("comment") or ""})
                    for row in reader
                    if (row.get(columns[0]) or "").strip()
                }
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError("the form cannot be read", where=str(self.form), found=str(error)) from None

    def _verdict(self, comparison: Comparison, found: tuple[int, Mapping[str, str]]) -> Verdict:
        line, row = found
        order = self._order(comparison)
        ranks = [
            [letter for letter in part.upper() if letter.isalpha()]
            for part in row["best"].replace("=", "").split(">")
        ]
        named = [letter for part in ranks for letter in part]
        if not named or len(set(named)) != len(named) or any(letter not in LETTERS[: len(order)] for letter in named):
            raise InputError(
                "a verdict cannot be read",
                where=f"{self.form}:{line}",
                found=repr(row["best"]),
                expected=f"letters from A to {LETTERS[len(order) - 1]}, such as B, AB (tie) or B>A",
            )
        # Answers that are not named come last, together.
        levels = {letter: len(ranks) - level for level, part in enumerate(ranks) for letter in part}
        scores = {at: float(levels.get(LETTERS[shown], 0)) for shown, at in enumerate(order)}
        details = {"comment": row["comment"]} if row["comment"] else {}
        return Verdict("judged", spread(comparison, scores), details=details)


def _inert(text: str) -> str:
    """The text with an apostrophe in front where a spreadsheet would run it as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
