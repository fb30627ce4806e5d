"""Translates the configuration of a TRL preference trainer, and names what it cannot translate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assent.config.foreign import known_training_fields
from assent.config.reading import read_run_file
from assent.config.training_fields import TRAINING_FIELDS
from assent.errors import InputError

_BETA = {"beta": "beta"}
LOSSES: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "sigmoid": ("dpo", {}, {**_BETA, "label_smoothing": "label_smoothing"}),
    "sigmoid_norm": ("ln_dpo", {}, _BETA),
    "ipo": ("ipo", {}, _BETA),
    "hinge": ("gpo", {"link": "hinge"}, _BETA),
    "robust": ("robust_dpo", {}, {**_BETA, "label_smoothing": "flip_rate"}),
    "exo_pair": ("exo_pair", {}, {**_BETA, "label_smoothing": "label_smoothing"}),
    "nca_pair": ("nca_pair", {}, _BETA),
    "bco_pair": ("bco_pair", {}, _BETA),
    "sppo_hard": ("sppo", {"hard": True}, {"beta": "eta_inverse"}),
    "aot": ("aot", {}, {**_BETA, "label_smoothing": "label_smoothing"}),
    "aot_unpaired": ("aot", {"paired": False}, {**_BETA, "label_smoothing": "label_smoothing"}),
    "discopop": ("discopop", {}, {**_BETA, "discopop_tau": "temperature"}),
    "apo_zero": ("apo", {"variant": "zero"}, _BETA),
    "apo_down": ("apo", {"variant": "down"}, _BETA),
    "sft": ("sft", {}, {}),
    "kto": (
        "kto",
        {},
        {**_BETA, "desirable_weight": "desirable_weight", "undesirable_weight": "undesirable_weight"},
    ),
    "apo_zero_unpaired": ("apo", {"variant": "zero", "paired": False}, _BETA),
    "simpo": ("simpo", {}, {**_BETA, "simpo_gamma": "gamma"}),
    "orpo": ("orpo", {}, {"beta": "odds_weight"}),
}
"""TRL's `loss_type`, as (slug, options that it stands for, its options by theirs and our name)."""

_MODEL = {
    "model_name_or_path": "path",
    "model_revision": "revision",
    "dtype": "dtype",
    "torch_dtype": "dtype",
    "attn_implementation": "attention",
    "trust_remote_code": "trust_remote_code",
}
_PEFT = {
    "lora_r": "r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "lora_target_modules": "target_modules",
    "lora_target_parameters": "target_parameters",
    "lora_modules_to_save": "modules_to_save",
    "use_rslora": "use_rslora",
    "use_dora": "use_dora",
}
_WITHOUT_EFFECT = {
    "dataset_num_proc": "tokenising uses the tokenizer's own threads",
    "precompute_ref_log_probs": "the store of reference log-probabilities does it whenever it helps",
    "precompute_ref_batch_size": "cut by max_tokens_per_micro_batch",
    "padding_free": "rows are never padded to the longest of the step",
    "use_logits_to_keep": "logits are never held",
    "disable_dropout": "dropout is off unless `dropout: true`",
    "remove_unused_columns": "comparisons are records, not columns",
    "max_prompt_length": "data.max_length bounds prompt and completion together",
    "per_device_eval_batch_size": "evaluation is cut by the token budget",
}
"""Keys that need no translation because what they ask for is always so; named in the notes."""


@dataclass
class Translation:
    """A TRL configuration as run file keys.

    Args:
        values: keys of a run file.
        notes: keys that have no effect here, with the reason.
        unknown: keys that could not be translated.
    """

    values: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def from_trl(path: str | Path) -> Translation:
    """The translation of a YAML file of TRL's command line (DPOConfig, KTOConfig, CPOConfig, ORPOConfig, ...)."""
    return translate(read_run_file(path).values)


def translate(values: Mapping[str, Any]) -> Translation:
    """The translation of TRL's keys."""
    made = Translation()
    rest = dict(values)
    _model_and_peft(rest, made)
    _data(rest, made)
    _objective(rest, made)
    _reference(rest, made)
    for name, reason in _WITHOUT_EFFECT.items():
        if name in rest:
            rest.pop(name)
            made.notes[name] = reason
    training: dict[str, Any] = {}
    for name in list(rest):
        if name not in known_training_fields():
            continue
        value = rest.pop(name)
        rule = TRAINING_FIELDS[name]
        if rule.kind == "refused":
            made.notes[name] = rule.note
        else:
            training[name] = value
    if training:
        made.values["training"] = training
    made.unknown = sorted(rest)
    return made


