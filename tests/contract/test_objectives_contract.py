"""What every objective must do, whoever wrote it: finite, shaped, blind to padding, documented, distinct."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import assent.objectives
from assent.errors import InputError
from assent.likelihood import FIRST_STREAM, PROMPT, Likelihoods
from assent.objectives import Judged, Needs, build_objective, objective_classes
from assent.objectives.describe import describe
from tests.batches import NAN

ROOM = Path(assent.objectives.__file__).parent
SUPPORT = {
    "__init__",
    "catalogue",
    "checks",
    "describe",
    "judged",
    "lists",
    "names",
    "needs",
    "ranking",
    "registry",
    "reliability",
    "weighted_sum",
}
"""Files of the room that are no method."""

DISTINCT: dict[str, dict[str, Any]] = {
    "modpo": {"margin_weights": {"helpful": 0.3}, "weight_of_pairs": 0.7},
    "sequential_po": {"dimension": "brief"},
}
"""Options that fit the test's dimensions."""

DIMENSIONS = ("helpful", "brief")

EQUAL_ON_DEFAULTS = {frozenset(("dpo", "mapl"))}
"""Pairs of names that are the same loss by intention: on plain pairs MAPL has nothing to add."""

SLUGS = sorted(objective_classes())
MARGINS = [0.0, *(sign * 10.0**power for power in range(5) for sign in (1, -1))]


def build(slug: str) -> Any:
    return build_objective({slug: options(slug)})


def options(slug: str) -> dict[str, Any]:
    """Options of a method that cannot be built without any."""
    return {**getattr(objective_classes()[slug], "example", {}), **DISTINCT.get(slug, {})}


