"""One optimizer step's gradient: the step's comparisons, cut under a token budget, exact however they are cut.

The loss of a step is the weighted sum over its comparisons divided by their number, over all ranks. Losses that
couple comparisons (`needs.batch`) take two phases: score everything without graph and gather the numbers, take the
loss and its derivative with respect to every log-probability on the whole step, then one forward and backward pass
per micro-batch, seeded with those derivatives.

Letters: N comparisons of the step, B of a micro-batch, M terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from assent.encoding import EncodedComparison
from assent.encoding.packing import cut, share_out
from assent.errors import InputError
from assent.likelihood import Likelihoods
from assent.likelihood.policy import Policy, Reference
from assent.objectives import Judged, Objective
from assent.training.combining import GradientCombiner
from assent.training.engine import Engine, trained_parameters
from assent.training.gathering import Part, gathered, joined, parts_of, requiring_gradient
from assent.training.order import mixed_seed
from assent.training.seeding import seeds_of, without_idle

Watcher = Callable[[Judged, Tensor], None]
"""Called with what an objective saw and said: [B], [B, M] or a scalar, without graph."""


@dataclass
class StepResult:
    """What a step says of itself.

    Args:
        loss: this rank's part times the number of ranks, so that the mean over ranks is the step's loss.
        losses: (ids, loss) of what was computed here; the loss is [B], [B, M] or a scalar.
    """

    loss: Tensor
    losses: list[tuple[tuple[str, ...], Tensor]] = field(default_factory=list)


@dataclass
class StepFunction:
    """Computes the gradient of one optimizer step and leaves it in `.grad`.

    Args:
        policy: the policy itself; it is run through the module that wraps it.
        objective: the loss.
        reference: log-probabilities under the reference, or None.
        engine: the machinery around.
        budget: tokens that are computed at once.
        seed: of everything drawn in a step.
        combiner: how the gradients of several terms become one; None: their sum.
        dropout: whether the model has dropout, whose masks are then fixed by (seed, step, micro-batch).
        progress: share of the run that is done; set before each step, for schedules and warm-ups.
    """

    policy: Policy
    objective: Objective
    reference: Reference | None
    engine: Engine
    budget: int
    seed: int
    combiner: GradientCombiner | None = None
    dropout: bool = False
    progress: float = 1.0

    def __post_init__(self) -> None:
        # Masks of dropout fall where tokens stand: with it the second phase must lay out what the first did.
        self.skips_idle = not self.dropout and bool(getattr(self.policy, "scores_candidates_apart", False))
        self.terms: tuple[str, ...] = tuple(getattr(self.objective, "terms", None) or ("loss",))
        if self.combiner is not None and len(self.terms) < 2:
            raise InputError(
                "combining gradients needs several terms",
                field="gradients",
                found="an objective with one term",
                remedy="Write the objective as a list, or leave `gradients` out",
            )

    def __call__(
        self, module: nn.Module, comparisons: Sequence[EncodedComparison], number: int, watch: Watcher | None = None
    ) -> StepResult:
        """Adds the step's gradient to `.grad` and returns its loss.

        Args:
            module: the policy, or what wraps it.
            comparisons: all comparisons of the step, the same on every rank.
            number: of the optimizer step, for what is drawn.
            watch: is shown every comparison once, on one rank.
        """
        self.policy.begin_step(self.seed, number)
        groups = self.groups(comparisons)
        alone = self.engine.world == 1 and len(groups) == 1 and self.combiner is None
        step = _Pass(self, module, comparisons, groups, number, watch)
        if self.objective.needs.batch and not alone:
            return step.coupled()
        return step.separable()

    def groups(self, comparisons: Sequence[EncodedComparison]) -> list[list[int]]:
        """This rank's micro-batches, as places in the step; empty ones at the end make ranks agree on the count."""
        costs = [self.policy.cost(comparison) for comparison in comparisons]
        cuts = []
        for share in share_out(costs, self.engine.world):
            groups = cut([costs[place] for place in share], self.budget)
            cuts.append([[share[at] for at in group] for group in groups])
        mine = cuts[self.engine.rank]
        return mine + [[] for _ in range(max(map(len, cuts)) - len(mine))]

    def score(
        self, module: nn.Module, comparisons: Sequence[EncodedComparison], with_reference: bool = True
    ) -> tuple[Likelihoods, Likelihoods | None]:
        """The likelihoods of a micro-batch under the policy and, without graph, under the reference."""
        batch = {
            name: value.to(self.engine.device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in self.policy.collate(comparisons).items()
        }
        policy = module(batch, self.objective.needs.statistics)
        if self.reference is None or not with_reference:
            return policy, None
        with torch.no_grad(), self.engine.precision():
            return policy, self.reference(comparisons, batch).detach()

    def judged(
        self,
        comparisons: Sequence[EncodedComparison],
        policy: Likelihoods,
        reference: Likelihoods | None,
        number: int,
    ) -> Judged:
        """What the objective is given; what it draws depends on (seed, step) alone."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, number, 0x6F626A))
        return Judged.of(comparisons, policy, reference, generator, self.progress)


@dataclass
class _Pass:
    """One run of a step function."""

    function: StepFunction
    module: nn.Module
    comparisons: Sequence[EncodedComparison]
    groups: list[list[int]]
    number: int
    watch: Watcher | None

    def separable(self) -> StepResult:
        """Every micro-batch has its own loss."""
        result = StepResult(torch.zeros((), device=self.function.engine.device))

        def loss_of(group: list[int], term: int | None) -> Tensor:
            chosen = [self.comparisons[place] for place in group]
            judged = self.function.judged(chosen, *self.function.score(self.module, chosen), self.number)
            losses = self.function.objective(judged)
            if term in (None, 0):
                self._note(judged, losses, result)
            return weighted(losses, judged.weight, len(self.comparisons), term, len(group))

        result.loss = self._backward(loss_of)
        return result

    def coupled(self) -> StepResult:
        """The loss of the whole step first, then its derivatives through every micro-batch."""
        result = StepResult(torch.zeros((), device=self.function.engine.device))
        judged = self._whole()
        policy = judged.policy
        # Judged may have widened 16-bit likelihoods; derivatives are taken where the graph starts.
        leaves = [policy.tokens, *policy.statistics.values()]
        with torch.enable_grad():
            losses = self.function.objective(judged)
            # Every rank sees the whole step: one of them tells of it.
            self._note(judged, losses, result, show=self.function.engine.rank == 0)
            seeds = [
                seeds_of(weighted(losses, judged.weight, len(self.comparisons), term), leaves, policy)
                for term in self._terms()
            ]
        total = weighted(losses.detach(), judged.weight, len(self.comparisons), None)

        def surrogate(group: list[int], term: int | None) -> Tensor:
            seeded = [(self.comparisons[place], seeds[term or 0][place]) for place in group]
            if self.function.skips_idle:
                seeded = [found for pair in seeded if (found := without_idle(*pair)) is not None]
            if not seeded:
                return self._nothing()
            likelihoods, _ = self.function.score(self.module, [one for one, _ in seeded], with_reference=False)
            value = (torch.cat([seed.tokens for _, seed in seeded]) * likelihoods.tokens).sum()
            for name, values in likelihoods.statistics.items():
                value = value + (torch.cat([seed.statistics[name] for _, seed in seeded]) * values).sum()
            return value

        self._backward(surrogate)
        result.loss = total
        return result

    def _terms(self) -> Sequence[int | None]:
        return [None] if self.function.combiner is None else range(len(self.function.terms))

    def _whole(self) -> Judged:
        """The step as the objective sees it, scored without graph and gathered over ranks."""
        mine: dict[int, tuple[Part, Part | None]] = {}
        with torch.no_grad():
            for index, group in enumerate(self.groups):
                chosen = [self.comparisons[place] for place in group] or [self._stand_in()]
                with self._drawing(index):
                    policy, reference = self.function.score(self.module, chosen)
                references: Sequence[Part | None] = [None] * len(chosen) if reference is None else parts_of(reference)
                # Shorter where the group is empty and a stand-in was scored.
                for place, part, other in zip(group, parts_of(policy), references, strict=False):
                    mine[place] = (part, other)
        parts = gathered(mine, self.function.engine.device)
        pairs = [parts[place] for place in range(len(self.comparisons))]
        reference_parts = [reference for _, reference in pairs if reference is not None]
        policy = requiring_gradient(joined([policy for policy, _ in pairs]))
        reference = joined(reference_parts) if reference_parts else None
        return self.function.judged(self.comparisons, policy, reference, self.number)

    def _backward(self, value_of: Callable[[list[int], int | None], Tensor]) -> Tensor:
        """Runs every micro-batch, once for each term that is kept apart; returns the sum of all values."""
        combiner = self.function.combiner
        if combiner is None:
            return self._run(value_of, None)
        parameters = trained_parameters(self.function.policy)
        drawing = getattr(combiner, "generator", None)
        if isinstance(drawing, torch.Generator):
            drawing.manual_seed(mixed_seed(self.function.seed, self.number, 0x636F6D62))
        total, gradients = torch.zeros((), device=self.function.engine.device), []
        for term in range(len(self.function.terms)):
            total = total + self._run(value_of, term)
            gradients.append([parameter.grad for parameter in parameters])
            for parameter in parameters:
                parameter.grad = None
        for parameter, gradient in zip(parameters, combiner(gradients, self.function.terms), strict=True):
            parameter.grad = gradient
        return total

    def _run(self, value_of: Callable[[list[int], int | None], Tensor], term: int | None) -> Tensor:
        engine = self.function.engine
        total = torch.zeros((), device=engine.device, dtype=torch.float64 if engine.device.type == "cpu" else None)
        for index, group in enumerate(self.groups):
            with engine.accumulate(self.module, index == len(self.groups) - 1), self._drawing(index):
                value = value_of(group, term) if group else self._nothing()
                # Engines average over ranks; the sum over ranks is what is wanted.
                value = value * engine.world
                engine.backward(value)
                total = total + value.detach()
        return total

    def _nothing(self) -> Tensor:
        """A forward pass that keeps ranks in step and has no gradient."""
        likelihoods, _ = self.function.score(self.module, [self._stand_in()], with_reference=False)
        return (likelihoods.tokens * 0).sum()

    def _stand_in(self) -> EncodedComparison:
        return min(self.comparisons, key=self.function.policy.cost)

    def _note(self, judged: Judged, losses: Tensor, result: StepResult, show: bool = True) -> None:
        result.losses.append((judged.ids, losses.detach()))
        if self.watch is not None and show:
            with torch.no_grad():
                self.watch(judged, losses.detach())

    @contextmanager
    def _drawing(self, index: int) -> Iterator[None]:
        """The same random numbers for a micro-batch in both phases; nothing is touched where there is no dropout."""
        if not self.function.dropout:
            yield
            return
        device = self.function.engine.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(mixed_seed(self.function.seed, self.number, self.function.engine.rank, index))
            yield


def weighted(losses: Tensor, weight: Tensor, count: int, term: int | None, part: int | None = None) -> Tensor:
    """The weighted sum of losses divided by the step's number of comparisons; of one term, or of all."""
    if losses.dim() == 0:
        if part is not None and part != count:
            raise InputError(
                "an objective that returns a scalar needs the whole step",
                field="objective",
                remedy="State `needs.batch` in the objective",
            )
        return losses
    if losses.dim() == 2:
        losses = losses.sum(dim=1) if term is None else losses[:, term]
    return (losses * weight.to(losses.dtype)).sum() / count
