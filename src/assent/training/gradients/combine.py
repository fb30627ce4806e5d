"""From `gradients:` of a run file to a rule that makes one gradient of several, and a record of their conflict."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate

from assent.errors import InputError, RunError

Gradient = Sequence[Tensor | None]
"""One tensor for each parameter; None where a term does not reach it."""

Sharding = tuple[DeviceMesh | None, tuple[int, ...]]
"""A mesh and those of its dimensions that shard; (None, ()) for an ordinary tensor."""

AT_ONCE = 2**24
"""Numbers of each gradient that are widened to float64 at once."""


class Coefficients(Protocol):
    """A rule that weighs gradients by how they lie to each other."""

    def coefficients(self, gram: Tensor, weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[M] coefficients from the Gram matrix [M, M] and the user's weights [M]."""


@dataclass
class Combination:
    """Combines M gradients and keeps the last step's record.

    Args:
        method: the rule.
        weights: the user's weight of each term, by name; 1 / M each where none are given.
        seed: of the generator that rules with random order draw from; the same on every rank.
        record: norms, cosines and coefficients of the last step, as metrics.
    """

    method: Coefficients
    weights: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    record: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def __call__(self, gradients: Sequence[Gradient], terms: Sequence[str]) -> list[Tensor | None]:
        """The combined gradient of each parameter, from those of M terms after their reduction over ranks."""
        gram = gram_matrix(gradients)
        if not bool(gram.isfinite().all()):
            norms = dict(zip(terms, gram.diagonal().tolist(), strict=True))
            raise RunError(f"the gradient of a term is not finite; squared norms: {norms}")
        coefficients = self.method.coefficients(gram, self.weights_of(terms), self.generator)
        self.record = conflict(gram, coefficients, terms)
        return [_mixed(column, coefficients.tolist()) for column in zip(*gradients, strict=True)]

    def weights_of(self, terms: Sequence[str]) -> Tensor:
        """[M] the user's weights in the order of the terms."""
        unknown = sorted(set(self.weights) - set(terms))
        missing = [term for term in terms if self.weights and term not in self.weights]
        if unknown or missing:
            near = difflib.get_close_matches((unknown or missing)[0], terms if unknown else self.weights, n=1)
            raise InputError(
                "gradient weights do not fit the terms of the objective",
                field="gradients.weights",
                found=", ".join(self.weights),
                expected=", ".join(terms),
                remedy=f"Did you mean `{near[0]}`?" if near else None,
            )
        return torch.tensor([self.weights.get(term, 1 / len(terms)) for term in terms], dtype=torch.float64)


def gram_matrix(gradients: Sequence[Gradient]) -> Tensor:
    """[M, M] inner products of M gradients, float64, the same on every rank.

    Each rank adds up what it holds; sums over shards are reduced once for all parameters that lie alike, and only
    along the dimensions of the mesh that shard: a copy that another rank holds too counts once.
    """
    size = len(gradients)
    sums: dict[Sharding, Tensor] = {}
    for column in zip(*gradients, strict=True):
        reached = [term for term, gradient in enumerate(column) if gradient is not None]
        whole = [_unsummed(gradient) for gradient in column if gradient is not None]
        if not whole:
            continue
        held = [gradient.to_local() if isinstance(gradient, DTensor) else gradient for gradient in whole]
        products = _products([gradient.reshape(-1) for gradient in held])
        total = sums.setdefault(_sharding(whole[0]), products.new_zeros(size, size))
        places = torch.tensor(reached, device=total.device)
        total[places.unsqueeze(1), places] += products.to(total.device)
    gram = torch.zeros(size, size, dtype=torch.float64)
    for (mesh, sharded), total in sums.items():
        if mesh is not None and sharded:
            # Offloaded gradients lie on the CPU, where the group may not be able to reduce.
            total = total.to(mesh.device_type)
            for dimension in sharded:
                dist.all_reduce(total, group=mesh.get_group(dimension))
        gram += total.cpu()
    return gram


