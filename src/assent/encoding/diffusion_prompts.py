"""Prompts alone, as a diffusion policy's sampler reads them: for training on what the policy itself draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import torch

from assent.encoding.diffusion import Conditioner, encode_prompts, prompt_key
from assent.encoding.encoded import EncodedCandidate, EncodedComparison
from assent.errors import InputError
from assent.work.store import ArrayStore


class DiffusionPrompts(Sequence[EncodedComparison]):
    """Distinct prompts with their conditioning; each is a comparison with one candidate that nobody judged.

    Args:
        prompts: texts; repetitions are left out.
        encoder: of the model that will be trained.
        store: that keeps the conditioning.
        progress: called with (done, total) while encoding.
    """

    def __init__(
        self,
        prompts: Sequence[str],
        encoder: Conditioner,
        store: ArrayStore,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.prompts, self.store = list(dict.fromkeys(prompts)), store
        self._keys = [prompt_key(encoder, text) for text in self.prompts]
        self.encoded = encode_prompts(dict(zip(self._keys, self.prompts, strict=True)), encoder, store, progress)

    def __len__(self) -> int:
        return len(self.prompts)

    @overload
    def __getitem__(self, index: int) -> EncodedComparison: ...
    @overload
    def __getitem__(self, index: slice) -> list[EncodedComparison]: ...
    def __getitem__(self, index: int | slice) -> EncodedComparison | list[EncodedComparison]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        key, text = self._keys[index], self.prompts[index]
        arrays = self.store.get(bytes.fromhex(key))
        if arrays is None:
            raise InputError(
                "a stored embedding is gone or damaged", where=str(self.store.folder), remedy="Run again"
            )
        media = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        candidate = EncodedCandidate((), (), 0, media, (key,))
        return EncodedComparison(key[:12], (candidate,), (float("nan"),), (-1,), (None,), extra={"prompt": text})
