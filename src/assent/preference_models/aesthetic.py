"""How pleasing pictures look whatever they show: a linear head on a vision model's features.

Source: Schuhmann et al. 2022, arXiv 2210.08402, section 3.3 (a head on CLIP's image embedding of length 1, trained on
people's ratings). The improved predictor that is in use stacks linear maps with dropout and nothing else in between,
which is one linear map; `folded` takes such a stack.

Letters: N pictures, D features.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from assent.comparison import Comparison
from assent.errors import InputError
from assent.likelihood.denoisers import Conditioning
from assent.preference_models.clip_score import ClipScorer, pictures_of
from assent.preference_models.frozen import FORMAT, read_description
from assent.preference_models.image_text import ImageTextModel, load_image_text
from assent.preference_models.scoring import Scored

KIND, ENCODER, WEIGHTS = "aesthetic", "encoder", "preference_model.safetensors"


class AestheticScorer:
    """A linear head on the image tower of a model of pictures and texts; captions are not read.

    Args:
        model: its image embeddings of length 1 are what the head reads.
        head: D to 1.
        name: how the scores are called.
    """

    reads_captions = False
    """Told a picture without a caption, it scores it all the same."""

    def __init__(self, model: ImageTextModel, head: nn.Linear, name: str = KIND) -> None:
        self.model, self.head, self.name = model.eval().requires_grad_(False), head.requires_grad_(False), name
        self._towers = ClipScorer(model)

    def to(self, device: str) -> AestheticScorer:
        """The same on a device."""
        self.model.to(device)
        self.head.to(device)
        return self

    @torch.no_grad()
    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """Rewards of the candidates of each comparison, in the unit of the ratings that the head was fitted to."""
        pictures = [picture for one in comparisons for picture in pictures_of(one)]
        values = self.head(self._towers.embed(pictures)).squeeze(-1).tolist() if pictures else []
        scored, start = [], 0
        for one in comparisons:
            scored.append(Scored(rewards=tuple(values[start : start + len(one.candidates)])))
            start += len(one.candidates)
        return scored

    def reward(self, pixels: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Conditioning], Tensor]:
        """A reward of what a diffusion model drew, with a gradient to it; `pixels` turns that into [-1, 1]."""

        def rewarded(drawn: Tensor, _: Conditioning) -> Tensor:
            values: Tensor = self.head(self.model.embed_images(pixels(drawn))).squeeze(-1)
            return values

        return rewarded

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes the towers, the head in safetensors, and what they are."""
        folder = Path(folder)
        self.model.save(folder / ENCODER)
        save_file(
            {f"head.{name}": value.contiguous() for name, value in self.head.state_dict().items()}, folder / WEIGHTS
        )
        described = {"format": FORMAT, "kind": KIND, "features": self.head.in_features}
        (folder / "preference_model.json").write_text(json.dumps(described, indent=1) + "\n")

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> AestheticScorer:
        """The scorer that `save_pretrained` wrote; the head may be a stack of linear maps.

        Raises:
            InputError: another kind of folder, or a head that does not fit the towers.
        """
        folder = Path(folder)
        if read_description(folder).get("kind") != KIND:
            raise InputError("not an aesthetic head", where=str(folder))
        model = load_image_text(folder / ENCODER)
        head = folded(load_file(folder / WEIGHTS))
        with torch.no_grad():
            size = model.embed_images(torch.zeros(1, 3, 8, 8)).shape[1]
        if head.in_features != size:
            raise InputError(
                "the head does not fit the model's features",
                where=str(folder),
                found=f"a head of {head.in_features}",
                expected=str(size),
            )
        return cls(model, head, folder.name)


def folded(weights: dict[str, Tensor]) -> nn.Linear:
    """One linear map that does what a stack of them does, in the order of the numbers in their names.

    Args:
        weights: `*.weight` [out, in] and `*.bias` [out].

    Raises:
        InputError: something else than linear maps, or maps that do not follow each other to one number.
    """
    names = sorted({name.rpartition(".")[0] for name in weights}, key=_order)
    size = weights[f"{names[0]}.weight"].shape[1] if names and f"{names[0]}.weight" in weights else 0
    product, offset = torch.eye(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for name in names:
        weight, bias = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        if weight is None or weight.dim() != 2 or weight.shape[1] != len(product):
            raise InputError(
                "an aesthetic head is a stack of linear maps",
                field=name,
                found="nothing" if weight is None else str(tuple(weight.shape)),
                expected=f"a weight [outputs, {len(product)}]",
            )
        product, offset = weight.double() @ product, weight.double() @ offset
        offset = offset if bias is None else offset + bias.double()
    if size == 0 or len(product) != 1:
        raise InputError("an aesthetic head ends in one number", found=f"{len(product)} of {size} features")
    head = nn.Linear(size, 1)
    with torch.no_grad():
        head.weight.copy_(product)
        head.bias.copy_(offset)
    return head


def fit_aesthetic_head(features: Tensor, ratings: Tensor, ridge: float = 1e-3) -> nn.Linear:
    """The head whose squared error on people's ratings is least, its weights held small.

        min_w,b  mean (f w + b - r)^2 + ridge |w|^2

    Args:
        features: [N, D] of length 1, as `ClipScorer.embed` gives them.
        ratings: [N].
        ridge: how strongly the weights are held.
    """
    if features.shape[0] != ratings.shape[0] or len(ratings) < 2:
        raise InputError("a head needs two rated pictures or more", found=f"{len(features)} and {len(ratings)}")
    values, wanted = features.double(), ratings.double()
    centre, middle = values.mean(dim=0), wanted.mean()
    apart = values - centre
    square = apart.T @ apart / len(apart) + ridge * torch.eye(apart.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(square, apart.T @ (wanted - middle) / len(apart))
    head = nn.Linear(features.shape[1], 1)
    with torch.no_grad():
        head.weight.copy_(weight.unsqueeze(0))
        head.bias.copy_((middle - centre @ weight).unsqueeze(0))
    return head


def _order(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split(".") if part.isdigit())
