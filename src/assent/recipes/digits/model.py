"""A class-conditional denoiser of 8x8 digits, trained from scratch, and a classifier that checks what it draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn
from torch.nn import functional

from assent.likelihood.denoisers import Conditioning
from assent.likelihood.noising import Noising
from assent.recipes.digits.data import CLASSES, NULL, SIZE, Digits

WIDTH, HIDDEN, BLOCKS = 160, 320, 3
TRAINING_TIMESTEPS = 1000
Progress = Callable[[int, int], None]
"""Called with (done, total)."""


class DigitDenoiser(nn.Module):
    """A residual network over the 64 pixels, told the timestep and the class."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(SIZE * SIZE, WIDTH)
        self.time = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.label = nn.Embedding(CLASSES + 1, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.leave = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, SIZE * SIZE))
        last = self.leave[1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, noisy: Tensor, timesteps: Tensor, class_labels: Tensor) -> Tensor:
        """The predicted noise of each picture, [N, 1, 8, 8]."""
        told = self.time(sinusoids(timesteps)) + self.label(class_labels)
        hidden = self.enter(noisy.flatten(1))
        for block in self.blocks:
            hidden = block(hidden, told)
        predicted: Tensor = self.leave(hidden)
        return predicted.view_as(noisy)

    @staticmethod
    def assent_denoiser(model: nn.Module, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """How a diffusion policy calls it."""
        predicted: Tensor = model(noisy, timesteps, conditioning["class_labels"])
        return predicted


class Block(nn.Module):
    """One residual step."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.widen, self.told, self.narrow = (
            nn.Linear(WIDTH, HIDDEN),
            nn.Linear(WIDTH, HIDDEN),
            nn.Linear(HIDDEN, WIDTH),
        )

    def forward(self, hidden: Tensor, told: Tensor) -> Tensor:
        """The hidden state with this step's change."""
        change: Tensor = self.narrow(functional.silu(self.widen(self.norm(hidden)) + self.told(told)))
        return hidden + change


def sinusoids(timesteps: Tensor) -> Tensor:
    """[N, WIDTH] sines and cosines of the timestep at falling frequencies."""
    half = WIDTH // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=timesteps.device) / half)
    angles = timesteps.float().unsqueeze(1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def scheduler() -> DDIMScheduler:
    """The noise schedule of the testbed, with samples clipped to the pictures' range."""
    return DDIMScheduler(num_train_timesteps=TRAINING_TIMESTEPS, clip_sample=True, clip_sample_range=1.0)


def train_denoiser(data: Digits, steps: int = 5000, seed: int = 0, progress: Progress | None = None) -> DigitDenoiser:
    """The base model: noise prediction with 10% of the classes dropped, an average of its weights."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    noising = Noising.from_scheduler(scheduler())
    model = DigitDenoiser()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        rows = torch.randint(0, len(data.images), (128,), generator=generator)
        labels = torch.where(torch.rand(128, generator=generator) < 0.1, NULL, data.labels[rows])
        index = noising.draw(128, generator)
        noise = torch.randn(128, 1, SIZE, SIZE, generator=generator)
        predicted = model(noising.noisy(data.images[rows], noise, index), index, labels)
        loss = functional.mse_loss(predicted, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        average.update_parameters(model)
        if progress and (step + 1) % 100 == 0:
            progress(step + 1, steps)
    model.load_state_dict(average.module.state_dict())
    return model


def train_classifier(data: Digits, seed: int = 0, steps: int = 1500) -> nn.Module:
    """A small classifier of digits, about 97% right on held-out ones."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    sizes = [SIZE * SIZE, 128, 32, CLASSES]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    for _ in range(steps):
        rows = torch.randint(0, len(data.images), (128,), generator=generator)
        noise = 0.1 * torch.randn(128, 1, SIZE, SIZE, generator=generator)
        loss = functional.cross_entropy(model(data.images[rows] + noise), data.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)
