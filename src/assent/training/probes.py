"""Log-probabilities of some records under the trained policy, against which an export is held."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.encoding.packing import cut
from assent.likelihood.policy import Policy
from assent.training.checkpoints import write_json

COUNT, BUDGET = 64, 8192


def write_probes(path: Path, policy: Policy, comparisons: Sequence[EncodedComparison], device: torch.device) -> None:
    """Scores the first records without media and writes ids, mask and token log-probabilities."""
    chosen = [c for c in comparisons if not any(candidate.media for candidate in c.candidates)][:COUNT]
    rows = [
        {
            "id": comparison.id,
            "candidates": [
                {
                    "ids": list(candidate.ids),
                    "segments": list(candidate.segments),
                    "prompt_length": candidate.prompt_length,
                    "log_probabilities": values,
                }
                for candidate, values in zip(comparison.candidates, scored, strict=True)
            ],
        }
        for comparison, scored in zip(chosen, score(policy, chosen, device), strict=True)
    ]
    write_json(path, {"records": rows})


def read_probes(path: Path) -> tuple[list[EncodedComparison], list[list[list[float]]]]:
    """(the records, the log-probabilities of each candidate's tokens)."""
    rows = json.loads(path.read_text(encoding="utf-8"))["records"]
    comparisons, expected = [], []
    for row in rows:
        candidates = tuple(
            EncodedCandidate(tuple(one["ids"]), tuple(one["segments"]), one["prompt_length"])
            for one in row["candidates"]
        )
        count = len(candidates)
        comparisons.append(EncodedComparison(row["id"], candidates, (0.0,) * count, (-1,) * count, (None,) * count))
        expected.append([one["log_probabilities"] for one in row["candidates"]])
    return comparisons, expected


def score(
    policy: Policy, comparisons: Sequence[EncodedComparison], device: torch.device | str
) -> list[list[list[float]]]:
    """The token log-probabilities of each candidate of each comparison, in the order given."""
    found: list[list[list[float]]] = [[] for _ in comparisons]
    plain = list(comparisons)
    with torch.no_grad():
        for group in cut([policy.cost(one) for one in plain], BUDGET) if plain else []:
            chosen = [plain[at] for at in group]
            batch: dict[str, Any] = {
                name: value.to(device) if isinstance(value, Tensor) else value
                for name, value in policy.collate(chosen).items()
            }
            likelihoods = policy(batch)
            width = likelihoods.shape[1]
            counts = torch.bincount(likelihoods.owner, minlength=width * len(chosen)).tolist()
            parts = likelihoods.tokens.float().cpu().split(counts)
            for row, at in enumerate(group):
                found[at] = [parts[row * width + column].tolist() for column in range(len(chosen[row].candidates))]
    return found
