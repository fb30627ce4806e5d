"""Inverted latents equal the recorded ones, and policy and reference are scored on the same."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.errors import InputError
from assent.likelihood.diffusion import LATENTS, NOISY, TARGET, Draws
from assent.likelihood.inversion import Inversion, InvertedDiffusionPolicy
from assent.likelihood.noising import Noising
from assent.objectives import Judged, build_objective

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "inpo.json").read_text())["cases"]


class Toy(nn.Module):
    """eps(x, t) = x W' + (t / 1000) b."""

    def __init__(self, weight: list[list[float]], offset: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.offset = torch.tensor(offset, dtype=torch.float64)

    @staticmethod
    def assent_denoiser(
        model: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: dict[str, Tensor]
    ) -> Tensor:
        return noisy @ model.weight.T + timesteps.double().unsqueeze(1) / 1000 * model.offset


def noising() -> Noising:
    alphas = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").betas
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    assert torch.allclose(betas.float(), alphas)
    kept = (1 - betas).cumprod(0)
    return Noising("epsilon", kept.sqrt(), (1 - kept).sqrt(), torch.arange(1000))


class AtLevel(InvertedDiffusionPolicy):
    """Draws one given level."""

    level = 0

    def drawn(self, record: str, shape: torch.Size) -> tuple[Tensor, Tensor]:
        return torch.tensor([self.level]), torch.zeros(1, *shape, dtype=torch.float64)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_latents_loss_and_gradient_equal_the_recorded_values(case: dict) -> None:
    inputs, hyper, expected = case["inputs"], case["hyper"], case["expected"]
    mode = {"scheduler": "grid", "exact": "exact"}[hyper["inversion_mode"]]
    policy = AtLevel(Toy(inputs["policy_W"], inputs["b"]), noising(), Inversion(10, 0.0, mode))
    policy.level = inputs["t"]
    images = torch.tensor(inputs["x0"], dtype=torch.float64)
    half = len(images) // 2
    pairs = [
        EncodedComparison(
            str(i),
            tuple(EncodedCandidate((), (), 0, {LATENTS: images[j]}) for j in (i, half + i)),
            (1.0, 0.0),
            (-1, -1),
            (None, None),
        )
        for i in range(half)
    ]
    batch = policy.collate(pairs)
    order = [j for i in range(half) for j in (i, half + i)]
    recorded = {name: torch.tensor(expected[name], dtype=torch.float64)[order] for name in ("x_t", "pseudo_noise")}
    assert torch.allclose(batch[NOISY], recorded["x_t"], atol=1e-9)
    assert torch.allclose(batch[TARGET], recorded["pseudo_noise"], atol=1e-8)
    reference = AtLevel(Toy(inputs["ref_W"], inputs["b"]), noising())
    with torch.no_grad():
        frozen = reference(batch)
    found = policy(batch)
    assert (-found.mean[:, 0]).tolist() == pytest.approx(expected["policy_chosen_mse"], abs=1e-9)
    assert (-frozen.mean[:, 1]).tolist() == pytest.approx(expected["ref_rejected_mse"], abs=1e-9)
    loss = build_objective({"diffusion_dpo": {"beta": hyper["beta"]}})(Judged.of(pairs, found, frozen)).mean()
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-6)
    loss.backward()
    gradient = torch.tensor(expected["grad_wrt_policy_W"], dtype=torch.float64)
    assert torch.allclose(policy.model.weight.grad, gradient, rtol=1e-5, atol=1e-7)


def test_the_pseudo_noise_makes_the_forward_identity_exact() -> None:
    policy = InvertedDiffusionPolicy(Toy(torch.eye(4).tolist(), [0.1] * 4), noising(), draws=Draws(count=3))
    image = torch.randn(4, dtype=torch.float64)
    comparison = EncodedComparison("r", (EncodedCandidate((), (), 0, {LATENTS: image}),), (1.0,), (-1,), (None,))
    batch = policy.collate([comparison])
    again = policy.noising.noisy(batch[LATENTS], batch[TARGET], batch["index"])
    assert torch.allclose(again, batch[NOISY])
    assert not batch[NOISY].requires_grad


def test_fixed_draws_and_other_predictions_are_refused() -> None:
    levels = noising()
    with pytest.raises(InputError, match="fresh"):
        InvertedDiffusionPolicy(Toy([[1.0]], [0.0]), levels, draws=Draws("fixed"))
    with pytest.raises(InputError, match="predicts noise"):
        InvertedDiffusionPolicy(
            Toy([[1.0]], [0.0]), Noising("v_prediction", levels.signal, levels.noise, levels.timesteps)
        )