def _model_and_peft(rest: dict[str, Any], made: Translation) -> None:
    model = {ours: rest.pop(theirs) for theirs, ours in _MODEL.items() if theirs in rest}
    if model:
        made.values["model"] = model
    peft = {ours: rest.pop(theirs) for theirs, ours in _PEFT.items() if theirs in rest}
    if rest.pop("use_peft", bool(peft)):
        made.values["peft"] = peft
    quantization = {name: rest.pop(name) for name in ("load_in_4bit", "load_in_8bit") if rest.get(name)}
    for theirs, ours in (
        ("bnb_4bit_quant_type", "bnb_4bit_quant_type"),
        ("use_bnb_nested_quant", "bnb_4bit_use_double_quant"),
    ):
        if theirs in rest:
            value = rest.pop(theirs)
            if quantization:
                quantization[ours] = value
    if quantization:
        made.values["quantization"] = quantization


def _data(rest: dict[str, Any], made: Translation) -> None:
    data: dict[str, Any] = {}
    if "dataset_name" in rest:
        source = {"path": rest.pop("dataset_name"), "split": rest.pop("dataset_train_split", "train")}
        if rest.get("dataset_config"):
            source["name"] = rest.pop("dataset_config")
        data["train"] = [source]
        test = rest.pop("dataset_test_split", None)
        if test and rest.get("eval_strategy", "no") != "no":
            data["eval"] = {"sources": [{**source, "split": test}]}
    if "max_length" in rest:
        data["max_length"] = rest.pop("max_length")
    mode = rest.pop("truncation_mode", None)
    if mode is not None:
        data["truncate"] = {"keep_end": "prompt_left", "keep_start": "completion_right"}.get(mode, mode)
    if data:
        made.values["data"] = data


def _objective(rest: dict[str, Any], made: Translation) -> None:
    names = rest.pop("loss_type", "sigmoid")
    names = [names] if isinstance(names, str) else list(names)
    weights = rest.pop("loss_weights", None) or [1.0] * len(names)
    if rest.pop("rpo_alpha", None) is not None:
        raise InputError(
            "rpo_alpha stands for a sum of two objectives",
            field="rpo_alpha",
            remedy="Use loss_type: [sigmoid, sft] with loss_weights, or objective: [{dpo: {}}, {sft: {weight: 1}}]",
        )
    divergence = _divergence(rest)
    specs = []
    used: set[str] = set()
    for name, weight in zip(names, weights, strict=True):
        if name not in LOSSES:
            raise InputError("a loss_type without a counterpart", field="loss_type", found=repr(name))
        slug, preset, options = LOSSES[name]
        used |= set(options)
        chosen = {**preset, **{ours: rest[theirs] for theirs, ours in options.items() if theirs in rest}}
        if slug == "dpo":
            chosen |= divergence
        specs.append({slug: {**chosen, **({"weight": weight} if len(names) > 1 else {})}})
    for name in {option for _, _, options in LOSSES.values() for option in options} & set(rest):
        if name not in used:
            made.notes[name] = f"an option of other losses than {', '.join(names)}"
        rest.pop(name)
    made.values["objective"] = specs if len(specs) > 1 else specs[0]


def _divergence(rest: dict[str, Any]) -> dict[str, Any]:
    name, coefficient = rest.pop("f_divergence_type", None), rest.pop("f_alpha_divergence_coef", None)
    if name in (None, "reverse_kl"):
        return {}
    ours = {"js_divergence": "js", "alpha_divergence": "alpha"}.get(name, name)
    return {"divergence": ours, **({"alpha_coefficient": coefficient} if ours == "alpha" and coefficient else {})}


def _reference(rest: dict[str, Any], made: Translation) -> None:
    if rest.pop("reference_free", False):
        made.values["reference"] = "none"
    if rest.pop("sync_ref_model", False):
        made.values["reference"] = {
            "source": "model",
            "sync": {"every": rest.get("ref_model_sync_steps", 512), "mix": rest.get("ref_model_mixup_alpha", 0.6)},
        }
    for name in ("ref_model_sync_steps", "ref_model_mixup_alpha"):
        rest.pop(name, None)
