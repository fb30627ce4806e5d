"""Denoising errors as likelihoods: noise, targets, shared draws, families of networks."""

import json
import math
from pathlib import Path

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    UNet2DModel,
)
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.errors import InputError
from assent.likelihood.denoisers import pack, unpack
from assent.likelihood.diffusion import LATENTS, DiffusionPolicy, Draws
from assent.likelihood.noising import Noising

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "diffusion-dpo.json").read_text())
CASES = {case["name"]: case for case in FIXTURE["cases"]}


def comparison(latents: list[Tensor], record: str = "r", **conditioning: Tensor) -> EncodedComparison:
    candidates = tuple(EncodedCandidate((), (), 0, {LATENTS: x, **conditioning}) for x in latents)
    count = len(candidates)
    return EncodedComparison(
        record, candidates, tuple(float(count - i) for i in range(count)), (-1,) * count, (None,) * count
    )


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow_matching"])
def test_noise_targets_and_errors_equal_the_recorded_values(kind: str) -> None:
    case = CASES[f"raw_{kind}"]
    values = {key: torch.tensor(value, dtype=torch.float64) for key, value in case["inputs"].items()}
    if kind == "flow_matching":
        noising = Noising(kind, 1 - values["sigmas"], values["sigmas"], torch.arange(2))
    else:
        alphas = values["alphas_cumprod_t"]
        noising = Noising(kind, alphas.sqrt(), (1 - alphas).sqrt(), torch.arange(2))
    index = torch.arange(2)
    for side in ("chosen", "rejected"):
        clean = values[f"x0_{side}"]
        noisy, target = (f(clean, values["noise"], index) for f in (noising.noisy, noising.target))
        expected = torch.tensor(case["expected"][f"noisy_{side}"], dtype=torch.float64)
        assert torch.allclose(noisy, expected, atol=1e-9)
        error = (values[f"policy_pred_{side}"] - target).pow(2).flatten(1).mean(1)
        assert error.tolist() == pytest.approx(case["expected"][f"policy_{side}_mse"], abs=1e-9)
        for estimate, truth in ((noising.clean_estimate, clean), (noising.noise_estimate, values["noise"])):
            assert torch.allclose(estimate(noisy, target, index), truth)


def schedulers() -> dict[str, Noising]:
    return {
        "epsilon": Noising.from_scheduler(DDPMScheduler()),
        "v_prediction": Noising.from_scheduler(DDPMScheduler(prediction_type="v_prediction")),
        "flow_matching": Noising.from_scheduler(FlowMatchEulerDiscreteScheduler(shift=3.0)),
    }


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow_matching"])
def test_noise_levels_come_from_the_scheduler(kind: str) -> None:
    noising = schedulers()[kind]
    assert noising.prediction == kind
    assert noising.steps == 1000
    clean, noise, index = torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2), torch.tensor([1, 200, 500, 999])
    if kind != "flow_matching":
        expected = DDPMScheduler().add_noise(clean, noise, index)
    else:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        expected = scheduler.scale_noise(clean, scheduler.timesteps[index], noise)
        assert torch.allclose(scheduler.timesteps[index], noising.timesteps[index])
    assert torch.allclose(noising.noisy(clean, noise, index), expected, atol=1e-5)


def test_flow_matching_draws_a_logit_normal_index() -> None:
    drawn = schedulers()["flow_matching"].draw(20_000, torch.Generator().manual_seed(0)).float() / 1000
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert (drawn < 0.5 - 0.3).float().mean().item() == pytest.approx(0.083, abs=0.01)


def test_the_three_readings_of_one_output_differ_by_their_known_factors() -> None:
    alpha = torch.tensor([0.3], dtype=torch.float64)
    clean, noise, output = (torch.randn(1, 4, dtype=torch.float64) for _ in range(3))
    index = torch.zeros(1, dtype=torch.long)
    v = Noising("v_prediction", alpha.sqrt(), (1 - alpha).sqrt(), index)
    noisy = v.noisy(clean, noise, index)
    error_v = (output - v.target(clean, noise, index)).pow(2).mean()
    error_noise = (v.noise_estimate(noisy, output, index) - noise).pow(2).mean()
    error_clean = (v.clean_estimate(noisy, output, index) - clean).pow(2).mean()
    assert error_noise.item() == pytest.approx((alpha * error_v).item())
    assert error_clean.item() == pytest.approx(((1 - alpha) * error_v).item())


