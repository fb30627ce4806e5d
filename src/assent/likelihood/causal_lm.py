"""Causal language models as policies: the plain way, and the fast one.

`PaddedCausalPolicy` is right and simple, the ground truth that every faster layout is tested against.
`CausalPolicy` gives the same numbers to float rounding: common prefixes read once, no padding, no logits held.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from assent.encoding import UNSCORED, EncodedComparison
from assent.errors import InputError, RunError
from assent.likelihood.adapters import adapters_below, has_adapters, only_adapters
from assent.likelihood.attention import KEYWORD, packed_rows
from assent.likelihood.head import project
from assent.likelihood.head_statistics import LIVE, project_with_statistics
from assent.likelihood.likelihoods import Likelihoods
from assent.likelihood.output_head import backbone, projection
from assent.likelihood.policy import Batch, Policy
from assent.likelihood.rows import packed_batch, packed_cost, padded_batch, padded_cost
from assent.likelihood.tiles import Projection


class PaddedCausalPolicy(Policy):
    """Scores each candidate in a row of its own, right-padded."""

    scores_candidates_apart = True

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


class CausalPolicy(Policy):
    """Scores candidates with every common prefix read once, and the head at scored positions only.

    Made by `build_policy`, which finds out what the model can do.

    Args:
        model: a causal language model of transformers, in an adapter's wrapper or not.
        shared: whether common prefixes stand once in a packed row; else each candidate has a padded row.
        tiled: whether the head runs in tiles; else the model's own logits are used.
        route: what was chosen and why, for logs and reports.
    """

    scores_candidates_apart = True

    def __init__(self, model: nn.Module, *, shared: bool, tiled: bool, route: str) -> None:
        super().__init__(model)
        self.shared, self.tiled, self.route = shared, tiled, route
        # In a tuple, so that the reference's parameters are not the policy's.
        self._live_reference: tuple[CausalPolicy, ...] = ()

    def cost(self, comparison: EncodedComparison) -> int:
        """Tokens the model reads for it."""
        return packed_cost(comparison) if self.shared else padded_cost(comparison)

    def collate(self, comparisons: Sequence[EncodedComparison]) -> Batch:
        """The rows of the comparisons and where their scored tokens are read."""
        return packed_batch(comparisons) if self.shared else padded_batch(comparisons)

    def compare_with(self, reference: CausalPolicy | None) -> None:
        """Names the model whose whole distribution live statistics are taken against; None: adapter off."""
        self._live_reference = () if reference is None else (reference,)

    def forward(self, batch: Batch, statistics: tuple[str, ...] = ()) -> Likelihoods:
        """Likelihoods of the scored positions, [T] in float32 or wider."""
        found: dict[str, Tensor] = {}
        if not self.tiled:
            if statistics:
                raise RunError(f"{self.route}: statistics {', '.join(statistics)} need a head that runs in tiles")
            tokens = self._from_logits(batch)
        elif statistics:
            against = self._reference_states(batch) if any(name.startswith(LIVE) for name in statistics) else None
            hidden = self.scored_states(batch)
            tokens, found = project_with_statistics(
                hidden, projection(self.model), batch["target"], statistics, against
            )
        else:
            tokens = project(self.scored_states(batch), projection(self.model), batch["target"])
        pick, mask = batch["pick"], batch["mask"]
        if pick is not None:
            tokens = tokens.index_select(0, pick)
            found = {name: values.index_select(0, pick) for name, values in found.items()}
        return Likelihoods(tokens, batch["owner"], (mask.shape[0], mask.shape[1]), mask, batch["segment"], found)

    def scored_states(self, batch: Batch) -> Tensor:
        """[U, H] the hidden states from which the scored tokens are predicted."""
        return self.hidden_states(batch).flatten(0, 1).index_select(0, batch["source"])

    def hidden_states(self, batch: Batch) -> Tensor:
        """[R, L, H] the backbone's last hidden states, final norm included."""
        with self._reading():
            hidden: Tensor = backbone(self.model)(**self._inputs(batch), use_cache=False)[0]
            return hidden

    def _reference_states(self, batch: Batch) -> tuple[Tensor, Projection]:
        """Hidden states and head of the reference, without graph."""
        with torch.no_grad():
            if self._live_reference:
                (reference,) = self._live_reference
                return reference.scored_states(batch), projection(reference.model)
            if not has_adapters(self.model):
                raise InputError(
                    "the objective reads the reference's whole distribution, and there is no live reference",
                    field="reference",
                    remedy="Train an adapter (`peft:`), or name a model (`reference: path`)",
                )
            with only_adapters(self.model, adapters_below(self.model)):
                return self.scored_states(batch), projection(self.model)

    def _from_logits(self, batch: Batch) -> Tensor:
        """[U] log-probabilities from the model's own logits."""
        with self._reading():
            logits = self.model(**self._inputs(batch), use_cache=False).logits[:, -batch["input_ids"].shape[1] :]
        chosen = logits.flatten(0, 1).index_select(0, batch["source"])
        chosen = chosen.to(torch.promote_types(chosen.dtype, torch.float32))
        targets: Tensor = batch["target"]
        tokens: Tensor = chosen.log_softmax(dim=-1).gather(1, targets.unsqueeze(1)).squeeze(1)
        return tokens

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        names = ("input_ids", "position_ids") if self.shared else ("input_ids", "attention_mask")
        inputs = {name: batch[name] for name in names}
        return inputs | {KEYWORD: batch["spans"]} if self.shared else inputs

    def _reading(self) -> AbstractContextManager[None]:
        return packed_rows() if self.shared else nullcontext()
