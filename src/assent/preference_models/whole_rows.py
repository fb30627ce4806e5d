"""A preference model on a backbone that reads whole rows: encoders such as BERT, RoBERTa, DeBERTa and ModernBERT.

What the features of a row are is the architecture's own affair (the first token, a pooler, a mean, a dense layer):
they are what the last linear map of its `AutoModelForSequenceClassification` reads. That map is taken out, and a
preference model stands in its place; a linear Bradley-Terry head is put back in when the model is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.errors import InputError
from assent.likelihood.output_head import base_model, probe_tokens
from assent.likelihood.policy import Batch
from assent.preference_models.model import Features, PreferenceModel
from assent.preference_models.reward_policy import RewardPolicy
from assent.preference_models.text_pairs import TYPES

Row = tuple[tuple[int, ...], tuple[int, ...] | None]


class WholeRowPolicy(RewardPolicy):
    """A classifier without its last map, and a head; one padded row for each candidate.

    Args:
        model: a transformers sequence classifier with `nn.Identity` at `last`, in an adapter's wrapper or not.
        head: the preference model.
        last: where its last map was.
    """

    def __init__(self, model: nn.Module, head: PreferenceModel, last: str) -> None:
        super().__init__(model, head, shared=False)
        self.last = last

    @property
    def route(self) -> str:
        """How rows are laid out, for logs and reports."""
        return "one row per candidate, read both ways, preference head"

    def cost(self, comparison: EncodedComparison) -> int:
        """Tokens of its rows, padded to the longest."""
        rows = self._rows(comparison)
        return len(rows) * max(len(ids) for ids, _ in rows)

    def collate(self, comparisons: Sequence[EncodedComparison]) -> Batch:
        """Right-padded rows; where the head reads prompts, each comparison's stands in front of its candidates."""
        width = max(len(comparison.candidates) for comparison in comparisons)
        mask = torch.zeros(len(comparisons), width, dtype=torch.bool)
        rows: list[Row] = []
        prompts: list[int] = []
        answers: list[int] = []
        owners: list[int] = []
        for index, comparison in enumerate(comparisons):
            count, found = len(comparison.candidates), self._rows(comparison)
            mask[index, :count] = True
            prompts += [len(rows)] * self.head.reads_prompt
            answers += range(len(rows) + len(found) - count, len(rows) + len(found))
            owners += range(index * width, index * width + count)
            rows += found
        named: dict[str, Any] = {"mask": mask, "owner": owners, "answers": answers, "prompts": prompts}
        return {**self._padded(rows), **{name: torch.as_tensor(value) for name, value in named.items()}}

    def features(self, batch: Batch) -> Features:
        """What the classifier's last map would have read."""
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", TYPES) if name in batch}
        states: Tensor = self.backbone(**inputs).logits
        states = states.to(next(self.head.parameters()).dtype)
        mask = batch["mask"]
        flat = states.new_zeros(mask.numel(), states.shape[1]).index_copy(0, batch["owner"], states[batch["answers"]])
        prompt = states[batch["prompts"]] if self.head.reads_prompt else None
        return Features(flat.view(*mask.shape, -1), mask, prompt)

    def _rows(self, comparison: EncodedComparison) -> list[Row]:
        candidates = comparison.candidates
        rows = [self._row(candidate) for candidate in candidates]
        if self.head.completion_only:
            # A text alone has the types of a first text.
            rows = [(_start(one) + one.ids[one.prompt_length :], None) for one in candidates]
        first = candidates[0]
        return [(first.ids[: first.prompt_length], None), *rows] if self.head.reads_prompt else rows

    def _row(self, candidate: EncodedCandidate) -> Row:
        types = candidate.media.get(TYPES)
        return candidate.ids, None if types is None else tuple(types)

    def _padded(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        longest = max(len(ids) for ids, _ in rows)
        # Some encoders count positions from the ids that are not the pad token.
        pad = base_model(self.backbone).config.pad_token_id or 0
        batch = {
            "input_ids": torch.tensor([[*ids, *[pad] * (longest - len(ids))] for ids, _ in rows]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows]),
        }
        if any(types for _, types in rows):
            filled = [[*(types or [0] * len(ids)), *[0] * (longest - len(ids))] for ids, types in rows]
            batch[TYPES] = torch.tensor(filled)
        return batch


def sees_both_ways(path: Path | str, **options: Any) -> bool:
    """Whether a folder's architecture is an encoder, said before its weights are read: one that fills in masks.

    Raises for an encoder-decoder, which reads one text and writes another.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(path, **options)
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            "an encoder-decoder cannot be a preference model's backbone",
            where=str(path),
            field="model",
            found=config.model_type,
            expected="a decoder or an encoder",
            remedy="Its encoder alone, saved as a model of its own, can serve as frozen features "
            "(`features: {encoder: <folder>}`)",
        )
    return type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)


def _start(candidate: EncodedCandidate) -> tuple[int, ...]:
    return candidate.ids[: min(1, candidate.prompt_length)]


@torch.no_grad()
def take_last_map(classifier: nn.Module) -> tuple[str, nn.Linear]:
    """Returns where a sequence classifier's last linear map was, and the map; `nn.Identity` stands there now.

    Found by running it: the map is the one whose output is the logits.
    """
    ids = torch.cat([probe_tokens(classifier, 8), probe_tokens(classifier, 8, 8)])
    seen: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: seen.__setitem__(name, output))
        for name, module in classifier.named_modules()
        if type(module) is nn.Linear
    ]
    modes = {module: module.training for module in classifier.modules()}
    classifier.eval()
    try:
        logits = classifier(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    found = [name for name, output in seen.items() if output.shape == logits.shape and torch.equal(output, logits)]
    if not found:
        raise InputError(
            "a classifier that does not end in one linear map",
            found=type(classifier).__name__,
            expected="logits that a linear map makes of a row's features",
        )
    linear = classifier.get_submodule(found[-1])
    assert isinstance(linear, nn.Linear)
    classifier.set_submodule(found[-1], nn.Identity())
    return found[-1], linear


def put_last_map(classifier: Any, last: str, weight: Tensor, bias: Tensor | None) -> Any:
    """The classifier with a linear map in its place again, and as many labels as the map has outputs."""
    linear = nn.Linear(weight.shape[1], len(weight))
    linear.weight = nn.Parameter(weight.detach().clone())
    linear.bias = nn.Parameter(torch.zeros(len(weight)) if bias is None else bias.detach().clone())
    classifier.set_submodule(last, linear.to(next(classifier.parameters()).dtype))
    classifier.config.num_labels = len(weight)
    return classifier