class Zero(nn.Module):
    """Predicts nothing; its error is the mean square of the target."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    @staticmethod
    def assent_denoiser(
        model: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: dict[str, Tensor]
    ) -> Tensor:
        return noisy * model.weight


def test_candidates_share_their_draws_and_records_do_not() -> None:
    policy = DiffusionPolicy(Zero(), schedulers()["epsilon"], Draws(count=3))
    records = [comparison([torch.randn(1, 4, 4)] * 2, name) for name in ("a", "b")]
    batch = policy.collate(records)
    noise = batch["noise"].view(2, 2, 3, -1)
    assert torch.equal(noise[:, 0], noise[:, 1])
    assert not torch.equal(noise[0], noise[1])
    assert policy(batch).length.tolist() == [[3, 3], [3, 3]]
    assert torch.allclose(policy(batch).mean, -noise.pow(2).mean(-1).mean(-1))


def test_draws_depend_on_the_step_and_the_record_alone() -> None:
    first, second = (DiffusionPolicy(Zero(), schedulers()["epsilon"]) for _ in range(2))
    records = [comparison([torch.randn(1, 4, 4)] * 2, name) for name in ("a", "b")]
    for policy in (first, second):
        policy.begin_step(0, 7)
    together, alone = first.collate(records), second.collate(records[1:])
    assert torch.equal(together["noise"][2:], alone["noise"])
    second.begin_step(0, 8)
    assert not torch.equal(second.collate(records[1:])["noise"], alone["noise"])
    fixed = DiffusionPolicy(Zero(), schedulers()["epsilon"], Draws("fixed"))
    before = fixed.collate(records)["noise"]
    fixed.begin_step(0, 8)
    assert torch.equal(fixed.collate(records)["noise"], before)


def test_images_of_different_sizes_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="one size"):
        DiffusionPolicy(Zero(), schedulers()["epsilon"]).collate(
            [comparison([torch.zeros(1, 4, 4), torch.zeros(1, 8, 8)])]
        )


def families() -> dict[str, tuple[nn.Module, dict[str, Tensor], str]]:
    small = {"block_out_channels": (8, 8), "layers_per_block": 1, "norm_num_groups": 4}
    down = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    text = torch.randn(3, 8)
    return {
        "class": (
            UNet2DModel(
                sample_size=8,
                in_channels=4,
                out_channels=4,
                num_class_embeds=10,
                down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                up_block_types=("AttnUpBlock2D", "UpBlock2D"),
                attention_head_dim=4,
                **small,
            ),
            {"class_labels": torch.tensor(3)},
            "epsilon",
        ),
        "sd15": (
            UNet2DConditionModel(sample_size=8, cross_attention_dim=8, attention_head_dim=2, **down, **small),
            {"prompt_embeds": text},
            "v_prediction",
        ),
        "sdxl": (
            UNet2DConditionModel(
                sample_size=8,
                cross_attention_dim=8,
                attention_head_dim=2,
                addition_embed_type="text_time",
                addition_time_embed_dim=4,
                projection_class_embeddings_input_dim=6 * 4 + 16,
                **down,
                **small,
            ),
            {
                "prompt_embeds": text,
                "pooled_embeds": torch.randn(16),
                "time_ids": torch.tensor([64.0, 64, 0, 0, 64, 64]),
            },
            "epsilon",
        ),
        "sd3": (
            SD3Transformer2DModel(
                sample_size=8,
                patch_size=2,
                in_channels=4,
                num_layers=1,
                attention_head_dim=8,
                num_attention_heads=2,
                joint_attention_dim=8,
                caption_projection_dim=16,
                pooled_projection_dim=16,
                out_channels=4,
                pos_embed_max_size=8,
            ),
            {"prompt_embeds": text, "pooled_embeds": torch.randn(16)},
            "flow_matching",
        ),
        "flux": (
            FluxTransformer2DModel(
                patch_size=1,
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=8,
                pooled_projection_dim=16,
                axes_dims_rope=(4, 4, 8),
                guidance_embeds=True,
            ),
            {"prompt_embeds": text, "pooled_embeds": torch.randn(16), "guidance": torch.tensor(3.5)},
            "flow_matching",
        ),
    }


@pytest.mark.parametrize("name", ["class", "sd15", "sdxl", "sd3", "flux"])
def test_every_family_scores_and_trains(name: str) -> None:
    torch.manual_seed(0)
    model, conditioning, kind = families()[name]
    policy = DiffusionPolicy(model, schedulers()[kind], Draws(count=2))
    pair = comparison([torch.randn(4, 8, 8), torch.randn(4, 8, 8)], **conditioning)
    likelihoods = policy(policy.collate([pair, pair]))
    assert likelihoods.sum.shape == (2, 2)
    assert (likelihoods.sum < 0).all()
    assert torch.allclose(likelihoods.sum[0], likelihoods.sum[1], rtol=1e-4)
    likelihoods.sum.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_with_lora_the_adapter_off_is_the_reference() -> None:
    torch.manual_seed(0)
    model, conditioning, kind = families()["sd15"]
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    policy = DiffusionPolicy(wrapped, schedulers()[kind])
    batch = policy.collate([comparison([torch.randn(4, 8, 8)] * 2, **conditioning)])
    tuned = policy(batch).sum
    with wrapped.disable_adapter():
        reference = policy(batch).sum
    assert not torch.allclose(tuned, reference)
    assert torch.isfinite(tuned).all()


def test_packing_of_patches_is_reversible() -> None:
    latents = torch.randn(2, 4, 6, 8)
    assert pack(latents).shape == (2, 12, 16)
    assert torch.equal(unpack(pack(latents), 6, 8), latents)


def test_an_unknown_network_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="Linear"):
        DiffusionPolicy(nn.Linear(1, 1), schedulers()["epsilon"])


def test_the_log_snr_falls_with_noise() -> None:
    noising = schedulers()["epsilon"]
    values = noising.log_snr(torch.tensor([0, 500, 999]))
    assert values[0] > values[1] > values[2]
    assert math.isfinite(values[2].item())
