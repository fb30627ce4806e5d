"""Fits annotators that a PAL model does not know yet, from a few of their comparisons; everything else stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from assent.comparison import Comparison
from assent.errors import InputError
from assent.preference_models.backbone import BackboneScorer, batches, encoded_all, on_device
from assent.preference_models.fit import usable
from assent.preference_models.frozen import FrozenPreferenceModel
from assent.preference_models.model import Features
from assent.preference_models.pal import PAL
from assent.preference_models.reward_folder import save_reward_policy
from assent.preference_models.verdicts import verdicts_of

Personal = FrozenPreferenceModel | BackboneScorer


@dataclass(frozen=True)
class Newcomer:
    """An annotator that was fitted, with how many comparisons and which mixture of prototypes came out."""

    name: str
    comparisons: int
    weights: tuple[float, ...]


def adapt_scorer(scorer: Any, comparisons: Sequence[Comparison], steps: int = 200) -> list[Newcomer]:
    """Teaches a scorer, in place, every annotator of the comparisons that it does not know.

    Only an annotator's K mixture logits are learned (`PAL.adapt`), starting from equal weights.

    Raises:
        InputError: the model is no PAL, or nobody new judged two answers differently.
    """
    head = _head(scorer)
    if not isinstance(head, PAL) or not isinstance(scorer, Personal):
        raise InputError(
            "only a `pal` model learns a new annotator from a few comparisons",
            field="--model",
            found=type(head).__name__ if head is not None else type(scorer).__name__,
            remedy="Train one with `preference_model: pal`",
        )
    kept, _ = usable(comparisons, head)
    people: dict[str, list[Comparison]] = {}
    for comparison in kept:
        if comparison.annotator is not None and comparison.annotator not in head.annotators:
            people.setdefault(comparison.annotator, []).append(comparison)
    if not people:
        raise InputError(
            "nobody new to learn",
            field="--adapt",
            found=f"{len(comparisons)} comparisons, {len(kept)} of them decided, by annotators the model knows",
            expected="decided comparisons with an `annotator` that was not in the training data",
        )
    logits = [
        head.adapt(_features(scorer, people[name]), verdicts_of(people[name]), steps=steps) for name in sorted(people)
    ]
    table = torch.stack(logits)
    _replace_head(scorer, head.with_annotators(sorted(people), table).eval())
    shares = table.softmax(dim=-1).tolist()
    return [Newcomer(n, len(people[n]), tuple(row)) for n, row in zip(sorted(people), shares, strict=True)]


def save_adapted(scorer: Personal, folder: Path) -> None:
    """Writes the model with the annotators it has learned, as its training would have."""
    if isinstance(scorer, FrozenPreferenceModel):
        scorer.save_pretrained(folder)
    else:
        save_reward_policy(scorer.policy, folder, scorer.encoder.tokenizer)


def _head(scorer: Any) -> Any:
    return getattr(scorer, "head", None) or getattr(getattr(scorer, "policy", None), "head", None)


def _replace_head(scorer: Personal, head: PAL) -> None:
    if isinstance(scorer, FrozenPreferenceModel):
        scorer.head = head
    else:
        scorer.policy.model.head = head


@torch.no_grad()
def _features(scorer: Personal, comparisons: Sequence[Comparison]) -> Features:
    """What the head reads of comparisons, candidates in column order."""
    if isinstance(scorer, FrozenPreferenceModel):
        return scorer.features(comparisons, ordered=True)
    encoded = encoded_all(scorer.encoder, comparisons)
    width = max(len(one.candidates) for one in encoded)
    parts: dict[int, tuple[Any, Any, Any]] = {}
    for rows in batches(encoded, scorer.policy.cost, scorer.batch_tokens):
        found = scorer.policy.features(
            on_device(scorer.policy.collate([encoded[row] for row in rows]), scorer.policy)
        )
        missing = width - found.mask.shape[1]
        candidates = torch.nn.functional.pad(found.candidates, (0, 0, 0, missing))
        mask = torch.nn.functional.pad(found.mask, (0, missing))
        prompts = [None] * len(rows) if found.prompt is None else list(found.prompt)
        parts |= {row: (candidates[at], mask[at], prompts[at]) for at, row in enumerate(rows)}
    whole = [parts[row] for row in range(len(encoded))]
    prompt = None if whole[0][2] is None else torch.stack([part[2] for part in whole])
    return Features(torch.stack([part[0] for part in whole]), torch.stack([part[1] for part in whole]), prompt)
