"""A cost curve: seconds and kept memory of one comparison against prompt length, candidates and vocabulary."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch

from assent.encoding import EncodedComparison
from assent.likelihood.budget import activation_bytes
from assent.likelihood.build_policy import build_policy
from assent.likelihood.causal_lm import PaddedCausalPolicy
from assent.likelihood.policy import Policy
from benchmarks.ours import encoded
from benchmarks.preparation import make_model

COMPLETION = 50
POINTS = (
    *((prompt, 2, 8_192) for prompt in (50, 200, 800, 3_200)),
    *((400, candidates, 8_192) for candidates in (1, 2, 4, 8, 16)),
    *((200, 2, vocabulary) for vocabulary in (8_192, 32_768, 131_072)),
)
"""(prompt tokens, candidates, vocabulary)."""

REPEATS = 3


def measure_curve(shape: dict[str, int], points: tuple[tuple[int, int, int], ...] = POINTS) -> dict[str, Any]:
    """Forward and backward of one comparison, shared and in plain padded rows."""
    cells, records = [], []
    for prompt, candidates, vocabulary in points:
        numbers: list[float] = []
        comparison = _comparison(prompt, candidates, vocabulary)
        for plain in (False, True):
            model = make_model(vocabulary, **shape)
            policy: Policy = PaddedCausalPolicy(model) if plain else build_policy(model)
            numbers += [_seconds(policy, comparison), activation_bytes(policy, [comparison]) / 2**20]
        seconds, kept, plain_seconds, plain_kept = numbers
        records.append(
            {
                "prompt": prompt,
                "candidates": candidates,
                "vocabulary": vocabulary,
                "seconds": [seconds, plain_seconds],
                "kept_mebibytes": [kept, plain_kept],
            }
        )
        cells.append(
            [
                str(prompt),
                str(candidates),
                str(vocabulary),
                f"{seconds:.3f}",
                f"{plain_seconds:.3f}",
                f"{plain_seconds / seconds:.2f}",
                f"{kept:.0f}",
                f"{plain_kept:.0f}",
            ]
        )
        print("  curve", " | ".join(cells[-1]), flush=True)
    return {
        "kind": "curve",
        "title": f"Forward and backward of one comparison with completions of {COMPLETION} tokens",
        "columns": [
            "prompt tokens",
            "candidates",
            "vocabulary",
            "seconds",
            "seconds, plain padded rows",
            "times",
            "kept for the backward, MiB",
            "the same, plain",
        ],
        "cells": cells,
        "records": records,
    }


def _comparison(prompt: int, candidates: int, vocabulary: int) -> EncodedComparison:
    generator = torch.Generator().manual_seed(0)

    def ids(length: int) -> list[int]:
        return torch.randint(2, vocabulary, (length,), generator=generator).tolist()

    return encoded(
        {"prompt_ids": ids(prompt), "completion_ids": [ids(COMPLETION) for _ in range(candidates)]}, "curve"
    )


def _seconds(policy: Policy, comparison: EncodedComparison) -> float:
    """The median over a few repetitions after one to warm up."""
    taken = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        policy(policy.collate([comparison])).tokens.sum().backward()
        taken.append(time.perf_counter() - began)
        policy.zero_grad()
    return median(taken[1:])
