"""RAG-RewardBench: which preference model understands answers that rest on passages?

Jin et al. 2024, arXiv 2412.13746.

1. The benchmark's six files, in the published schema, from a local folder.
2. Every model scores chosen and rejected under the passages and the question: trained reward models, heads made
   elsewhere, policies as implicit rewards; a tie is wrong.
3. A table by scenario, the four of retrieval apart, sorted by the mean over scenarios. Look at the mean lengths: a
   model that likes what is long shows there.

    assent recipe run rag_rewardbench --files bench/*.jsonl --models reward-model other-model --output rag
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from assent.evaluation.benchmark_rows import benchmark_rows
from assent.evaluation.rag_rewardbench import rag_rewardbench
from assent.preference_models.loading import ScorerOptions, open_scorer
from assent.recipes.preference_parts import written


def main(arguments: Sequence[str]) -> None:
    """Scores every model and prints them, best first."""
    parser = argparse.ArgumentParser(prog="assent recipe run rag_rewardbench", description="A benchmark table.")
    parser.add_argument("--files", required=True, type=Path, nargs="+", help="rows in the published schema")
    parser.add_argument("--models", required=True, nargs="+", help="model folders")
    parser.add_argument("--reference", help="reference of models that are read as implicit rewards")
    parser.add_argument("--output", required=True, type=Path, help="folder of the results")
    given = parser.parse_args(list(arguments))
    rows, options = benchmark_rows(given.files), ScorerOptions(reference=given.reference)
    found = {model: rag_rewardbench(open_scorer(model, options), rows) for model in given.models}
    for model in sorted(found, key=lambda name: -found[name].macro):
        parts = ", ".join(f"{name} {part.strict.estimate:.3f}" for name, part in found[model].scenarios.items())
        print(f"{model}: mean of scenarios {found[model].macro:.3f}; {parts}")
    written(given.output / "results.json", {model: asdict(one) for model, one in found.items()})
