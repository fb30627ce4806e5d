"""Pictures under captions: preparation, scores and gradients against what transformers computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from assent.comparison import Candidate, Comparison, Media
from assent.errors import InputError
from assent.preference_models.aesthetic import AestheticScorer, fit_aesthetic_head, folded
from assent.preference_models.clip_score import ClipScorer, as_pixels
from assent.preference_models.image_text import load_image_text
from assent.preference_models.loading import open_scorer
from assent.preference_models.picture_preprocessing import PicturePreprocessing
from tests.tiny_diffusion import picture, png
from tests.tiny_vision import SIZE, TOWERS, clip_images, save_towers

CAPTIONS = ["a red boat", "a dog", "a caption that is much longer than sixteen tokens of this tower"]


def smooth(seed: int, width: int, height: int) -> Image.Image:
    """A picture without hard edges, as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("width", "height"), [(40, 40), (61, 33), (33, 61), (9, 12), (16, 16)])
def test_pictures_are_prepared_as_the_image_processor_does(width: int, height: int) -> None:
    processor = clip_images()
    shown = smooth(width, width, height)
    ours = PicturePreprocessing.of(processor)((as_pixels(shown) + 1) / 2)
    theirs = torch.as_tensor(np.asarray(processor(images=shown, return_tensors="np")["pixel_values"]))
    # Theirs rounds to 8 bits after each of two passes: below two steps of 255, far below one on average.
    step = 1 / 255 / min(processor.image_std)
    assert ours.shape == theirs.shape == (1, 3, SIZE, SIZE)
    assert (ours - theirs).abs().max() < 2 * step
    assert (ours - theirs).abs().mean() < 0.5 * step


def test_a_gradient_reaches_the_pixels_and_equals_finite_differences() -> None:
    prepare = PicturePreprocessing(resize=5, crop=(4, 4), mean=(0.4, 0.5, 0.6), spread=(0.2, 0.3, 0.4))
    pixels = (torch.rand(1, 3, 8, 9, dtype=torch.float64) * 0.6 + 0.2).requires_grad_()
    assert torch.autograd.gradcheck(prepare, (pixels,))


def test_a_preparation_without_a_form_here_is_refused() -> None:
    processor = clip_images()
    processor.resample = 1
    with pytest.raises(InputError, match="no form with a gradient"):
        PicturePreprocessing.of(processor)


@pytest.mark.parametrize("kind", list(TOWERS))
def test_rewards_are_what_the_model_computes_from_the_same_pixels(kind: str, tmp_path: Path) -> None:
    scorer = open_scorer(str(save_towers(tmp_path / kind, kind)))
    assert isinstance(scorer, ClipScorer)
    shown = [picture(seed, size) for seed, size in ((1, 16), (2, 24), (3, 16))]
    rows = [
        Comparison(text, [Candidate(Media("image", data=png(one)), score=1.0) for one in shown]) for text in CAPTIONS
    ]
    scored = scorer.score(rows)
    model, processor = (
        AutoModel.from_pretrained(tmp_path / kind).eval(),
        AutoProcessor.from_pretrained(tmp_path / kind),
    )
    pixels = torch.cat([scorer.model.prepare(as_pixels(one)) for one in shown])
    padding = "max_length" if kind == "siglip" else True
    told = processor.tokenizer(CAPTIONS, padding=padding, truncation=True, max_length=16, return_tensors="pt")
    inputs = {"input_ids": told["input_ids"]} | (
        {} if kind == "siglip" else {"attention_mask": told["attention_mask"]}
    )
    with torch.no_grad():
        logits = model(pixel_values=pixels, **inputs).logits_per_text
    assert torch.tensor([one.rewards for one in scored]).allclose(logits, atol=1e-4)
    for one in scored:
        clipped = [2.5 * max(value, 0) for value in one.dimensions["cosine"]]
        assert one.dimensions["clip_score"] == pytest.approx(clipped, abs=1e-6)
        assert one.gap(0, 1) == pytest.approx(one.rewards[0] - one.rewards[1])  # type: ignore[index]


