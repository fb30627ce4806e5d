"""Pictures and prompts as a diffusion policy reads them: latents and conditioning, each computed once for ever.

A picture becomes the latents of the model's VAE (the mode of its posterior, scaled and shifted as the VAE's
configuration says), or pixels where the model has none; a prompt becomes whatever the model's text encoders make of
it. Both are kept in a content-keyed store, so that an epoch, a run or a sweep encodes nothing twice. Keeping latents
fixes the crop and turns flips off: a picture is resized to the resolution and cut from its middle; or `variants` of
each picture are kept, the further ones cut elsewhere along its longer side and perhaps mirrored, all pictures of a
comparison alike, and a step takes one of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

import torch
from PIL.Image import Image
from torch import Tensor

from assent.comparison import Candidate, Comparison, Media, Message, Prompt
from assent.encoding.encoded import EncodedCandidate, EncodedComparison
from assent.encoding.images import image_key, load_image
from assent.encoding.views import MIDDLE, View, view_of
from assent.errors import InputError, RunError
from assent.work.store import ArrayStore

LATENTS = "latents"
VARIANTS = "latents_variants"
"""Further variants of the latents, [variants - 1, ...]; the policy takes one of them all in a step."""
ENCODED_AT_ONCE = 8


class ImageCodec(Protocol):
    """What turns pictures into the tensors that are denoised."""

    key: str
    """Content hash of everything that decides the result: weights, resolution."""

    def encode(self, pictures: Sequence[Image]) -> Tensor:
        """[N, C, H, W], float32."""


class Conditioner(Protocol):
    """What turns prompts into a denoiser's conditioning."""

    key: str
    """Content hash of everything that decides the result."""

    def encode(self, prompts: Sequence[str]) -> list[dict[str, Tensor]]:
        """One set of named tensors for each prompt."""


@dataclass(frozen=True)
class Encoders:
    """The encoders of a model, and the store of what they made."""

    images: ImageCodec
    prompts: Conditioner
    store: ArrayStore


@dataclass(frozen=True)
class _Picture:
    """A picture to encode and the first record it stands in, which an error names."""

    media: Media
    record: str
    view: View = MIDDLE


