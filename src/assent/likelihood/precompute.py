"""A reference model, opened by its name, and its numbers for a set of records, kept in a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assent.encoding import EncodedComparison
from assent.errors import InputError
from assent.likelihood.build_policy import build_policy
from assent.likelihood.identity import ModelIdentity, identity_of_folder
from assent.likelihood.loading import base_and_adapters, load_causal_lm
from assent.likelihood.policy import Batch, Policy
from assent.likelihood.reference import FrozenReference
from assent.likelihood.stored_reference import ReferenceStore, Scored, score_missing, verify


@dataclass(frozen=True)
class ReferenceSource:
    """Where a reference comes from.

    Args:
        path: folder or hub name; a folder with an adapter is its base with the adapter on.
        adapter: a further adapter on top.
        dtype: of the weights in memory; None: as they are stored.
        quantization: fields of `BitsAndBytesConfig`.
        options: further arguments of `load_causal_lm`.
        shared_prefixes: whether common prefixes are read once.
    """

    path: str
    adapter: str | None = None
    dtype: str | None = None
    quantization: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    shared_prefixes: bool = True


@dataclass(frozen=True, eq=False)
class OpenReference:
    """A loaded reference: its policy, tokenizer and identity."""

    policy: Policy
    tokenizer: Any
    identity: ModelIdentity

    def move(self, batch: Batch) -> Batch:
        """The batch on the model's device."""
        device = next(self.policy.parameters()).device
        return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def open_reference(source: ReferenceSource, store: Path) -> OpenReference:
    """The reference, loaded and known by its weights; hashes of files are remembered in the store's folder."""
    model, tokenizer = load_causal_lm(
        source.path,
        adapter=source.adapter,
        dtype=source.dtype,
        quantization=source.quantization,
        **source.options,
    )
    if torch.cuda.is_available() and not source.quantization:
        model.to("cuda")
    identity = saved_identity(source, model.dtype, store)
    return OpenReference(build_policy(model, shared_prefixes=source.shared_prefixes), tokenizer, identity)


def saved_identity(source: ReferenceSource, dtype: torch.dtype, store: Path) -> ModelIdentity:
    """The identity of a reference by its files, as every run over the same store computes it."""
    name, adapters = base_and_adapters(source.path, source.adapter)
    return identity_of_folder(
        _folder_of(name, source.options.get("revision")),
        adapters=adapters,
        dtype=dtype,
        quantization=source.quantization,
        cache=store,
    )


def precompute(
    reference: OpenReference,
    encoded: Sequence[EncodedComparison],
    store: Path,
    *,
    statistics: Sequence[str] = (),
    budget: int = 16_384,
    progress: Callable[[int, int], None] = lambda scored, wanted: None,
) -> Scored:
    """Scores what the store lacks, after comparing a sample of what it has with the model."""
    live = FrozenReference(reference.policy, statistics)
    kept = ReferenceStore(store, reference.identity, statistics)
    try:
        verify(kept, live, reference.policy, encoded, budget=budget, move=reference.move)
        return score_missing(
            kept, live, reference.policy, encoded, budget=budget, progress=progress, move=reference.move
        )
    finally:
        kept.arrays.close()


def _folder_of(name: str, revision: str | None) -> Path:
    """The folder of a model, which for a hub name is where it was downloaded to."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, ValueError) as error:
        raise InputError("the model's files are not where they were downloaded to", where=name) from error
