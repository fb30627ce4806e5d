"""SPO's loop: the policy samples, a judge compares the steps it might have taken, and the trainer learns from them.

Source: Liang et al. 2024, arXiv 2406.04314, section 3.3 and the released code. For each prompt of an optimizer step a
chain starts from noise. From step `first` on, K candidates x_p leave each state x_t; the next network call, which the
sampler needs anyway, gives their clean estimates x0^, which the judge scores at that level. Best against worst is a
pair where the softmax of the two scores differs by more than `threshold`; a random candidate goes on, so that later
states are not those of a greedy search. A step at which nothing is decided teaches nothing.

We sample anew for every optimizer step; the released code fills a buffer with an epoch's pairs first, so that some of
them are off-policy. Everything drawn depends on (seed, step, prompt), so that a run has one trajectory however it is
cut, and resumes to it.

Letters: P prompts, K candidates, S steps of the sampler.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.errors import RunError
from assent.likelihood.sampler_steps import NEXT, PLACE, STATE, SamplerStepPolicy
from assent.objectives import Judged
from assent.training.step import StepFunction, StepResult, Watcher
from assent.training.trainer import PreferenceTrainer

StepJudge = Callable[[Tensor, Sequence[str], Tensor], Tensor]
"""From (latents [N, ...] of clean estimates, their prompts, the timesteps [N]) to a score for each, [N]."""


@dataclass(frozen=True)
class Rollout:
    """How pairs are made.

    Args:
        judge: scores clean estimates.
        shape: of one latent.
        candidates: K.
        first: sampler step from which on candidates are tried.
        threshold: least difference of the softmax of best and worst.
        at_once: candidates that the network sees at once; results do not depend on it.
    """

    judge: StepJudge
    shape: tuple[int, ...]
    candidates: int = 4
    first: int = 4
    threshold: float = 0.3
    at_once: int = 16

    @torch.no_grad()
    def pairs(
        self, policy: SamplerStepPolicy, prompts: Sequence[EncodedComparison], origin: tuple[int, int]
    ) -> tuple[list[EncodedComparison], dict[str, float]]:
        """The decided pairs of the prompts' chains, and what to log.

        Args:
            policy: as it is now.
            prompts: comparisons of one unjudged candidate, with the text in `extra`.
            origin: (seed, step), which everything drawn depends on.
        """
        found: list[EncodedComparison] = []
        scores: list[Tensor] = []
        size = max(1, self.at_once // self.candidates)
        for start in range(0, len(prompts), size):
            chain = _Chain(self, policy, prompts[start : start + size], origin)
            found += chain.run()
            scores += chain.scores
        tried = len(prompts) * max(0, len(policy.grid) - 1 - self.first)
        return found, {"pairs": len(found), "tried": tried, "score": float(torch.stack(scores).mean()), "chains": 1}


class _Chain:
    """The chains of a few prompts, side by side."""

    def __init__(
        self,
        rollout: Rollout,
        policy: SamplerStepPolicy,
        prompts: Sequence[EncodedComparison],
        origin: tuple[int, int],
    ) -> None:
        self.rollout, self.policy, self.prompts = rollout, policy, prompts
        self.device = next(policy.model.parameters()).device
        media = [prompt.candidates[0].media for prompt in prompts]
        self.told = {name: torch.stack([one[name] for one in media]).to(self.device) for name in media[0]}
        self.texts = [str(prompt.extra["prompt"]) for prompt in prompts]
        self.draws = [_generator(origin, prompt.id) for prompt in prompts]
        self.scores: list[Tensor] = []

    def run(self) -> list[EncodedComparison]:
        """The decided pairs of every step that has a density and a step after it."""
        found: list[EncodedComparison] = []
        state = self._drawn()
        noise = self.policy.noise(state, self._place(0, len(state)), self.told)
        grid, everyone = self.policy.grid.to(self.device), torch.arange(len(self.prompts), device=self.device)
        for step in range(len(grid) - 1):
            count = self.rollout.candidates if step >= self.rollout.first else 1
            mean = grid.mean(state, noise, self._place(step, len(state)))
            reached = mean[:, None] + grid.sigma[step] * self._drawn(count)
            told = {name: value.repeat_interleave(count, dim=0) for name, value in self.told.items()}
            after = self._place(step + 1, len(state) * count)
            estimated = self.policy.noise(reached.flatten(0, 1), after, told)
            if count > 1:
                clean = grid.clean(reached.flatten(0, 1), estimated, after)
                found += self._decided(state, reached, self._judged(clean, count, grid.timesteps[after]), step)
            taken = torch.tensor(
                [int(torch.randint(count, (1,), generator=draw)) for draw in self.draws], device=self.device
            )
            state = reached[everyone, taken]
            noise = estimated.view(reached.shape)[everyone, taken]
        return found

    def _judged(self, clean: Tensor, count: int, timesteps: Tensor) -> Tensor:
        """[P, K] scores."""
        texts = [text for text in self.texts for _ in range(count)]
        scores = self.rollout.judge(clean, texts, timesteps)
        if scores.shape != (len(texts),) or not bool(torch.isfinite(scores).all()):
            raise RunError(
                f"the judge of steps must return one finite number for each of {len(texts)} pictures; "
                f"got a tensor of shape {tuple(scores.shape)}"
            )
        self.scores.append(scores.float().mean())
        return scores.float().view(-1, count)

    def _decided(self, state: Tensor, reached: Tensor, scores: Tensor, step: int) -> list[EncodedComparison]:
        best, worst = scores.argmax(dim=1), scores.argmin(dim=1)
        everyone = torch.arange(len(scores), device=scores.device)
        # The softmax of two numbers is the sigmoid of their difference.
        apart = 2 * (scores[everyone, best] - scores[everyone, worst]).sigmoid() - 1
        return [
            self._pair(row, step, state[row], (reached[row, best[row]], reached[row, worst[row]]))
            for row in (apart > self.rollout.threshold).nonzero().flatten().tolist()
        ]

    def _pair(self, row: int, step: int, state: Tensor, reached: tuple[Tensor, Tensor]) -> EncodedComparison:
        own = {name: value[row].cpu() for name, value in self.told.items()}
        shared = {**own, STATE: state.cpu(), PLACE: torch.tensor(step)}
        candidates = tuple(EncodedCandidate((), (), 0, {**shared, NEXT: one.cpu()}) for one in reached)
        name = f"{self.prompts[row].id}/{step}"
        return EncodedComparison(name, candidates, (1.0, 0.0), (-1, -1), (None, None))

    def _drawn(self, count: int | None = None) -> Tensor:
        """Standard normal noise of each prompt's own stream: [P, ...], or [P, K, ...]."""
        shape = self.rollout.shape if count is None else (count, *self.rollout.shape)
        return torch.stack([torch.randn(shape, generator=draw) for draw in self.draws]).to(self.device)

    def _place(self, step: int, count: int) -> Tensor:
        return torch.full((count,), step, device=self.device)


