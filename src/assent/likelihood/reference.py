"""References: what log-ratios are taken against. All answer in the policy's layout, without graph."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from assent.encoding import EncodedComparison
from assent.errors import RunError
from assent.likelihood.adapters import FOLLOWER, TRAINED, adapters_below, only_adapters
from assent.likelihood.likelihoods import Likelihoods
from assent.likelihood.policy import Batch, Policy


class FrozenReference:
    """Another model that never changes.

    Args:
        policy: a policy of the same kind as the trained one, around a model of its own; it is frozen here.
        statistics: per-token statistics to compute too.
    """

    def __init__(self, policy: Policy, statistics: Sequence[str] = ()) -> None:
        self.policy, self.statistics = policy, tuple(statistics)
        policy.requires_grad_(False)
        policy.eval()

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Likelihoods:
        """The other model's likelihoods, from the batch that the policy collated."""
        with torch.no_grad():
            likelihoods: Likelihoods = self.policy(batch, self.statistics)
            return likelihoods.detach()


class AdapterOffReference:
    """The policy's own weights with the trained adapter off; adapters below it stay on.

    Args:
        policy: around a model with adapters.
        keep: adapters that stay on; default: all active ones but the trained one.
        statistics: per-token statistics to compute too.
    """

    def __init__(self, policy: Policy, keep: Sequence[str] | None = None, statistics: Sequence[str] = ()) -> None:
        self.policy, self.statistics = policy, tuple(statistics)
        self.keep = adapters_below(policy.model) if keep is None else tuple(keep)

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Likelihoods:
        """The likelihoods without what is being trained."""
        with torch.no_grad(), only_adapters(self.policy.model, self.keep), _without_randomness(self.policy):
            likelihoods: Likelihoods = self.policy(batch, self.statistics)
            return likelihoods.detach()


class FollowingReference:
    """A reference that moves towards the policy every so many steps (TR-DPO).

    Source: Gorbatovski et al. 2024, arXiv 2404.09656: every `every` steps, r <- mix * p + (1 - mix) * r over the
    weights; mix = 1 is the hard update. With adapters only the trained adapter's weights have a second copy.

    Args:
        policy: what is trained.
        every: optimizer steps between two updates.
        mix: the policy's share, in (0, 1].
    """

    def __init__(self, policy: Policy, every: int = 512, mix: float = 0.6) -> None:
        if every < 1 or not 0 < mix <= 1:
            raise ValueError(f"every must be at least 1 and mix in (0, 1], got {every} and {mix}")
        self.trained, self.every, self.mix = policy, every, mix
        self.inner: FrozenReference | AdapterOffReference
        if TRAINED in getattr(policy.model, "peft_config", {}):
            _copy_adapter(policy.model)
            self.inner = AdapterOffReference(policy, keep=(*adapters_below(policy.model), FOLLOWER))
        else:
            self.inner = FrozenReference(copy.deepcopy(policy))

    @property
    def policy(self) -> Policy:
        """The policy that answers; with adapters the trained one itself."""
        return self.inner.policy

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Likelihoods:
        """The likelihoods under the weights of the last update."""
        return self.inner(comparisons, batch)

    def update(self, step: int) -> bool:
        """Moves the reference if it is time after `step` optimizer steps; returns whether it moved."""
        if step == 0 or step % self.every:
            return False
        with torch.no_grad():
            for mine, theirs in self._pairs():
                mine.lerp_(theirs.to(mine.dtype), self.mix)
        return True

    def state_dict(self) -> dict[str, Tensor]:
        """The reference's own weights, for checkpoints."""
        return {str(index): mine.detach().clone() for index, (mine, _) in enumerate(self._pairs())}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes the weights of a checkpoint."""
        pairs = list(self._pairs())
        if len(state) != len(pairs):
            raise RunError(f"the checkpoint has {len(state)} tensors of the reference, the model {len(pairs)}")
        with torch.no_grad():
            for index, (mine, _) in enumerate(pairs):
                mine.copy_(state[str(index)])

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(the reference's tensor, the policy's)."""
        if isinstance(self.inner, FrozenReference):
            copies = dict(self.inner.policy.named_parameters())
            yield from ((copies[name], parameter) for name, parameter in self.trained.named_parameters())
            return
        parameters = dict(self.trained.model.named_parameters())
        for name, parameter in parameters.items():
            if f".{TRAINED}." in f"{name}.":
                yield parameters[f"{name}.".replace(f".{TRAINED}.", f".{FOLLOWER}.")[:-1]], parameter


def start_reference(policy: Policy) -> FrozenReference | AdapterOffReference:
    """The policy as it is before the first step: the weights below its trained adapter, else a frozen copy."""
    if TRAINED in getattr(policy.model, "peft_config", {}):
        return AdapterOffReference(policy)
    return FrozenReference(copy.deepcopy(policy))


def largest_margin_at_start(
    policy: Policy, reference: Any, comparisons: Sequence[EncodedComparison]
) -> tuple[float, float, float]:
    """How far policy and reference are apart: largest and mean token difference, and largest of a sum, relative.

    Before the first step, with the reference being the starting policy, all are 0 but for rounding; see `agree`.
    """
    batch = policy.collate(comparisons)
    with torch.no_grad(), _without_randomness(policy):
        mine = policy(batch)
    return differences(mine, reference(comparisons, batch))


def differences(mine: Likelihoods, theirs: Likelihoods) -> tuple[float, float, float]:
    """(largest token difference, mean token difference, largest relative difference of a candidate's sum)."""
    if mine.tokens.shape != theirs.tokens.shape or not torch.equal(mine.owner.cpu(), theirs.owner.cpu()):
        raise RunError(f"two layouts: {tuple(mine.tokens.shape)} and {tuple(theirs.tokens.shape)} positions")
    apart = (mine.tokens - theirs.tokens.to(mine.tokens)).abs()
    sums = (mine.joint - theirs.joint.to(mine.tokens)).abs() / mine.joint.abs().clamp(min=1)
    if not apart.numel():
        return 0.0, 0.0, 0.0
    return float(apart.max()), float(apart.mean()), float(sums.max())


def agree(found: tuple[float, float, float], dtype: torch.dtype) -> bool:
    """Whether differences are rounding: 1e-4 for a token; below float32, 0.02 on average and 1% of a sum."""
    largest, mean, relative = found
    if dtype in (torch.bfloat16, torch.float16):
        return mean <= 0.02 and relative <= 0.01
    return largest <= 1e-4


def _copy_adapter(model: Any) -> None:
    """Adds a frozen copy of the trained adapter, switched off."""
    active = list(model.active_adapters)
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    if FOLLOWER not in model.peft_config:
        model.add_adapter(FOLLOWER, copy.deepcopy(model.peft_config[TRAINED]))
    model.base_model.set_adapter(active)
    model.active_adapter = active[-1]
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.requires_grad_(flags.get(name, False))
            if f".{TRAINED}." in f"{name}.":
                parameters[f"{name}.".replace(f".{TRAINED}.", f".{FOLLOWER}.")[:-1]].copy_(parameter)


@contextmanager
def _without_randomness(module: nn.Module) -> Iterator[None]:
    """Nothing is dropped inside, whatever the modules are set to outside.

    Under no_grad this costs nothing: what `eval()` also switches off, checkpointing, is not in use there.
    """
    training = [part for part in module.modules() if part.training]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True
