"""Adapters in stacks: the trained one on top, what it started from below.

PEFT's own ways of switching also change what is trainable; here switching changes only what is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

START, TRAINED, FOLLOWER = "sft", "default", "reference"
"""Names of adapters: the frozen one that training starts from, the trained one, and a reference that follows it.

`default` is the name that PEFT saves in the folder itself rather than in a folder of its own.
"""


def has_adapters(model: nn.Module) -> bool:
    """Whether any adapter layer is in the model."""
    return any(True for _ in _switches(model))


def add_adapter(model: Any, config: Any) -> Any:
    """The model with a new trainable adapter on top of all it has; theirs stay on, frozen."""
    from peft import PeftModel, get_peft_model

    if not isinstance(model, PeftModel):
        return get_peft_model(model, config, adapter_name=TRAINED)
    below = list(model.active_adapters)
    model.add_adapter(TRAINED, config)
    activate(model, [*below, TRAINED])
    return model


def activate(model: Any, names: list[str]) -> None:
    """Switches these adapters on together, in place; only the trained one, if it is among them, is trainable."""
    model.base_model.set_adapter(names)
    model.active_adapter = names[-1]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(TRAINED in names and f".{TRAINED}." in f"{name}.")


@contextmanager
def only_adapters(model: nn.Module, names: Iterable[str] = ()) -> Iterator[None]:
    """Computes with these adapters and no others; none: the base model. Gradients and flags stay as they are."""
    kept = list(names)
    switches = list(_switches(model))
    before = [(module, module._active_adapter, module._disable_adapters) for module in switches]
    try:
        for module in switches:
            here = [name for name in kept if _holds(module, name)]
            module._active_adapter = here
            module._disable_adapters = not here
        yield
    finally:
        for module, active, disabled in before:
            module._active_adapter = active
            module._disable_adapters = disabled


def adapters_below(model: Any) -> tuple[str, ...]:
    """The active adapters under the trained one: with them on and it off, the model is what training starts from."""
    active = getattr(model, "active_adapters", ())
    return tuple(name for name in active if name != TRAINED)


def _switches(model: nn.Module) -> Iterator[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    return (module for module in model.modules() if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper))


def _holds(module: Any, name: str) -> bool:
    """Whether a layer has weights of an adapter of this name."""
    holders = [getattr(module, holder, ()) for holder in ("modules_to_save", "_adapters")]
    holders += [getattr(module, holder, ()) for holder in getattr(module, "adapter_layer_names", ())]
    return any(name in holder for holder in holders)
