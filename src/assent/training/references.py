"""The reference of a run file: scored once and looked up where that can be, else computed beside the policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from assent.config import RunConfig
from assent.encoding import EncodedComparison
from assent.errors import InputError, RunError
from assent.likelihood.adapters import adapters_below
from assent.likelihood.build_policy import build_policy
from assent.likelihood.causal_lm import CausalPolicy
from assent.likelihood.identity import identity_of_model
from assent.likelihood.loading import load_causal_lm
from assent.likelihood.policy import Batch, Policy, Reference
from assent.likelihood.precompute import ReferenceSource, saved_identity
from assent.likelihood.reference import (
    AdapterOffReference,
    FollowingReference,
    FrozenReference,
    agree,
    largest_margin_at_start,
    start_reference,
)
from assent.likelihood.stored_reference import (
    ReferenceStore,
    StoredReference,
    default_store,
    score_missing,
    verify,
)
from assent.objectives import Needs

Progress = Callable[[int, int], None]
"""Told how many records were scored, of how many."""


def check_reference(config: RunConfig, needs: Needs, objective: str) -> None:
    """Raises where what the run file says of a reference and what the objective needs contradict each other."""
    wanted = needs.reference or needs.live_reference
    given = config.reference
    if given is not None and given.source != "none" and not wanted:
        raise InputError(
            f"`{objective}` uses no reference",
            where=config.where("reference"),
            field="reference",
            found=given.source,
            remedy="Leave `reference` out; none is loaded",
        )
    if given is not None and given.source == "none" and wanted:
        raise InputError(
            f"`{objective}` needs a reference",
            where=config.where("reference"),
            field="reference",
            found="none",
            remedy="Leave `reference` out to use the starting policy, or take an objective without one (simpo, orpo)",
        )
    if needs.live_reference and given is not None and given.store not in (None, "none"):
        raise InputError(
            f"`{objective}` needs a live reference, which no store can give",
            where=config.where("reference.store"),
            field="reference.store",
            remedy="Leave `store` out",
        )


@dataclass
class Opened:
    """A reference ready to be asked, and what is told of it."""

    reference: Reference
    facts: dict[str, Any]


def open_reference(
    config: RunConfig,
    policy: Policy,
    needs: Needs,
    wanted: Sequence[EncodedComparison],
    device: torch.device,
    progress: Progress = lambda scored, total: None,
    in_memory: bool = False,
) -> Opened | None:
    """The run's reference: scored once and looked up where that can be, else computed beside the policy.

    Args:
        config: the run file.
        policy: before its first step, on its device.
        needs: of the objective.
        wanted: every comparison the run will ask for.
        device: where the policy computes.
        progress: of scoring.
        in_memory: the policy's model was handed over loaded, so that no files say what it is.
    """
    if not (needs.reference or needs.live_reference):
        return None
    given = config.reference
    own = _is_start(config)
    sync = given.sync if given is not None else None
    if sync is not None:
        if not own:
            raise InputError(
                "a reference that follows the policy starts from it",
                where=config.where("reference"),
                field="reference.source",
                remedy="Leave `source` out",
            )
        return Opened(FollowingReference(policy, sync.every, sync.mix), {"follows": sync.model_dump()})
    live = needs.live_reference or bool(set(needs.statistics) & {"kl_reference", "extrapolated"})
    source, folder = reference_source(config), store_folder(config)
    if live or folder is None:
        return _live(config, policy, needs, source, own, wanted)
    scorer: Policy = policy
    if not own:
        scorer = _other(source).to(device)
    if own and in_memory:
        identity = identity_of_model(policy.model, adapters_below(policy.model))
    else:
        identity = saved_identity(source, base_dtype(scorer), folder)
    store = ReferenceStore(folder, identity, needs.statistics)
    asker = (
        AdapterOffReference(scorer, statistics=needs.statistics)
        if own and _has_adapter(policy)
        else _Asker(scorer, needs.statistics)
    )
    found = _fill(store, asker, scorer, wanted, device, progress)
    fallback = asker if own and _has_adapter(policy) else None
    facts = {"identity": store.identity.key, "store": str(store.folder), **found, "source": source.path}
    return Opened(StoredReference(store, fallback), facts)


class _Asker:
    """A policy that is asked before it is trained, so that no frozen copy of it is needed."""

    def __init__(self, policy: Policy, statistics: Sequence[str]) -> None:
        self.policy, self.statistics = policy, tuple(statistics)

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Any:
        with torch.no_grad():
            return self.policy(batch, self.statistics).detach()


def _fill(
    store: ReferenceStore,
    asker: Any,
    scorer: Policy,
    wanted: Sequence[EncodedComparison],
    device: torch.device,
    progress: Progress,
) -> dict[str, int]:
    """Scores what is missing, each rank its share, and holds a sample of what was there against the model."""
    ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    rank = dist.get_rank() if ranks > 1 else 0

    def move(batch: Batch) -> Batch:
        return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}

    if rank == 0:
        verify(store, asker, scorer, wanted, move=move)
    mine = list(wanted)[rank::ranks]
    done = score_missing(store, asker, scorer, mine, progress=progress, move=move)
    if ranks > 1:
        dist.barrier()
    store.arrays.refresh()
    if left := store.missing(wanted):
        raise RunError(f"{store.folder}: {len(left):,} records could not be scored; is the disk full?")
    return {"found": done.found, "scored": done.scored, "scored_tokens": done.tokens}


def _live(
    config: RunConfig,
    policy: Policy,
    needs: Needs,
    source: ReferenceSource,
    own: bool,
    wanted: Sequence[EncodedComparison],
) -> Opened:
    if own:
        reference: Any = start_reference(policy)
        if wanted:
            sample = sorted(wanted, key=policy.cost)[:4]
            apart = largest_margin_at_start(policy, reference, sample)
            if not agree(apart, next(policy.parameters()).dtype):
                raise RunError(
                    f"before the first step policy and reference differ by {apart[0]:.3g} nats for a token: "
                    "they are not the same model (is there randomness in the model's forward?)"
                )
    else:
        reference = FrozenReference(_other(source))
    other = getattr(reference, "policy", None)
    if isinstance(policy, CausalPolicy):
        policy.compare_with(None if other is policy else other)
    return Opened(reference, {"live": True, "source": source.path})


def _other(source: ReferenceSource) -> Policy:
    model, _ = load_causal_lm(
        source.path,
        adapter=source.adapter,
        dtype=source.dtype,
        quantization=source.quantization,
        **source.options,
    )
    return build_policy(model, shared_prefixes=source.shared_prefixes)


def reference_source(config: RunConfig) -> ReferenceSource:
    """The model that is the reference of a run file."""
    given, start = config.reference, config.model
    same_weights = given is None or given.source == "model"
    adapter = given.adapter if given is not None and given.adapter else (start.adapter if same_weights else None)
    return ReferenceSource(
        path=start.path if same_weights or given is None else given.source,
        adapter=adapter,
        dtype=config.weights_dtype,
        quantization=config.quantization,
        options={
            "trust_remote_code": start.trust_remote_code,
            "attn_implementation": start.attention,
            "revision": start.revision if same_weights else None,
            "tokenizer": start.tokenizer or (None if same_weights else start.path),
        },
        shared_prefixes=start.layout != "padded",
    )


def _is_start(config: RunConfig) -> bool:
    """Whether the reference is the policy before its first step."""
    given = config.reference
    return given is None or (given.source == "model" and given.adapter is None)


def store_folder(config: RunConfig) -> Path | None:
    """Where the reference's numbers are kept; None: nowhere."""
    given = config.reference.store if config.reference is not None else None
    if given == "none":
        return None
    return Path(given) if given else default_store()


def base_dtype(policy: Policy) -> torch.dtype:
    """The type of the weights below any adapter."""
    return next(p.dtype for name, p in policy.named_parameters() if "lora_" not in name)


def _has_adapter(policy: Policy) -> bool:
    return bool(getattr(policy.model, "peft_config", None))
