"""MORE: several sets of preferences in one reward model, weighted so that none is overridden.

Zeng et al. 2023, arXiv 2312.07401.

1. Every step holds as many pairs of each `group`, small groups again and again.
2. Multi-task: the groups' losses are averaged.
3. MORE: they are weighted so that the leftover gradient is shortest, the direction that all groups share.
4. Accuracy and calibration of both by group: the second should be better calibrated and no less accurate.

    assent recipe run more --data prefs.jsonl --output more
"""

from __future__ import annotations

from collections.abc import Sequence

from assent.recipes.preference_parts import compared, data_of, options, parsed


def main(arguments: Sequence[str]) -> None:
    """Trains both and compares."""
    given = parsed(options("more", "One reward from groups that disagree."), arguments)
    specs = {
        "multi_task": {"more": {"group_weights": "uniform"}},
        "more": {"more": {"group_weights": "min_norm"}},
    }
    drawn = {"draw": "by_group"}
    reports = compared(given, data_of(given), specs, multi_task=drawn, more=drawn)
    for name, report in reports.items():
        parts = {group: f"{part['strict']['estimate']:.3f}" for group, part in report["by_group"].items()}
        print(f"{name} by group: {parts}")
