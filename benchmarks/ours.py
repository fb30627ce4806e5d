"""Worker: Assent, one optimizer step at a time. Called as `python -m benchmarks.ours '<json>'`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from assent.encoding import UNSCORED, EncodedCandidate, EncodedComparison
from assent.encoding.packing import cut
from assent.likelihood import Likelihoods
from assent.likelihood.build_policy import build_policy
from assent.likelihood.causal_lm import PaddedCausalPolicy
from assent.likelihood.policy import Policy
from assent.objectives.judged import Judged
from assent.objectives.registry import build_objective
from benchmarks.gate import Gate, peak_bytes, resident_bytes, state_bytes

BUDGET = 2048
"""Tokens of a micro-batch on a CPU, where larger ones gain nothing."""


def encoded(row: dict[str, Any], name: str) -> EncodedComparison:
    """A row of token ids as an encoded comparison, best completion first."""
    prompt = row["prompt_ids"]
    candidates = tuple(
        EncodedCandidate((*prompt, *ids), (*[UNSCORED] * len(prompt), *[0] * len(ids)), len(prompt))
        for ids in row["completion_ids"]
    )
    count = len(candidates)
    if "labels" in row:
        return EncodedComparison(name, candidates, (float("nan"),) * count, tuple(row["labels"]), (None,) * count)
    scores = tuple((count - column) / count for column in range(count))
    return EncodedComparison(name, candidates, scores, (-1,) * count, (None,) * count)


class Step:
    """Policy, reference, objective and optimizer, and how they take a step."""

    def __init__(self, folder: str, options: dict[str, Any], objective: str) -> None:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        reference = deepcopy(model) if options["reference"] == "live" else None
        self.options = options
        self.policy = policy_of(model, options["layout"])
        self.reference = None if reference is None else policy_of(reference.requires_grad_(False), options["layout"])
        self.objective = build_objective({objective: {}})
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=options.get("learning_rate", 1e-5), weight_decay=0.0
        )
        self.stored: dict[tuple[str, ...], Tensor] = {}
        self.read, self.head_rows, self.reference_passes = 0, 0, 0

    def micro_batches(self, comparisons: Sequence[EncodedComparison]) -> list[list[EncodedComparison]]:
        """The step's comparisons, cut under the budget."""
        costs = [self.policy.cost(comparison) for comparison in comparisons]
        return [[comparisons[index] for index in part] for part in cut(costs, self.options.get("budget", BUDGET))]

    def store(self, comparisons: Sequence[EncodedComparison], kept: str | None) -> None:
        """Scores the reference, once for all sides where a file keeps it; the policy has not moved, so it is that."""
        if kept is not None and Path(kept).exists():
            self.stored = torch.load(kept)
            return
        with torch.no_grad():
            for part in self.micro_batches(comparisons):
                likelihoods = self.policy(self.policy.collate(part))
                width = likelihoods.shape[1]
                for index, comparison in enumerate(part):
                    own = (likelihoods.owner >= index * width) & (likelihoods.owner < (index + 1) * width)
                    self.stored[_place(comparison)] = likelihoods.tokens[own]

        if kept is not None:
            torch.save(self.stored, kept)

    def reference_of(self, part: Sequence[EncodedComparison], batch: Any, like: Likelihoods) -> Likelihoods:
        """The reference's likelihoods, looked up or computed."""
        if self.reference is not None:
            self.reference_passes += 1
            with torch.no_grad():
                return self.reference(batch)
        tokens = torch.cat([self.stored[_place(comparison)] for comparison in part])
        return Likelihoods(tokens, like.owner, like.shape, like.mask, like.segment)

    def __call__(self, comparisons: Sequence[EncodedComparison]) -> float:
        """Takes the step; returns its loss."""
        total = 0.0
        self.read, self.head_rows, self.reference_passes = 0, 0, 0
        for part in self.micro_batches(comparisons):
            batch = self.policy.collate(part)
            ids: Any = batch["input_ids"]
            self.read += ids.numel()
            likelihoods = self.policy(batch)
            self.head_rows += ids.numel() if self.options["layout"] == "padded" else len(likelihoods.tokens)
            judged = Judged.of(part, likelihoods, self.reference_of(part, batch, likelihoods))
            loss = self.objective(judged).sum() / len(comparisons)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total


def _place(comparison: EncodedComparison) -> tuple[str, ...]:
    """Where a comparison's reference is kept: helpers that were drawn for a step have their own."""
    return tuple(candidate.key for candidate in comparison.candidates)


def policy_of(model: Any, layout: str) -> Policy:
    """The policy that lays candidates out as asked."""
    if layout == "padded":
        return PaddedCausalPolicy(model)
    return build_policy(model, shared_prefixes=layout == "shared")


def main() -> None:
    """Reads what to do, gets ready, and steps whenever told to."""
    gate, imported = Gate(), resident_bytes()
    told = json.loads(sys.argv[1])
    rows = json.loads(Path(told["rows"]).read_text())
    comparisons = [encoded(row, str(index)) for index, row in enumerate(rows)]
    torch.manual_seed(0)
    step = Step(told["model"], told["options"], told["objective"])
    began = time.perf_counter()
    if told["options"]["reference"] == "store":
        step.store(comparisons, told.get("store"))
    gate.say("ready", preparation=time.perf_counter() - began, route=getattr(step.policy, "route", "padded rows"))
    for start in range(0, len(comparisons), told["per_step"]):
        if not gate.wait():
            break
        loss = step(comparisons[start : start + told["per_step"]])
        gate.stepped(
            loss=loss, read_tokens=step.read, head_rows=step.head_rows, reference_passes=step.reference_passes
        )
    else:
        gate.wait()
    exact = state_bytes(step.policy.model, step.optimizer)
    gate.say("end", working_bytes=peak_bytes() - exact - imported, peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
