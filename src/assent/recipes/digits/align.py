"""Alignment on the testbed: any objective through the one trainer, and reward gradients with and without a remedy."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import TrainerCallback, TrainingArguments

from assent.encoding import EncodedComparison
from assent.likelihood.denoisers import Conditioning
from assent.likelihood.diffusion import DiffusionPolicy
from assent.likelihood.inversion import InvertedDiffusionPolicy
from assent.likelihood.noising import Noising
from assent.likelihood.reference import FrozenReference
from assent.objectives import build_objective
from assent.preference_models.direction import guided_reward, learn_direction
from assent.recipes.digits.data import CLASSES, SIZE, Digits, ink
from assent.recipes.digits.measure import draw
from assent.recipes.digits.model import DigitDenoiser, Progress, scheduler
from assent.training.reward_gradient import Optimisation, climb_reward, known_noise
from assent.training.trainer import PreferenceTrainer


@dataclass(frozen=True)
class Aligned:
    """An aligned model and how far its errors moved from the reference's on the last logged steps."""

    model: DigitDenoiser
    log: dict[str, float]


@dataclass(frozen=True)
class Plan:
    """How a model is aligned.

    Args:
        objective: as in a run file.
        steps: optimizer steps.
        pairs_per_step: comparisons in each.
        inverted: whether latents are inverted (InPO) instead of drawn.
        learning_rate: of AdamW, after 50 steps of warm-up.
    """

    objective: Any
    steps: int = 400
    pairs_per_step: int = 64
    inverted: bool = False
    learning_rate: float = 1e-4


def align(
    base: DigitDenoiser,
    comparisons: Sequence[EncodedComparison],
    plan: Plan,
    seed: int = 0,
    progress: Progress | None = None,
) -> Aligned:
    """The base model aligned by an objective through the trainer."""
    model = copy.deepcopy(base)
    kind = InvertedDiffusionPolicy if plan.inverted else DiffusionPolicy
    policy = kind(model, Noising.from_scheduler(scheduler()))
    objective = build_objective(plan.objective)
    reference = FrozenReference(copy.deepcopy(policy)) if objective.needs.reference else None
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=plan.pairs_per_step,
            max_steps=plan.steps,
            learning_rate=plan.learning_rate,
            warmup_steps=50,
            lr_scheduler_type="constant_with_warmup",
            max_grad_norm=1.0,
            seed=seed,
            logging_steps=max(1, plan.steps // 4),
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = PreferenceTrainer(
            policy,
            objective,
            arguments,
            comparisons,
            reference=reference,
            max_tokens_per_micro_batch=16 * plan.pairs_per_step,
            callbacks=[_Steps(progress)] if progress else [],
        )
        trainer.train()
        logged = [entry for entry in trainer.state.log_history if "rewards/margins" in entry or "loss" in entry]
    return Aligned(model, logged[-1])


class _Steps(TrainerCallback):
    """Passes the trainer's steps on."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Says which step ended."""
        self.progress(state.global_step, state.max_steps)


class BiasedReward(nn.Module):
    """A reward with a planted bias: it names the digit, and of two digits of a class it favours the thicker.

    Images and classes are embedded in 16 dimensions, normalised; the reward is their cosine.
    """

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 128), nn.ReLU(), nn.Linear(128, 16))
        self.text = nn.Embedding(CLASSES, 16)

    def embed_images(self, images: Tensor) -> Tensor:
        """[N, 16], length 1."""
        return functional.normalize(self.image(images.clamp(-1, 1)), dim=-1)

    def embed_classes(self, labels: Tensor) -> Tensor:
        """[N, 16], length 1."""
        return functional.normalize(self.text(labels), dim=-1)

    def forward(self, images: Tensor, conditioning: Conditioning) -> Tensor:
        """[N] plain reward of each image under its class."""
        return (self.embed_images(images) * self.embed_classes(conditioning["class_labels"])).sum(dim=-1)


def train_biased_reward(data: Digits, seed: int = 0, steps: int = 1500, bias: float = 10.0) -> BiasedReward:
    """Cross-entropy on the class, plus a preference for the thicker of two digits of a class."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = BiasedReward()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    amount = ink(data.images)
    for _ in range(steps):
        rows = torch.randint(0, len(data.images), (256,), generator=generator)
        images, labels = data.images[rows], data.labels[rows]
        features, classes = model.embed_images(images), model.embed_classes(torch.arange(CLASSES))
        naming = functional.cross_entropy(10 * features @ classes.T, labels)
        own = (features * classes[labels]).sum(dim=-1)
        same = (labels[:, None] == labels[None]) & (amount[rows][:, None] > amount[rows][None])
        thicker = -functional.logsigmoid(bias * (own[:, None] - own[None]))[same].mean()
        optimizer.zero_grad()
        (naming + thicker).backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Climbed:
    """A model after reward gradients, and the direction that was taken out of the reward (None: plain)."""

    model: DigitDenoiser
    direction: Tensor | None


def climb(base: DigitDenoiser, reward: BiasedReward, steps: int = 60, guided: bool = False, seed: int = 0) -> Climbed:
    """Plain reward gradients; or D^2-Align: first the direction on the base's images, then the corrected reward."""
    model = copy.deepcopy(base)
    direction = base_direction(base, reward, seed) if guided else None

    def score(images: Tensor, conditioning: Conditioning) -> Tensor:
        if direction is None:
            return reward(images, conditioning)  # type: ignore[no-any-return]
        text = reward.embed_classes(conditioning["class_labels"])
        return guided_reward(reward.embed_images(images), text, direction)

    kept: dict[str, Tensor] = {}
    drawn = 0

    def clean(network: nn.Module, conditioning: Conditioning, generator: torch.Generator) -> Tensor:
        # Fresh samples every tenth step: the network moves little in between.
        nonlocal drawn
        if drawn % 10 == 0:
            seeds = torch.randint(0, 2**31, (len(conditioning["class_labels"]),), generator=generator).tolist()
            kept["images"] = draw(network, conditioning["class_labels"], seeds)
        drawn += 1
        return kept["images"]

    labels = torch.arange(CLASSES).repeat(4)[:32]
    noising = Noising.from_scheduler(scheduler())
    batches: Iterator[Conditioning] = ({"class_labels": labels} for _ in range(steps))
    climb_reward(model, known_noise(clean, noising), score, batches, Optimisation(1e-4), seed)
    return Climbed(model, direction)


def base_direction(base: DigitDenoiser, reward: BiasedReward, seed: int = 0, steps: int = 600) -> Tensor:
    """The direction that the untuned model's own images ask for."""
    labels = torch.arange(CLASSES).repeat_interleave(30)
    images = draw(base, labels, [10_000_019 * (seed + 1) + i for i in range(len(labels))])
    with torch.no_grad():
        features, text = reward.embed_images(images), reward.embed_classes(labels)
    return learn_direction([(features, text)] * steps, features.shape[1])
