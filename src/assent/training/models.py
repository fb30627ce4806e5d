"""The policy and the reference of a run file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from assent.config import RunConfig
from assent.errors import InputError
from assent.likelihood.adapters import add_adapter
from assent.likelihood.build_policy import build_policy
from assent.likelihood.loading import load_causal_lm
from assent.likelihood.policy import Policy

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Told how many records were scored, of how many."""


def load_policy(config: RunConfig) -> tuple[Policy, Any]:
    """(policy, tokenizer) of a run file; nothing of the model is loaded twice."""
    model, tokenizer = load_causal_lm(
        config.model.path,
        dtype=config.weights_dtype,
        adapter=config.model.adapter,
        trust_remote_code=config.model.trust_remote_code,
        quantization=config.quantization,
        attn_implementation=config.model.attention,
        dropout=config.dropout,
        revision=config.model.revision,
        tokenizer=config.model.tokenizer,
    )
    return policy_of(model, config), tokenizer


def policy_of(model: Any, config: RunConfig) -> Policy:
    """The policy around a loaded model, with the run file's adapter on it."""
    if config.peft is not None:
        model = add_adapter(model, lora_config(config))
    elif getattr(model, "peft_config", None):
        raise InputError(
            "the starting policy is an adapter, and nothing is trainable",
            where=config.where("model"),
            field="peft",
            remedy="Give `peft:` to stack a new adapter on it, or merge it first with `assent export`",
        )
    elif config.quantization:
        raise InputError(
            "quantised weights cannot be trained",
            where=config.where("quantization"),
            field="quantization",
            remedy="Give `peft:`, which trains an adapter on them",
        )
    return build_policy(model, shared_prefixes=config.model.layout != "padded")


def lora_config(config: RunConfig) -> Any:
    """The LoraConfig of `peft:`; dropout off unless the run keeps it."""
    from peft import LoraConfig

    options = {"task_type": "CAUSAL_LM", **(config.peft or {})}
    if not config.dropout:
        options["lora_dropout"] = 0.0
    try:
        return LoraConfig(**options)
    except (ValueError, TypeError) as error:
        raise InputError(
            "peft refuses its options", where=config.where("peft"), field="peft", found=str(error)[:300]
        ) from error
