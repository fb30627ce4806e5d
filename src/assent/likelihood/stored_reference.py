"""The reference scored once: per-token log-probabilities kept by content, for every run that asks again.

A record's key is made of the model's identity and of what decides its numbers: token ids with their context, the
scored-span mask, hashes of its media, and the statistics asked for. Learning rate, loss, folder, batch size and
the rest of the data do not enter, so that changing them never scores anything twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from assent.comparison import content_key
from assent.encoding import EncodedCandidate, EncodedComparison
from assent.encoding.packing import cut
from assent.errors import InputError, RunError
from assent.likelihood.identity import ModelIdentity
from assent.likelihood.layout import layout, scored_positions
from assent.likelihood.likelihoods import Likelihoods
from assent.likelihood.policy import Batch, Policy, Reference
from assent.likelihood.reference import agree, differences
from assent.work.store import ArrayStore

FLUSH_TOKENS = 200_000
"""Scored tokens between two flushes: what a killed precompute can lose."""


class ReferenceStore:
    """The numbers of one reference model.

    Args:
        folder: of the store; each model has a folder in it, named by its identity.
        identity: of the reference model.
        statistics: names of per-token statistics that are kept with the log-probabilities.
    """

    def __init__(self, folder: str | Path, identity: ModelIdentity, statistics: Sequence[str] = ()) -> None:
        self.identity = identity
        self.statistics = tuple(sorted(statistics))
        self.folder = Path(folder) / identity.key[:32]
        self.arrays = ArrayStore(self.folder)
        self._prefix = content_key([identity.key, list(self.statistics)])

    def key(self, candidate: EncodedCandidate) -> bytes:
        """A candidate's key under this model."""
        return hashlib.sha256(f"{self._prefix} {candidate.key}".encode()).digest()

    def missing(self, comparisons: Sequence[EncodedComparison]) -> list[int]:
        """The comparisons of which at least one candidate has no numbers yet."""
        keys = [self.key(candidate) for comparison in comparisons for candidate in comparison.candidates]
        found = self.arrays.contains(keys)
        missing, start = [], 0
        for index, comparison in enumerate(comparisons):
            end = start + len(comparison.candidates)
            if not found[start:end].all():
                missing.append(index)
            start = end
        return missing

    def unreadable(self, comparisons: Sequence[EncodedComparison]) -> list[int]:
        """The comparisons of which a candidate is missing or damaged; reads every record."""
        bad = []
        for start in range(0, len(comparisons), 256):
            part = comparisons[start : start + 256]
            candidates = [(start + index, c) for index, one in enumerate(part) for c in one.candidates]
            found = self.arrays.get_all([self.key(candidate) for _, candidate in candidates])
            bad += [i for (i, c), arrays in zip(candidates, found, strict=True) if not self._whole(c, arrays)]
        return list(dict.fromkeys(bad))

    def get(self, comparisons: Sequence[EncodedComparison], device: torch.device | str = "cpu") -> Likelihoods | None:
        """The likelihoods of the comparisons, or None if any candidate is missing or damaged."""
        candidates = [candidate for comparison in comparisons for candidate in comparison.candidates]
        found = self.arrays.get_all([self.key(candidate) for candidate in candidates])
        names = ("tokens", *self.statistics)
        columns: dict[str, list[Any]] = {name: [] for name in names}
        for candidate, arrays in zip(candidates, found, strict=True):
            if arrays is None or not self._whole(candidate, arrays):
                return None
            for name in names:
                columns[name].append(arrays[name])
        joined = {name: torch.from_numpy(np.concatenate(parts)).to(device) for name, parts in columns.items()}
        owner, segment, mask = (part.to(device) for part in layout(comparisons))
        tokens = joined.pop("tokens")
        return Likelihoods(tokens, owner, (mask.shape[0], mask.shape[1]), mask, segment, joined)

    def _whole(self, candidate: EncodedCandidate, arrays: Mapping[str, Any] | None) -> bool:
        """Whether these arrays have a number of every kind for every scored position."""
        names, length = ("tokens", *self.statistics), scored_positions(candidate)
        return arrays is not None and all(name in arrays and len(arrays[name]) == length for name in names)

    def put(self, comparisons: Sequence[EncodedComparison], likelihoods: Likelihoods) -> None:
        """Keeps the numbers of every candidate."""
        width = likelihoods.shape[1]
        counts = torch.bincount(likelihoods.owner, minlength=width * len(comparisons)).tolist()
        values = {"tokens": likelihoods.tokens, **{n: likelihoods.statistics[n] for n in self.statistics}}
        arrays = {name: value.detach().cpu().numpy() for name, value in values.items()}
        start = 0
        for index, comparison in enumerate(comparisons):
            for column, candidate in enumerate(comparison.candidates):
                end = start + counts[index * width + column]
                if end - start != scored_positions(candidate):
                    raise RunError(f"the policy scored {end - start} positions of a candidate of {comparison.id}")
                self.arrays.put(self.key(candidate), {name: array[start:end] for name, array in arrays.items()})
                start = end

    def describe(self, policy: Policy) -> None:
        """Records where the numbers come from: device, attention, versions. None of it is part of the keys."""
        config = getattr(policy.model, "config", None)
        about = {
            "identity": asdict(self.identity),
            "statistics": list(self.statistics),
            "device": str(next(policy.parameters()).device),
            "attention": str(getattr(config, "_attn_implementation", "unknown")),
            "policy": type(policy).__name__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "platform": platform.platform(),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"scored-by-{content_key(about)[:16]}.json"
        if not path.exists():
            part = path.with_name(f"{path.name}.{os.getpid()}.part")
            part.write_text(json.dumps(about, indent=2))
            os.replace(part, path)


class StoredReference:
    """A reference that looks its numbers up, and scores with another only what is missing.

    Args:
        store: of the reference's numbers.
        fallback: the reference itself, for missing records; None: missing records are an error.
    """

    def __init__(self, store: ReferenceStore, fallback: Reference | None = None) -> None:
        self.store, self.fallback = store, fallback
        self.scored = 0

    @property
    def policy(self) -> Policy | None:
        """The policy that scores missing records, if there is one."""
        return getattr(self.fallback, "policy", None)

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Likelihoods:
        """The stored likelihoods, on the batch's device."""
        stored = self.store.get(comparisons, _device_of(batch))
        if stored is not None:
            return stored
        if self.fallback is None:
            raise RunError(
                "the reference's store lacks records of this batch and no reference model is loaded: "
                f"{', '.join(comparison.id[:12] for comparison in comparisons[:8])}. "
                "Run `assent data precompute` with this run file"
            )
        likelihoods = self.fallback(comparisons, batch)
        self.store.put(comparisons, likelihoods)
        self.scored += len(comparisons)
        return likelihoods


@dataclass(frozen=True)
class Scored:
    """What a precompute did: records that were there, records scored, and their scored tokens."""

    found: int
    scored: int
    tokens: int


def score_missing(
    store: ReferenceStore,
    reference: Reference,
    policy: Policy,
    comparisons: Sequence[EncodedComparison],
    *,
    budget: int = 16_384,
    progress: Callable[[int, int], None] = lambda scored, wanted: None,
    move: Callable[[Batch], Batch] = lambda batch: batch,
) -> Scored:
    """Scores what the store lacks, longest first, in micro-batches of a token budget.

    Args:
        store: where the numbers go; flushed on the way, so that a kill costs little.
        reference: what scores.
        policy: what collates and knows the costs.
        comparisons: all that are wanted.
        budget: tokens per micro-batch.
        progress: told how many records are scored so far, and how many are to be.
        move: takes a batch to the device.
    """
    missing = [comparisons[index] for index in store.unreadable(comparisons)]
    # The same record twice needs scoring once.
    missing = list({tuple(store.key(c) for c in one.candidates): one for one in missing}.values())
    store.describe(policy)
    tokens = unflushed = scored = 0
    for group in cut([policy.cost(comparison) for comparison in missing], budget) if missing else []:
        batch = [missing[index] for index in group]
        likelihoods = reference(batch, move(policy.collate(batch)))
        if not bool(torch.isfinite(likelihoods.tokens).all()):
            raise RunError(
                "the reference gives log-probabilities that are not finite, for one of the records "
                f"{', '.join(comparison.id[:12] for comparison in batch[:8])}"
            )
        store.put(batch, likelihoods)
        scored += len(batch)
        tokens += likelihoods.tokens.numel()
        unflushed += likelihoods.tokens.numel()
        if unflushed >= FLUSH_TOKENS:
            store.arrays.flush()
            unflushed = 0
        progress(scored, len(missing))
    store.arrays.close_shard()
    return Scored(len(comparisons) - scored, scored, tokens)


def verify(
    store: ReferenceStore,
    reference: Reference,
    policy: Policy,
    comparisons: Sequence[EncodedComparison],
    *,
    budget: int = 16_384,
    seed: int = 0,
    move: Callable[[Batch], Batch] = lambda batch: batch,
) -> int:
    """Scores a sample again and compares; returns how many records were compared.

    The sample has max(8, min(0.5%, 256)) of the records that the store has. The bounds are those of `agree`.

    Errors:
        RunError where the numbers differ by more than rounding.
    """
    lacking = set(store.missing(comparisons))
    there = [comparison for index, comparison in enumerate(comparisons) if index not in lacking]
    count = min(len(there), max(8, min(len(there) // 200, 256)))
    sample = random.Random(seed).sample(there, count)
    # Damaged records are scored again when they are needed; they must not keep sound ones from being compared.
    damaged = set(store.unreadable(sample))
    sample = [comparison for index, comparison in enumerate(sample) if index not in damaged]
    for group in cut([policy.cost(comparison) for comparison in sample], budget) if sample else []:
        batch = [sample[index] for index in group]
        stored = store.get(batch)
        assert stored is not None
        fresh = reference(batch, move(policy.collate(batch)))
        found = differences(_on_cpu(fresh), stored)
        if not agree(found, next(policy.parameters()).dtype):
            raise RunError(
                f"the stored log-probabilities in {store.folder} are not those of the reference: largest difference "
                f"{found[0]:.3g} nats for a token, {found[1]:.3g} on average, {found[2]:.2%} of a sum, in the "
                f"records {', '.join(comparison.id[:12] for comparison in batch[:4])}. Delete that folder to score "
                "again, or find out what changed (device, attention and versions are in its `scored-by` files)"
            )
    return len(sample)


def default_store() -> Path:
    """The store that all runs of a user share."""
    given = os.environ.get("ASSENT_CACHE") or os.environ.get("XDG_CACHE_HOME")
    root = Path(given) if given else Path.home() / ".cache"
    return (root if os.environ.get("ASSENT_CACHE") else root / "assent") / "reference"


def check_storable(live: Iterable[str]) -> None:
    """Raises if an objective reads what only a live reference can give."""
    names = sorted(live)
    if names:
        raise InputError(
            "these statistics depend on the current weights and cannot be stored",
            found=", ".join(names),
            remedy="Use a live reference (`reference: {store: none}`)",
        )


def _device_of(batch: Batch) -> torch.device:
    return next((value.device for value in batch.values() if isinstance(value, Tensor)), torch.device("cpu"))


def _on_cpu(likelihoods: Likelihoods) -> Likelihoods:
    segment = None if likelihoods.segment is None else likelihoods.segment.cpu()
    return Likelihoods(
        likelihoods.tokens.cpu(), likelihoods.owner.cpu(), likelihoods.shape, likelihoods.mask.cpu(), segment
    )
