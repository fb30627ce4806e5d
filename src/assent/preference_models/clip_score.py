"""How well pictures fit their captions by a model with an image and a text tower, as a scorer of comparisons.

Sources: Hessel et al. 2021, arXiv 2104.08718 (CLIPScore); Kirstain et al. 2023, arXiv 2305.01569 (PickScore); Wu et
al. 2023, arXiv 2306.09341 (HPS v2); Zhai et al. 2023, arXiv 2303.15343 (SigLIP's bias).

    cosine     = cos(image, text)
    reward     = exp(logit scale) cosine + logit bias      (PickScore; differences are log-odds of a choice)
    clip_score = 2.5 max(cosine, 0)

HPS is a model whose cosine is reported. The three order pictures of one caption alike; between captions only numbers
of one model may be compared, and captions beyond the text tower's length lose their end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from assent.comparison import Comparison, Media
from assent.encoding.images import load_image
from assent.errors import InputError
from assent.preference_models.image_text import ImageTextModel
from assent.preference_models.scoring import Scored
from assent.preference_models.text import prompt_text

AT_ONCE = 16
"""Pictures in one pass; scores do not depend on it."""
CLIP_SCORE = 2.5


class ClipScorer:
    """A model of pictures and texts as a scorer of comparisons.

    Args:
        model: with a gradient to nothing while it scores.
        name: how the scores are called.
    """

    def __init__(self, model: ImageTextModel, name: str = "clip_score") -> None:
        self.model, self.name = model.eval(), name

    @torch.no_grad()
    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """Rewards of the candidates of each comparison, with `cosine` and `clip_score` beside them.

        Raises:
            InputError: a candidate that is no picture or cannot be read, naming the record.
        """
        pictures = [picture for one in comparisons for picture in pictures_of(one)]
        captions = [prompt_text(one.prompt_of(c)) for one in comparisons for c in one.candidates]
        cosine = self.cosines(pictures, captions)
        rewards = (cosine * self.model.scale.float().cpu() + self.model.bias.float().cpu()).tolist()
        clipped = (CLIP_SCORE * cosine.clamp(min=0)).tolist()
        scored, start = [], 0
        for one in comparisons:
            own = slice(start, start + len(one.candidates))
            start = own.stop
            dimensions = {"cosine": tuple(cosine[own].tolist()), "clip_score": tuple(clipped[own])}
            scored.append(Scored(rewards=tuple(rewards[own]), dimensions=dimensions))
        return scored

    @torch.no_grad()
    def cosines(self, pictures: Sequence[Media | Image], captions: Sequence[str]) -> Tensor:
        """[N] cosine of each picture with its caption; a caption is read once."""
        if not pictures:
            return torch.zeros(0)
        distinct = list(dict.fromkeys(captions))
        texts = torch.cat(
            [self.model.embed_texts(distinct[at : at + AT_ONCE]) for at in range(0, len(distinct), AT_ONCE)]
        )
        place = {text: row for row, text in enumerate(distinct)}
        images = self.embed(pictures)
        return (images * texts[[place[text] for text in captions]]).sum(dim=-1).float().cpu()

    @torch.no_grad()
    def embed(self, pictures: Sequence[Media | Image]) -> Tensor:
        """[N, D] of length 1."""
        parts = []
        for at in range(0, len(pictures), AT_ONCE):
            values = [self.model.prepare(as_pixels(one).to(self._device)) for one in pictures[at : at + AT_ONCE]]
            parts.append(self.model.embed_prepared(torch.cat(values)))
        return torch.cat(parts)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def as_pixels(picture: Media | Image, where: str | None = None) -> Tensor:
    """[1, 3, height, width] in [-1, 1]."""
    shown = load_image(picture, where) if isinstance(picture, Media) else picture.convert("RGB")
    return torch.from_numpy(np.asarray(shown, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1).unsqueeze(0)


def pictures_of(comparison: Comparison) -> list[Image]:
    """The candidates' pictures.

    Raises:
        InputError: a candidate that is none, naming the record.
    """
    where, found = comparison.key[:12], []
    for candidate in comparison.candidates:
        if not isinstance(candidate.completion, Media):
            raise InputError(
                "this model scores pictures",
                where=where,
                field="completion",
                found=type(candidate.completion).__name__,
                expected="an image",
            )
        found.append(load_image(candidate.completion, where))
    return found
