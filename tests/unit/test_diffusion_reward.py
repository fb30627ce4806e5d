"""Reward gradients, the guided reward and the measures of collapse, against recorded values and identities."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch import nn

from assent.errors import InputError
from assent.evaluation.divgenbench import (
    identity_similarity,
    layout_diversity,
    reachable,
    retrieved,
    style_coverage,
    tonal_variety,
)
from assent.likelihood.noising import Noising
from assent.preference_models.direction import Direction, guided_reward, guided_text, learn_direction
from assent.training.reward_gradient import (
    Optimisation,
    climb_reward,
    draft,
    known_noise,
    recovered,
    refl,
    reward_loss,
)

FOLDER = Path(__file__).parents[1] / "fixtures"
CASES = {case["name"]: case for case in json.loads((FOLDER / "d2-align.json").read_text())["cases"]}
BASE = {case["name"]: case for case in json.loads((FOLDER / "diffusion-dpo.json").read_text())["cases"]}
GUIDED = [name for name, case in CASES.items() if "b_v" in case["inputs"]]


@pytest.mark.parametrize("name", GUIDED)
def test_guided_reward_and_its_gradients_equal_the_recorded_values(name: str) -> None:
    case = CASES[name]
    text, image, direction = (
        torch.tensor(case["inputs"][key], dtype=torch.float64) for key in ("text_embeds", "image_embeds", "b_v")
    )
    direction.requires_grad_()
    image.requires_grad_()
    normalise, omega = case["hyper"]["score"] == "cosine", case["hyper"]["omega"]
    rewards = guided_reward(image, text, direction, omega, normalise)
    assert rewards.tolist() == pytest.approx(case["expected"]["guided_reward"], abs=1e-9)
    (-rewards.mean()).backward()
    for tensor, key in ((direction, "grad_wrt_b_v"), (image, "grad_wrt_image_embeds")):
        assert torch.allclose(tensor.grad, torch.tensor(case["expected"][key], dtype=torch.float64), atol=1e-7)


def test_negating_the_direction_and_mirroring_omega_changes_nothing() -> None:
    text = nn.functional.normalize(torch.randn(3, 8), dim=-1)
    assert torch.allclose(guided_text(text, torch.zeros(8), 2.0), text, atol=1e-6)
    with pytest.raises(InputError, match="omega"):
        guided_text(text, torch.zeros(8), 0.5)


def test_the_direction_cancels_a_constant_offset_of_the_images() -> None:
    torch.manual_seed(0)
    offset = torch.randn(8)
    text = nn.functional.normalize(torch.randn(64, 8), dim=-1)
    image = nn.functional.normalize(text + offset, dim=-1)
    found = learn_direction([(image, text)] * 300, 8)
    assert nn.functional.cosine_similarity(found, offset, dim=0) > 0.95
    assert guided_reward(image, text, found).mean() > (image * text).sum(-1).mean()
    with pytest.raises(InputError, match="learned in"):
        Direction(found, 1.5, "a").check("b")


def test_known_noise_reconstruction_equals_the_recorded_values() -> None:
    case = CASES["one_step_gt_noise_reconstruction"]
    values = {key: torch.tensor(value, dtype=torch.float64) for key, value in case["inputs"].items()}
    sigmas = torch.cat([values["sigma_t"].flatten(), values["sigma_prev"].flatten()])
    count = len(values["x0"])
    level = torch.arange(count) % values["sigma_t"].numel()
    before = level + values["sigma_t"].numel()
    noising = Noising("flow_matching", 1 - sigmas, sigmas, torch.arange(len(sigmas)))
    velocity = values["velocity_pred"].requires_grad_()
    noisy = noising.noisy(values["x0"], values["noise_gt"], level)
    assert torch.allclose(noisy, torch.tensor(case["expected"]["x_t"], dtype=torch.float64))
    estimate = recovered(noising, noisy, velocity, (level, before), values["noise_gt"])
    assert torch.allclose(estimate, torch.tensor(case["expected"]["x0_hat"], dtype=torch.float64))
    estimate.square().sum().backward()
    expected = torch.tensor(case["expected"]["grad_wrt_velocity_pred"], dtype=torch.float64)
    assert torch.allclose(velocity.grad, expected)


def test_the_hinge_of_refl_equals_the_recorded_values() -> None:
    case = BASE["refl_hinge"]
    rewards = torch.tensor(case["inputs"]["rewards"], dtype=torch.float64, requires_grad=True)
    loss = reward_loss(rewards, case["hyper"]["margin"], case["hyper"]["grad_scale"])
    assert loss.item() == pytest.approx(case["expected"]["loss"])
    loss.backward()
    assert rewards.grad.tolist() == pytest.approx(case["expected"]["grad_wrt_rewards"])


class Bias(nn.Module):
    """A network whose prediction is noise minus a learned shift."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    @staticmethod
    def assent_denoiser(
        model: nn.Module, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: object
    ) -> torch.Tensor:
        return 0.5 * noisy - model.shift


@pytest.mark.parametrize("kind", ["refl", "draft", "known_noise"])
def test_every_way_climbs_a_simple_reward(kind: str) -> None:
    scheduler = DDIMScheduler(clip_sample=False)
    noising = Noising.from_scheduler(scheduler)
    make = {
        "refl": refl(scheduler, noising, (1, 2, 2), steps=8, late=6),
        "draft": draft(scheduler, (1, 2, 2), steps=8, last=2),
        "known_noise": known_noise(lambda m, c, g: torch.randn(4, 1, 2, 2, generator=g) * 0.1, noising),
    }[kind]
    model = Bias()
    batches = [{"class_labels": torch.zeros(4)}] * 30
    how = Optimisation(learning_rate=0.05)
    climb_reward(model, make, lambda images, _: images.flatten(1).mean(1), batches, how)
    assert model.shift.item() > 0.2


def test_a_reward_that_is_not_finite_stops_the_run() -> None:
    from assent.errors import RunError

    noising = Noising.from_scheduler(DDIMScheduler())
    make = known_noise(lambda m, c, g: torch.zeros(2, 1, 2, 2), noising)
    with pytest.raises(RunError, match="not finite"):
        climb_reward(
            Bias(), make, lambda x, _: x.flatten(1).mean(1) * torch.nan, [{"a": torch.zeros(2)}], Optimisation()
        )


@pytest.mark.parametrize("name", ["divgenbench_metrics", "divgenbench_metrics_fully_collapsed"])
def test_the_measures_of_collapse_equal_the_recorded_values(name: str) -> None:
    inputs, expected = CASES[name]["inputs"], CASES[name]["expected"]
    assert identity_similarity(np.array(inputs["identity_embeds"])) == pytest.approx(expected["ids"])
    diversity, per_prompt = layout_diversity(inputs["layouts"])
    assert diversity == pytest.approx(expected["sdi"])
    assert per_prompt == pytest.approx(expected["sdi_per_prompt"])
    assert tonal_variety([np.array(image) for image in inputs["images_rgb_0_1"]]) == pytest.approx(expected["pvs"])
    asc = inputs["asc"]
    counts = (asc["n_learned_synth"], asc["n_learned_test"], asc["n_sample"], asc["n_train"])
    assert style_coverage(*counts) == pytest.approx(expected["asc"])
    assert reachable(asc["n_learned_test"], asc["n_sample"], asc["n_train"]) == expected["s_star_test"]


def test_distinct_nearest_neighbours_are_counted() -> None:
    training = np.eye(4)
    assert retrieved(np.array([[1, 0.1, 0, 0], [0.9, 0, 0, 0], [0, 0, 0, 1.0]]), training) == 2