def test_scores_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    scorer = open_scorer(str(save_towers(tmp_path)))
    rows = [
        Comparison(CAPTIONS[n % 3], [Candidate(Media("image", data=png(picture(2 * n + s, 16 + s)))) for s in (0, 1)])
        for n in range(12)
    ]
    together = [one.rewards for one in scorer.score(rows)]
    assert together == [pytest.approx(scorer.score([row])[0].rewards, abs=1e-4) for row in rows]
    assert scorer.score([]) == []


def test_a_candidate_that_is_no_picture_is_named(tmp_path: Path) -> None:
    scorer = open_scorer(str(save_towers(tmp_path)))
    row = Comparison("p", [Candidate("text")])
    with pytest.raises(InputError, match="scores pictures") as raised:
        scorer.score([row])
    assert raised.value.where == row.key[:12]


def test_the_score_of_a_picture_is_the_reward_that_has_a_gradient(tmp_path: Path) -> None:
    model = load_image_text(save_towers(tmp_path)).requires_grad_(False)
    shown = [smooth(seed, 24, 24) for seed in (1, 2)]
    drawn = torch.cat([as_pixels(one) for one in shown]).requires_grad_()
    rewards = model(drawn, CAPTIONS[:2])
    rows = [
        Comparison(c, [Candidate(Media("image", data=png(one)))]) for c, one in zip(CAPTIONS, shown, strict=False)
    ]
    scored = [one.ranking_scores()[0] for one in ClipScorer(model).score(rows)]
    assert rewards.tolist() == pytest.approx(scored, abs=1e-4)
    rewards.sum().backward()
    assert drawn.grad is not None
    assert (drawn.grad.abs().flatten(1).sum(dim=1) > 0).all()
    # A small step along the gradient raises it.
    moved = (drawn + 0.02 * drawn.grad / drawn.grad.abs().max()).detach()
    assert (model(moved, CAPTIONS[:2]) > rewards).all()


def test_an_aesthetic_head_is_fitted_saved_and_opened(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = load_image_text(save_towers(tmp_path / "clip"))
    shown = [smooth(seed, 20, 20) for seed in range(60)]
    # A taste that the features can tell, with some noise.
    features = ClipScorer(model).embed(shown)
    ratings = 5 + features @ torch.linspace(-3, 3, features.shape[1]) + 0.05 * torch.randn(60)
    head = fit_aesthetic_head(features[:40], ratings[:40], ridge=1e-5)
    AestheticScorer(model, head).save_pretrained(tmp_path / "aesthetic")
    scorer = open_scorer(str(tmp_path / "aesthetic"))
    rows = [
        Comparison("", [Candidate(Media("image", data=png(one))) for one in pair])
        for pair in zip(shown[::2], shown[1::2], strict=True)
    ]
    values = torch.tensor([value for one in scorer.score(rows) for value in one.rewards])  # type: ignore[union-attr]
    assert torch.corrcoef(torch.stack([values[40:], ratings[40:]]))[0, 1] > 0.9
    assert (values[40:] - ratings[40:]).mean().abs() < 0.1
    drawn = as_pixels(shown[0]).requires_grad_()
    reward = scorer.reward(lambda x: x)(drawn, {})  # type: ignore[attr-defined]
    assert reward.detach().item() == pytest.approx(float(values[0]), abs=1e-4)
    reward.sum().backward()
    assert drawn.grad is not None
    assert drawn.grad.abs().sum() > 0


def test_a_stack_of_linear_maps_is_one() -> None:
    torch.manual_seed(0)
    stack = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Dropout(0.2), torch.nn.Linear(5, 1)).eval()
    one = folded({f"layers.{name}": value for name, value in stack.state_dict().items()})
    features = torch.randn(7, 6)
    assert one(features).allclose(stack(features), atol=1e-6)
    with pytest.raises(InputError, match="stack of linear maps"):
        folded({"0.weight": torch.zeros(3, 4), "1.weight": torch.zeros(1, 5)})
    with pytest.raises(InputError, match="ends in one number"):
        folded({"0.weight": torch.zeros(3, 4)})
