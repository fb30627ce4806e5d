"""From `gradients:` of a run file to a rule that makes one gradient of several, and a record of their conflict."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from assent.errors import InputError, RunError

Gradient = Sequence[Tensor | None]
"""One tensor for each parameter; None where a term does not reach it."""


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
    """[M, M] inner products of M gradients, float64; sharded parameters are summed over their ranks."""
    size = len(gradients)
    gram = torch.zeros(size, size, dtype=torch.float64)
    for i in range(size):
        for j in range(i, size):
            total = 0.0
            for first, second in zip(gradients[i], gradients[j], strict=True):
                if first is not None and second is not None:
                    product = (first.double() * second.double()).sum()
                    total += float(product.full_tensor() if isinstance(product, DTensor) else product)
            gram[i, j] = gram[j, i] = total
    return gram


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
