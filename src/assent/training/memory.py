"""How much memory a training step takes, from the model's shape.

Counted are weights, gradients, optimizer state, the activations that the backward pass needs, and the head's tiles.
Activations per token and layer, in numbers of the computing type (h hidden, q and k the widths of queries and keys,
f of the feed-forward part): the inputs of two norms and of the projections 4h, queries, keys and values and their
rotated copies 2q + 3k, the attention's output q, three products of a gated feed-forward part 4f, two residuals 2h.
With checkpointing one hidden state per layer is kept, and one layer's activations at a time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from transformers import TrainingArguments

from assent.config import RunConfig
from assent.objectives import Needs

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
HEAD_TILE = 64 * 2**20
"""Bytes of the head's tiles, forward and backward; independent of vocabulary and tokens."""

RESERVE = 0.85
"""Share of the free memory that is planned with; allocators need the rest."""


@dataclass(frozen=True)
class Memory:
    """Predicted bytes.

    Args:
        weights: of the policy, adapters included; `reference` of a second model that stays loaded.
        gradients: and `optimizer` state, of what is trained.
        per_token: activations for each token computed at once; `activations` for the budget in force.
        head: tiles.
        trained: parameters that are trained.
    """

    weights: int
    reference: int
    gradients: int
    optimizer: int
    per_token: int
    head: int
    trained: int
    activations: int = 0

    @property
    def fixed(self) -> int:
        """What does not depend on the token budget."""
        return self.weights + self.reference + self.gradients + self.optimizer + self.head

    @property
    def peak(self) -> int:
        """All together."""
        return self.fixed + self.activations

    def at(self, tokens: int) -> Memory:
        """The same with the activations of so many tokens."""
        return replace(self, activations=self.per_token * tokens)

    def to_dict(self) -> dict[str, int]:
        """JSON-like data, the peak included."""
        return {**asdict(self), "peak": self.peak}


def estimate_memory(model: Any, config: RunConfig, args: TrainingArguments, needs: Needs) -> Memory:
    """The prediction for a model's shape (on any device, the meta device too) under a run file."""
    total = sum(parameter.numel() for parameter in model.parameters())
    trained = total if config.peft is None else lora_parameters(model, config.peft)
    width = BYTES.get(config.weights_dtype or "", 0) or BYTES.get(_saved_dtype(model), 4)
    weights = total * width
    if config.quantization is not None:
        weights = int(total * (0.55 if config.quantization.get("load_in_4bit") else 1.05))
    weights += 0 if config.peft is None else trained * 4
    trained_width = width if config.peft is None else 4
    given = config.reference
    live_copy = config.peft is None and (needs.live_reference or (given is not None and given.store == "none"))
    computing = 2 if args.bf16 or args.fp16 else width
    return Memory(
        weights=weights,
        reference=weights if live_copy and (needs.reference or needs.live_reference) else 0,
        gradients=trained * trained_width,
        optimizer=int(trained * trained_width * _states(str(args.optim))),
        per_token=activation_bytes(model.config, computing, bool(config.training.get("gradient_checkpointing"))),
        head=HEAD_TILE,
        trained=trained,
    )


def activation_bytes(shape: Any, width: int, checkpointing: bool) -> int:
    """Bytes of activations that one token keeps until the backward pass."""
    text = shape.get_text_config() if hasattr(shape, "get_text_config") else shape
    hidden = int(getattr(text, "hidden_size", 0) or getattr(text, "n_embd", 0) or 1024)
    layers = int(getattr(text, "num_hidden_layers", 0) or getattr(text, "n_layer", 0) or 1)
    heads = int(getattr(text, "num_attention_heads", 0) or getattr(text, "n_head", 0) or 1)
    size = int(getattr(text, "head_dim", None) or hidden // heads)
    queries, keys = heads * size, int(getattr(text, "num_key_value_heads", None) or heads) * size
    inner = int(getattr(text, "intermediate_size", None) or 4 * hidden)
    experts = int(getattr(text, "num_experts_per_tok", None) or 1)
    layer = 6 * hidden + 3 * queries + 3 * keys + 4 * inner * experts
    # Norms compute in float32 whatever the rest does: two more copies of their input.
    layer_bytes = layer * width + 2 * hidden * 4
    if checkpointing:
        return layers * hidden * width + layer_bytes
    return layers * layer_bytes


def lora_parameters(model: Any, peft: dict[str, Any]) -> int:
    """Parameters of a LoRA adapter, from the shapes of the layers it goes on."""
    rank = int(peft.get("r", 8))
    targets = peft.get("target_modules")
    count = 0
    head = getattr(model, "get_output_embeddings", lambda: None)()
    for name, module in model.named_modules():
        shape: Any = getattr(getattr(module, "weight", None), "shape", ())
        if not isinstance(module, torch.nn.Linear | torch.nn.Embedding) and type(module).__name__ != "Conv1D":
            continue
        if targets == "all-linear":
            chosen = isinstance(module, torch.nn.Linear) and module is not head
        elif isinstance(targets, str):
            import re

            chosen = re.fullmatch(targets, name) is not None
        else:
            usual = targets or ("q_proj", "v_proj", "query_key_value", "c_attn")
            chosen = any(name == target or name.endswith(f".{target}") for target in usual)
        if chosen and len(shape) == 2:
            count += rank * (shape[0] + shape[1])
        if any(name.endswith(saved) for saved in peft.get("modules_to_save") or ()):
            count += sum(parameter.numel() for parameter in module.parameters())
    return count


def tokens_that_fit(memory: Memory, free: int) -> int:
    """The token budget that fills the free memory up to a reserve."""
    return max(1024, int((free * RESERVE - memory.fixed) // max(memory.per_token, 1)))


def _saved_dtype(model: Any) -> str:
    return str(getattr(model.config, "dtype", None) or "float32").removeprefix("torch.")


def _states(optimizer: str) -> float:
    """Numbers kept for each trained parameter, in units of its own width."""
    name = optimizer.rsplit(".", 1)[-1].lower()
    if "8bit" in name:
        return 0.5
    if "sgd" in name or "adafactor" in name:
        return 0.1
    return 1.0 if "lion" in name or "adagrad" in name or "rmsprop" in name else 2.0
