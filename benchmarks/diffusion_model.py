"""The tiny SDXL that both sides of the diffusion benchmark train, and its pictures, made on the spot."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

RANK = 4
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
TOKENS = 77
WORDS = ("a red boat", "on quiet water", "under tall trees", "near the old bridge", "at dawn")


@dataclass(frozen=True)
class Shape:
    """How large the parts are.

    Args:
        side: of the pictures, in pixels; latents have a quarter of it.
        network: channels of the denoiser's first level; twice as many on the second.
        blocks: transformer blocks on the second level.
        encoder: channels of the VAE's first level.
        text: width of the first text encoder; the second is twice as wide.
        layers: of the text encoders.
    """

    side: int
    network: int = 32
    blocks: int = 2
    encoder: int = 16
    text: int = 64
    layers: int = 4


def save_model(folder: Path, shape: Shape) -> None:
    """A random SDXL pipeline with both text encoders, the VAE and the size conditioning."""
    torch.manual_seed(0)
    pipeline = StableDiffusionXLPipeline(
        vae=_vae(shape),
        text_encoder=_text(shape, shape.text, projected=False),
        text_encoder_2=_text(shape, 2 * shape.text, projected=True),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=_network(shape),
        scheduler=DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        add_watermarker=False,
    )
    pipeline.save_pretrained(str(folder), safe_serialization=True)


def save_pairs(path: Path, shape: Shape, count: int) -> None:
    """Pairs of smooth random pictures as JPEG files, each pair under a caption of its own."""
    folder = path.parent / f"{path.stem}-pictures"
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        names = []
        for side in ("a", "b"):
            small = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            shown = Image.fromarray(small).resize((shape.side, shape.side), Image.Resampling.BICUBIC)
            shown.save(buffer, "JPEG", quality=92)
            name = f"{number:05d}-{side}.jpg"
            (folder / name).write_bytes(buffer.getvalue())
            names.append(f"{folder.name}/{name}")
        caption = f"{number}: " + " ".join(generator.permutation(WORDS))
        rows.append({"caption": caption, "chosen": names[0], "rejected": names[1]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def lora() -> LoraConfig:
    """The adapter of the public example; not zero at the start, so that losses say something from the first step."""
    return LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS, init_lora_weights=False)


def described(shape: Shape) -> dict[str, Any]:
    """The shape as plain data."""
    return asdict(shape)


def _tokenizer() -> CLIPTokenizer:
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*symbols, *(symbol + "</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=TOKENS)


def _text(shape: Shape, width: int, projected: bool) -> Any:
    config = CLIPTextConfig(
        vocab_size=514,
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=width // 16,
        num_hidden_layers=shape.layers,
        max_position_embeddings=TOKENS,
        projection_dim=width,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def _vae(shape: Shape) -> AutoencoderKL:
    """Three levels with two layers each, as SDXL's has four."""
    channels = (shape.encoder, 2 * shape.encoder, 4 * shape.encoder)
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=2,
        norm_num_groups=8,
        sample_size=shape.side,
        scaling_factor=0.13025,
    ).eval()


def _network(shape: Shape) -> UNet2DConditionModel:
    heads = shape.network // 16
    pooled = 2 * shape.text
    return UNet2DConditionModel(
        sample_size=shape.side // 4,
        in_channels=4,
        out_channels=4,
        layers_per_block=2,
        block_out_channels=(shape.network, 2 * shape.network),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=(heads, 2 * heads),
        cross_attention_dim=3 * shape.text,
        addition_embed_type="text_time",
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=pooled + 6 * 32,
        transformer_layers_per_block=(1, shape.blocks),
        use_linear_projection=True,
    )
