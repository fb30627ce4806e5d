"""Chooses the fastest exact way to score candidates with a given model, by trying it.

Whether prefixes can be shared and the head run in tiles is not looked up in a list of families: a probe of a few
tokens is scored the plain way and the fast way. Where they differ (recurrent state, attention that cannot be told
who sees whom, unusual heads) the slower way is used, and said once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from assent.encoding import UNSCORED, EncodedCandidate, EncodedComparison
from assent.likelihood.attention import NAME, register
from assent.likelihood.causal_lm import CausalPolicy
from assent.likelihood.output_head import UnknownHead, base_model, is_the_model, probe_tokens, text_config

logger = logging.getLogger(__name__)

TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3}
"""Largest difference of a log-probability on the probe; 0.1 for 16-bit weights."""

STATEFUL_LAYERS = ("linear_attention", "mamba", "mamba2", "recurrent", "conv", "chunked_attention", "hybrid")
"""Kinds of layers (`config.layer_types`) that read more, or less, than attention over a path of spans."""


def build_policy(model: nn.Module, *, shared_prefixes: bool = True) -> CausalPolicy:
    """The policy of a causal language model; `policy.route` says what was chosen and why.

    Args:
        model: the model, in an adapter's wrapper or not, before any engine (DDP, FSDP) wraps it.
        shared_prefixes: False gives every candidate a row of its own.
    """
    with _probing(model):
        head_problem = _head_problem(model)
        tiled = head_problem is None
        sharing_problem = "not asked for" if not shared_prefixes else _sharing_problem(model, tiled)
    shared = sharing_problem is None
    if shared_prefixes and not shared:
        logger.warning("prefixes are not shared, each candidate has its own row: %s", sharing_problem)
    if not tiled:
        logger.warning("the model's own logits are used: %s", head_problem)
    rows = "shared prefixes" if shared else f"one row per candidate ({sharing_problem})"
    head = "head in tiles" if tiled else f"the model's own logits ({head_problem})"
    return CausalPolicy(model, shared=shared, tiled=tiled, route=f"{rows}, {head}")


def _head_problem(model: nn.Module) -> str | None:
    """Why the head cannot run in tiles; None if it can."""
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        return "the adapter adds tokens to the prompt"
    try:
        return None if is_the_model(model, _tolerance(model)) else "its log-probabilities are not the head's"
    except UnknownHead as problem:
        return str(problem)


def _sharing_problem(model: nn.Module, tiled: bool) -> str | None:
    """Why prefixes cannot be shared; None if they can, and then the model's attention has been exchanged."""
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        return "the adapter adds tokens to the prompt"
    config = text_config(model)
    kinds = sorted(set(getattr(config, "layer_types", None) or []) & set(STATEFUL_LAYERS))
    if kinds:
        return f"layers of kind {', '.join(kinds)}"
    base = base_model(model)
    before = base.config._attn_implementation
    alone = [_comparison("probe", [list(c.ids)]) for comparison in _probe(model) for c in comparison.candidates]
    plain = CausalPolicy(model, shared=False, tiled=tiled, route="probe")
    truth = torch.cat([_score(plain, [comparison]) for comparison in alone])
    problem = _try_sharing(model, tiled, truth)
    if problem is not None and before is not None:
        base.set_attn_implementation(before)
    return problem


def _try_sharing(model: nn.Module, tiled: bool, truth: Tensor) -> str | None:
    policy = CausalPolicy(model, shared=True, tiled=tiled, route="probe")
    batch = policy.collate(_probe(model))
    try:
        register()
        base_model(model).set_attn_implementation(NAME)
        with torch.no_grad():
            found = policy(_on_device(batch, model)).tokens
    # Anything may go wrong inside a model that never met packed rows; whatever it is, there is a way that works.
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else 'no message'}"
    spans: Any = batch["spans"]
    windows: list[int | None] = spans.seen_with
    if not windows:
        return "its attention cannot be exchanged"
    if _has_window(text_config(model)) and not any(windows):
        return "its attention does not say its sliding window"
    difference = float((found - truth).abs().max())
    return None if difference <= _tolerance(model) else f"a probe differs by {difference:.2g} nats"


def _has_window(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return "sliding_attention" in kinds
    return bool(getattr(config, "sliding_window", None)) and getattr(config, "use_sliding_window", True)


def _score(policy: CausalPolicy, comparisons: list[EncodedComparison]) -> Tensor:
    with torch.no_grad():
        tokens: Tensor = policy(_on_device(policy.collate(comparisons), policy.model)).tokens
    return tokens


def _probe(model: nn.Module) -> list[EncodedComparison]:
    """Two comparisons whose candidates share a long prefix, one of them a prefix tree of two levels."""
    prompt, words = probe_tokens(model, 24)[0].tolist(), probe_tokens(model, 60, 40)[0].tolist()
    lists = [
        [prompt + words[:3], prompt + words[3:8]],
        [words[20:44] + words[:2], words[20:44] + prompt[:18] + words[2:4], words[20:44] + prompt[:18] + words[5:9]],
    ]
    return [_comparison(f"probe {index}", candidates) for index, candidates in enumerate(lists)]


def _comparison(name: str, candidates: list[list[int]]) -> EncodedComparison:
    encoded = tuple(
        EncodedCandidate(tuple(ids), tuple([UNSCORED] * 24 + [0] * (len(ids) - 24)), 24) for ids in candidates
    )
    count = len(candidates)
    return EncodedComparison(name, encoded, (0.0,) * count, (-1,) * count, (None,) * count)


def _on_device(batch: Any, model: nn.Module) -> dict[str, Any]:
    device = next(model.parameters()).device
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def _tolerance(model: nn.Module) -> float:
    return TOLERANCE.get(next(model.parameters()).dtype, 0.1)


@contextmanager
def _probing(model: nn.Module) -> Iterator[None]:
    """The model without dropout for the moment of the probe, every module's mode put back afterwards."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