def _products(rows: Sequence[Tensor]) -> Tensor:
    """[R, R] inner products of flat tensors, in float64 where the device has it, piece by piece to spare memory."""
    wide = torch.float32 if rows[0].device.type == "mps" else torch.float64
    total = torch.zeros(len(rows), len(rows), dtype=wide, device=rows[0].device)
    for start in range(0, rows[0].numel(), AT_ONCE):
        piece = torch.stack([row[start : start + AT_ONCE] for row in rows]).to(wide)
        total += piece @ piece.T
    return total


def _sharding(gradient: Tensor) -> Sharding:
    """The mesh that a gradient is spread over, and the dimensions along which ranks hold different parts of it."""
    if not isinstance(gradient, DTensor):
        return None, ()
    return gradient.device_mesh, tuple(at for at, how in enumerate(gradient.placements) if how.is_shard())


def _unsummed(gradient: Tensor) -> Tensor:
    """The gradient with what ranks have yet to add up added: products of parts are no parts of the product."""
    if not isinstance(gradient, DTensor) or not any(how.is_partial() for how in gradient.placements):
        return gradient
    return gradient.redistribute(placements=[Replicate() if how.is_partial() else how for how in gradient.placements])


def conflict(gram: Tensor, coefficients: Tensor, terms: Sequence[str]) -> dict[str, float]:
    """Norm and coefficient of each term and the cosine of each pair; 0 beside a vanishing gradient."""
    norms = gram.diagonal().clamp(min=0).sqrt()
    record = {f"gradients/norm/{term}": float(norms[i]) for i, term in enumerate(terms)}
    record |= {f"gradients/coefficient/{term}": float(coefficients[i]) for i, term in enumerate(terms)}
    for i, first in enumerate(terms):
        for j in range(i + 1, len(terms)):
            length = float(norms[i] * norms[j])
            record[f"gradients/cosine/{first}/{terms[j]}"] = float(gram[i, j]) / length if length > 0 else 0.0
    return record


def build_combination(spec: str | Mapping[str, Any], seed: int = 0) -> Combination:
    """The combination of `raco`, or of {raco: {radius: 0.4, weights: {quality: 0.8, brevity: 0.2}}}."""
    from assent.training.gradients import METHODS

    name, options = (spec, {}) if isinstance(spec, str) else (_only(spec), dict(next(iter(spec.values())) or {}))
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        raise InputError(
            f"no gradient combination is called `{name}`",
            field="gradients",
            expected=", ".join(METHODS),
            remedy=f"Did you mean `{near[0]}`?" if near else None,
        )
    weights = options.pop("weights", {})
    unknown = sorted(set(options) - set(inspect.signature(METHODS[name]).parameters))
    if unknown:
        raise InputError(f"`{name}` has no option `{unknown[0]}`", field=f"gradients.{name}.{unknown[0]}")
    if not isinstance(weights, Mapping) or any(not isinstance(value, int | float) for value in weights.values()):
        raise InputError(
            "weights are numbers by term",
            field=f"gradients.{name}.weights",
            found=repr(weights),
            expected="{term: 0.5}",
        )
    if weights and (min(weights.values()) < 0 or sum(weights.values()) <= 0):
        raise InputError(
            "weights are not negative, and not all 0", field=f"gradients.{name}.weights", found=str(weights)
        )
    try:
        return Combination(METHODS[name](**options), {term: float(value) for term, value in weights.items()}, seed)
    except (ValueError, TypeError) as error:
        raise InputError(str(error), field=f"gradients.{name}") from error


def _only(spec: Mapping[str, Any]) -> str:
    if len(spec) != 1:
        raise InputError("gradients are combined by one method", field="gradients", found=", ".join(map(str, spec)))
    return str(next(iter(spec)))


def _mixed(column: Sequence[Tensor | None], coefficients: Sequence[float]) -> Tensor | None:
    """The combination of one parameter's gradients."""
    present = [
        (gradient, factor) for gradient, factor in zip(column, coefficients, strict=True) if gradient is not None
    ]
    if not present:
        return None
    total = present[0][0] * present[0][1]
    for gradient, factor in present[1:]:
        total = total.add(gradient, alpha=factor)
    return total
