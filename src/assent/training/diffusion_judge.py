"""A step-aware judge: a model of pictures and texts that is told the timestep, trained on pairs of noised pictures.

Source: Liang et al. 2024, arXiv 2406.04314, section 3.2. Both pictures of a pair are noised to one timestep and
denoised in one step by the diffusion model, which is what the judge will be shown while that model samples:

    L = weight * cross-entropy(softmax(S(x0^_a, c, t), S(x0^_b, c, t)), label)

S = scaled cosine; the label is (1, 0), or (1/2, 1/2) for a tie; the weight is one over the number of pairs of the
prompt. That the two share their noise is ours: it takes out of the comparison what the noise alone decides.

Letters: N pairs of a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assent.comparison import Comparison
from assent.encoding.diffusion import DiffusionComparisons, prompt_text
from assent.errors import InputError, RunError
from assent.likelihood.diffusion import LATENTS, DiffusionPolicy
from assent.likelihood.pipelines import LoadedPipeline
from assent.preference_models.image_text import ImageTextModel

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class JudgeTraining:
    """How a judge is trained.

    Args:
        steps: optimizer steps.
        pairs: of each.
        learning_rate: of AdamW, after a warm-up of a tenth of the steps.
        clip: norm to which the gradient is cut.
        seed: of order, timesteps and noise.
    """

    steps: int = 1000
    pairs: int = 32
    learning_rate: float = 3e-6
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.pairs < 1:
            raise InputError("a judge needs at least one step of one pair", found=f"{self.steps}, {self.pairs}")


def pair_losses(first: Tensor, second: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """[N] weighted two-way cross-entropy.

    Args:
        first: [N] scores of the better pictures (of either, for ties).
        second: [N] of the others.
        labels: [N] probability that the first is better.
        weight: [N].
    """
    logits = torch.stack([first, second], dim=1).log_softmax(dim=1)
    return -weight * (labels * logits[:, 0] + (1 - labels) * logits[:, 1])


def train_step_judge(
    loaded: LoadedPipeline,
    judge: ImageTextModel,
    data: DiffusionComparisons,
    how: JudgeTraining,
    progress: Progress | None = None,
) -> list[float]:
    """Trains a step-aware judge on encoded pairs; returns the loss of every step.

    Args:
        loaded: the diffusion pipeline; nothing of it changes.
        judge: told the timestep, and trained whole.
        data: pairs of pictures of that pipeline.
        how: steps, learning rate.
        progress: called with (step, steps, loss).
    """
    if judge.times is None:
        raise InputError("this judge is not told the timestep", remedy="Load it with step_aware=True")
    labels, weights = _labels(data.comparisons), _weights(data.comparisons)
    policy = DiffusionPolicy(loaded.network, loaded.noising)
    judge.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=how.learning_rate, weight_decay=0.0)
    warmup = max(1, how.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup))
    generator = torch.Generator().manual_seed(how.seed)
    losses: list[float] = []
    for step in range(how.steps):
        rows = torch.randint(0, len(data), (how.pairs,), generator=generator).tolist()
        policy.begin_step(how.seed, step)
        scores = _scores(policy, loaded, judge, data, rows)
        loss = pair_losses(scores[:, 0], scores[:, 1], labels[rows].to(scores), weights[rows].to(scores)).mean()
        if not bool(loss.isfinite()):
            raise RunError(f"step {step + 1}: the judge's loss is not finite; lower the learning rate")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(judge.parameters(), how.clip)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if progress:
            progress(step + 1, how.steps, losses[-1])
    judge.eval()
    return losses


def _scores(
    policy: DiffusionPolicy,
    loaded: LoadedPipeline,
    judge: ImageTextModel,
    data: DiffusionComparisons,
    rows: Sequence[int],
) -> Tensor:
    """[N, 2] scores of the one-step estimates of both pictures of each pair, under one timestep and noise."""
    device = next(loaded.network.parameters()).device
    with torch.no_grad():
        batch = dict(policy.collate([data[row] for row in rows]))
        moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
        predicted, _ = policy.predict(moved)
        noising, index = loaded.noising.to(device), moved["index"]
        noisy = noising.noisy(moved[LATENTS], moved["noise"].to(moved[LATENTS]), index)
        pixels = loaded.images.pixels(noising.clean_estimate(noisy, predicted, index))
    texts = [prompt_text(data.comparisons[row].prompt, "pair") for row in rows for _ in range(2)]
    scores: Tensor = judge(pixels, texts, noising.timesteps[index])
    return scores.view(-1, 2)


def _labels(comparisons: Sequence[Comparison]) -> Tensor:
    """P(column 0 is better): 1, or 1/2 for ties."""
    found = []
    for comparison in comparisons:
        scores = [candidate.score for candidate in comparison.ordered()]
        if len(scores) != 2 or None in scores:
            raise InputError(
                "a judge of steps learns from pairs", where=comparison.key[:12], found=f"{len(scores)} pictures"
            )
        found.append(0.5 if scores[0] == scores[1] else 1.0)
    return torch.tensor(found)


def _weights(comparisons: Sequence[Comparison]) -> Tensor:
    """One over the number of pairs of the same prompt."""
    texts = [prompt_text(comparison.prompt, comparison.key[:12]) for comparison in comparisons]
    counts = Counter(texts)
    return torch.tensor([1.0 / counts[text] for text in texts])
