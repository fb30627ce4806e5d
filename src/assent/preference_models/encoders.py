"""Text to frozen vectors: hashed n-grams that need no model, or a folder of sentence-transformers or transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from assent.comparison import content_key
from assent.errors import InputError

Progress = Callable[[int, int], None]
"""Called with how many of how many texts are done."""


class TextEncoder(Protocol):
    """Maps texts to vectors that do not change while a head is trained on them."""

    @property
    def size(self) -> int:
        """H, the length of a vector."""

    def fit(self, texts: Sequence[str]) -> None:
        """Learns what the encoder takes from the training texts; nothing where its weights are given."""

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Tensor:
        """[N, H] float32, one vector for each text, the same whatever else is in the list."""

    def save(self, folder: Path) -> None:
        """Writes all that `load_encoder` needs."""


class HashedNgrams:
    """Word 1-2-grams and character 3-5-grams, hashed, weighted by tf-idf, reduced by truncated SVD.

    No model, no vocabulary, no network: a baseline that runs anywhere, and whose numbers say so. Term counts are
    damped (1 + log); with `unit_length` a text's vector says what it is about and not how long it is.

    Args:
        size: H, how many components are kept.
        buckets: hash buckets for words, and as many for characters.
        unit_length: whether vectors are scaled to length 1 before the reduction.
        seed: seed of the randomised SVD.
    """

    def __init__(self, size: int = 128, buckets: int = 2**14, unit_length: bool = True, seed: int = 0) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        if size < 1 or buckets < 2:
            raise InputError("a size and buckets of at least 1 and 2", field="features", found=f"{size}, {buckets}")
        self.wanted, self.buckets, self.unit_length, self.seed = size, buckets, unit_length, seed
        shared: dict[str, Any] = {"n_features": buckets, "norm": None, "alternate_sign": False}
        self._words = HashingVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **shared)
        self._characters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **shared)
        self.idf: Tensor | None = None
        self.components: Tensor | None = None

    @property
    def size(self) -> int:
        """H; fewer than asked for where the training texts span less."""
        return self.wanted if self.components is None else self.components.shape[0]

    def fit(self, texts: Sequence[str]) -> None:
        """Document frequencies and principal directions of the texts; equal texts count once."""
        from sklearn.decomposition import TruncatedSVD

        distinct = sorted(set(texts))
        if len(distinct) < 2:
            raise InputError("n-gram features need at least two different texts", found=str(len(distinct)))
        counts = self._counts(distinct)
        present = np.asarray((counts > 0).sum(axis=0)).ravel()
        self.idf = torch.from_numpy(np.log((1 + len(distinct)) / (1 + present)) + 1).float()
        self.components = None
        weighted = self._weighted(counts)
        size = min(self.wanted, min(weighted.shape) - 1)
        reduction = TruncatedSVD(max(size, 1), random_state=self.seed, n_iter=3)
        reduction.fit(weighted)
        self.components = torch.from_numpy(np.ascontiguousarray(reduction.components_)).float()

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Tensor:
        """[N, H]."""
        if self.components is None:
            raise InputError("the n-gram features were not fitted to any texts")
        parts = []
        for start in range(0, len(texts), 512):
            weighted = self._weighted(self._counts(texts[start : start + 512]))
            parts.append(torch.from_numpy(weighted @ self.components.numpy().T).float())
            if progress is not None:
                progress(min(start + 512, len(texts)), len(texts))
        return torch.cat(parts) if parts else torch.empty(0, self.size)

    def _counts(self, texts: Sequence[str]) -> Any:
        from scipy.sparse import hstack

        return hstack([self._words.transform(texts), self._characters.transform(texts)]).tocsr()

    def _weighted(self, counts: Any) -> Any:
        from sklearn.preprocessing import normalize

        assert self.idf is not None
        weighted = counts.astype(np.float32)
        weighted.data = 1 + np.log(weighted.data)
        weighted = weighted.multiply(self.idf.numpy()).tocsr()
        return normalize(weighted) if self.unit_length else weighted

    def save(self, folder: Path) -> None:
        """Weights in safetensors, options beside them."""
        if self.idf is None or self.components is None:
            raise InputError("n-gram features that were not fitted cannot be saved")
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"idf": self.idf, "components": self.components}, folder / "ngrams.safetensors")
        options = {
            "encoder": "hashed_ngrams",
            "size": self.wanted,
            "buckets": self.buckets,
            "unit_length": self.unit_length,
            "seed": self.seed,
        }
        (folder / "encoder.json").write_text(json.dumps(options, indent=1) + "\n")


class FolderEncoder:
    """A local folder of sentence-transformers, or of transformers (mean of the last hidden states).

    Args:
        path: the folder.
        max_length: longest text in tokens; longer ones lose their end.
        batch_tokens: padded tokens in one forward pass.
        cache: a file that keeps vectors by content, so that no text is embedded twice.
    """

    def __init__(
        self, path: Path | str, max_length: int = 512, batch_tokens: int = 8192, cache: Path | str | None = None
    ) -> None:
        self.path, self.max_length, self.batch_tokens = Path(path), max_length, batch_tokens
        if not (self.path / "config.json").exists() and not (self.path / "modules.json").exists():
            raise InputError(
                "not a model folder",
                field="features.encoder",
                found=str(path),
                expected="`hashed_ngrams`, or a folder with config.json (transformers) or modules.json "
                "(sentence-transformers)",
            )
        self._model: Any = None
        self._cache = None if cache is None else Path(cache)

    @property
    def size(self) -> int:
        """H, as the folder's model has it."""
        return int(self.encode(["size"]).shape[1])

    def fit(self, texts: Sequence[str]) -> None:
        """Nothing: the weights are given."""

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Tensor:
        """[N, H], from the cache where it has them."""
        from assent.preference_models.embedding_cache import EmbeddingCache

        if self._cache is None:
            return self._encode(texts, progress)
        with EmbeddingCache(self._cache, self.key) as cache:
            return cache.complete(texts, self._encode, progress)

    @property
    def key(self) -> str:
        """What decides the vectors: the weights' names, sizes and times, and the bound on length."""
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        return content_key(
            [
                self.max_length,
                [[str(f.relative_to(self.path)), f.stat().st_size, f.stat().st_mtime_ns] for f in files],
            ]
        )

    def _encode(self, texts: Sequence[str], progress: Progress | None) -> Tensor:
        if (self.path / "modules.json").exists():
            return self._sentence_vectors(texts)
        from assent.preference_models.rrr import mean_pooled

        model, tokenizer = self._loaded()
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors: dict[int, Tensor] = {}
        while order:
            width = min(len(texts[order[-1]]) // 2 + 8, self.max_length)
            count = max(1, self.batch_tokens // width)
            rows, order = order[-count:], order[:-count]
            batch = tokenizer(
                [texts[row] or " " for row in rows],
                padding=True,
                truncation=True,
                max_length=self.max_length,
                return_tensors="pt",
            )
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            with torch.no_grad():
                hidden = model(**inputs).last_hidden_state
            pooled = mean_pooled(hidden.float(), inputs["attention_mask"])
            vectors.update(zip(rows, pooled, strict=True))
            if progress is not None:
                progress(len(vectors), len(texts))
        return torch.stack([vectors[row] for row in range(len(texts))]) if texts else torch.empty(0, 0)

    def _loaded(self) -> tuple[Any, Any]:
        if self._model is None:
            from transformers import AutoModel, AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(self.path)
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            tokenizer.padding_side = "right"
            self._model = (AutoModel.from_pretrained(self.path, use_safetensors=True).eval(), tokenizer)
        return self._model  # type: ignore[no-any-return]

    def _sentence_vectors(self, texts: Sequence[str]) -> Tensor:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise InputError(
                "a sentence-transformers folder needs that package",
                where=str(self.path),
                remedy="pip install 'assent[embeddings]'",
            ) from None
        if self._model is None:
            self._model = SentenceTransformer(str(self.path))
        vectors = self._model.encode(list(texts), convert_to_tensor=True, show_progress_bar=False)
        return torch.as_tensor(vectors).float().cpu()

    def save(self, folder: Path) -> None:
        """Where the model is; its weights are not copied."""
        folder.mkdir(parents=True, exist_ok=True)
        options = {"encoder": str(self.path.resolve()), "max_length": self.max_length}
        (folder / "encoder.json").write_text(json.dumps(options, indent=1) + "\n")


def build_encoder(options: Mapping[str, Any]) -> TextEncoder:
    """The encoder of `features:` in a run file: `encoder: hashed_ngrams` or a folder, and its options."""
    given = dict(options)
    name = given.pop("encoder", "hashed_ngrams")
    make: Any = HashedNgrams if name == "hashed_ngrams" else (lambda **more: FolderEncoder(name, **more))
    try:
        encoder: TextEncoder = make(**given)
        return encoder
    except TypeError as error:
        raise InputError(str(error).split(".")[-1], field="features", found=", ".join(given)) from None


def load_encoder(folder: Path) -> TextEncoder:
    """The encoder that `save` wrote."""
    path = folder / "encoder.json"
    try:
        options = json.loads(path.read_text())
        encoder = build_encoder(options)
        if isinstance(encoder, HashedNgrams):
            weights = load_file(folder / "ngrams.safetensors")
            encoder.idf, encoder.components = weights["idf"], weights["components"]
        return encoder
    except (OSError, ValueError, KeyError) as error:
        raise InputError("not a saved text encoder", where=str(folder), found=str(error)) from None
