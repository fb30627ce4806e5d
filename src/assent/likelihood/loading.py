"""Causal language models from disk or hub, with what can be wrong said before anything is computed.

A folder with an adapter is a model too: its base is loaded and the adapter put on it, frozen, under the name
`sft`; a trainable adapter goes on top of it (`adapters.add_adapter`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from assent.errors import InputError
from assent.likelihood.adapters import START, activate


def load_causal_lm(
    path_or_name: str | Path,
    *,
    dtype: torch.dtype | str | None = None,
    adapter: str | Path | None = None,
    trust_remote_code: bool = False,
    quantization: Mapping[str, Any] | None = None,
    attn_implementation: str | None = None,
    dropout: bool = False,
    revision: str | None = None,
    tokenizer: str | Path | None = None,
) -> tuple[Any, Any]:
    """(model, tokenizer), the model in training mode.

    Args:
        path_or_name: a folder or a hub name; a folder with an adapter means its base with the adapter on.
        dtype: of the weights; default: as they are stored.
        adapter: a further adapter to put on, frozen.
        trust_remote_code: run code that comes with the model.
        quantization: fields of `BitsAndBytesConfig`.
        attn_implementation: a name that transformers knows.
        dropout: keep the model's dropout; by default every probability is set to 0.
        revision: branch, tag or commit on the hub.
        tokenizer: folder or hub name of another tokenizer than the model's.

    Errors:
        InputError where there is no such model, no safetensors, no tokenizer, or another kind of model.
    """
    name, adapters = base_and_adapters(str(path_or_name), adapter)
    _check_folder(name)
    options: dict[str, Any] = {"dtype": dtype or "auto", "use_safetensors": True}
    if revision:
        options["revision"] = revision
    if attn_implementation and attn_implementation != "auto":
        options["attn_implementation"] = attn_implementation
    if quantization:
        options["quantization_config"] = BitsAndBytesConfig(**quantization)
    model = _load(AutoModelForCausalLM, name, "model", trust_remote_code, **options)
    reader = load_tokenizer(path_or_name, trust_remote_code=trust_remote_code, revision=revision, tokenizer=tokenizer)
    if len(reader) > model.get_input_embeddings().num_embeddings:
        raise InputError(
            "the tokenizer has more tokens than the model",
            where=name,
            found=f"{len(reader)} tokens, {model.get_input_embeddings().num_embeddings} embeddings",
            remedy="Use the tokenizer the model was trained with, or resize its embeddings and save it",
        )
    for index, place in enumerate(adapters):
        model = _with_adapter(model, place, START if index == 0 else f"{START}{index + 1}")
    if adapters:
        activate(model, [START, *(f"{START}{index + 1}" for index in range(1, len(adapters)))])
    model.train()
    return (model if dropout else without_dropout(model)), reader


def load_tokenizer(
    path_or_name: str | Path,
    *,
    trust_remote_code: bool = False,
    revision: str | None = None,
    tokenizer: str | Path | None = None,
    any_kind: bool = False,
) -> Any:
    """The tokenizer alone, so that data can be looked at before weights are loaded; arguments as above.

    `any_kind`: the model need not be one that writes; encoders and classifiers carry preference models too.
    """
    name, _ = base_and_adapters(str(path_or_name), None)
    _check_folder(name, any_kind)
    places = [str(tokenizer)] if tokenizer else [p for p in (str(path_or_name), name) if _has_tokenizer(p)]
    pinned = {"revision": revision} if revision and not places else {}
    return _load(AutoTokenizer, places[0] if places else name, "tokenizer", trust_remote_code, **pinned)


def without_dropout(model: nn.Module) -> nn.Module:
    """The model with every dropout probability at 0, in place.

    Not by `eval()`, which also switches gradient checkpointing off.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | nn.AlphaDropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)
    return model


def base_and_adapters(name: str, adapter: str | Path | None) -> tuple[str, list[Path]]:
    """The name of the base model, and the adapters to put on it, lowest first."""
    adapters = [] if adapter is None else [Path(adapter)]
    seen: set[str] = set()
    while (Path(name) / "adapter_config.json").is_file():
        if name in seen:
            raise InputError("the adapter names itself as its base model", where=name)
        seen.add(name)
        adapters.insert(0, Path(name))
        base = json.loads((Path(name) / "adapter_config.json").read_text()).get("base_model_name_or_path")
        if not base:
            raise InputError("the adapter does not name its base model", where=f"{name}/adapter_config.json")
        name = str(base)
    return name, adapters


def _check_folder(name: str, any_kind: bool = False) -> None:
    """Raises for what can be seen to be wrong without loading; hub names are left to the loader."""
    folder = Path(name)
    if not folder.exists():
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise InputError("there is no such model folder", where=name, remedy="Check the path in `model`")
        return
    if not folder.is_dir():
        raise InputError("a model is a folder, or a name on the hub", where=name, found="a file")
    if not (folder / "config.json").is_file():
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise InputError("the folder holds no model", where=name, found=found, expected="config.json")
    _check_weights(folder)
    try:
        config = json.loads((folder / "config.json").read_text())
    except json.JSONDecodeError as error:
        raise InputError("config.json is not JSON", where=f"{name}/config.json", found=str(error)) from None
    architectures = config.get("architectures") or []
    wrong = ("Classification", "TokenClassification", "QuestionAnswering", "MaskedLM", "PreTraining")
    if not any_kind and architectures and all(kind.endswith(wrong) for kind in architectures):
        raise InputError(
            "not a causal language model",
            where=name,
            found=", ".join(architectures),
            expected="a model with a language-model head, such as LlamaForCausalLM",
        )


def _check_weights(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")))
    raise InputError(
        "no weights in safetensors form",
        where=str(folder),
        found=", ".join(pickled) or "no weights at all",
        expected="*.safetensors",
        remedy="Pickled weights can run code and are not read; save the model again with `save_pretrained`"
        if pickled
        else "Check that the folder is complete",
    )


def _has_tokenizer(name: str) -> bool:
    folder = Path(name)
    files = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
    return any((folder / file).is_file() for file in files)


def _load(kind: Any, name: str, what: str, trust: bool, **options: Any) -> Any:
    try:
        return kind.from_pretrained(name, trust_remote_code=trust, **options)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, SafetensorError) as error:
        text = " ".join(str(error).split())
        remedy = "Check the name; a gated or private model needs a login, and offline only cached ones are found"
        if "trust_remote_code" in text:
            remedy = "The model brings its own code: read it, then set `trust_remote_code: true`"
        elif "safetensors" in text:
            remedy = "Weights are read from safetensors only; save the model again with `save_pretrained`"
        elif Path(name).exists():
            remedy = "Check that the folder is complete and of a version that this transformers reads"
        raise InputError(f"cannot load the {what}", where=name, found=text[:300], remedy=remedy) from error


def _with_adapter(model: Any, folder: Path, name: str) -> Any:
    from peft import PeftModel

    if not (folder / "adapter_config.json").is_file():
        raise InputError("the folder holds no adapter", where=str(folder), expected="adapter_config.json")
    _check_weights(folder)
    try:
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), adapter_name=name)
            return model
        return PeftModel.from_pretrained(model, str(folder), adapter_name=name)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        raise InputError(
            "the adapter does not fit the model",
            where=str(folder),
            found=" ".join(str(error).split())[:300],
            remedy="Use the base model it was trained on",
        ) from error