class DiffusionComparisons(Sequence[EncodedComparison]):
    """Comparisons of pictures, encoded; tensors are read from the store when one is asked for.

    Args:
        comparisons: each candidate's completion is an image; prompts may differ between candidates.
        encoders: of the model that will be trained.
        progress: called with (done, total) while encoding.
        variants: how many cuts of each picture are kept.

    Raises:
        InputError: a candidate that is no picture, or one that cannot be read, naming the record.
    """

    def __init__(
        self,
        comparisons: Sequence[Comparison],
        encoders: Encoders,
        progress: Callable[[int, int], None] | None = None,
        variants: int = 1,
    ) -> None:
        self.comparisons = list(comparisons)
        self.encoders, self.store = encoders, encoders.store
        self._columns = [comparison.ordered() for comparison in self.comparisons]
        images: dict[str, _Picture] = {}
        prompts: dict[str, str] = {}
        self._keys: list[list[tuple[tuple[str, ...], str]]] = []
        for place, row in enumerate(self._columns):
            keys = []
            views = [view_of(self.comparisons[place].key, number) for number in range(variants)]
            for candidate in row:
                text = prompt_text(self.comparisons[place].prompt_of(candidate), self._name(place))
                prompt = prompt_key(encoders.prompts, text)
                prompts[prompt] = text
                cuts = []
                for view in views:
                    cuts.append(self._image_key(candidate, place, view))
                    picture = _Picture(_media(candidate, self._name(place)), self._name(place), view)
                    images.setdefault(cuts[-1], picture)
                keys.append((tuple(cuts), prompt))
            self._keys.append(keys)
        self._sources: dict[str, _Picture | str] = {**images, **prompts}
        self.encoded = self._fill(images, prompts, encoders, progress)

    def __len__(self) -> int:
        return len(self.comparisons)

    @overload
    def __getitem__(self, index: int) -> EncodedComparison: ...
    @overload
    def __getitem__(self, index: slice) -> list[EncodedComparison]: ...
    def __getitem__(self, index: int | slice) -> EncodedComparison | list[EncodedComparison]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._one(range(len(self))[index])

    def __iter__(self) -> Iterator[EncodedComparison]:
        return (self[place] for place in range(len(self)))

    def _one(self, place: int) -> EncodedComparison:
        comparison, columns = self.comparisons[place], self._columns[place]
        candidates = tuple(
            EncodedCandidate((), (), 0, {**self._latents(images), **self._read(prompt)}, (*images, prompt))
            for images, prompt in self._keys[place]
        )
        names = sorted({name for candidate in columns for name in candidate.scores})
        nan = float("nan")
        return EncodedComparison(
            id=self._name(place),
            candidates=candidates,
            scores=tuple(nan if c.score is None else c.score for c in columns),
            labels=tuple(-1 if c.label is None else int(c.label) for c in columns),
            roles=tuple(c.role for c in columns),
            dimensions={name: tuple(c.scores.get(name, nan) for c in columns) for name in names},
            confidence=_turned(comparison, columns),
            weight=comparison.weight,
            annotator=comparison.annotator,
            group=comparison.group,
            context=comparison.context,
        )

    def _latents(self, keys: Sequence[str]) -> dict[str, Tensor]:
        first, *others = (self._read(key)[LATENTS] for key in keys)
        return {LATENTS: first, **({VARIANTS: torch.stack(others)} if others else {})}

    def _read(self, key: str) -> dict[str, Tensor]:
        arrays = self.store.get(bytes.fromhex(key))
        if arrays is None:
            # The index knew of it, but the record is damaged: it is made once more, in a newer shard.
            source = self._sources[key]
            pictures = [(key, source)] if isinstance(source, _Picture) else []
            texts = [(key, source)] if isinstance(source, str) else []
            self._encode(pictures, texts, self.encoders, None)
            self.store.close_shard()
            arrays = self.store.get(bytes.fromhex(key))
        if arrays is None:
            raise RunError(f"the store in {self.store.folder} does not keep what is written to it")
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def _fill(
        self,
        images: dict[str, _Picture],
        prompts: dict[str, str],
        encoders: Encoders,
        progress: Callable[[int, int], None] | None,
    ) -> int:
        """Encodes what the store lacks and returns how much that was."""
        wanted: list[tuple[str, _Picture | str]] = [*images.items(), *prompts.items()]
        present = self.store.contains([bytes.fromhex(key) for key, _ in wanted])
        missing = [item for item, there in zip(wanted, present, strict=True) if not there]
        pictures = [(key, item) for key, item in missing if isinstance(item, _Picture)]
        texts = [(key, item) for key, item in missing if isinstance(item, str)]
        try:
            self._encode(pictures, texts, encoders, progress)
        finally:
            # Ends the shard: what was encoded is kept, and other runs see it.
            self.store.close_shard()
        return len(missing)

    def _encode(
        self,
        pictures: Sequence[tuple[str, _Picture]],
        texts: Sequence[tuple[str, str]],
        encoders: Encoders,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        done, total = 0, len(pictures) + len(texts)
        for start in range(0, len(pictures), ENCODED_AT_ONCE):
            part = pictures[start : start + ENCODED_AT_ONCE]
            latents = encoders.images.encode([one.view.of(load_image(one.media, one.record)) for _, one in part])
            for (key, _), latent in zip(part, latents, strict=True):
                self.store.put(bytes.fromhex(key), {LATENTS: latent.float().cpu().numpy()})
            done = _told(progress, done + len(part), total)
        _encode_texts(texts, encoders.prompts, self.store, lambda more: _told(progress, done + more, total))

    def _image_key(self, candidate: Candidate, place: int, view: View) -> str:
        name = self._name(place)
        content = image_key(_media(candidate, name), name)
        return _key("image", self.encoders.images.key, content if view == MIDDLE else f"{content} {view}")

    def _name(self, place: int) -> str:
        return self.comparisons[place].key[:12]


def prompt_key(encoder: Conditioner, text: str) -> str:
    """Under what the conditioning of a prompt is kept, as hexadecimal."""
    return _key("prompt", encoder.key, text)


def encode_prompts(
    prompts: Mapping[str, str],
    encoder: Conditioner,
    store: ArrayStore,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Encodes the prompts (by key) that the store lacks and returns how many that were."""
    present = store.contains([bytes.fromhex(key) for key in prompts])
    missing = [item for item, there in zip(prompts.items(), present, strict=True) if not there]
    try:
        _encode_texts(missing, encoder, store, lambda done: _told(progress, done, len(missing)))
    finally:
        store.close_shard()
    return len(missing)


def _encode_texts(
    texts: Sequence[tuple[str, str]], encoder: Conditioner, store: ArrayStore, told: Callable[[int], object]
) -> None:
    for start in range(0, len(texts), ENCODED_AT_ONCE):
        part = texts[start : start + ENCODED_AT_ONCE]
        for (key, _), tensors in zip(part, encoder.encode([text for _, text in part]), strict=True):
            store.put(bytes.fromhex(key), {name: value.cpu().numpy() for name, value in tensors.items()})
        told(start + len(part))


def prompt_text(prompt: Prompt, where: str) -> str:
    """The prompt of a picture as plain text: a string, or the text of one user message."""
    if isinstance(prompt, str):
        return prompt
    texts = [_message_text(message) for message in prompt if message["role"] == "user"]
    if len(texts) != 1:
        raise InputError(
            "a picture has one prompt", where=where, field="prompt", found=f"{len(texts)} user messages", expected="1"
        )
    return texts[0]


def _message_text(message: Message) -> str:
    content: Any = message["content"]
    return content if isinstance(content, str) else " ".join(p["text"] for p in content if p["type"] == "text")


def _media(candidate: Candidate, where: str) -> Media:
    if not isinstance(candidate.completion, Media):
        raise InputError(
            "a diffusion model is aligned on pictures",
            where=where,
            field="completion",
            found=type(candidate.completion).__name__,
            expected="an image",
        )
    return candidate.completion


def _turned(comparison: Comparison, columns: Sequence[Candidate]) -> float | None:
    """P(column 0 beats column 1), which the order of the columns may have turned round."""
    given = comparison.confidence
    if given is None:
        return None
    return given if columns[0] is comparison.answers[0] else 1 - given


def _key(kind: str, encoder: str, content: str) -> str:
    return hashlib.sha256(f"{kind}\0{encoder}\0{content}".encode()).hexdigest()


def _told(progress: Callable[[int, int], None] | None, done: int, total: int) -> int:
    if progress:
        progress(done, total)
    return done
