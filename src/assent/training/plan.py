"""What a run would do, need and take, before any weight is loaded."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, TrainingArguments

from assent.config import TRAINING_FIELDS, RunConfig
from assent.encoding import EncodedComparison
from assent.errors import InputError
from assent.likelihood.budget import ENOUGH, free_memory
from assent.likelihood.rows import packed_cost, padded_cost
from assent.objectives import Needs
from assent.training.memory import Memory, estimate_memory, tokens_that_fit
from assent.training.wanted import order_of, steps_of

REACHED = 0.33
"""Share of the rate of plain matrix products that a training step reaches, as far as we have seen."""


@dataclass(frozen=True)
class Plan:
    """The resolved numbers of a run.

    Args:
        comparisons: to train on; `held_out` to measure on.
        per_step: comparisons of an optimizer step, over all ranks.
        steps: optimizer steps; `steps_per_epoch` of one pass.
        tokens: that one pass reads, prefixes once; `tokens_padded` what padded rows would have read.
        longest: tokens of the most expensive comparison.
        budget: tokens computed at once.
        parameters: of the model, and how many of them are trained.
        memory: predicted peak, by part, in bytes.
        operations: floating point operations of the whole run.
        seconds: predicted, at a third of the rate that this machine's matrix products reach.
        reference: where reference log-probabilities come from.
    """

    comparisons: int
    held_out: int
    per_step: int
    steps: int
    steps_per_epoch: int
    tokens: int
    tokens_padded: int
    longest: int
    budget: int
    parameters: int
    trained: int
    memory: Memory
    operations: float
    seconds: float
    reference: str
    device: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-like data."""
        return {**asdict(self), "memory": self.memory.to_dict()}


def plan_run(
    config: RunConfig,
    args: TrainingArguments,
    encoded: Any,
    needs: Needs,
    objective: str,
    model: Any = None,
) -> Plan:
    """The plan of a checked run; the model is looked at on the meta device, where it weighs nothing."""
    shape = model if model is not None else _meta_model(config)
    order = order_of(args, encoded.sizes, encoded.weights)
    steps = steps_of(args, order)
    shared = config.model.layout != "padded"
    costs = [(packed_cost if shared else padded_cost)(comparison) for comparison in encoded.train]
    memory = estimate_memory(shape, config, args, needs)
    budget = _budget(config, args, memory, max(costs))
    table = _embedding_weights(shape)
    parameters = sum(parameter.numel() for parameter in shape.parameters())
    epochs = steps / len(order)
    # Forward 2, backward 4 operations for each weight and token; a reference from the store is scored once.
    per_token = 2 * (parameters - table)
    passes = 3 + (1 if needs.batch else 0)
    reference = _reference(config, needs)
    scored = epochs if "live" in reference else 1.0 if needs.reference else 0.0
    operations = per_token * sum(costs) * (passes * epochs + scored)
    return Plan(
        comparisons=len(encoded.train),
        held_out=sum(map(len, encoded.evaluation.values())),
        per_step=order.per_step,
        steps=steps,
        steps_per_epoch=len(order),
        tokens=sum(costs),
        tokens_padded=sum(_padded(comparison) for comparison in encoded.train),
        longest=max(costs),
        budget=budget,
        parameters=parameters,
        trained=memory.trained,
        memory=memory.at(max(budget, max(costs))),
        operations=operations,
        seconds=operations / (REACHED * matrix_rate(args.device, bool(args.bf16 or args.fp16))),
        reference=reference,
        device=str(args.device),
    )


def matrix_rate(device: torch.device, half: bool) -> float:
    """Floating point operations per second of matrix products on a device, measured in a blink."""
    size = 512 if device.type == "cpu" else 4096
    dtype = torch.bfloat16 if half and device.type != "cpu" else torch.float32
    left = torch.ones(size, size, device=device, dtype=dtype)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        # Reading one number back waits for the device.
        float((left @ left)[0, 0])
        times.append(time.perf_counter() - started)
    return float(2 * size**3 / min(times))


def _padded(comparison: EncodedComparison) -> int:
    return len(comparison.candidates) * max(len(candidate.ids) for candidate in comparison.candidates)


def _budget(config: RunConfig, args: TrainingArguments, memory: Memory, longest: int) -> int:
    if config.max_tokens_per_micro_batch != "auto":
        return int(config.max_tokens_per_micro_batch)
    if args.device.type == "cpu":
        return max(longest, ENOUGH["cpu"])
    return max(longest, min(tokens_that_fit(memory, free_memory(args.device)), ENOUGH["cuda"]))


def _reference(config: RunConfig, needs: Needs) -> str:
    if not (needs.reference or needs.live_reference):
        return "none"
    given = config.reference
    source = "the starting policy" if given is None or given.source == "model" else given.source
    if given is not None and given.sync is not None:
        return f"{source}, following the policy (live)"
    if needs.live_reference or (given is not None and given.store == "none"):
        return f"{source} (live)"
    return f"{source}, scored once and kept"


def _embedding_weights(model: Any) -> int:
    tables = {id(m.weight): m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    return sum(tables.values())


def _meta_model(config: RunConfig) -> Any:
    """The model's shape, without weights."""
    from assent.likelihood.loading import base_and_adapters

    name, _ = base_and_adapters(config.model.path, config.model.adapter)
    trust = config.model.trust_remote_code
    try:
        options = {"revision": config.model.revision} if config.model.revision else {}
        shape = AutoConfig.from_pretrained(name, trust_remote_code=trust, **options)
        # A preference model stands on the backbone alone, which may be no language model.
        kind = AutoModelForCausalLM if config.preference_model is None else AutoModel
        with torch.device("meta"):
            return kind.from_config(shape, trust_remote_code=trust)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(
            "the model's configuration cannot be read",
            where=config.where("model"),
            field="model",
            found=" ".join(str(error).split())[:300],
        ) from error


def translated_fields(config: RunConfig) -> dict[str, str]:
    """The fields of `training:` that do not reach the Trainer as they are, with what becomes of them."""
    return {
        name: TRAINING_FIELDS[name].note for name in config.training if TRAINING_FIELDS[name].kind == "translated"
    }
