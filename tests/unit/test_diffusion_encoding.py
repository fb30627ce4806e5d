"""Pipelines taken apart, and the pictures and prompts that are encoded once for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from assent.comparison import Candidate, Comparison, Media
from assent.encoding.diffusion import DiffusionComparisons, Encoders
from assent.errors import InputError
from assent.likelihood.diffusion import LATENTS, DiffusionPolicy
from assent.likelihood.pipelines import LoadedPipeline, is_pipeline, load_pipeline
from assent.work.store import ArrayStore
from tests.tiny_diffusion import PIPELINES, image_pairs, picture, png, save_tiny_pipeline

TEXT = [kind for kind in PIPELINES if kind != "ddpm"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_tiny_pipeline(tmp_path_factory.mktemp(kind), kind) for kind in PIPELINES}


LOADED: dict[Path, LoadedPipeline] = {}


def loaded(folders: dict[str, Path], kind: str) -> LoadedPipeline:
    if folders[kind] not in LOADED:
        LOADED[folders[kind]] = fresh(folders, kind)
    return LOADED[folders[kind]]


def fresh(folders: dict[str, Path], kind: str) -> LoadedPipeline:
    return load_pipeline(str(folders[kind]), None if kind == "ddpm" else 16)


def encoders(pipeline: LoadedPipeline, folder: Path) -> Encoders:
    return Encoders(pipeline.images, pipeline.prompts, ArrayStore(folder))


@contextmanager
def calls_of(network: torch.nn.Module) -> Iterator[list[dict[str, Any]]]:
    """What a network is called with, flattened to names and tensors."""
    seen: list[dict[str, Any]] = []

    def note(module: torch.nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        named = dict(zip(("sample", "timestep"), args, strict=False)) | options
        added = named.pop("added_cond_kwargs", None) or {}
        seen.append({key: value for key, value in {**named, **added}.items() if isinstance(value, Tensor)})

    handle = network.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("kind", TEXT)
def test_a_policy_asks_the_network_what_the_pipeline_asks_it(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    pipeline = loaded(folders, kind)
    policy = DiffusionPolicy(pipeline.network, pipeline.noising)
    data = DiffusionComparisons(image_pairs(1), encoders(pipeline, tmp_path))
    batch = dict(policy.collate([data[0]]))
    with calls_of(pipeline.network) as mine, torch.no_grad():
        policy(batch)
    start = torch.randn(1, *data[0].candidates[0].media[LATENTS].shape)
    if kind == "flux":
        start = pipeline.pipeline._pack_latents(start, *start.shape)
    options = {"guidance_scale": 3.5 if kind == "flux" else 1.0, "height": 16, "width": 16}
    pipeline.pipeline.set_progress_bar_config(disable=True)
    with calls_of(pipeline.network) as theirs:
        pipeline.pipeline("a red boat", num_inference_steps=1, latents=start, output_type="latent", **options)
    assert len(mine) == len(theirs) == 1
    asked, expected = mine[0], theirs[0]
    assert set(asked) == set(expected)
    for name, value in expected.items():
        one = (
            asked[name][:1]
            if asked[name].dim() == value.dim() and name not in ("img_ids", "txt_ids")
            else asked[name]
        )
        if name in ("sample", "hidden_states", "timestep"):
            # Their values are the noise's and the sampler's; shapes must agree.
            assert one.shape == value.shape or value.dim() == 0
            continue
        torch.testing.assert_close(one, value.to(one.dtype), msg=lambda text, name=name: f"{name}: {text}")


def test_timesteps_are_told_in_the_units_of_each_pipeline(folders: dict[str, Path], tmp_path: Path) -> None:
    for kind, top in (("stable_diffusion", 999.0), ("stable_diffusion_3", 1000.0), ("flux", 1.0)):
        pipeline = loaded(folders, kind)
        policy = DiffusionPolicy(pipeline.network, pipeline.noising)
        data = DiffusionComparisons(image_pairs(1), encoders(pipeline, tmp_path / kind))
        batch = dict(policy.collate([data[0]]))
        noisiest = int(pipeline.noising.noise.argmax())
        batch["index"] = torch.full_like(batch["index"], noisiest)
        with calls_of(pipeline.network) as mine, torch.no_grad():
            policy(batch)
        assert mine[0]["timestep"].tolist() == [top, top]


@pytest.mark.parametrize("kind", TEXT)
def test_latents_are_the_mode_of_the_vae_shifted_and_scaled(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    pipeline = loaded(folders, kind)
    data = DiffusionComparisons(image_pairs(2), encoders(pipeline, tmp_path))
    vae = pipeline.pipeline.vae
    pixels = pipeline.pipeline.image_processor.preprocess(picture(0), height=16, width=16)
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist.mode()[0]
    expected = (expected - (vae.config.shift_factor or 0)) * vae.config.scaling_factor
    torch.testing.assert_close(data[0].candidates[0].media[LATENTS], expected, atol=1e-5, rtol=1e-5)


def test_pixels_are_read_as_they_are(folders: dict[str, Path], tmp_path: Path) -> None:
    pipeline = loaded(folders, "ddpm")
    pair = replace(image_pairs(1, size=8)[0], prompt="2")
    data = DiffusionComparisons([pair], encoders(pipeline, tmp_path))
    media = data[0].candidates[0].media
    expected = torch.from_numpy(np.asarray(picture(0, 8).convert("L"), dtype=np.float32))[None] / 127.5 - 1
    assert torch.equal(media[LATENTS], expected)
    assert media["class_labels"].shape == ()
    assert media["class_labels"].item() == 2
    with pytest.raises(InputError, match="0 to 2"):
        DiffusionComparisons([replace(pair, prompt="3")], encoders(pipeline, tmp_path))


def test_a_second_run_encodes_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    pipeline = loaded(folders, "stable_diffusion")
    told: list[tuple[int, int]] = []
    data = DiffusionComparisons(
        image_pairs(3), encoders(pipeline, tmp_path), lambda done, total: told.append((done, total))
    )
    assert data.encoded == 6 + 2
    assert told[-1] == (8, 8)
    again = load_pipeline(str(folders["stable_diffusion"]), 16)
    second = DiffusionComparisons(image_pairs(3), encoders(again, tmp_path))
    assert second.encoded == 0
    for one, other in zip(data[1].candidates, second[1].candidates, strict=True):
        assert all(torch.equal(value, other.media[name]) for name, value in one.media.items())
    # One more record: its two pictures, under a caption that is there.
    assert DiffusionComparisons(image_pairs(4), encoders(again, tmp_path)).encoded == 2


def test_other_weights_or_another_resolution_are_encoded_anew(folders: dict[str, Path], tmp_path: Path) -> None:
    pipeline = fresh(folders, "stable_diffusion")
    DiffusionComparisons(image_pairs(2), encoders(pipeline, tmp_path))
    larger = load_pipeline(str(folders["stable_diffusion"]), 32)
    assert DiffusionComparisons(image_pairs(2), encoders(larger, tmp_path)).encoded == 4 + 2
    with torch.no_grad():
        next(pipeline.pipeline.vae.parameters()).add_(0.01)
    pipeline.pipeline.save_pretrained(str(tmp_path / "other"))
    other = load_pipeline(str(tmp_path / "other"), 16)
    assert DiffusionComparisons(image_pairs(2), encoders(other, tmp_path)).encoded == 4
    shorter = fresh(folders, "stable_diffusion")
    shorter.pipeline.tokenizer.model_max_length = 12
    cut = load_pipeline(_saved(shorter.pipeline, tmp_path / "shorter"), 16)
    assert DiffusionComparisons(image_pairs(2), encoders(cut, tmp_path)).encoded == 2


def _saved(pipeline: Any, folder: Path) -> str:
    pipeline.save_pretrained(str(folder))
    return str(folder)


def test_a_picture_that_cannot_be_read_is_named_by_its_record(folders: dict[str, Path], tmp_path: Path) -> None:
    pipeline = loaded(folders, "stable_diffusion")
    good, bad = png(picture(0)), png(picture(1))[:-40]
    damaged = Comparison(
        "a cat", (Candidate(Media("image", data=good), score=1), Candidate(Media("image", data=bad), score=0))
    )
    with pytest.raises(InputError, match="not a readable image") as raised:
        DiffusionComparisons([image_pairs(1)[0], damaged], encoders(pipeline, tmp_path))
    assert raised.value.where == damaged.key[:12]
    text = Comparison("a cat", (Candidate("words", score=1), Candidate("others", score=0)))
    with pytest.raises(InputError, match="aligned on pictures"):
        DiffusionComparisons([text], encoders(pipeline, tmp_path))


def test_different_prompts_of_one_picture_keep_their_own_embeddings(folders: dict[str, Path], tmp_path: Path) -> None:
    pipeline = loaded(folders, "stable_diffusion")
    image = Media("image", data=png(picture(0)))
    pair = Comparison("a cat", (Candidate(image, score=1), Candidate(image, prompt="a dog", score=0)))
    data = DiffusionComparisons([pair], encoders(pipeline, tmp_path))
    assert data.encoded == 1 + 2
    first, second = data[0].candidates
    assert torch.equal(first.media[LATENTS], second.media[LATENTS])
    assert not torch.equal(first.media["prompt_embeds"], second.media["prompt_embeds"])


def test_other_folders_are_refused_with_the_reason(tmp_path: Path) -> None:
    assert not is_pipeline(str(tmp_path))
    with pytest.raises(InputError, match="not a diffusers pipeline"):
        load_pipeline(str(tmp_path))
    (tmp_path / "model_index.json").write_text('{"_class_name": "WuerstchenPipeline"}')
    with pytest.raises(InputError, match=r"no likelihood is known.*WuerstchenPipeline"):
        load_pipeline(str(tmp_path))
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        load_pipeline(str(tmp_path))
    (tmp_path / "model_index.json").write_text(
        '{"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]}'
    )
    with pytest.raises(InputError, match="cannot load the pipeline"):
        load_pipeline(str(tmp_path))
