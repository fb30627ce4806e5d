"""Scores a file of comparisons into another, in chunks that are on disk before the next begins."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assent.comparison import Comparison, to_dict
from assent.errors import InputError
from assent.preference_models.scoring import Scored, Scorer


@dataclass(frozen=True)
class ScoringJob:
    """What is scored, by what, and where to.

    Args:
        output: the JSONL file that is written; beside it `.partial` while it is not complete.
        name: under which the reward stands in `scores` of each candidate.
        fingerprint: what decides the numbers besides the data; another run's partial file is refused.
        as_score: whether the reward also becomes the candidate's `score`, the judge's verdict in later training.
        chunk: comparisons between two writes.
    """

    output: Path
    name: str
    fingerprint: str
    as_score: bool = False
    chunk: int = 128

    @property
    def partial(self) -> Path:
        """The file that grows."""
        return self.output.with_name(self.output.name + ".partial")

    @property
    def state(self) -> Path:
        """What the partial file belongs to."""
        return self.output.with_name(self.output.name + ".partial.json")


def score_file(
    scorer: Scorer,
    comparisons: Sequence[Comparison],
    job: ScoringJob,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Writes every comparison with its scores; goes on where a killed run stopped. Returns how many were done before.

    Raises:
        InputError: the output exists, or the partial file belongs to another model or other data.
    """
    if job.output.exists():
        raise InputError(
            "the output exists", where=str(job.output), remedy="Name another file, or remove this one (`--overwrite`)"
        )
    job.output.parent.mkdir(parents=True, exist_ok=True)
    done = _resumed(comparisons, job)
    if progress is not None:
        progress(done, len(comparisons))
    with job.partial.open("a", encoding="utf-8") as file:
        for start in range(done, len(comparisons), job.chunk):
            rows = comparisons[start : start + job.chunk]
            scored = scorer.score(rows)
            lines = [
                json.dumps(to_dict(with_scores(c, s, job.name, job.as_score)))
                for c, s in zip(rows, scored, strict=True)
            ]
            file.write("".join(line + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
            if progress is not None:
                progress(start + len(rows), len(comparisons))
    job.partial.replace(job.output)
    job.state.unlink(missing_ok=True)
    return done


def with_scores(comparison: Comparison, scored: Scored, name: str, as_score: bool = False) -> Comparison:
    """The comparison with the scorer's numbers among its answers' `scores`; numbers that are not finite are left out.

    A model that only compares gives `<name>/mean_preference`, the mean logit against the others of this comparison:
    that number belongs to this list and to no other.
    """
    reward = name if scored.rewards is not None else f"{name}/mean_preference"
    columns: dict[str, Sequence[float]] = {reward: scored.ranking_scores()}
    columns |= {f"{name}/{key}": values for key, values in scored.dimensions.items()}
    if scored.uncertainty is not None:
        columns[f"{name}/uncertainty"] = scored.uncertainty
    candidates = []
    for index, candidate in enumerate(comparison.candidates):
        if candidate.role is not None:
            candidates.append(candidate)
            continue
        own = {key: float(values[index]) for key, values in columns.items() if _finite(values[index])}
        changes: dict[str, Any] = {"scores": {**candidate.scores, **own}}
        if as_score:
            changes["score"] = own.get(reward)
        candidates.append(replace(candidate, **changes))
    # A confidence of the old judge does not belong to the new scores.
    confidence = None if as_score else comparison.confidence
    return replace(comparison, candidates=tuple(candidates), confidence=confidence)


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")


def _resumed(comparisons: Sequence[Comparison], job: ScoringJob) -> int:
    """How many comparisons the partial file holds; a last line that was cut off is taken away."""
    belongs = {
        "scorer": job.fingerprint,
        "name": job.name,
        "as_score": job.as_score,
        "data": hashlib.sha256("".join(c.key for c in comparisons).encode()).hexdigest(),
    }
    if not job.partial.exists():
        job.state.write_text(json.dumps(belongs))
        return 0
    try:
        found = json.loads(job.state.read_text())
    except (OSError, ValueError):
        found = None
    if found != belongs:
        changed = [key for key in belongs if not isinstance(found, dict) or found.get(key) != belongs[key]]
        raise InputError(
            "an unfinished output of another run",
            where=str(job.partial),
            found=f"other {', '.join(changed)}",
            remedy="Finish that run, or start anew with `--overwrite`",
        )
    data = job.partial.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != len(data):
        job.partial.write_bytes(whole)
    return whole.count(b"\n")
