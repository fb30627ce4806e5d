"""Reward models: Bradley-Terry, its regularised form, and an ensemble that says how unsure it is.

Bradley and Terry 1952; Ouyang et al. 2022, arXiv 2203.02155; ensembles: Coste et al. 2023, arXiv 2310.02743.

1. One linear head on frozen features learns P(a beats b) = sigmoid(r(a) - r(b)).
2. The same with rewards pulled to mean zero, so that rewards of different prompts compare.
3. Several heads from different starts; where they disagree the reward is not to be trusted.
4. All are measured on prompts that none has seen: accuracy, calibration, and how much is mere length.

    assent recipe run reward_models --data prefs.jsonl --output reward-models
"""

from __future__ import annotations

from collections.abc import Sequence

from assent.preference_models.registry import Spec
from assent.recipes.preference_parts import compared, data_of, options, parsed


def main(arguments: Sequence[str]) -> None:
    """Trains and compares."""
    parser = options("reward_models", "Scalar reward models, compared.")
    parser.add_argument("--members", type=int, default=5, help="of the ensemble")
    given = parsed(parser, arguments)
    specs: dict[str, Spec] = {
        "bradley_terry": "bradley_terry",
        "centred": {"bradley_terry": {"center_rewards_coefficient": 0.01}},
        "ensemble": {"ensemble": {"members": given.members}},
    }
    reports = compared(given, data_of(given), specs)
    for name, report in reports.items():
        if report["length_bias"]:
            print(f"{name}: prefers the longer answer in {report['length_bias']['preferred_share']:.0%} of the pairs")
