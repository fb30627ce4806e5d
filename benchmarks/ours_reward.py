"""Worker: Assent's Bradley-Terry reward model. Called as `python -m benchmarks.ours_reward '<json>'`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from assent.encoding import EncodedComparison
from assent.likelihood.policy import Batch
from assent.preference_models.bradley_terry import BradleyTerry
from assent.preference_models.reward_policy import PreferenceObjective, RewardPolicy, reward_policy
from benchmarks.gate import Gate, head_weight, resident_bytes
from benchmarks.ours import encoded
from benchmarks.ours_trainer import Job, train


def main() -> None:
    """Reads what to do, gets ready, and trains."""
    gate, imported = Gate(), resident_bytes()
    told = json.loads(sys.argv[1])
    rows = json.loads(Path(told["rows"]).read_text())
    comparisons = [encoded(row, str(index)) for index, row in enumerate(rows)]
    began = time.perf_counter()
    backbone = AutoModel.from_pretrained(told["model"], dtype=torch.float32)
    head = BradleyTerry(backbone.config.hidden_size)
    with torch.no_grad():
        head.score.weight.copy_(head_weight(backbone.config.hidden_size))
    policy = reward_policy(backbone, head)
    counted = {"read_tokens": 0, "head_rows": 0, "reference_passes": 0}
    count(policy, counted)
    objective = PreferenceObjective((head,))
    train(Job(told, gate, policy, objective, comparisons, None, counted, imported, began))


def count(policy: RewardPolicy, counted: dict[str, int]) -> None:
    """Counts what is laid out from now on."""
    collate = policy.collate

    def counting(comparisons: Sequence[EncodedComparison]) -> Batch:
        batch: Any = collate(comparisons)
        counted["read_tokens"] += batch["input_ids"].numel()
        counted["head_rows"] += sum(len(comparison.candidates) for comparison in comparisons)
        return batch

    policy.collate = counting  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
