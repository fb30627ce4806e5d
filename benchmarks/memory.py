"""Peak working memory with a large vocabulary: one process per side, after the weights, gradients and optimizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import OURS, Case, Side
from benchmarks.data import END, PAD
from benchmarks.preparation import make_model
from benchmarks.running import Killed, run

PAIRS, LENGTH = 8, 512
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
    folder: Path, interpreters: dict[str, Path], steps: int, vocabularies: tuple[int, ...] = VOCABULARIES
) -> dict[str, Any]:
    """Working memory by vocabulary: peak over some steps minus state and imports; TRL's at the largest one.

    A side whose process was killed has no number: the machine has less memory than it takes.
    """
    sides = [OURS]
    if interpreters:
        sides.append(Side("TRL defaults, 8 per device", "trl_dpo", {"per_device": 8}, BAR))
    done = folder / "memory.json"
    used: dict[str, float | None] = json.loads(done.read_text()) if done.exists() else {}
    for vocabulary in sorted(vocabularies, reverse=True):
        case = Case(f"memory-{vocabulary}", "", list, PAIRS, tuple(sides))
        asked = sides if vocabulary == max(vocabularies) else sides[:1]
        waiting = [side for side in asked if _name(vocabulary, side, steps) not in used]
        told = prepare(folder, vocabulary, steps) if waiting else {}
        for side in waiting:
            try:
                (worker,) = run(case, [side], steps, told, interpreters)
                used[_name(vocabulary, side, steps)] = worker.end["working_bytes"] / 2**20
            except Killed as reason:
                print(f"  {reason}", flush=True)
                used[_name(vocabulary, side, steps)] = None
            done.write_text(json.dumps(used))
    done.unlink()
    return _table(used, vocabularies, sides, steps)


def _name(vocabulary: int, side: Side, steps: int) -> str:
    return f"{vocabulary}, {steps} steps, {side.name}"


def _table(
    used: dict[str, float | None], vocabularies: Sequence[int], sides: Sequence[Side], steps: int
) -> dict[str, Any]:
    table, records = [], []
    for vocabulary in vocabularies:
        found = {s.name: used[_name(vocabulary, s, steps)] for s in sides if _name(vocabulary, s, steps) in used}
        records.append({"vocabulary": vocabulary, "working_mebibytes": found})
        ours, theirs = found[sides[0].name], found.get(sides[-1].name)
        ratio = "" if ours is None or theirs is None or len(found) < 2 else f"{theirs / ours:.2f}"
        values = [found.get(side.name, -1.0) for side in sides]
        shown = ["killed" if value is None else "" if value < 0 else f"{value:.0f}" for value in values]
        table.append([str(vocabulary), *shown, ratio])
    return {
        "kind": "memory",
        "title": f"Working memory (MiB beyond weights, gradients and optimizer), {PAIRS} pairs of {LENGTH} tokens, "
        f"{steps} steps",
        "columns": ["vocabulary", *(side.name for side in sides), f"times Assent's (bar {BAR} at 152,000)"],
        "cells": table,
        "records": records,
    }


def prepare(folder: Path, vocabulary: int, steps: int) -> dict[str, Any]:
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
    for _ in range(PAIRS * steps):
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
    store = folder / f"memory-{vocabulary}-store.pt"
    store.unlink(missing_ok=True)
    return {
        "case": f"memory-{vocabulary}",
        "folder": str(folder),
        "model": str(place),
        "rows": str(path),
        "store": str(store),
        "per_step": PAIRS,
        "objective": "dpo",
    }
