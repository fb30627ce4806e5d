"""Worker: what the public example script for SDXL computes in a step, pictures and prompts encoded in every one.

Written from its description: pictures are opened, resized and cut; the VAE encodes them; both text encoders encode
the caption; winner and loser share noise and timestep; the reference is the network with its adapter off. For the
check of the losses, noise and timesteps are those that Assent draws for the record, and latents are the mode of the
posterior instead of a sample; both cost the same.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from peft import get_peft_model
from PIL import Image
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.likelihood.diffusion import DiffusionPolicy, Draws
from assent.likelihood.noising import Noising
from assent.readers import read
from benchmarks.diffusion_model import lora
from benchmarks.gate import Gate, peak_bytes


class Example:
    """The script's step."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.pipeline = StableDiffusionXLPipeline.from_pretrained(told["model"])
        for part in (
            self.pipeline.vae,
            self.pipeline.text_encoder,
            self.pipeline.text_encoder_2,
            self.pipeline.unet,
        ):
            part.requires_grad_(False)
        torch.manual_seed(0)
        self.network = get_peft_model(self.pipeline.unet, lora())
        self.free = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.free, lr=told["learning_rate"], weight_decay=0.0)
        noising = Noising.from_scheduler(self.pipeline.scheduler)
        self.draws = DiffusionPolicy(self.network, noising, Draws("fixed", 1))
        self.encoding = 0.0

    def pixels(self, path: str) -> Tensor:
        """A picture as the script's transforms make it: resized, cut from the middle, in [-1, 1]."""
        side = self.told["shape"]["side"]
        shown = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(shown, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)

    @torch.no_grad()
    def encode(self, rows: list[dict[str, Any]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents of winners then losers, and what is known of the captions, twice."""
        folder = Path(self.told["rows"]).parent
        pixels = torch.stack([self.pixels(str(folder / row[s])) for s in ("chosen", "rejected") for row in rows])
        latents = self.pipeline.vae.encode(pixels).latent_dist.mode() * self.pipeline.vae.config.scaling_factor
        states, pooled = [], None
        for tokenizer, encoder in (
            (self.pipeline.tokenizer, self.pipeline.text_encoder),
            (self.pipeline.tokenizer_2, self.pipeline.text_encoder_2),
        ):
            ids = tokenizer(
                [row["caption"] for row in rows],
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).input_ids
            output = encoder(ids, output_hidden_states=True)
            pooled = output[0]
            states.append(output.hidden_states[-2])
        assert pooled is not None
        side = self.told["shape"]["side"]
        sizes = torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32).repeat(2 * len(rows), 1)
        return latents, torch.cat(states, dim=-1).repeat(2, 1, 1), pooled.repeat(2, 1), sizes

    def __call__(self, rows: list[dict[str, Any]], names: list[str]) -> float:
        """Takes a step and returns its loss."""
        began = time.perf_counter()
        latents, states, pooled, sizes = (tensor.to(self.free[0]) for tensor in self.encode(rows))
        self.encoding = time.perf_counter() - began
        drawn = [self.draws.drawn(name, latents[0].shape) for name in names]
        timesteps = torch.cat([levels for levels, _ in drawn]).repeat(2)
        noise = torch.cat([values for _, values in drawn]).repeat(2, 1, 1, 1).to(latents)
        noisy = self.pipeline.scheduler.add_noise(latents, noise, timesteps)

        def errors() -> Tensor:
            predicted = self.network(
                noisy,
                timesteps,
                encoder_hidden_states=states,
                added_cond_kwargs={"time_ids": sizes, "text_embeds": pooled},
            ).sample
            found: Tensor = (predicted - noise).pow(2).mean(dim=(1, 2, 3))
            return found

        winner, loser = errors().chunk(2)
        with torch.no_grad(), self.network.disable_adapter():
            known_winner, known_loser = errors().chunk(2)
        apart = (winner - loser) - (known_winner - known_loser)
        loss = -logsigmoid(-0.5 * self.told["beta"] * apart).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.free, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


def main() -> None:
    """Reads what to do, gets ready, and steps whenever told to."""
    gate = Gate()
    torch.set_num_threads(1)
    told = json.loads(sys.argv[1])
    began = time.perf_counter()
    rows = [json.loads(line) for line in Path(told["rows"]).read_text().splitlines()]
    names = [comparison.key[:12] for comparison in read(told["rows"]).comparisons]
    example = Example(told)
    gate.say("ready", preparation=time.perf_counter() - began, route="encoded in every step")
    for start in range(0, len(rows), told["per_step"]):
        if not gate.wait():
            break
        part = slice(start, start + told["per_step"])
        loss = example(rows[part], names[part])
        gate.stepped(loss=loss, encoding=example.encoding)
    else:
        gate.wait()
    gate.say("end", peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
