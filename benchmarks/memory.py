"""Peak working memory with a large vocabulary: one process per side, after the weights, gradients and optimizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import OURS, OURS_LIVE, Case, Side
from benchmarks.data import END, PAD
from benchmarks.preparation import make_model
from benchmarks.running import run

STEPS, PAIRS, LENGTH = 3, 8, 512
SHAPE = {
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
VOCABULARIES = (8_192, 38_000, 152_000)
BAR = 2.0


def measure_memory(
    folder: Path, interpreters: dict[str, Path], vocabularies: tuple[int, ...] = VOCABULARIES
) -> dict[str, Any]:
    """Working memory of both sides by vocabulary: peak minus state and imports."""
    sides = [OURS, OURS_LIVE]
    if interpreters:
        sides.append(Side("TRL defaults, 8 per device", "trl_dpo", {"per_device": 8}, BAR))
    table, records = [], []
    for vocabulary in vocabularies:
        case = Case(f"memory-{vocabulary}", "", list, PAIRS, tuple(sides))
        told = prepare(folder, vocabulary)
        used = {}
        for side in sides:
            (worker,) = run(case, [side], STEPS, told, interpreters)
            used[side.name] = worker.end["working_bytes"] / 2**20
        records.append({"vocabulary": vocabulary, "working_mebibytes": used})
        ratio = used[sides[-1].name] / used[sides[0].name]
        table.append([str(vocabulary), *(f"{value:.0f}" for value in used.values()), f"{ratio:.2f}"])
    return {
        "kind": "memory",
        "title": f"Working memory (MiB beyond weights, gradients and optimizer), {PAIRS} pairs of {LENGTH} tokens",
        "columns": ["vocabulary", *(side.name for side in sides), f"times Assent's (bar {BAR} at 152,000)"],
        "cells": table,
        "records": records,
    }


def prepare(folder: Path, vocabulary: int) -> dict[str, Any]:
    """A model of that vocabulary and random pairs of exactly LENGTH tokens, a quarter of them prompt."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"w{index}": index for index in range(2, vocabulary)} | {END: 0, PAD: 1}
    backend = Tokenizer(models.WordLevel(words, unk_token=END))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, pad_token=PAD)
    place = folder / f"memory-{vocabulary}-model"
    make_model(vocabulary, **SHAPE).save_pretrained(place)
    tokenizer.save_pretrained(place)
    generator = torch.Generator().manual_seed(0)

    def ids(length: int) -> list[int]:
        return torch.randint(2, vocabulary, (length,), generator=generator).tolist()

    rows = []
    for _ in range(PAIRS * STEPS):
        prompt, answers = ids(LENGTH // 4), [ids(LENGTH - LENGTH // 4 - 1) for _ in range(2)]
        rows.append(
            {
                "prompt": " ".join(f"w{i}" for i in prompt),
                "completions": [" " + " ".join(f"w{i}" for i in answer) for answer in answers],
                "prompt_ids": prompt,
                "completion_ids": [[*answer, 0] for answer in answers],
            }
        )
    path = folder / f"memory-{vocabulary}-rows.json"
    path.write_text(json.dumps(rows))
    return {
        "case": f"memory-{vocabulary}",
        "folder": str(folder),
        "model": str(place),
        "rows": str(path),
        "per_step": PAIRS,
        "objective": "dpo",
    }
