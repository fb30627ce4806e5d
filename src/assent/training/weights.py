"""A policy's weights to and from a folder that plain transformers or PEFT reads."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from assent.errors import RunError
from assent.likelihood.adapters import FOLLOWER


def save_weights(model: nn.Module, folder: Path, state: dict[str, Tensor] | None = None) -> None:
    """Writes the model, or its adapter, as safetensors with its configuration.

    Args:
        model: the wrapped model.
        folder: where to; made if needed.
        state: the gathered weights where an engine holds them in shards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save: Any = getattr(model, "save_pretrained", None)
    if save is None:
        from safetensors.torch import save_file

        tensors = {name: value.contiguous() for name, value in (state or model.state_dict()).items()}
        save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
        return
    options: dict[str, Any] = {} if state is None else {"state_dict": state}
    adapters: Any = getattr(model, "peft_config", None)
    if adapters is not None:
        # A reference that follows the policy is an adapter too, kept in checkpoints of its own.
        options["selected_adapters"] = [name for name in adapters if name != FOLLOWER]
    with warnings.catch_warnings():
        # PEFT asks the hub whether the vocabulary grew, and warns where it cannot.
        warnings.filterwarnings("ignore", message="Could not find a config file", category=UserWarning)
        save(str(folder), **options)


def load_weights(model: Any, folder: Path) -> None:
    """Reads weights written by `save_weights` into the model they came from, in place."""
    if hasattr(model, "peft_config"):
        _load_adapter(model, folder)
        return
    state = _read(folder)
    if _differs(model, state) and hasattr(type(model), "from_pretrained"):
        # Some families are saved in another layout than they are computed in; transformers knows the way back.
        state = type(model).from_pretrained(str(folder), dtype=model.dtype).state_dict()
    if problem := _differs(model, state):
        raise RunError(f"{folder}: the weights belong to another model (first mismatch: {problem})")
    model.load_state_dict(state, strict=False)
    if hasattr(model, "tie_weights"):
        model.tie_weights()


def _differs(model: Any, state: dict[str, Tensor]) -> str | None:
    """A weight that only one side has, or None; tied weights are saved once, and buffers may be left out."""
    parameters = dict(model.named_parameters())
    unknown = set(state) - set(model.state_dict())
    return next(iter(sorted(unknown or set(parameters) - set(state))), None)


def _load_adapter(model: Any, folder: Path) -> None:
    from peft import load_peft_weights, set_peft_model_state_dict

    name = trained_adapter(model)
    place = folder if (folder / "adapter_config.json").is_file() else folder / name
    if not place.is_dir():
        raise RunError(f"{folder}: holds no adapter `{name}`")
    set_peft_model_state_dict(model, load_peft_weights(str(place), device="cpu"), adapter_name=name)


def trained_adapter(model: Any) -> str:
    """The name of the adapter that is trained: the last active one."""
    active = model.active_adapters if isinstance(model.active_adapters, list) else [model.active_adapter]
    return str(active[-1])


def _read(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    files = sorted([*folder.glob("model*.safetensors"), *folder.glob("diffusion_pytorch_model*.safetensors")])
    if not files:
        raise RunError(f"{folder}: holds no weights in safetensors")
    state: dict[str, Tensor] = {}
    for file in files:
        state |= load_file(str(file), device="cpu")
    return state
