"""What makes two models the same for a store of their numbers: their weights, not their names.

The identity is a hash over the weights by tensor name, the adapters, the configuration without names and paths,
the quantisation and the type of the weights in memory. Device, attention and versions are recorded, not keyed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from assent.comparison import content_key
from assent.errors import InputError

_NAMES_AND_ROUTES = {
    "_name_or_path",
    "name_or_path",
    "_commit_hash",
    "transformers_version",
    "peft_version",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "attn_implementation",
    "attn_implementation_internal",
    "_attn_implementation_internal",
    "_experts_implementation",
    "dtype",
    "torch_dtype",
    "use_cache",
    "base_model_name_or_path",
    "base_model_class",
    "parent_library",
    "auto_mapping",
    "revision",
    "inference_mode",
}
"""Configuration keys that say where a model comes from or how it is run, not what it computes in a reference."""


@dataclass(frozen=True)
class ModelIdentity:
    """The ingredients of a model's key.

    Args:
        weights: hash of the tensors by name.
        adapters: the same for each adapter that is on, lowest first.
        config: hash of the configuration without names and paths.
        quantization: its settings, or None.
        dtype: of the weights in memory.
    """

    weights: str
    adapters: tuple[str, ...]
    config: str
    quantization: str | None
    dtype: str

    @property
    def key(self) -> str:
        """The hash of all of them."""
        return content_key(asdict(self))


def identity_of_folder(
    folder: str | Path,
    *,
    adapters: Sequence[str | Path] = (),
    dtype: torch.dtype | str,
    quantization: Mapping[str, Any] | None = None,
    cache: Path | None = None,
) -> ModelIdentity:
    """The identity of saved weights.

    Args:
        folder: with config.json and safetensors.
        adapters: folders of the adapters that are on, lowest first.
        dtype: of the weights in memory.
        quantization: the settings they are quantised with.
        cache: a folder to remember hashes of files in, so that large weights are read once.
    """
    folder = Path(folder)
    return ModelIdentity(
        weights=_hash_folder(folder, cache),
        adapters=tuple(
            content_key([_hash_folder(Path(adapter), cache), _config_hash(Path(adapter) / "adapter_config.json")])
            for adapter in adapters
        ),
        config=_config_hash(folder / "config.json"),
        quantization=None if not quantization else content_key(dict(quantization)),
        dtype=str(dtype).removeprefix("torch."),
    )


def identity_of_model(model: nn.Module, adapters: Iterable[str] = ()) -> ModelIdentity:
    """The identity of a model in memory, with the named adapters on and no others."""
    kept = list(adapters)
    plain: dict[str, torch.Tensor] = {}
    by_adapter: dict[str, dict[str, torch.Tensor]] = {name: {} for name in kept}
    known = set(getattr(model, "peft_config", {})) | set(kept)
    for name, tensor in model.state_dict().items():
        owner = next((adapter for adapter in known if f".{adapter}." in f"{name}."), None)
        if owner is None:
            plain[name.removeprefix("base_model.model.").replace(".base_layer.", ".")] = tensor
        elif owner in by_adapter:
            by_adapter[owner][name.replace(f".{owner}", "")] = tensor
    configs = getattr(model, "peft_config", {})
    config = getattr(model, "config", None)
    return ModelIdentity(
        weights=_hash_tensors(plain.items()),
        adapters=tuple(
            content_key([_hash_tensors(by_adapter[name].items()), _reduced(configs[name].to_dict())]) for name in kept
        ),
        config=content_key(_reduced(config.to_dict() if config is not None else {})),
        quantization=_quantization_of(config),
        dtype=str(next(iter(model.parameters())).dtype).removeprefix("torch."),
    )


def _hash_folder(folder: Path, cache: Path | None) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError("no weights in safetensors form", where=str(folder), expected="*.safetensors")
    # Sharding is a way of saving, not part of the model: tensors count, not files.
    return content_key(sorted(tensor for file in files for tensor in _tensors_of(file, cache)))


def _tensors_of(file: Path, cache: Path | None) -> list[str]:
    """Name and hash of each tensor of a file; remembered while the file is the same to the file system."""
    status = file.stat()
    stamp = [str(file.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    remembered = None if cache is None else cache / f"weights-{content_key(stamp)[:32]}.json"
    if remembered is not None and remembered.is_file():
        try:
            return list(json.loads(remembered.read_text()))
        except json.JSONDecodeError:
            pass  # torn by a kill: made again below
    with safe_open(file, framework="pt") as content:
        tensors = [f"{name} {_hash_tensor(content.get_tensor(name))}" for name in sorted(content.keys())]
    if remembered is not None:
        remembered.parent.mkdir(parents=True, exist_ok=True)
        part = remembered.with_name(f"{remembered.name}.{os.getpid()}.part")
        part.write_text(json.dumps(tensors))
        os.replace(part, remembered)
    return tensors


def _hash_tensors(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    return content_key(sorted(f"{name} {_hash_tensor(tensor)}" for name, tensor in tensors))


def _hash_tensor(tensor: torch.Tensor) -> str:
    """Type, shape and SHA-256 of a tensor's bytes."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    digest = hashlib.sha256(flat.numpy().data).hexdigest()
    return f"{tensor.dtype} {list(tensor.shape)} {digest}"


def _config_hash(path: Path) -> str:
    try:
        return content_key(_reduced(json.loads(path.read_text())))
    except FileNotFoundError:
        raise InputError("the folder has no configuration", where=str(path)) from None


def _reduced(config: Any) -> Any:
    """A configuration without names, paths and routes, at every depth, in an order of its own."""
    if isinstance(config, Mapping):
        # A reference is scored without dropout, so what it was trained with does not count.
        kept = {str(key): value for key, value in config.items() if "dropout" not in str(key)}
        return {key: _reduced(value) for key, value in kept.items() if key not in _NAMES_AND_ROUTES}
    if isinstance(config, set | frozenset):
        return sorted(map(str, config))
    if isinstance(config, list | tuple):
        return [_reduced(value) for value in config]
    return config if isinstance(config, str | int | float | bool | None) else str(config)


def _quantization_of(config: Any) -> str | None:
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return None
    return content_key(_reduced(settings if isinstance(settings, Mapping) else settings.to_dict()))
