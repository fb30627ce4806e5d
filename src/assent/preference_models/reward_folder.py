"""Reward policies on disk: written so that plain transformers loads what fits, read from anybody's folder.

A scalar linear head on a decoder is a standard sequence-classification folder with one label, and
`AutoModelForSequenceClassification` gives the same scores. Every folder also holds `preference_model.json`; models
of other kinds keep the backbone as a plain model and their head beside it.
"""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from assent.errors import InputError
from assent.likelihood.loading import without_dropout
from assent.likelihood.output_head import base_model
from assent.preference_models.bradley_terry import BradleyTerry
from assent.preference_models.frozen import FORMAT, read_description
from assent.preference_models.model import PreferenceModel
from assent.preference_models.multi_attribute import MultiAttribute
from assent.preference_models.registry import DataFacts, Spec, build_preference_model, saved_spec
from assent.preference_models.reward_policy import RewardPolicy, reward_policy

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

    backbone = AutoModel.from_pretrained(path, use_safetensors=True, **loading)
    if not dropout:
        without_dropout(backbone)
    hidden = hidden_size(backbone)
    head = build_preference_model(spec, hidden, None, facts)
    if peft is not None:
        from peft import get_peft_model

        backbone = get_peft_model(backbone, peft)
        if not dropout:
            without_dropout(backbone)
    return reward_policy(backbone, head, shared_prefixes=shared_prefixes)


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
    if tokenizer is not None:
        # Training may go on after a checkpoint, with embeddings of the old size: only a copy gets another pad token.
        backbone = copy.deepcopy(backbone)
        _with_own_pad(tokenizer, backbone).save_pretrained(folder)
    classifier = _as_classifier(backbone, head)
    (backbone if classifier is None else classifier).save_pretrained(folder)
    if classifier is None:
        save_file({name: value.contiguous() for name, value in head.state_dict().items()}, folder / HEAD)
    description = {
        "format": FORMAT,
        "kind": "backbone",
        **saved_spec(head),
        "head": "score" if classifier is not None else HEAD,
        "ignored_end": policy.ignored_end,
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


def _foreign(folder: Path, shared_prefixes: bool, **loading: Any) -> RewardPolicy:
    """A head that plain transformers or another trainer wrote, pooled as transformers pools it."""
    from transformers import AutoModelForSequenceClassification

    classifier = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, **loading).eval()
    linear = getattr(classifier, "score", None)
    if type(linear) is not nn.Linear:
        raise InputError(
            "a classification head that is not one linear map on a decoder",
            where=str(folder),
            found=type(classifier).__name__,
            expected="a decoder with a `score` head",
        )
    config = classifier.config.get_text_config()
    head = _head_of(linear, classifier.config)
    return reward_policy(
        classifier.base_model, head.eval(), shared_prefixes=shared_prefixes, ignored_end=config.pad_token_id
    )


def _head_of(linear: nn.Linear, config: Any) -> PreferenceModel:
    weight = linear.weight.detach().float()
    bias = torch.zeros(len(weight)) if linear.bias is None else linear.bias.detach().float()
    if len(weight) > 2:
        names = tuple(str(config.id2label[index]) for index in range(len(weight)))
        head: PreferenceModel = MultiAttribute(weight.shape[1], names)
        head.load_state_dict({"head.weight": weight, "head.bias": bias})
        logger.warning("a head with %d labels is read as attributes of equal weight", len(weight))
        return head
    head = BradleyTerry(weight.shape[1])
    if len(weight) == 2:
        # A constant moves no comparison, so the difference of the biases is left out.
        logger.warning("a head with two labels is read as reward = logit 1 - logit 0, without its bias")
        weight = weight[1:] - weight[:1]
    head.load_state_dict({"score.weight": weight})
    return head


def _merged(model: nn.Module) -> Any:
    """The plain backbone, adapters merged in a copy so that training can go on."""
    if hasattr(model, "merge_and_unload"):
        return copy.deepcopy(model).merge_and_unload()  # type: ignore[operator]
    return model


def _as_classifier(backbone: Any, head: PreferenceModel) -> Any:
    """A sequence-classification model of the same weights, or None where that form does not fit."""
    if not isinstance(head, BradleyTerry) or head.layers:
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
