"""Finds a causal language model's backbone and head, and checks that together they are the model.

The head is read anew in every forward: adapters may be switched on and off in between.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from assent.likelihood.tiles import Projection


class UnknownHead(Exception):
    """The head is something that cannot be read as one matrix product; the model's own logits are used instead."""


def base_model(model: nn.Module) -> Any:
    """The transformers model inside an adapter's wrapper, or the model itself."""
    wrapper: Any = model
    return wrapper.get_base_model() if hasattr(model, "get_base_model") else model


def text_config(model: nn.Module) -> Any:
    """The configuration of the language model."""
    config = base_model(model).config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def backbone(model: nn.Module) -> nn.Module:
    """The part that makes the hidden states."""
    base = base_model(model)
    decoder = base.get_decoder() if hasattr(base, "get_decoder") else None
    if decoder is None or decoder is base:
        decoder = base.base_model
    if decoder is base:
        raise UnknownHead("the model has no backbone apart from its head")
    return decoder  # type: ignore[no-any-return]


def projection(model: nn.Module) -> Projection:
    """The head as it stands now, adapters included.

    Raises:
        UnknownHead: a head of another kind (quantised, DoRA, several layers).
    """
    base = base_model(model)
    module = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    if module is None:
        raise UnknownHead("the model names no output embeddings")
    config = text_config(model)
    scale = 1.0
    for name, invert in (("logit_scale", False), ("lm_head_multiplier", False), ("logits_scaling", True)):
        factor = getattr(config, name, None)
        if isinstance(factor, int | float) and factor:
            scale *= 1 / factor if invert else factor
    softcap = getattr(config, "final_logit_softcapping", None)
    module = _active_copy(module)
    if type(module) is nn.Linear:
        return Projection(module.weight, module.bias, scale, softcap)
    return _with_adapter(module, scale, softcap)


def _active_copy(module: Any) -> Any:
    """The trained copy of a module that PEFT saves whole (`modules_to_save`), or the module itself."""
    if not hasattr(module, "modules_to_save") or not hasattr(module, "original_module"):
        return module
    active = [name for name in module.active_adapters if name in module.modules_to_save]
    if module.disable_adapters or not active:
        return module.original_module
    return module.modules_to_save[active[0]]


def _with_adapter(module: Any, scale: float, softcap: float | None) -> Projection:
    """The projection of a linear layer under LoRA."""
    if not hasattr(module, "lora_A") or type(module.get_base_layer()) is not nn.Linear:
        raise UnknownHead(f"a head of type {type(module).__name__}")
    linear = module.get_base_layer()
    active = [name for name in module.active_adapters if name in module.lora_A]
    if module.disable_adapters or module.merged or not active:
        return Projection(linear.weight, linear.bias, scale, softcap)
    if any(name in getattr(module, "lora_variant", {}) for name in active) or len(active) > 1:
        raise UnknownHead("a variant of LoRA, or several adapters, on the head")
    (name,) = active
    if module.lora_B[name].bias is not None:
        raise UnknownHead("a LoRA adapter with bias on the head")
    down = module.lora_A[name].weight * module.scaling[name]
    dropout = getattr(module.lora_dropout[name], "p", 0.0) if module.training else 0.0
    return Projection(linear.weight, linear.bias, scale, softcap, (down, module.lora_B[name].weight), dropout)


def is_the_model(model: nn.Module, tolerance: float) -> bool:
    """Whether backbone and projection give the model's own log-probabilities on a probe, in every position."""
    ids = probe_tokens(model, 9)
    with torch.no_grad():
        own = model(input_ids=ids, use_cache=False).logits[0]
        hidden = backbone(model)(input_ids=ids, use_cache=False)[0][0]
        logits = projected_logits(hidden, projection(model))
    wide = torch.promote_types(own.dtype, torch.float32)
    difference = own.to(wide).log_softmax(dim=-1) - logits.to(wide).log_softmax(dim=-1)
    return bool(difference.abs().max() <= tolerance)


def projected_logits(hidden: Tensor, head: Projection) -> Tensor:
    """[N, V] the logits in full; for probes of a few rows."""
    logits = hidden @ head.weight.T
    if head.low_rank is not None:
        logits = logits + hidden @ head.low_rank[0].T.to(hidden.dtype) @ head.low_rank[1].T.to(hidden.dtype)
    if head.bias is not None:
        logits = logits + head.bias
    logits = logits * head.scale
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def probe_tokens(model: nn.Module, length: int, start: int = 0) -> Tensor:
    """[1, length] some token ids that differ from each other."""
    size = base_model(model).get_input_embeddings().weight.shape[0]
    steps = torch.arange(start, start + length) * 7919 + 13
    device = next(model.parameters()).device
    ids: Tensor = steps % size
    return ids.unsqueeze(0).to(device)
