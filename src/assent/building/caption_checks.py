"""Whether an edited caption is worth learning from: really false, a small change, and visible to the text encoder.

The checks are ours. An edit is refused that is equal to the caption, that rewords only, that changes more than half
of the words, that is another caption of the same picture (and so true), that the text encoder would cut off, or whose
embedding is as good as the caption's (the encoder cannot see it) or unlike it (too easy to learn anything from).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize

from assent.comparison import Media
from assent.errors import InputError

STOP_WORDS = frozenset(
    ("a", "an", "the", "of", "and", "or", "is", "are", "was", "were", "be", "with", "to", "for", "it", "its", "this",
     "that", "there", "at", "by", "as")
)  # fmt: skip
"""Words whose change alone changes no meaning; places (in, on, under) are none of them."""
WORD = re.compile(r"\w+")
NEAREST, FARTHEST = 0.995, 0.3
"""Cosines of text embeddings between which an edit must lie."""
AT_ONCE = 64

Cosines = Callable[[Sequence[str], Sequence[str]], list[float]]
"""From captions and their edits to the cosine of each pair's embeddings."""


@dataclass(frozen=True)
class CaptionChecks:
    """What a text encoder has to say.

    Args:
        seen: what it reads of a caption (its token ids, cut to their length); None: everything.
        cosines: how near captions and edits are in its space; None: not asked.
        known: words of the captions of each picture, where the data are edited in parts; None: those of the part.
        nearest: cosine above which it cannot tell an edit from the caption.
        farthest: cosine below which an edit is trivial.
    """

    seen: Callable[[str], Hashable] | None = None
    cosines: Cosines | None = None
    known: Mapping[Media, Collection[tuple[str, ...]]] | None = None
    nearest: float = NEAREST
    farthest: float = FARTHEST

    def by_distance(self, captions: Sequence[str], edits: Sequence[str]) -> list[str | None]:
        """Why each edit is refused for its embedding, or None."""
        if self.cosines is None or not captions:
            return [None] * len(captions)
        return [self._by_cosine(cosine) for cosine in self.cosines(captions, edits)]

    def _by_cosine(self, cosine: float) -> str | None:
        if cosine > self.nearest:
            return "the text encoder cannot tell it from the caption"
        return "too far from the caption" if cosine < self.farthest else None


def rejection(
    caption: str, edited: str, seen: Callable[[str], Hashable] | None = None, largest_change: float = 0.5
) -> str | None:
    """Why an edit is refused for its words, or None.

    Args:
        caption: the picture's own.
        edited: the edit.
        seen: what a text encoder reads of a caption; None: everything.
        largest_change: share of the longer caption's words that may change.
    """
    before, after = words(caption), words(edited)
    if not after or before == after:
        return "equal to the caption"
    if Counter(w for w in before if w not in STOP_WORDS) == Counter(w for w in after if w not in STOP_WORDS):
        return "only reworded"
    kept = sum((Counter(before) & Counter(after)).values())
    if 1 - kept / max(len(before), len(after)) > largest_change:
        return "changes more than half of the words"
    if seen is not None and seen(caption) == seen(edited):
        return "beyond what the text encoder reads"
    return None


def words(caption: str) -> list[str]:
    """The words of a caption in lower case."""
    return [word.lower() for word in WORD.findall(caption)]


class TextEncoder:
    """A CLIP-like text encoder as the judge of edits.

    Args:
        tokenizer: cuts captions to its `model_max_length`.
        model: from token ids to a pooled embedding.
    """

    def __init__(self, tokenizer: Any, model: torch.nn.Module) -> None:
        self.tokenizer, self.model = tokenizer, model.eval()

    def seen(self, caption: str) -> tuple[int, ...]:
        """The token ids that are read of a caption."""
        return tuple(self.tokenizer(caption, truncation=True)["input_ids"])

    @torch.no_grad()
    def cosines(self, captions: Sequence[str], edits: Sequence[str]) -> list[float]:
        """The cosine of each caption with its edit."""
        found: list[float] = []
        for start in range(0, len(captions), AT_ONCE):
            first = self._embedded(captions[start : start + AT_ONCE])
            second = self._embedded(edits[start : start + AT_ONCE])
            found += (first * second).sum(dim=-1).tolist()
        return found

    def _embedded(self, texts: Sequence[str]) -> torch.Tensor:
        batch = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
        model: Any = self.model
        output = model.get_text_features(**inputs) if hasattr(model, "get_text_features") else model(**inputs)
        pooled = next(
            value
            for value in (getattr(output, "text_embeds", None), getattr(output, "pooler_output", None), output)
            if value is not None
        )
        return normalize(pooled.float(), dim=-1)


def open_text_encoder(folder: Path) -> TextEncoder:
    """The text encoder of a CLIP-like folder, or the first one of a diffusers pipeline.

    Raises:
        InputError: there is none.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModelWithProjection

    pipeline = (folder / "model_index.json").is_file()
    weights, words_of = (folder / "text_encoder", folder / "tokenizer") if pipeline else (folder, folder)
    if not (weights / "config.json").is_file():
        raise InputError(
            "no text encoder in this folder",
            where=str(folder),
            field="--text-encoder",
            expected="a folder of CLIP or its text tower, or of a diffusers pipeline",
        )
    try:
        named = AutoConfig.from_pretrained(weights).architectures or []
        cls = CLIPTextModelWithProjection if "CLIPTextModelWithProjection" in named else AutoModel
        model = cls.from_pretrained(weights, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(words_of)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            "the text encoder cannot be loaded", where=str(folder), found=" ".join(str(error).split())[:300]
        ) from error
    told = getattr(model.config, "text_config", model.config)
    if tokenizer.model_max_length > 1_000_000:
        # A tokenizer that was saved without its length; the positions of the model are what there is.
        tokenizer.model_max_length = int(told.max_position_embeddings)
    return TextEncoder(tokenizer, model)
