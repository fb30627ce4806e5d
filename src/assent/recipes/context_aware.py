"""Context-aware preference models: the criterion is part of the question.

Pitis et al. 2024, arXiv 2407.14916.

1. A reward model that does not see by which criterion people judged must average over criteria.
2. One that reads the criterion (`context` of each comparison) with the prompt can obey it.
3. Where the data hold a pair twice, judged by criteria that flip it, the report says how often the model flips too.

    assent recipe run context_aware --data prefs.jsonl --output context-aware
"""

from __future__ import annotations

from collections.abc import Sequence

from assent.recipes.preference_parts import compared, data_of, options, parsed


def main(arguments: Sequence[str]) -> None:
    """Trains both and compares."""
    given = parsed(options("context_aware", "Preferences under a stated criterion."), arguments)
    reports = compared(
        given, data_of(given), {"context_free": "bradley_terry", "context_aware": {"context_aware": {}}}
    )
    for name, report in reports.items():
        print(f"{name}: use of the criterion {report['context_use']}")
