"""What is kept on disk for diffusion: cuts of pictures, damaged records, the reference's errors under fixed noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from PIL import Image
from torch import Tensor, nn

from assent.comparison import Candidate, Comparison, Media
from assent.encoding import EncodedComparison
from assent.encoding.diffusion import LATENTS, VARIANTS, DiffusionComparisons, Encoders
from assent.encoding.images import square
from assent.encoding.views import MIDDLE, View, view_of
from assent.likelihood.diffusion import DiffusionPolicy, Draws, EmptyPrompts
from assent.likelihood.noising import Noising
from assent.likelihood.reference import FrozenReference
from assent.likelihood.stored_errors import StoredErrors, reference_identity
from assent.likelihood.weighting import Weighting
from assent.work.store import ArrayStore
from tests.tiny_diffusion import png


class Pixels:
    """Pictures as 8x8 pixels; counts what it encodes."""

    key = "pixels"

    def __init__(self) -> None:
        self.count = 0

    def encode(self, pictures: Sequence[Image.Image]) -> Tensor:
        self.count += len(pictures)
        return torch.from_numpy(np.stack([square(picture, 8) for picture in pictures]))


class Lengths:
    """Prompts as their length."""

    key = "lengths"

    def encode(self, prompts: Sequence[str]) -> list[dict[str, Tensor]]:
        return [{"prompt_embeds": torch.tensor([float(len(prompt))])} for prompt in prompts]


class Scaled(nn.Module):
    """Predicts a multiple of what it is shown, plus a little of the prompt."""

    def __init__(self, value: float = 0.3) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(value))
        self.calls = 0

    @staticmethod
    def assent_denoiser(model: Any, noisy: Tensor, timesteps: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        model.calls += 1
        return model.scale * noisy + 0.01 * conditioning["prompt_embeds"].view(-1, 1, 1, 1)


def ramp(seed: int, width: int = 16, height: int = 8) -> Media:
    """A picture whose columns all differ, so that cuts and mirrors can be told apart."""
    values = np.zeros((height, width, 3), dtype=np.uint8)
    values[..., 0] = (np.arange(width) * (255 // width))[None]
    values[..., 1] = seed
    return Media("image", data=png(Image.fromarray(values)))


def pairs(count: int = 2) -> list[Comparison]:
    return [
        Comparison(
            f"prompt {number}", (Candidate(ramp(2 * number), score=1), Candidate(ramp(2 * number + 1), score=0))
        )
        for number in range(count)
    ]


def encoded(folder: Path, variants: int = 1, codec: Pixels | None = None) -> DiffusionComparisons:
    return DiffusionComparisons(pairs(), Encoders(codec or Pixels(), Lengths(), ArrayStore(folder)), None, variants)


def test_a_view_cuts_along_the_longer_side_and_mirrors() -> None:
    picture = Image.fromarray(np.tile(np.arange(16, dtype=np.uint8)[None, :, None], (8, 1, 3)))
    left, right = View(0.0), View(1.0, mirrored=True)
    assert np.asarray(left.of(picture))[0, :, 0].tolist() == list(range(8))
    assert np.asarray(right.of(picture))[0, :, 0].tolist() == list(range(15, 7, -1))
    assert np.asarray(View(1.0).of(picture.transpose(Image.Transpose.TRANSPOSE)))[:, 0, 0].tolist() == list(
        range(8, 16)
    )
    assert MIDDLE.of(picture) is picture
    assert view_of("a", 0) == MIDDLE
    views = [view_of("a", number) for number in range(1, 40)]
    assert views == [view_of("a", number) for number in range(1, 40)]
    assert len({view.place for view in views}) > 30
    assert 5 < sum(view.mirrored for view in views) < 35


def test_every_variant_is_kept_and_pictures_of_a_comparison_are_cut_alike(tmp_path: Path) -> None:
    codec = Pixels()
    data = encoded(tmp_path, 4, codec)
    assert codec.count == 16
    first, second = data[0].candidates
    assert first.media[VARIANTS].shape == (3, 3, 8, 8)
    # Red tells the column, green the picture: the same columns are seen of both.
    assert torch.equal(first.media[VARIANTS][:, 0], second.media[VARIANTS][:, 0])
    assert not torch.equal(first.media[VARIANTS][:, 1], second.media[VARIANTS][:, 1])
    assert torch.equal(first.media[LATENTS], encoded(tmp_path)[0].candidates[0].media[LATENTS])
    again = Pixels()
    assert encoded(tmp_path, 4, again).encoded == 0
    assert encoded(tmp_path, 6, again).encoded == 8
    assert again.count == 8


def test_a_step_takes_one_variant_for_all_pictures_of_a_comparison(tmp_path: Path) -> None:
    data = encoded(tmp_path, 4)
    policy = DiffusionPolicy(Scaled(), Noising.from_scheduler(DDPMScheduler()))
    seen = set()
    for step in range(24):
        policy.begin_step(0, step)
        latents = policy.collate([data[0]])[LATENTS]
        assert torch.equal(latents[0, 0], latents[1, 0])
        seen.add(latents[0].numpy().tobytes())
        assert torch.equal(policy.collate([data[0]])[LATENTS], latents)
    assert len(seen) == 4
    policy.begin_step(0, -1)
    assert torch.equal(policy.collate([data[0]])[LATENTS][0], data[0].candidates[0].media[LATENTS])


def test_a_damaged_record_is_made_once_more(tmp_path: Path) -> None:
    whole = [candidate.media for one in encoded(tmp_path) for candidate in one.candidates]
    (shard,) = tmp_path.glob("shard-*.data")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    codec = Pixels()
    data = encoded(tmp_path, codec=codec)
    assert data.encoded == 0
    for media, other in zip(whole, (c.media for one in data for c in one.candidates), strict=True):
        assert all(torch.equal(value, other[name]) for name, value in media.items())
    assert codec.count <= 1
    fresh = Pixels()
    assert [one.id for one in encoded(tmp_path, codec=fresh)] == [one.id for one in data]
    assert fresh.count == 0


def test_a_cache_that_was_cut_off_while_it_was_written_loses_only_its_tail(tmp_path: Path) -> None:
    encoded(tmp_path / "whole")
    (shard,) = (tmp_path / "whole").glob("shard-*.data")
    (tmp_path / "cut").mkdir()
    content = shard.read_bytes()
    (tmp_path / "cut" / shard.name.replace("shard-", "open-")).write_bytes(content[: int(len(content) * 0.6)])
    codec = Pixels()
    data = encoded(tmp_path / "cut", codec=codec)
    assert 0 < codec.count < 4
    whole = encoded(tmp_path / "whole")
    for one, other in zip(data, whole, strict=True):
        assert torch.equal(one.candidates[1].media[LATENTS], other.candidates[1].media[LATENTS])


def stored(folder: Path, policy: DiffusionPolicy, network: Scaled) -> StoredErrors:
    frozen = DiffusionPolicy(network, policy.noising, policy.draws, policy.weighting)
    identity = reference_identity(frozen, f"weights {float(network.scale.detach())}")
    return StoredErrors(FrozenReference(frozen), policy, ArrayStore(folder), identity)


def fixed(count: int = 2, seed: int = 0, **more: Any) -> DiffusionPolicy:
    return DiffusionPolicy(Scaled(0.9), Noising.from_scheduler(DDPMScheduler()), Draws("fixed", count, seed), **more)


def asked(reference: StoredErrors, policy: DiffusionPolicy, data: Sequence[EncodedComparison]) -> Tensor:
    found = reference(data, policy.collate(data))
    assert found.mean.shape == (len(data), 2)
    return found.tokens


def test_a_reference_under_fixed_noise_is_computed_once(tmp_path: Path) -> None:
    data, policy, network = list(encoded(tmp_path / "latents")), fixed(), Scaled()
    reference = stored(tmp_path / "errors", policy, network)
    first = asked(reference, policy, data)
    assert (network.calls, reference.computed, reference.found) == (1, 8, 0)
    policy.begin_step(0, 7)
    # Another cut of the step, another order: every row is known.
    again = torch.cat([asked(reference, policy, data[1:]), asked(reference, policy, data[:1])])
    assert torch.equal(again, torch.cat([first[4:], first[:4]]))
    assert (network.calls, reference.found) == (1, 8)
    reference.close()
    later, other = Scaled(), fixed()
    assert torch.equal(asked(stored(tmp_path / "errors", other, later), other, data), first)
    assert later.calls == 0


@pytest.mark.parametrize("change", ["weights", "seed", "draws", "weighting", "prompt", "empty", "type"])
def test_nothing_stale_is_ever_read(tmp_path: Path, change: str) -> None:
    data, policy = list(encoded(tmp_path / "latents")), fixed()
    reference = stored(tmp_path / "errors", policy, Scaled())
    first = asked(reference, policy, data)
    reference.close()
    network, other = Scaled(), fixed()
    if change == "weights":
        network = Scaled(0.31)
    elif change == "seed":
        other = fixed(seed=1)
    elif change == "draws":
        other = fixed(count=3)
    elif change == "weighting":
        other = fixed(weighting=Weighting("min_snr"))
    elif change == "empty":
        other.empty = EmptyPrompts(0.999999, {"prompt_embeds": torch.tensor([0.0])})
    elif change == "type":
        network = Scaled().to(torch.bfloat16)
    if change == "prompt":
        longer = [Comparison(f"{one.prompt} and more", one.candidates) for one in pairs()]
        data = list(DiffusionComparisons(longer, Encoders(Pixels(), Lengths(), ArrayStore(tmp_path / "latents"))))
    second = stored(tmp_path / "errors", other, network)
    found = asked(second, other, data)
    second.close()
    assert network.calls == 1
    assert found.shape != first.shape or not torch.equal(found, first)
