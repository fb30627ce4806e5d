"""Floating-point operations of a Diffusion-DPO step on SDXL's own shapes, counted without weights."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

SIDE = 1024
TOKENS = 77


def sdxl_operations() -> dict[str, float]:
    """Operations for one pair: two encoded pictures and one caption against policy with backward, and reference.

    With LoRA the backward computes gradients of activations but none of the frozen weights: once the forward's, where
    full training takes twice.
    """
    with torch.device("meta"):
        network = UNet2DConditionModel(
            sample_size=128,
            in_channels=4,
            out_channels=4,
            block_out_channels=(320, 640, 1280),
            layers_per_block=2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            layers_per_block=2,
            sample_size=SIDE,
        )
        first = CLIPTextModel(_text(768, 12, 12, 3072))
        second = CLIPTextModelWithProjection(_text(1280, 32, 20, 5120))
        forward = _counted(
            network,
            torch.zeros(2, 4, SIDE // 8, SIDE // 8),
            torch.zeros(2),
            encoder_hidden_states=torch.zeros(2, TOKENS, 2048),
            added_cond_kwargs={"time_ids": torch.zeros(2, 6), "text_embeds": torch.zeros(2, 1280)},
        )
        encoders = _counted(vae.encoder, torch.zeros(2, 3, SIDE, SIDE))
        ids = torch.zeros(1, TOKENS, dtype=torch.long)
        encoders += _counted(first, ids) + _counted(second, ids)
    return {"encoders": encoders, "network": 3 * forward}


def _text(width: int, layers: int, heads: int, inner: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        projection_dim=1280,
    )


@torch.no_grad()
def _counted(module: Any, *given: Any, **named: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        module(*given, **named)
    return float(counter.get_total_flops())
