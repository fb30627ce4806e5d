"""Label log-probabilities of a local model: one forward pass, nothing sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from assent.errors import InputError
from assent.generation.prompts import prompt_ids
from assent.judging.labels import LabelLogProbs


class LocalLabels:
    """Reads labels from the next-token distribution of a local causal language model.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        max_tokens_per_batch: bound on rows x longest text.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, *, max_tokens_per_batch: int = 16384, name: str | None = None
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_tokens_per_batch = max_tokens_per_batch
        self.name = name or getattr(model.config, "_name_or_path", "") or type(model).__name__

    def read(self, texts: Sequence[str], labels: Sequence[str]) -> list[LabelLogProbs | None]:
        """Log-probabilities of the labels after each text, in nats, float32 or wider."""
        tokens = label_tokens(self.tokenizer, labels)
        encoded = [prompt_ids(text, self.tokenizer) for text in texts]
        found: list[LabelLogProbs | None] = [None] * len(texts)
        batch: list[int] = []
        for index in sorted(range(len(encoded)), key=lambda at: len(encoded[at])):
            if batch and (len(batch) + 1) * len(encoded[index]) > self.max_tokens_per_batch:
                self._fill(found, batch, encoded, tokens)
                batch = []
            batch.append(index)
        if batch:
            self._fill(found, batch, encoded, tokens)
        return found

    @torch.no_grad()
    def _fill(
        self,
        found: list[LabelLogProbs | None],
        batch: Sequence[int],
        encoded: Sequence[list[int]],
        tokens: dict[str, list[int]],
    ) -> None:
        training = self.model.training
        self.model.eval()
        try:
            log_probs = self._next([encoded[index] for index in batch])
        finally:
            self.model.train(training)
        for row, index in zip(log_probs, batch, strict=True):
            found[index] = {label: float(row[ids].logsumexp(dim=0)) for label, ids in tokens.items()}

    def _next(self, rows: Sequence[list[int]]) -> Tensor:
        """Log-probabilities [R, V] of the token after each row; padded on the right, where nothing reads it."""
        device = next(self.model.parameters()).device
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        seen = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
        logits = self.model(input_ids=ids, attention_mask=seen, use_cache=False).logits
        last = logits[torch.arange(len(rows), device=device), seen.sum(dim=1) - 1]
        log_probs: Tensor = (last if last.dtype == torch.float64 else last.float()).log_softmax(dim=-1)
        return log_probs


def label_tokens(tokenizer: Any, labels: Sequence[str]) -> dict[str, list[int]]:
    """The single tokens that spell each label, with and without a space in front; an error if one has none."""
    found: dict[str, list[int]] = {}
    for label in labels:
        spelled = [tokenizer.encode(text, add_special_tokens=False) for text in (label, f" {label}")]
        found[label] = sorted({int(ids[0]) for ids in spelled if len(ids) == 1})
        if not found[label]:
            raise InputError(
                "a label is not a single token of this tokenizer",
                field="labels",
                found=repr(label),
                remedy="Use a scale whose numbers are single tokens, or judge by text",
            )
    return found
