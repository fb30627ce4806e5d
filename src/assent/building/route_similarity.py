"""How alike two answers are to a local text encoder: BERTScore and the cosine of their embeddings.

Source: Zhang et al. 2020, arXiv 1904.09675, eq. 1-3 without idf:

    P = mean over the tokens of one of max cos with the other's,  R the other way round,  F1 = 2 P R / (P + R)

Tokens are the encoder's last hidden states without special tokens (the authors choose a layer for each model). The
embedding is the mean of the last hidden states, or what a sentence-transformers folder makes of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from assent.comparison import Comparison
from assent.errors import InputError
from assent.preference_models.encoders import FolderEncoder
from assent.preference_models.text import completion_text

LONGEST = 512
"""Tokens of an answer that are compared."""


def answer_similarity(
    comparisons: Sequence[Comparison], folder: Path | str, progress: Callable[[int, int], None] | None = None
) -> dict[str, list[float]]:
    """BERTScore F1 and embedding cosine of the two answers of each comparison, by name."""
    texts = [[completion_text(one.completion) for one in comparison.answers[:2]] for comparison in comparisons]
    encoder = FolderEncoder(folder, max_length=LONGEST)
    vectors = encoder.encode([text for pair in texts for text in pair])
    cosine = cosine_similarity(vectors[0::2], vectors[1::2], dim=-1)
    model, tokenizer = _token_model(Path(folder))
    scores = []
    for done, pair in enumerate(texts, 1):
        first, second = (token_states(model, tokenizer, text) for text in pair)
        scores.append(bert_score(first, second))
        if progress is not None:
            progress(done, len(texts))
    return {"BERTScore": scores, "cosine of embeddings": cosine.tolist()}


def bert_score(first: Tensor, second: Tensor) -> float:
    """F1 of two texts' token vectors [T, H] of length 1; 1 for two empty texts, 0 where one is."""
    if not len(first) or not len(second):
        return float(len(first) == len(second))
    table = first @ second.T
    precision, recall = table.amax(dim=1).mean(), table.amax(dim=0).mean()
    total = precision + recall
    return float(2 * precision * recall / total) if float(total) > 0 else 0.0


@torch.no_grad()
def token_states(model: Any, tokenizer: Any, text: str) -> Tensor:
    """[T, H] the text's own tokens' last hidden states, each of length 1."""
    found = tokenizer(text, truncation=True, max_length=LONGEST, return_tensors="pt", return_special_tokens_mask=True)
    own = ~found.pop("special_tokens_mask")[0].bool()
    if not own.any():
        return torch.empty(0, 1)
    inputs = {name: found[name] for name in ("input_ids", "attention_mask")}
    hidden: Tensor = model(**inputs).last_hidden_state[0]
    return normalize(hidden.float()[own], dim=-1)


def _token_model(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    if not (folder / "config.json").exists():
        raise InputError(
            "BERTScore reads hidden states of tokens",
            field="--similarity",
            found=str(folder),
            expected="a folder with config.json and a tokenizer",
        )
    return AutoModel.from_pretrained(folder, use_safetensors=True).eval(), AutoTokenizer.from_pretrained(folder)
