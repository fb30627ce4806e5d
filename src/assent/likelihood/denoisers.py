"""How each family of diffusion networks is called: one function per family, from rows to a prediction.

`conditioning` holds a row's text embeddings, class or sizes under the names given here. Flux packs 2x2 patches
into tokens; the packing is undone, so that every family predicts in the shape of its input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from assent.errors import InputError

Conditioning = Mapping[str, Tensor]
Denoiser = Callable[[nn.Module, Tensor, Tensor, Conditioning], Tensor]
"""From (network, noisy rows [N, C, H, W], timesteps [N], conditioning) to a prediction of the same shape."""


def unet(model: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    """UNet2DModel: unconditional, or `class_labels` [N]."""
    return _sample(model(noisy, timesteps, class_labels=conditioning.get("class_labels")))


def conditional_unet(model: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    """UNet2DConditionModel: `prompt_embeds` [N, L, D]; SDXL also `pooled_embeds` [N, P] and `time_ids` [N, 6]."""
    added = None
    if "time_ids" in conditioning:
        added = {"text_embeds": conditioning["pooled_embeds"], "time_ids": conditioning["time_ids"]}
    return _sample(
        model(
            noisy,
            timesteps,
            encoder_hidden_states=conditioning["prompt_embeds"],
            class_labels=conditioning.get("class_labels"),
            added_cond_kwargs=added,
        )
    )


def sd3(model: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    """SD3Transformer2DModel: `prompt_embeds` and `pooled_embeds`."""
    return _sample(
        model(
            hidden_states=noisy,
            timestep=timesteps,
            encoder_hidden_states=conditioning["prompt_embeds"],
            pooled_projections=conditioning["pooled_embeds"],
        )
    )


def flux(model: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
    """FluxTransformer2DModel: `prompt_embeds`, `pooled_embeds`, and `guidance` [N] where the model was distilled."""
    height, width = noisy.shape[-2:]
    text = conditioning["prompt_embeds"]
    rows = torch.arange(height // 2, device=noisy.device).view(-1, 1).expand(-1, width // 2)
    columns = torch.arange(width // 2, device=noisy.device).expand(height // 2, -1)
    places = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).view(-1, 3).to(noisy)
    predicted = _sample(
        model(
            hidden_states=pack(noisy),
            timestep=timesteps / 1000,
            encoder_hidden_states=text,
            pooled_projections=conditioning["pooled_embeds"],
            img_ids=places,
            txt_ids=torch.zeros(text.shape[1], 3, device=noisy.device, dtype=noisy.dtype),
            guidance=conditioning.get("guidance"),
        )
    )
    return unpack(predicted, height, width)


def pack(latents: Tensor) -> Tensor:
    """[N, C, H, W] as tokens of 2x2 patches, [N, H W / 4, 4 C]."""
    count, channels, height, width = latents.shape
    patches = latents.view(count, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(count, (height // 2) * (width // 2), channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The reverse of `pack`."""
    count, _, size = tokens.shape
    patches = tokens.view(count, height // 2, width // 2, size // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(count, size // 4, height, width)


FAMILIES: dict[str, Denoiser] = {
    "UNet2DModel": unet,
    "UNet2DConditionModel": conditional_unet,
    "SD3Transformer2DModel": sd3,
    "FluxTransformer2DModel": flux,
}
"""The families by the name of their diffusers class."""


def denoiser_for(model: nn.Module) -> Denoiser:
    """The family of a network, wrapped by PEFT or not; a network may also state its own `assent_denoiser`."""
    wrapped: Any = model
    inner: Any = wrapped.get_base_model() if hasattr(model, "get_base_model") else wrapped
    own = getattr(inner, "assent_denoiser", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    for cls in type(inner).__mro__:
        if cls.__name__ in FAMILIES:
            return FAMILIES[cls.__name__]
    raise InputError(
        "no likelihood is known for this diffusion network",
        field="model",
        found=type(inner).__name__,
        expected=", ".join(FAMILIES),
    )


def _sample(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]
