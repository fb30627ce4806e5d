"""A step-aware judge: fresh it is the model it starts from, trained it tells which noised picture is the better."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel

from assent.comparison import Candidate, Comparison, Media
from assent.encoding.diffusion import DiffusionComparisons, Encoders
from assent.errors import InputError
from assent.likelihood.pipelines import load_pipeline
from assent.preference_models.image_text import load_image_text
from assent.recipes import step_aware
from assent.training.diffusion_judge import JudgeTraining, pair_losses, train_step_judge
from assent.work.store import ArrayStore
from tests.tiny_diffusion import image_pairs, png, save_tiny_clip, save_tiny_pipeline


def bright_pairs(count: int) -> list[Comparison]:
    """The brighter picture of a pair is the better one."""
    draw = np.random.default_rng(0)

    def grey(level: int) -> Media:
        values = np.clip(draw.normal(level, 10, (8, 8, 1)), 0, 255).astype(np.uint8)
        return Media("image", data=png(Image.fromarray(np.repeat(values, 3, axis=2))))

    return [Comparison("1", (Candidate(grey(220), score=1.0), Candidate(grey(40), score=0.0))) for _ in range(count)]


def test_the_loss_of_pairs_weighs_prompts_and_takes_ties() -> None:
    first, second = torch.tensor([2.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, 3.0])
    losses = pair_losses(first, second, torch.tensor([1.0, 0.5, 1.0]), torch.tensor([1.0, 1.0, 0.5]))
    expected = [np.log1p(np.exp(-2.0)), np.log(2.0), 0.5 * np.log1p(np.exp(2.0))]
    assert losses.tolist() == pytest.approx(expected)


def test_a_fresh_judge_scores_as_its_model_and_a_trained_one_reads_the_timestep(tmp_path: Path) -> None:
    clip = save_tiny_clip(tmp_path / "clip")
    plain, judge = load_image_text(clip), load_image_text(clip, step_aware=True)
    pixels, told = torch.rand(2, 3, 16, 16) * 2 - 1, torch.tensor([10, 900])
    with torch.no_grad():
        torch.testing.assert_close(judge(pixels, ["a", "b"], told), plain(pixels, ["a", "b"]))
    with pytest.raises(InputError, match="told the timestep"):
        judge(pixels, ["a", "b"])
    loaded = load_pipeline(str(save_tiny_pipeline(tmp_path / "model", "ddpm")))
    data = DiffusionComparisons(bright_pairs(6), Encoders(loaded.images, loaded.prompts, ArrayStore(tmp_path / "l")))
    losses = train_step_judge(loaded, judge, data, JudgeTraining(steps=12, pairs=4, learning_rate=3e-3))
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:2])
    with torch.no_grad():
        early, late = (judge(pixels[:1], ["1"], torch.tensor([t])) for t in (5, 995))
    assert not torch.equal(early, late)
    judge.save(tmp_path / "judge")
    again = load_image_text(tmp_path / "judge")
    with torch.no_grad():
        torch.testing.assert_close(again(pixels, ["1", "2"], told), judge(pixels, ["1", "2"], told))
    assert CLIPModel.from_pretrained(tmp_path / "judge") is not None
    with pytest.raises(InputError, match="not told the timestep"):
        train_step_judge(loaded, plain, data, JudgeTraining(steps=1))


def test_lists_are_no_pairs(tmp_path: Path) -> None:
    judge = load_image_text(save_tiny_clip(tmp_path / "clip"), step_aware=True)
    loaded = load_pipeline(str(save_tiny_pipeline(tmp_path / "model", "ddpm")))
    pair = image_pairs(1, ("1",), 8)[0]
    three = Comparison("1", (*pair.candidates, Candidate(pair.candidates[0].completion, score=3.0)))
    data = DiffusionComparisons([three], Encoders(loaded.images, loaded.prompts, ArrayStore(tmp_path / "l")))
    with pytest.raises(InputError, match="learns from pairs"):
        train_step_judge(loaded, judge, data, JudgeTraining(steps=1))


def test_a_dry_run_of_the_recipe_runs_every_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step_aware.main(["--data", "none.txt", "--output", str(tmp_path / "out")], dry=True)
    said = capsys.readouterr().out
    assert "judge: step 2 of 2" in said
    assert "after: 2 of 2 prompts drawn" in said
    measures = json.loads(next(line for line in said.splitlines() if line.startswith('{"pictures"')))
    assert "reward_gain" in measures