@dataclass
class OnPolicyStep(StepFunction):
    """A step function that is given prompts and makes its comparisons itself.

    Args:
        rollout: how.
    """

    rollout: Rollout | None = None
    record: dict[str, float] = field(default_factory=dict)

    def __call__(
        self, module: nn.Module, comparisons: Sequence[EncodedComparison], number: int, watch: Watcher | None = None
    ) -> StepResult:
        """Adds the gradient of the pairs that the prompts' chains give; nothing where none is decided."""
        assert self.rollout is not None
        assert isinstance(self.policy, SamplerStepPolicy)
        mine = comparisons[self.engine.rank :: self.engine.world]
        with self.engine.precision():
            made = self.rollout.pairs(self.policy, mine, (self.seed, number)) if mine else ([], {})
        pairs = _everyones(made, self.engine.world, comparisons, self.record)
        if not pairs:
            return StepResult(torch.zeros((), device=self.engine.device))
        return super().__call__(module, pairs, number, self._watching(watch))

    def _watching(self, watch: Watcher | None) -> Watcher:
        clip = getattr(self.objective, "clip", None)

        def seen(judged: Judged, losses: Tensor) -> None:
            if clip is not None:
                ratio = judged.mean_log_ratio.exp()
                self._add("clipped", float(((ratio - 1).abs() > clip).float().sum()))
                self._add("ratios", float(ratio.numel()))
            if watch is not None:
                watch(judged, losses)

        return seen

    def _add(self, name: str, value: float) -> None:
        self.record[name] = self.record.get(name, 0.0) + value

    def take(self) -> dict[str, float]:
        """What the rollouts since the last call say of themselves."""
        seen, self.record = self.record, {}
        if not seen.get("chains"):
            return {}
        told = {
            "rollout/score": seen["score"] / seen["chains"],
            "rollout/pairs": seen["pairs"],
            "rollout/decided": seen["pairs"] / max(seen["tried"], 1.0),
        }
        if seen.get("ratios"):
            told["rollout/clipped"] = seen["clipped"] / seen["ratios"]
        return told


class OnPolicyTrainer(PreferenceTrainer):
    """The trainer on prompts: what is compared is drawn in every step from the policy itself.

    Args:
        rollout: how.
        given: everything else as `PreferenceTrainer` takes it.
    """

    def __init__(self, *given: Any, rollout: Rollout, **named: Any) -> None:
        super().__init__(*given, **named)
        step = self.step_function
        self.step_function = OnPolicyStep(
            step.policy,
            step.objective,
            step.reference,
            step.engine,
            step.budget,
            step.seed,
            step.combiner,
            step.dropout,
            rollout=rollout,
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds what the rollouts say of themselves."""
        if "loss" in logs and "train_runtime" not in logs:
            assert isinstance(self.step_function, OnPolicyStep)
            logs |= self.step_function.take()
        super().log(logs, start_time)


def _everyones(
    made: tuple[list[EncodedComparison], dict[str, float]],
    world: int,
    prompts: Sequence[EncodedComparison],
    record: dict[str, float],
) -> list[EncodedComparison]:
    """The pairs of all ranks in the order of the prompts, and their numbers added to the record."""
    parts: list[Any] = [made]
    if world > 1:
        parts = [None] * world
        dist.all_gather_object(parts, made)
    for _, numbers in parts:
        for name, value in numbers.items():
            record[name] = record.get(name, 0.0) + value
    order = {prompt.id: place for place, prompt in enumerate(prompts)}
    pairs = [pair for found, _ in parts for pair in found]
    return sorted(pairs, key=lambda pair: order[pair.id.partition("/")[0]])


def _generator(origin: tuple[int, int], record: str) -> torch.Generator:
    digest = hashlib.sha256(repr(("rollout", *origin, record)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
