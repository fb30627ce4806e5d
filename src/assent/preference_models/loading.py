"""From what a user names to a scorer: a trained preference model, a reward head, a policy, a formula."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assent.encoding import CausalEncoder
from assent.errors import InputError
from assent.preference_models.aesthetic import AestheticScorer
from assent.preference_models.backbone import BackboneScorer, ImplicitScorer
from assent.preference_models.clip_score import ClipScorer
from assent.preference_models.encoders import build_encoder
from assent.preference_models.frozen import FrozenPreferenceModel, read_description
from assent.preference_models.image_text import load_image_text
from assent.preference_models.process import Process
from assent.preference_models.reward_folder import load_reward_policy
from assent.preference_models.rrr import RelevanceScorer
from assent.preference_models.scoring import Scorer
from assent.preference_models.stepwise import StepwiseScorer
from assent.preference_models.text_pairs import TextPairEncoder
from assent.preference_models.whole_rows import WholeRowPolicy

TWO_TOWERS = ("CLIPModel", "SiglipModel", "MetaClip2Model")
"""Architectures of pictures and texts in one space that a test loads and scores with."""


@dataclass(frozen=True)
class ScorerOptions:
    """How a scorer is made.

    Args:
        reference: the reference of a policy that is read as an implicit reward model.
        beta: scale of the implicit reward.
        max_length: longest candidate in tokens.
        truncate: what happens to longer ones.
        batch_tokens: tokens in one forward pass.
        chat_template: Jinja text, or `transcript` for base models.
        device: where the weights go; the accelerator where there is one.
        dtype: weights' type, such as bfloat16.
    """

    reference: str | None = None
    beta: float = 1.0
    max_length: int | None = None
    truncate: Literal["drop", "prompt_left", "completion_right"] = "prompt_left"
    batch_tokens: int = 16384
    chat_template: str | None = None
    device: str | None = None
    dtype: str | None = None


def open_scorer(model: str, options: ScorerOptions = ScorerOptions()) -> Scorer:
    """The scorer of a model folder, or of `rrr:<encoder folder>`.

    A folder is a preference model trained here, a sequence-classification head on a decoder or an encoder, a model
    of pictures and texts (CLIP, PickScore, HPS, SigLIP), an aesthetic head, or a causal language model, which is
    read as an implicit reward model (with `reference`, or by its mean log-probability).
    """
    if model == "rrr" or model.startswith("rrr:"):
        name = model.partition(":")[2]
        if not name or name == "hashed_ngrams":
            raise InputError(
                "the relevance reward needs a trained text encoder", found=model, expected="rrr:<encoder folder>"
            )
        return RelevanceScorer(build_encoder({"encoder": name}).encode)
    folder = Path(model)
    if not folder.is_dir():
        raise InputError("no such model folder", where=model, expected="a folder, or rrr:<encoder folder>")
    scorer = _of_folder(folder, options)
    head = getattr(scorer, "head", None) or getattr(getattr(scorer, "policy", None), "head", None)
    return StepwiseScorer(scorer, head) if isinstance(head, Process) else scorer


def _of_folder(folder: Path, options: ScorerOptions) -> Scorer:
    kind = read_description(folder).get("kind") if (folder / "preference_model.json").exists() else None
    if kind == "frozen":
        return FrozenPreferenceModel.from_pretrained(folder)
    if kind == "aesthetic":
        return AestheticScorer.from_pretrained(folder).to(_device(options))
    architecture = _architecture(folder)
    if architecture in TWO_TOWERS:
        return ClipScorer(load_image_text(folder).to(_device(options)), folder.name)
    if (folder / "preference_model.json").exists() or architecture.endswith("ForSequenceClassification"):
        policy = load_reward_policy(folder, **_loading(options)).to(_device(options))
        reading = TextPairEncoder if isinstance(policy, WholeRowPolicy) else CausalEncoder
        return BackboneScorer(policy, _encoder(folder, options, reading), options.batch_tokens, folder.name)
    from transformers import AutoModelForCausalLM

    from assent.likelihood.build_policy import build_policy

    def language_model(path: Path | str) -> Any:
        model = AutoModelForCausalLM.from_pretrained(path, use_safetensors=True, **_loading(options))
        return build_policy(model.to(_device(options)))

    reference = None if options.reference is None else language_model(options.reference)
    return ImplicitScorer(
        language_model(folder),
        _encoder(folder, options),
        reference,
        options.beta,
        batch_tokens=options.batch_tokens,
        name=folder.name,
    )


def _architecture(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text())
        return str((config.get("architectures") or [""])[0])
    except (OSError, ValueError) as error:
        raise InputError("not a model folder", where=str(folder), found=str(error)) from None


def _encoder(folder: Path, options: ScorerOptions, reading: type[CausalEncoder] = CausalEncoder) -> CausalEncoder:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return reading(
        tokenizer,
        max_length=options.max_length,
        truncate=options.truncate,
        chat_template=options.chat_template,
    )


def _loading(options: ScorerOptions) -> dict[str, Any]:
    return {} if options.dtype is None else {"dtype": options.dtype}


def _device(options: ScorerOptions) -> str:
    import torch

    return options.device or ("cuda" if torch.cuda.is_available() else "cpu")
