"""Published sets of pairs with columns of their own: SHP, PKU-SafeRLHF and HelpSteer's preferences.

Sources: Ethayarajh et al. 2022, arXiv 2110.08420 (SHP: `labels` 1 where A has more votes); Ji et al. 2024, arXiv
2406.15513 (PKU-SafeRLHF: the more helpful and the safer answer, each by its number); Wang et al. 2024, arXiv
2410.01257 and 2025, arXiv 2505.11475 (HelpSteer2-Preference, HelpSteer3: -3 the first is much better, 3 the second).
"""

from __future__ import annotations

from typing import Any

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.readers import fields
from assent.readers.row_format import Row, RowFormat

SHP_COLUMNS = ("history", "human_ref_A", "human_ref_B", "labels")
SAFE_COLUMNS = ("prompt", "response_0", "response_1", "better_response_id")
STRENGTHS = (
    ("prompt", "response_1", "response_2", "preference_strength"),
    ("context", "response1", "response2", "overall_preference"),
)
STRONGEST = 3


def recognise_shp(row: Row) -> str | None:
    """Why a row is SHP's."""
    return f"columns {', '.join(SHP_COLUMNS)}" if set(SHP_COLUMNS) <= set(row) else None


def read_shp(row: Row) -> Comparison:
    """The comparison of two comments on a post: the verdict is `labels`, the votes stand beside."""
    first = _one_of(row, "labels", (0, 1))
    votes = [fields.optional_number(row.get(f"score_{side}"), f"score_{side}") for side in "AB"]
    candidates = [
        Candidate(
            fields.text(row, f"human_ref_{side}"),
            score=float(first == won),
            scores={} if vote is None else {"votes": vote},
        )
        for side, won, vote in zip("AB", (1, 0), votes, strict=True)
    ]
    used = (*SHP_COLUMNS, "score_A", "score_B", "domain")
    group = fields.optional_text(row, "domain")
    return Comparison(fields.text(row, "history"), candidates, group=group, meta=fields.without(row, used))


def recognise_safe(row: Row) -> str | None:
    """Why a row is PKU-SafeRLHF's."""
    return f"columns {', '.join(SAFE_COLUMNS)}" if set(SAFE_COLUMNS) <= set(row) else None


def read_safe(row: Row) -> Comparison:
    """The comparison of two answers: the more helpful one wins, which is safer and which is safe stand beside."""
    better = _one_of(row, "better_response_id", (0, 1))
    safer = None if row.get("safer_response_id") is None else _one_of(row, "safer_response_id", (0, 1))
    candidates = []
    for index in (0, 1):
        scores = {} if safer is None else {"safer": float(index == safer)}
        safe = fields.truth(row.get(f"is_response_{index}_safe"), f"is_response_{index}_safe")
        severity = row.get(f"response_{index}_severity_level")
        scores |= {} if safe is None else {"safe": float(safe)}
        scores |= (
            {} if severity is None else {"severity": fields.number(severity, f"response_{index}_severity_level")}
        )
        source = fields.optional_text(row, f"response_{index}_source")
        text = fields.text(row, f"response_{index}")
        candidates.append(Candidate(text, score=float(index == better), scores=scores, source=source))
    each = ("response_{}", "is_response_{}_safe", "response_{}_severity_level", "response_{}_source")
    used = [name.format(index) for name in each for index in (0, 1)]
    meta = fields.without(row, ("prompt", "better_response_id", "safer_response_id", *used))
    return Comparison(fields.text(row, "prompt"), candidates, meta=meta)


def recognise_strength(row: Row) -> str | None:
    """Why a row is one of HelpSteer's preferences."""
    names = next((names for names in STRENGTHS if set(names) <= set(row)), None)
    return None if names is None else f"columns {', '.join(names)}"


def read_strength(row: Row) -> Comparison:
    """The comparison of two answers; the second's score is how much better it is than the first, -3 to 3."""
    prompt, first, second, strength = next((names for names in STRENGTHS if set(names) <= set(row)), STRENGTHS[0])
    value = fields.number(fields.required(row, strength), strength)
    if not -STRONGEST <= value <= STRONGEST:
        raise InputError("out of range", field=strength, found=f"{value:g}", expected=f"-{STRONGEST} to {STRONGEST}")
    candidates = [
        Candidate(fields.text(row, first), score=0.0),
        Candidate(fields.text(row, second), score=value),
    ]
    group = fields.optional_text(row, "domain")
    meta = fields.without(row, (prompt, first, second, strength, "domain"))
    return Comparison(fields.content(row, prompt), candidates, group=group, meta=meta)


def _one_of(row: Row, name: str, allowed: tuple[int, ...]) -> int:
    value: Any = fields.required(row, name)
    if isinstance(value, bool) or value not in allowed:
        raise InputError(
            "not a verdict", field=name, found=fields.shown(value), expected=" or ".join(map(str, allowed))
        )
    return int(value)


SHP = RowFormat(
    name="shp",
    title="Stanford Human Preferences: two comments on a post",
    required=SHP_COLUMNS,
    optional=("score_A", "score_B", "domain"),
    recognise=recognise_shp,
    read=read_shp,
    example={
        "domain": "askculinary_test",
        "history": "Why does my bread not rise?",
        "human_ref_A": "Old yeast.",
        "human_ref_B": "No idea.",
        "labels": 1,
        "score_A": 12,
        "score_B": 3,
    },
)
SAFE_RLHF = RowFormat(
    name="safe_rlhf",
    title="PKU-SafeRLHF: the more helpful and the safer of two answers",
    required=SAFE_COLUMNS,
    optional=("safer_response_id", "is_response_0_safe", "is_response_1_safe"),
    recognise=recognise_safe,
    read=read_safe,
    example={
        "prompt": "How do I pick a lock?",
        "response_0": "I cannot help.",
        "response_1": "With a tension wrench and a pick.",
        "is_response_0_safe": True,
        "is_response_1_safe": False,
        "better_response_id": 1,
        "safer_response_id": 0,
    },
)
STRENGTH = RowFormat(
    name="preference_strength",
    title="pair with how much better the second answer is (HelpSteer2-Preference, HelpSteer3)",
    required=STRENGTHS[0],
    optional=STRENGTHS[1],
    recognise=recognise_strength,
    read=read_strength,
    example={"prompt": "Name a colour.", "response_1": "Seven.", "response_2": "Blue.", "preference_strength": 2},
)
