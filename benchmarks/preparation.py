"""The model, tokenizer and token ids that every side of a case reads, made once in the work folder."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.cases import Case
from benchmarks.data import VOCABULARY, token_rows, trained_tokenizer

SHAPE = {
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
}
"""13.8 million parameters with 8,192 tied embeddings."""


def prepare(case: Case, folder: Path, steps: int) -> dict[str, Any]:
    """What the workers of a case are told: the folder of the model, the file of rows, and the step's size."""
    rows = case.rows()
    tokenizer = trained_tokenizer(rows)
    random.Random(0).shuffle(rows)
    encoded = token_rows(rows, tokenizer, case.longest)[: case.per_step * steps]
    if len(encoded) < case.per_step * steps:
        raise SystemExit(f"{case.name}: {len(encoded)} rows are too few for {steps} steps of {case.per_step}")
    place = folder / f"{case.name}-model"
    model = make_model(len(tokenizer), **case.shape)
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    path = folder / f"{case.name}-rows.json"
    path.write_text(json.dumps(encoded))
    store = folder / f"{case.name}-store.pt"
    store.unlink(missing_ok=True)
    return {
        "case": case.name,
        "folder": str(folder),
        "model": str(place),
        "rows": str(path),
        "store": str(store),
        "per_step": case.per_step,
        "objective": case.objective,
        "layer_weights": sum(p.numel() for p in model.model.layers.parameters() if p.dim() == 2),
        "head_weights": model.lm_head.weight.numel(),
    }


def make_model(vocabulary: int = VOCABULARY, **shape: Any) -> LlamaForCausalLM:
    """A random Llama; same arguments, same weights."""
    torch.manual_seed(0)
    options = {**SHAPE, "tie_word_embeddings": True, "max_position_embeddings": 4096, "use_cache": False, **shape}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=vocabulary, eos_token_id=0, pad_token_id=1, bos_token_id=0, **options)
    )


def needed_tokens(rows: list[dict[str, Any]]) -> int:
    """Tokens that some rows hold when each prompt is counted once."""
    return sum(len(row["prompt_ids"]) + sum(map(len, row["completion_ids"])) for row in rows)


def needed_operations(rows: list[dict[str, Any]], told: dict[str, Any], head: bool) -> int:
    """Matrix operations of forward and backward that the needed tokens take: 6 a weight and token, the output head's
    only where a completion is scored. Attention's own products are not counted."""
    scored = sum(len(ids) for row in rows for ids in row["completion_ids"]) if head else 0
    return 6 * (told["layer_weights"] * needed_tokens(rows) + told["head_weights"] * scored)
