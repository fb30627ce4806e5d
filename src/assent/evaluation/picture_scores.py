"""What reward models say of pictures under their captions, before and after training, with intervals.

Pictures of one caption are alike, so intervals resample captions, not pictures. Before and after are paired by name
(the same prompt and seed), which takes out what prompts and seeds vary by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from assent.comparison import Candidate, Comparison
from assent.encoding.images import load_image
from assent.evaluation.divgenbench import tonal_variety
from assent.evaluation.image_diversity import within_class_distance
from assent.evaluation.intervals import Interval, bootstrap_interval, paired_bootstrap
from assent.evaluation.pictures import PictureFolder
from assent.preference_models import Scorer

CHUNK = 16
LARGEST_SIDE = 512
"""Tones are taken of pictures no larger: they are means over pixels, which a smaller copy keeps."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PictureScore:
    """One reward model's verdict.

    Args:
        name: of the reward model.
        after: mean reward of the pictures.
        before: of those they are compared with, or None.
        gain: mean of the paired differences.
        wins: share of the pictures that score higher than their partner, ties half.
        rewards: [N] of each picture; `rewards_before` of its partner.
    """

    name: str
    after: Interval
    before: Interval | None
    gain: Interval | None
    wins: Interval | None
    rewards: NDArray[np.float64]
    rewards_before: NDArray[np.float64] | None


def score_pictures(
    scorer: Scorer, after: PictureFolder, before: PictureFolder | None = None, progress: Progress | None = None
) -> PictureScore:
    """The scores of a folder of pictures, beside those of another one with the same names if there is one.

    Raises:
        InputError: captions are missing, or a picture cannot be read.
    """
    captions = after.captioned() if getattr(scorer, "reads_captions", True) else _any_caption(after)
    sides = [after.media()] + ([] if before is None else [before.media()])
    rows = [
        Comparison(caption, tuple(Candidate(side[place]) for side in sides)) for place, caption in enumerate(captions)
    ]
    found: list[tuple[float, ...]] = []
    for start in range(0, len(rows), CHUNK):
        found += [scored.ranking_scores() for scored in scorer.score(rows[start : start + CHUNK])]
        if progress:
            progress(len(found), len(rows))
    values = np.array(found, dtype=np.float64)
    rewards = values[:, 0]
    if before is None:
        return PictureScore(scorer.name, bootstrap_interval(rewards, captions), None, None, None, rewards, None)
    other = values[:, 1]
    won = np.where(rewards == other, 0.5, rewards > other)
    return PictureScore(
        scorer.name,
        bootstrap_interval(rewards, captions),
        bootstrap_interval(other, captions),
        paired_bootstrap(rewards, other, captions),
        bootstrap_interval(won, captions),
        rewards,
        other,
    )


def tones_of(folder: PictureFolder) -> float:
    """DivGenBench's photographic variety (PVS) of a folder."""
    return tonal_variety([_small(folder, place) for place in range(len(folder))])


def variety_within_captions(features: NDArray[np.floating], folder: PictureFolder) -> float:
    """Mean Euclidean distance of features of length 1 between two pictures of one caption; NaN without such two."""
    names = {caption: place for place, caption in enumerate(dict.fromkeys(folder.captions))}
    labels = torch.tensor([names[caption] for caption in folder.captions])
    rows = torch.nn.functional.normalize(torch.as_tensor(np.asarray(features, dtype=np.float64)), dim=1)
    return within_class_distance(rows, labels)


def _small(folder: PictureFolder, place: int) -> NDArray[np.float64]:
    picture = load_image(folder.media()[place], str(folder.folder / folder.names[place]))
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return np.asarray(picture, dtype=np.float64) / 255


def _any_caption(folder: PictureFolder) -> list[str]:
    """Captions, or where a picture has none its name: each is then a unit of its own."""
    return [caption or name for name, caption in zip(folder.names, folder.captions, strict=True)]
