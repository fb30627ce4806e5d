"""Ranking accuracy: a policy can win every logged reward and still prefer the wrong answers.

Chen et al. 2024, arXiv 2405.19534.

1. Train with DPO whose reference counts only by gamma; 1 is DPO itself.
2. Measure, on held-out pairs, how often the policy gives the better answer more probability, how often its reference
   did, how often the log-ratio (which training logs) is right, and what the best policy could reach.
3. Pairs whose reference is far on the wrong side are out of reach; they are counted.

    assent recipe run ranking_accuracy --model sft-model --data pairs.jsonl --test held-out.jsonl --output ranking
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from assent.evaluation.alignment_gap import alignment_gap, difficulty_bins, pairs_of
from assent.preference_models.loading import ScorerOptions, open_scorer
from assent.readers import read
from assent.recipes.loop_parts import Loop, settings_of
from assent.recipes.preference_parts import written


def main(arguments: Sequence[str]) -> None:
    """Trains one policy for each gamma and measures it."""
    parser = argparse.ArgumentParser(prog="assent recipe run ranking_accuracy", description="The alignment gap.")
    parser.add_argument("--model", required=True, help="folder of the initial model, which is the reference")
    parser.add_argument("--data", required=True, type=Path, help="judged pairs to train on")
    parser.add_argument("--test", required=True, type=Path, help="judged pairs to measure on")
    parser.add_argument("--output", required=True, type=Path, help="folder of the runs")
    parser.add_argument("--gamma", type=float, nargs="+", default=[1.0, 0.5], help="how much the reference counts")
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--votes", type=float, default=0.75, help="share of raters for the better answer")
    parser.add_argument("--settings", help="YAML with training, peft and data keys of a run file")
    given = parser.parse_args(list(arguments))
    test = [one for one in read(given.test).comparisons if len({x.score for x in one.answers if x.judged}) == 2]
    loop, reports = Loop(given.output, settings_of(given.settings), print), {}
    for gamma in given.gamma:
        objective = {"attenuated_dpo": {"beta": given.beta, "gamma": gamma}}
        folder = loop.trained(f"gamma-{gamma:g}", given.model, given.data, objective)
        scorer = open_scorer(str(folder), ScorerOptions(reference=given.model))
        pairs = pairs_of(test, scorer.score(test))
        found = asdict(alignment_gap(pairs, [given.votes] * len(test)))
        bins = {name: len(rows) for name, rows in difficulty_bins(pairs, given.beta).items()}
        reports[f"gamma {gamma:g}"] = {**found, "pairs_by_difficulty": bins}
        shown = {name: round(found[name], 3) for name in ("ranking", "reference_ranking", "reward", "gap")}
        print(f"gamma {gamma:g}: {shown}")
    written(given.output / "results.json", reports)
