"""Causal language models as policies, the plain way: one padded row per candidate.

Right and simple; the ground truth that every faster layout is tested against.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from assent.encoding import UNSCORED, EncodedComparison
from assent.likelihood.likelihoods import Likelihoods
from assent.likelihood.policy import Batch, Policy


class PaddedCausalPolicy(Policy):
    """Scores each candidate in a row of its own, right-padded."""

    def cost(self, comparison: EncodedComparison) -> int:
        """Tokens of its rows, padded to the longest."""
        return len(comparison.candidates) * max(len(candidate.ids) for candidate in comparison.candidates)

    def collate(self, comparisons: Sequence[EncodedComparison]) -> Batch:
        """Rows of ids with attention mask, and for each scored position its row, column, owner and segment."""
        width = max(len(comparison.candidates) for comparison in comparisons)
        rows: list[list[int]] = []
        positions: list[tuple[int, int, int, int]] = []
        mask = torch.zeros(len(comparisons), width, dtype=torch.bool)
        for index, comparison in enumerate(comparisons):
            for column, candidate in enumerate(comparison.candidates):
                mask[index, column] = True
                positions += [
                    (len(rows), at, index * width + column, segment)
                    for at, segment in enumerate(candidate.segments)
                    if segment != UNSCORED and at > 0
                ]
                rows.append(list(candidate.ids))
        longest = max(map(len, rows))
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        attention = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        row, at, owner, segment = torch.tensor(positions, dtype=torch.long).view(-1, 4).unbind(dim=1)
        return {
            "input_ids": padded,
            "attention_mask": attention,
            "row": row,
            "at": at,
            "owner": owner,
            "segment": segment,
            "mask": mask,
        }

    def forward(self, batch: Batch, statistics: tuple[str, ...] = ()) -> Likelihoods:
        """Likelihoods of the scored positions, [T] in float32 or wider."""
        if statistics:
            raise NotImplementedError(f"the padded policy computes no statistics, asked for {statistics}")
        logits = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        chosen = logits[batch["row"], batch["at"] - 1]
        chosen = chosen.float() if chosen.dtype in (torch.float16, torch.bfloat16) else chosen
        targets = batch["input_ids"][batch["row"], batch["at"]]
        tokens = chosen.log_softmax(dim=-1).gather(1, targets.unsqueeze(1)).squeeze(1)
        mask = batch["mask"]
        return Likelihoods(tokens, batch["owner"], (mask.shape[0], mask.shape[1]), mask, batch["segment"])