def batch_for(
    needs: Needs,
    policy: Tensor,
    reference: Tensor,
    *,
    lengths: Tensor | None = None,
    extra_columns: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Judged:
    """A batch with everything the needs ask for, from [B, 2] sums of a better and a worse answer."""
    size = len(policy)
    roles: list[str | None] = [None, None]
    shift = [0.0, 0.0]
    labels = torch.tensor([[1, 0]] * size)
    for role in needs.helpers:
        roles += [role, role] if role in ("blank_image", "base_prompt") else [role]
    for extra in range(2, len(roles)):
        shift.append(-1.0 - 0.5 * extra)
        policy = torch.cat([policy, policy[:, extra % 2 : extra % 2 + 1] + shift[-1]], dim=1)
        reference = torch.cat([reference, reference[:, extra % 2 : extra % 2 + 1] - 0.7], dim=1)
        labels = torch.cat([labels, torch.full((size, 1), -1)], dim=1)
    width = policy.shape[1]
    if lengths is None:
        lengths = torch.full((size, width), 3)
    elif width > 2:
        lengths = torch.cat([lengths, torch.full((size, width - 2), 3)], dim=1)
    mask = torch.ones(size, width, dtype=torch.bool)
    scores = torch.tensor([[0.9, 0.3]] * size, dtype=dtype)
    scores = torch.cat([scores, torch.full((size, width - 2), NAN, dtype=dtype)], dim=1)
    if extra_columns:

        def padded(values: Tensor, value: Any) -> Tensor:
            return torch.cat([values, torch.full((size, extra_columns), value, dtype=values.dtype)], dim=1)

        mask, labels, scores = padded(mask, False), padded(labels, -1), padded(scores, NAN)
        policy, reference, lengths = padded(policy, 0.0), padded(reference, 0.0), padded(lengths, 0)
        roles += [None] * extra_columns
        width += extra_columns
    return Judged(
        policy=likelihoods(policy, lengths, mask, needs, dtype),
        reference=likelihoods(reference, lengths, mask, needs, dtype) if needs.reference else None,
        scores=scores,
        labels=labels,
        roles=tuple(tuple(roles) for _ in range(size)),
        mask=mask,
        confidence=None,
        weight=torch.ones(size, dtype=dtype),
        dimensions={
            name: torch.where(
                mask, torch.tensor([[1.0 - index, float(index)] + [0.5] * (width - 2)], dtype=dtype), NAN
            )
            for index, name in enumerate(DIMENSIONS)
        },
        generator=torch.Generator().manual_seed(0),
    )


def likelihoods(sums: Tensor, lengths: Tensor, mask: Tensor, needs: Needs, dtype: torch.dtype) -> Likelihoods:
    plain = Likelihoods.from_sums(sums, lengths, mask)
    segment = torch.zeros_like(plain.owner)
    segment[::3] = PROMPT
    segment[1::3] = FIRST_STREAM
    invented = -0.3 - 0.2 * plain.position - 0.1 * (plain.owner % sums.shape[1])
    names = (*needs.statistics, *(("contrast",) if needs.contrast else ()))
    statistics = {name: invented.to(dtype) for name in names}
    return Likelihoods(plain.tokens.to(dtype), plain.owner, plain.shape, mask, segment, statistics)


def chosen_minus_rejected(margin: float) -> tuple[list[float], list[float]]:
    """Log-probabilities, all at most 0, whose log-ratio margin is the given one."""
    low, high = -1.0 - abs(margin), -1.0
    return ([high, low], [high, high]) if margin >= 0 else ([low, high], [high, high])


def grid(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    rows = [chosen_minus_rejected(margin) for margin in MARGINS]
    rows += [([high, low], [low, high]) for low, high in ((-1e4, -1.0), (-50.0, -0.01))]
    # Certain answers on either side, and on both.
    rows += [([0.0, -5.0], [-1.0, -1.0]), ([-5.0, 0.0], [-1.0, -1.0]), ([0.0, 0.0], [0.0, 0.0])]
    policy = torch.tensor([row[0] for row in rows], dtype=dtype)
    return policy, torch.tensor([row[1] for row in rows], dtype=dtype)


def loss_and_gradient(objective: Any, policy: Tensor, reference: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    policy = policy.clone().requires_grad_()
    loss: Tensor = objective(batch_for(objective.needs, policy, reference, **options))
    (gradient,) = torch.autograd.grad(weighed(loss), policy)
    return loss.detach(), gradient


def weighed(loss: Tensor) -> Tensor:
    """A sum in which opposed terms do not cancel."""
    return loss.sum() if loss.dim() < 2 else (loss * torch.arange(1, loss.shape[1] + 1)).sum()


@pytest.mark.parametrize("slug", SLUGS)
def test_is_finite_at_every_margin_and_has_the_right_shape(slug: str) -> None:
    objective = build(slug)
    policy, reference = grid()
    # One by one only where comparisons are coupled: elsewhere the batch says the same, see the test below.
    for index in range(len(policy) if objective.needs.batch else 0):
        row = slice(index, index + 1)
        loss, gradient = loss_and_gradient(objective, policy[row], reference[row])
        assert bool(loss.isfinite().all()), f"loss {loss} at {policy[row].tolist()}, {reference[row].tolist()}"
        assert bool(gradient.isfinite().all()), f"gradient {gradient} at {policy[row].tolist()}"
    loss, gradient = loss_and_gradient(objective, policy, reference)
    assert bool(loss.isfinite().all())
    assert bool(gradient.isfinite().all())
    terms = getattr(objective, "terms", None)
    size = len(policy)
    assert loss.shape in ((), (size,)) if terms is None else loss.shape == (size, len(terms))


@pytest.mark.parametrize("slug", SLUGS)
def test_learns_something_where_policy_equals_reference(slug: str) -> None:
    """A loss whose gradient is zero everywhere would pass every test of finiteness."""
    policy = torch.tensor([[-3.0, -4.0], [-2.0, -1.5], [-6.0, -2.5]], dtype=torch.float64)
    assert float(loss_and_gradient(build(slug), policy, policy + 1e-4)[1].abs().sum()) > 1e-6


@pytest.mark.parametrize("slug", SLUGS)
def test_padding_changes_nothing(slug: str) -> None:
    policy = torch.tensor([[-3.0, -4.0], [-12.0, -1.5], [-6.0, -2.5]], dtype=torch.float64)
    reference = torch.tensor([[-3.5, -3.0], [-8.0, -1.0], [-6.0, -5.5]], dtype=torch.float64)
    plain = loss_and_gradient(build(slug), policy, reference)
    padded = loss_and_gradient(build(slug), policy, reference, extra_columns=2)
    torch.testing.assert_close(padded[0], plain[0])
    torch.testing.assert_close(padded[1], plain[1])


@pytest.mark.parametrize("slug", SLUGS)
def test_a_batch_equals_its_comparisons_one_by_one(slug: str) -> None:
    objective = build(slug)
    if objective.needs.batch:
        pytest.skip("couples comparisons by intention, and says so")
    policy, reference = grid()
    together, gradient = loss_and_gradient(objective, policy, reference)
    alone = [loss_and_gradient(objective, policy[i : i + 1], reference[i : i + 1]) for i in range(len(policy))]
    torch.testing.assert_close(torch.cat([loss for loss, _ in alone]), together)
    torch.testing.assert_close(torch.cat([each for _, each in alone]), gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("slug", SLUGS)
def test_is_finite_in_low_precision(slug: str, dtype: torch.dtype) -> None:
    policy, reference = grid(dtype)
    loss, gradient = loss_and_gradient(build(slug), policy, reference, dtype=dtype)
    assert loss.dtype == torch.float32
    assert bool(loss.isfinite().all())
    if dtype != torch.float16:  # a gradient above 65504 cannot be stored in float16, whatever the loss
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("slug", SLUGS)
def test_gradient_equals_finite_differences(slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the sums and in every statistic; numbers without gradient are held where they were."""
    objective = build(slug).eval() if hasattr(build(slug), "eval") else build(slug)
    sums = torch.tensor([[-3.13, -4.41], [-12.7, -1.53], [-6.2, -2.57]], dtype=torch.float64)
    reference = torch.tensor([[-3.55, -3.02], [-8.1, -1.13], [-6.09, -5.52]], dtype=torch.float64)
    lengths = torch.tensor([[3, 5], [6, 4], [3, 3]])
    found = batch_for(objective.needs, sums, reference, lengths=lengths).policy
    names = list(found.statistics)
    leaves = [sums, *(values.clone() for values in found.statistics.values())]
    held = Held(monkeypatch)

    def value(*numbers: Tensor) -> Tensor:
        batch = batch_for(objective.needs, numbers[0], reference, lengths=lengths)
        statistics = dict(zip(names, numbers[1:], strict=True))
        with held.again():
            return weighed(objective(dataclasses.replace(batch, policy=replaced(batch.policy, statistics))))

    moving = [leaf.clone().requires_grad_() for leaf in leaves]
    gradients = torch.autograd.grad(value(*moving), moving, allow_unused=True)
    for which, (leaf, gradient) in enumerate(zip(leaves, gradients, strict=True)):
        slopes = torch.zeros_like(leaf)
        for at in range(leaf.numel()):
            ends = []
            for step in (1e-6, -1e-6):
                shifted = [other.clone() for other in leaves]
                shifted[which].view(-1)[at] += step
                ends.append(float(value(*shifted)))
            slopes.view(-1)[at] = (ends[0] - ends[1]) / 2e-6
        expected = torch.zeros_like(leaf) if gradient is None else gradient
        torch.testing.assert_close(slopes, expected, rtol=1e-5, atol=1e-7, msg=str((names, which)))


def replaced(policy: Likelihoods, statistics: dict[str, Tensor]) -> Likelihoods:
    return dataclasses.replace(policy, statistics=statistics)


class Held:
    """Makes `detach` give, call by call, what it gave the first time: a stopped gradient is a constant."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plain = torch.Tensor.detach
        self.kept: list[Tensor] | None = None
        self.calls, self.on = 0, False
        monkeypatch.setattr(torch.Tensor, "detach", lambda tensor: self.detach(tensor))

    @contextmanager
    def again(self) -> Iterator[None]:
        first, self.calls, self.on = self.kept is None, 0, True
        if self.kept is None:
            self.kept = []
        self.first = first
        try:
            yield
        finally:
            self.on = False
        assert self.calls == len(self.kept), "the same numbers are stopped at every point"

    def detach(self, tensor: Tensor) -> Tensor:
        plain = self.plain(tensor)
        if not self.on or self.kept is None:
            return plain
        if self.first:
            self.kept.append(plain.clone())
        self.calls += 1
        return self.kept[self.calls - 1].clone()


def test_two_names_never_mean_the_same_loss() -> None:
    policy = torch.tensor([[-3.0, -9.0], [-12.0, -1.5], [-6.0, -2.5]], dtype=torch.float64)
    reference = torch.tensor([[-6.5, -11.0], [-14.0, -3.0], [-7.0, -9.5]], dtype=torch.float64)
    lengths = torch.tensor([[3, 6], [6, 3], [3, 9]])
    both = {slug: loss_and_gradient(build(slug), policy, reference, lengths=lengths) for slug in SLUGS}
    for first, second in itertools.combinations(SLUGS, 2):
        (loss, gradient), (other_loss, other_gradient) = both[first], both[second]
        same = torch.allclose(gradient, other_gradient, rtol=1e-9, atol=1e-12)
        same = same and torch.allclose(loss.sum(), other_loss.sum(), rtol=1e-9, atol=1e-12)
        assert same == (frozenset((first, second)) in EQUAL_ON_DEFAULTS), (first, second)


@pytest.mark.parametrize("slug", SLUGS)
def test_every_hyperparameter_is_documented(slug: str) -> None:
    description = describe(objective_classes()[slug])
    assert description.summary
    assert description.source or slug in {"sft", "formula"}, "names its paper"
    undocumented = [option.name for option in description.options if not option.text]
    assert not undocumented


@pytest.mark.parametrize("slug", SLUGS)
def test_wrong_numbers_are_refused(slug: str) -> None:
    """Every float option refuses NaN or is harmless; every option refuses a text."""
    cls = objective_classes()[slug]
    for field in dataclasses.fields(cls):
        if field.type in ("float", "int"):
            with pytest.raises(InputError, match=field.name):
                build_objective({slug: {**options(slug), field.name: "much"}})
            with pytest.raises(InputError):
                build_objective({slug: {**options(slug), field.name: float("nan")}})


@pytest.mark.parametrize("slug", SLUGS)
def test_ties_lists_of_one_and_flat_scores_are_finite_or_explained(slug: str) -> None:
    objective = build(slug)
    policy = torch.tensor([[-3.0, -4.0]], dtype=torch.float64)
    whole = batch_for(objective.needs, policy, policy - 1)
    tied = dataclasses.replace(whole, scores=torch.where(whole.scores.isnan(), NAN, 0.5))
    alone = dataclasses.replace(whole, scores=torch.where(whole.scores == 0.3, NAN, whole.scores))
    unjudged = dataclasses.replace(whole, scores=torch.full_like(whole.scores, NAN))
    good = dataclasses.replace(whole, labels=torch.where(whole.labels == 0, 1, whole.labels))
    bad = dataclasses.replace(whole, labels=torch.where(whole.labels == 1, 0, whole.labels))
    for batch in (tied, alone, unjudged, good, bad):
        message = refusal(objective, batch)
        assert message is None or "comparison" in message or "needs" in message


def refusal(objective: Any, batch: Judged) -> str | None:
    """What the objective objects to, or None where its loss is finite."""
    try:
        loss = objective(batch)
    except InputError as error:
        return str(error)
    assert bool(loss.isfinite().all())
    return None


def test_every_file_of_the_room_is_exported() -> None:
    files = {path.stem for path in ROOM.glob("*.py")} - SUPPORT
    assert files == set(objective_classes())


@pytest.mark.parametrize("slug", SLUGS)
def test_a_method_is_one_short_file(slug: str) -> None:
    assert len((ROOM / f"{slug}.py").read_text().splitlines()) <= 100
