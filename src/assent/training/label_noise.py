"""What an objective that estimates label noise learned of the labels, beside the run's other files.

`label_noise.json` has the noise rate and the reliability of each annotator, `suspicious.jsonl` the comparisons whose
labels are most likely wrong, worst first, with their texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from assent.comparison import Comparison, to_dict
from assent.training.checkpoints import write_json

NOISE, SUSPICIOUS = "label_noise.json", "suspicious.jsonl"
COUNT = 50


@runtime_checkable
class EstimatesNoise(Protocol):
    """An objective that holds each label right with some probability."""

    reliabilities: dict[str, float]
    confidences: dict[str, float]

    def suspicious(self, count: int = COUNT) -> list[tuple[str, float]]:
        """Ids of the comparisons whose labels are most likely wrong, and the probability that each is right."""


def estimator_in(objective: Any) -> EstimatesNoise | None:
    """The objective, or the first of its parts, that estimates noise."""
    for part in (objective, *(getattr(objective, "objectives", None) or ())):
        if isinstance(part, EstimatesNoise):
            return part
    return None


def write_label_noise(folder: Path, objective: Any, comparisons: Sequence[Comparison]) -> None:
    """Writes both files for an objective that estimates noise; does nothing for any other."""
    estimator = estimator_in(objective)
    if estimator is None or not estimator.confidences:
        return
    values = list(estimator.confidences.values())
    write_json(
        folder / NOISE,
        {
            "labels": len(values),
            "noise_rate": 1 - sum(values) / len(values),
            "reliability": {name or "everyone": value for name, value in estimator.reliabilities.items()},
        },
    )
    texts: Mapping[str, Comparison] = {comparison.key: comparison for comparison in comparisons}
    rows = [
        {"id": name, "probability_right": right, "comparison": to_dict(texts[name])}
        for name, right in estimator.suspicious(COUNT)
        if name in texts
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / SUSPICIOUS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
