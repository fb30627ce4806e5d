"""Reward policies on disk: written so that plain transformers loads what fits, read from anybody's folder.

A scalar linear head is a standard sequence-classification folder with one label, on a decoder or an encoder, and
`AutoModelForSequenceClassification` gives the same scores. Every folder also holds `preference_model.json`; models
of other kinds keep the backbone as a plain model and their head beside it.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from assent.errors import InputError
from assent.likelihood.loading import without_dropout
from assent.likelihood.output_head import base_model
from assent.preference_models.bradley_terry import BradleyTerry
from assent.preference_models.frozen import FORMAT, read_description
from assent.preference_models.model import PreferenceModel
from assent.preference_models.multi_attribute import MultiAttribute
from assent.preference_models.registry import DataFacts, Spec, build_preference_model, saved_spec
from assent.preference_models.reward_policy import RewardPolicy, is_causal, reward_policy
from assent.preference_models.whole_rows import WholeRowPolicy, put_last_map, sees_both_ways, take_last_map

logger = logging.getLogger(__name__)

HEAD = "preference_head.safetensors"


def build_reward_policy(
    path: Path | str,
    spec: Spec,
    facts: DataFacts | None = None,
    peft: Any = None,
    shared_prefixes: bool = True,
    dropout: bool = False,
    **loading: Any,
) -> RewardPolicy:
    """A fresh head on the backbone of a model folder, under a new adapter if `peft` (a PEFT config) is given.

    Dropout is off unless asked for, in the backbone and in the adapter.
    """
    from transformers import AutoModel

    both_ways = sees_both_ways(path, **_place(loading))
    backbone = AutoModel.from_pretrained(path, use_safetensors=True, **loading)
    last: str | None = None
    fresh: tuple[str, ...] = ()
    causal = is_causal(backbone)
    if causal == both_ways:
        raise InputError(
            "a backbone of a kind that cannot be told",
            where=str(path),
            field="model",
            found=f"{type(backbone).__name__}: earlier tokens {'do not ' if causal else ''}see later ones",
            expected="a decoder, or an encoder that fills in masks",
        )
    if causal:
        hidden = hidden_size(backbone)
    else:
        backbone, fresh = _classifier(path, num_labels=1, **loading)
        last, linear = take_last_map(backbone)
        hidden = linear.in_features
    if not dropout:
        without_dropout(backbone)
    head = build_preference_model(spec, hidden, None, facts)
    if peft is not None:
        from peft import get_peft_model

        trained = [parameter for name, parameter in backbone.named_parameters() if name in fresh]
        backbone = get_peft_model(backbone, peft)
        if not dropout:
            without_dropout(backbone)
        for parameter in trained:
            # A pooler that the checkpoint did not hold is random, and would stay so under an adapter.
            parameter.requires_grad_(True)
    if last is not None:
        return WholeRowPolicy(backbone, head, last)
    return reward_policy(backbone, head, shared_prefixes=shared_prefixes)


def _place(loading: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in loading.items() if key in ("trust_remote_code", "revision")}


def _classifier(path: Path | str, **loading: Any) -> tuple[Any, tuple[str, ...]]:
    """(an encoder with its architecture's classification head, the names of weights its folder did not hold)."""
    from transformers import AutoModelForSequenceClassification

    try:
        model, facts = AutoModelForSequenceClassification.from_pretrained(
            path, use_safetensors=True, output_loading_info=True, **loading
        )
    except ValueError as error:
        raise InputError(
            "an encoder without a classification head in transformers",
            where=str(path),
            found=str(error).splitlines()[0][:200],
            remedy="Use it as frozen features (`features: {encoder: <folder>}`)",
        ) from None
    return model, tuple(facts["missing_keys"])


def hidden_size(backbone: nn.Module) -> int:
    """H of a backbone's hidden states."""
    config: Any = base_model(backbone).config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return int(text.hidden_size)


def save_reward_policy(policy: RewardPolicy, folder: Path | str, tokenizer: Any = None) -> None:
    """Writes a reward policy; adapters are merged into a copy of the weights."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    backbone = _merged(policy.backbone)
    head = policy.head
    if isinstance(policy, WholeRowPolicy):
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        classifier = _as_encoder_classifier(backbone, head, policy.last)
    else:
        if tokenizer is not None:
            # Training may go on after a checkpoint, with embeddings of the old size: a copy gets another pad token.
            backbone = copy.deepcopy(backbone)
            _with_own_pad(tokenizer, backbone).save_pretrained(folder)
        classifier = _as_classifier(backbone, head)
    (backbone if classifier is None else classifier).save_pretrained(folder)
    linear = isinstance(head, BradleyTerry) and not head.layers and classifier is not None
    if not linear:
        save_file({name: value.contiguous() for name, value in head.state_dict().items()}, folder / HEAD)
    description = {
        "format": FORMAT,
        "kind": "backbone",
        **saved_spec(head),
        "head": "score" if linear else HEAD,
        "ignored_end": policy.ignored_end,
        "rows": "whole" if isinstance(policy, WholeRowPolicy) else "tokens",
    }
    (folder / "preference_model.json").write_text(json.dumps(description, indent=1) + "\n")


def load_reward_policy(folder: Path | str, shared_prefixes: bool = True, **loading: Any) -> RewardPolicy:
    """The reward policy of a folder: one of ours, or any decoder with a linear sequence-classification head."""
    folder = Path(folder)
    if not (folder / "preference_model.json").exists():
        return _foreign(folder, shared_prefixes, **loading)
    from transformers import AutoModel, AutoModelForSequenceClassification

    description = read_description(folder)
    head = build_preference_model(description["model"], description["hidden_size"])
    if description.get("rows") == "whole":
        return _load_whole_rows(folder, description, head, **loading)
    if description["head"] == "score":
        classifier = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, **loading)
        backbone = classifier.base_model
        head.load_state_dict({"score.weight": classifier.score.weight.detach().float()})
    else:
        backbone = AutoModel.from_pretrained(folder, use_safetensors=True, **loading)
        head.load_state_dict(load_file(folder / HEAD))
    return reward_policy(
        backbone.eval(),
        head.eval(),
        shared_prefixes=shared_prefixes,
        ignored_end=description.get("ignored_end"),
    )


def _load_whole_rows(
    folder: Path, description: Mapping[str, Any], head: PreferenceModel, **loading: Any
) -> WholeRowPolicy:
    classifier, _ = _classifier(folder, **loading)
    last, linear = take_last_map(classifier)
    if description["head"] == "score":
        stored = {"score.weight": linear.weight, "score.bias": linear.bias}
        head.load_state_dict({name: stored[name].detach().float() for name in head.state_dict()})
    else:
        head.load_state_dict(load_file(folder / HEAD))
    return WholeRowPolicy(classifier.eval(), head.eval(), last)


def _foreign(folder: Path, shared_prefixes: bool, **loading: Any) -> RewardPolicy:
    """A head that plain transformers or another trainer wrote, pooled as transformers pools it."""
    sees_both_ways(folder, **_place(loading))
    classifier, fresh = _classifier(folder, **loading)
    if fresh:
        raise InputError(
            "the folder does not hold all weights of its classification head",
            where=str(folder),
            found=f"none for {', '.join(fresh[:3])}",
            remedy="Train it first (`assent train` with `preference_model:`)",
        )
    classifier.eval()
    linear = getattr(classifier, "score", None)
    if type(linear) is nn.Linear and is_causal(classifier.base_model):
        config = classifier.config.get_text_config()
        head = _head_of(linear, classifier.config)
        return reward_policy(
            classifier.base_model, head.eval(), shared_prefixes=shared_prefixes, ignored_end=config.pad_token_id
        )
    if is_causal(classifier.base_model):
        raise InputError(
            "a decoder whose classification head is not one linear map",
            where=str(folder),
            found=type(classifier).__name__,
            expected="a decoder with a `score` head, or an encoder",
        )
    last, linear = take_last_map(classifier)
    return WholeRowPolicy(classifier, _head_of(linear, classifier.config).eval(), last)


def _head_of(linear: nn.Linear, config: Any) -> PreferenceModel:
    weight = linear.weight.detach().float()
    bias = None if linear.bias is None else linear.bias.detach().float()
    if len(weight) > 2:
        names = tuple(str(config.id2label[index]) for index in range(len(weight)))
        head: PreferenceModel = MultiAttribute(weight.shape[1], names)
        head.load_state_dict({"head.weight": weight, "head.bias": torch.zeros(len(weight)) if bias is None else bias})
        logger.warning("a head with %d labels is read as attributes of equal weight", len(weight))
        return head
    if len(weight) == 2:
        logger.warning("a head with two labels is read as reward = logit 1 - logit 0")
        weight, bias = weight[1:] - weight[:1], None if bias is None else bias[1:] - bias[:1]
    return _scalar(weight, bias, weight.shape[1])


def _scalar(weight: Tensor, bias: Tensor | None, size: int) -> BradleyTerry:
    head = BradleyTerry(size, bias=bias is not None)
    head.load_state_dict({"score.weight": weight} | ({} if bias is None else {"score.bias": bias}))
    return head


def _merged(model: nn.Module) -> Any:
    """The plain backbone, adapters merged in a copy so that training can go on."""
    if hasattr(model, "merge_and_unload"):
        return copy.deepcopy(model).merge_and_unload()  # type: ignore[operator]
    return model


def _as_classifier(backbone: Any, head: PreferenceModel) -> Any:
    """A sequence-classification model of the same weights, or None where that form does not fit."""
    if not isinstance(head, BradleyTerry) or head.layers or head.bias:
        return None
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(backbone.config)
    config.num_labels = 1
    config._attn_implementation = "eager"
    try:
        with torch.device("meta"):
            classifier = AutoModelForSequenceClassification.from_config(config)
    except ValueError:
        return None
    if type(getattr(classifier, "score", None)) is not nn.Linear:
        return None
    setattr(classifier, classifier.base_model_prefix, backbone)
    score = nn.Linear(head.hidden_size, 1, bias=False)
    score.weight = nn.Parameter(head.score.weight.detach().clone())
    # The head stays float32 in training; in the saved model it has the backbone's type, as transformers loads it.
    classifier.score = score.to(next(backbone.parameters()).dtype)
    return classifier


def _as_encoder_classifier(backbone: Any, head: PreferenceModel, last: str) -> Any:
    """The classifier with a linear head in its place; another head leaves a map of zeros there, and stands beside."""
    backbone = copy.deepcopy(backbone)
    if isinstance(head, BradleyTerry) and not head.layers:
        return put_last_map(backbone, last, head.score.weight, head.score.bias)
    return put_last_map(backbone, last, torch.zeros(1, head.options()["hidden_size"]), None)


def _with_own_pad(tokenizer: Any, model: Any) -> Any:
    """The tokenizer with a pad token that ends no text, and the model told of it.

    transformers pools the rightmost token that is not the pad token: with pad = end it would pool the token before
    the end, and score differently from how the head was trained.
    """
    tokenizer = copy.deepcopy(tokenizer)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id != tokenizer.eos_token_id:
            tokenizer.pad_token = tokenizer.unk_token
        else:
            tokenizer.add_special_tokens({"pad_token": "<|assent_pad|>"})
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.pad_token_id >= rows:
        model.resize_token_embeddings(tokenizer.pad_token_id + 1, mean_resizing=False)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return tokenizer
