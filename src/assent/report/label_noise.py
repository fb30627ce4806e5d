"""The part of a run's report about its labels: noise rate, who can be trusted, and what to look at first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assent.comparison import Comparison, from_dict
from assent.report.page import Report


def add_label_noise(report: Report, run_folder: Path) -> None:
    """Adds what the run's `label_noise.json` and `suspicious.jsonl` say; nothing where the run estimated no noise."""
    found, rows = label_noise(run_folder), run_folder / "suspicious.jsonl"
    if found is None:
        return
    report.section("Label noise")
    report.key_values({"labels": found["labels"], "expected share of wrong labels": found["noise_rate"]})
    report.table(
        [{"annotator": name, "share of right labels": value} for name, value in found["reliability"].items()],
        "As the policy sees it; honest disagreement looks the same as noise.",
    )
    if rows.is_file():
        suspicious = [json.loads(line) for line in rows.read_text(encoding="utf-8").split("\n") if line]
        add_suspicious(report, [(from_dict(row["comparison"]), row["probability_right"]) for row in suspicious])


def label_noise(run_folder: Path) -> Mapping[str, Any] | None:
    """The run's `label_noise.json`; None where the run estimated no noise."""
    place = run_folder / "label_noise.json"
    return json.loads(place.read_text(encoding="utf-8")) if place.is_file() else None


def add_suspicious(report: Report, rows: Sequence[tuple[Comparison, float]]) -> None:
    """Adds comparisons, each with the probability that its label is right, worst first."""
    report.comparisons(
        [_shown(comparison, right) for comparison, right in rows],
        f"The {len(rows)} labels that are most likely wrong, worst first; `confidence` is the probability "
        "that the label is right. Look at them before you trust the labels.",
    )


def _shown(comparison: Comparison, right: float) -> Comparison:
    """The comparison with the estimate in place of its confidence, which speaks of candidate 0 first."""
    first, second = comparison.candidates[0].score, comparison.candidates[1].score
    shown_first = first is None or second is None or first >= second
    return replace(comparison, confidence=right if shown_first else 1 - right)
