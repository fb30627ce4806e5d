"""Token ids of rendered candidates, from few calls of the tokenizer over many texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from assent.encoding.encoded import COMPLETION, UNSCORED
from assent.encoding.rendering import Rendered
from assent.errors import InputError

Ids = tuple[int, ...]
Offsets = Sequence[tuple[int, int]]


class TextTokens:
    """The tokens of prompts and completions; `prepare` reads many texts at once, `pair` looks them up."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        # One int object for each id, shared by all records: a list of them costs a pointer, not 28 bytes.
        # Vocabularies may have gaps, so the largest id counts, not their number.
        self._shared = list(range(max(tokenizer.get_vocab().values(), default=-1) + 1))
        self._ids: dict[str, Ids] = {}
        self._offsets: dict[str, Offsets] = {}

    def prepare(self, texts: Sequence[Rendered]) -> None:
        """Tokenises the prompts and the whole texts of these candidates."""
        with_places = {_whole(text) for text in texts if not _one_span(text)}
        plain = dict.fromkeys(t for text in texts for t in (text.prompt, _whole(text)) if t not in with_places)
        self._read(list(plain), places=False)
        self._read(list(with_places), places=True)

    def forget(self) -> None:
        """Lets go of what was prepared."""
        self._ids.clear()
        self._offsets.clear()

    def pair(self, text: Rendered) -> tuple[Ids, Ids, bool]:
        """(prompt ids with BOS, completion ids without end token, whether the two would merge)."""
        prompt, whole = self._ids[text.prompt], self._ids[_whole(text)]
        merging = whole[: len(prompt)] != prompt
        completion = self._apart(text.completion) if merging else whole[len(prompt) :]
        return self._with_start(text, prompt), completion, merging

    def scored(self, text: Rendered, completion: Ids) -> tuple[int, ...]:
        """For each completion id, COMPLETION if it starts within a scored turn, else UNSCORED."""
        if _one_span(text):
            return (COMPLETION,) * len(completion)
        whole = self._offsets[_whole(text)]
        places: Offsets = whole[len(whole) - len(completion) :]
        shift = len(text.prompt)
        if self._ids[_whole(text)][-len(completion) :] != completion:
            places, shift = self._apart_places(text.completion), 0
        return tuple(
            COMPLETION if any(start <= at - shift < end for start, end in text.turns) else UNSCORED
            for at, _ in places
        )

    def control(self, text: str) -> bool:
        """Whether a text of the data contains one of the tokenizer's control tokens."""
        return bool(self._controls and self._controls.search(text))

    # -- the tokenizer

    @cached_property
    def _controls(self) -> re.Pattern[str] | None:
        special = [re.escape(str(t)) for t in self.tokenizer.added_tokens_decoder.values() if t.special]
        return re.compile("|".join(special)) if special else None

    @cached_property
    def _adds_bos(self) -> bool:
        """Whether the tokenizer itself puts BOS in front of a text."""
        bos = self.tokenizer.bos_token_id
        return bos is not None and self.tokenizer("a").input_ids[:1] == [bos]

    def _with_start(self, text: Rendered, prompt: Ids) -> Ids:
        bos = self.tokenizer.bos_token_id
        if bos is None:
            return prompt
        starts = 0
        while prompt[starts : starts + 1] == (bos,):
            starts += 1
        if starts > 1:
            return prompt[starts - 1 :]
        return (bos, *prompt) if not starts and self._adds_bos and not text.templated else prompt

    def _read(self, texts: list[str], places: bool) -> None:
        if not texts:
            return
        if places and not self.tokenizer.is_fast:
            raise InputError(
                "conversations with several turns need a fast tokenizer, to find the turns among the tokens",
                found=type(self.tokenizer).__name__,
                remedy="Convert the tokenizer, or score single answers",
            )
        out = self.tokenizer(
            texts,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=places,
            verbose=False,
        )
        share = self._shared.__getitem__
        for text, ids in zip(texts, out["input_ids"], strict=True):
            self._ids[text] = tuple(map(share, ids))
        if places:
            self._offsets.update(zip(texts, out["offset_mapping"], strict=True))

    @cached_property
    def _anchor(self) -> str:
        """A text in front of which nothing merges: without it some tokenizers put a space before a word."""
        special = [str(t) for t in self.tokenizer.added_tokens_decoder.values() if t.special]
        for anchor in [*special[:1], "\n"]:
            before, both = self._plain(anchor), self._plain(f"{anchor}cd")
            after = both[len(before) :]
            # Decoders hide such a space, so the token itself is looked at.
            spaced = str(self.tokenizer.convert_ids_to_tokens(after)[0]).startswith("\u2581") if after else True
            if both[: len(before)] == before and not spaced and self.tokenizer.decode(after) == "cd":
                return anchor
        return ""

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _apart(self, completion: str) -> Ids:
        """The ids of a completion by itself."""
        skip = len(self._plain(self._anchor)) if self._anchor else 0
        return tuple(self._plain(self._anchor + completion)[skip:])

    def _apart_places(self, completion: str) -> Offsets:
        """The offsets of the same ids, counted from the completion's start."""
        skip = len(self._plain(self._anchor)) if self._anchor else 0
        text = self._anchor + completion
        places = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        shift = len(self._anchor)
        return [(start - shift, end - shift) for start, end in places["offset_mapping"][skip:]]


def _whole(text: Rendered) -> str:
    return text.prompt + text.completion


def _one_span(text: Rendered) -> bool:
    """Whether all of the completion is scored, so that no places are needed."""
    return text.turns == ((0, len(text.completion)),)
