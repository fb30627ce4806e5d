"""Judges that are Python functions: tests that ran, numbers that can be checked, formats that can be matched."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from assent.comparison import Comparison
from assent.errors import InputError
from assent.generation.prompts import text_of
from assent.judging.asking import answer_text
from assent.judging.verdict import Verdict, answers_of, spread


class RuleJudge:
    """Judges by a function of (prompt, answer), both texts, or of a whole comparison.

    Args:
        function: returns a number (higher is better) or None (no verdict); given a comparison, a list of them.
        name: what the records' `annotator` says.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name
        self.criterion = name
        self._whole = _required(function) == 1

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        """Verdicts in order; an exception in the function is an error that names the record."""
        for index, comparison in enumerate(comparisons):
            yield index, self._verdict(comparison)

    def _verdict(self, comparison: Comparison) -> Verdict:
        answers = answers_of(comparison)
        try:
            if self._whole:
                values = list(self.function(comparison))
            else:
                candidates = [comparison.candidates[at] for at in answers]
                values = [self.function(text_of(comparison.prompt_of(one)), answer_text(one)) for one in candidates]
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"the rule failed with {type(error).__name__}: {error}",
                where=f"record {comparison.key[:12]}",
                field=self.name,
            ) from error
        if len(values) != len(answers):
            raise InputError(
                "the rule returned the wrong number of scores",
                where=f"record {comparison.key[:12]}",
                field=self.name,
                found=str(len(values)),
                expected=f"{len(answers)}, one for each answer",
            )
        scores = dict(zip(answers, map(self._score, values), strict=True))
        if all(score is None for score in scores.values()):
            return Verdict("unparsed", details={"found": "the rule gave no score"})
        return Verdict("judged", spread(comparison, scores))

    def _score(self, value: Any) -> float | None:
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(
                "the rule returned no number", field=self.name, found=repr(value)[:80], expected="a number or None"
            )
        return number


def rule_judge(path: str) -> RuleJudge:
    """The judge of a function named by `package.module:function`; the working folder is searched too."""
    module, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"cannot import `{path}`", field="judge", found=str(error), expected="package.module:function"
        ) from error
    if not callable(function):
        raise InputError(f"`{path}` is not a function", field="judge", found=type(function).__name__)
    return RuleJudge(function, attribute)


def _required(function: Callable[..., Any]) -> int:
    parameters = inspect.signature(function).parameters.values()
    count = sum(
        one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        for one in parameters
    )
    if count not in (1, 2):
        raise InputError(
            "a rule takes a comparison, or a prompt and an answer",
            field="judge",
            found=f"{count} required parameters",
        )
    return count
