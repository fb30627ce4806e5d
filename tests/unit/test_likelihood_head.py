"""The tiled head against plain log_softmax: values, gradients, statistics, types, tile edges and memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from assent.errors import InputError
from assent.likelihood import head as head_module
from assent.likelihood import tiles as tiles_module
from assent.likelihood.head import project, project_with_divergence, selected_log_probs
from assent.likelihood.head_statistics import project_with_statistics
from assent.likelihood.tiles import Projection

ROWS, HIDDEN, VOCABULARY, RANK = 13, 6, 29, 2


@pytest.fixture(params=["kept", "some kept", "recomputed", "many tiles"])
def tiling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every way through the head: tiles kept, two of four kept, one remade, and edges that divide nothing evenly."""
    if request.param == "some kept":
        monkeypatch.setitem(tiles_module.TILE_NUMBERS, "cpu", 4 * VOCABULARY)
        monkeypatch.setattr(head_module, "KEPT_BYTES", 9 * VOCABULARY * 8)
    elif request.param != "kept":
        monkeypatch.setattr(head_module, "KEPT_BYTES", 0)
    if request.param == "many tiles":
        monkeypatch.setitem(tiles_module.TILE_COLUMNS, "cpu", 8)
        monkeypatch.setitem(tiles_module.TILE_NUMBERS, "cpu", 40)
    return str(request.param)


def random_inputs(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(ROWS, HIDDEN, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator, dtype=torch.float64).to(dtype)
    bias = torch.randn(VOCABULARY, generator=generator, dtype=torch.float64).to(dtype)
    return hidden, weight, bias, torch.randint(VOCABULARY, (ROWS,), generator=generator)


def plain_logits(hidden: Tensor, head: Projection) -> Tensor:
    logits = hidden @ head.weight.T
    if head.low_rank is not None:
        logits = logits + hidden @ head.low_rank[0].T @ head.low_rank[1].T
    if head.bias is not None:
        logits = logits + head.bias
    logits = logits * head.scale
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def plain_log_probs(hidden: Tensor, head: Projection, targets: Tensor) -> Tensor:
    return plain_logits(hidden, head).log_softmax(dim=1).gather(1, targets.unsqueeze(1)).squeeze(1)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(("scale", "softcap"), [(1.0, None), (0.4, None), (1.7, 3.0)])
def test_values_and_gradients_equal_the_plain_computation(
    tiling: str, with_bias: bool, scale: float, softcap: float | None
) -> None:
    hidden, weight, bias, targets = random_inputs()
    seed = torch.linspace(-1, 2, ROWS, dtype=torch.float64)
    found = []
    for compute in (project, plain_log_probs):
        leaves = [x.clone().requires_grad_() for x in (hidden, weight, *([bias] if with_bias else []))]
        head = Projection(leaves[1], leaves[2] if with_bias else None, scale, softcap)
        log_probs = compute(leaves[0], head, targets)
        found.append([log_probs.detach(), *torch.autograd.grad(log_probs @ seed, leaves)])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)


def test_an_adapter_on_the_head_is_scored_and_trained(tiling: str) -> None:
    hidden, weight, _, targets = random_inputs()
    down = torch.randn(RANK, HIDDEN, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    up = torch.randn(VOCABULARY, RANK, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = []
    for compute in (project, plain_log_probs):
        leaves = [x.clone().requires_grad_() for x in (hidden, down, up)]
        log_probs = compute(leaves[0], Projection(weight, low_rank=(leaves[1], leaves[2])), targets)
        found.append([log_probs.detach(), *torch.autograd.grad(log_probs.square().sum(), leaves)])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_gradcheck(tiling: str, softcap: float | None) -> None:
    hidden, weight, bias, targets = random_inputs()
    leaves = [x.requires_grad_() for x in (hidden, weight, bias)]
    assert torch.autograd.gradcheck(
        lambda h, w, b: selected_log_probs(h, w, targets, b, 0.8, softcap), leaves, atol=1e-6
    )


def test_the_divergence_from_the_reference_has_value_and_gradient(tiling: str) -> None:
    hidden, weight, bias, targets = random_inputs()
    other_hidden, other_weight, _, _ = random_inputs(seed=5)
    reference = (other_hidden, Projection(other_weight, scale=0.5))
    expected = torch.nn.functional.kl_div(
        plain_logits(hidden, Projection(weight, bias)).log_softmax(1),
        plain_logits(*reference).log_softmax(1),
        log_target=True,
        reduction="none",
    ).sum(dim=1)
    log_probs, divergence = project_with_divergence(hidden, Projection(weight, bias), targets, reference)
    torch.testing.assert_close(divergence, expected)
    torch.testing.assert_close(log_probs, plain_log_probs(hidden, Projection(weight, bias), targets))
    leaves = [x.requires_grad_() for x in (hidden, weight, bias)]

    def both(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return torch.stack(project_with_divergence(h, Projection(w, b), targets, reference))

    assert torch.autograd.gradcheck(both, leaves, atol=1e-6)


def _statistics_by_hand(logits: Tensor, reference: Tensor, targets: Tensor) -> dict[str, Tensor]:
    log_p = logits.log_softmax(1)
    chosen: Callable[[Tensor], Tensor] = lambda x: x.gather(1, targets.unsqueeze(1)).squeeze(1)  # noqa: E731
    others = log_p.scatter(1, targets.unsqueeze(1), -torch.inf)
    return {
        "log_sum_p2": log_p.exp().square().sum(1).log(),
        "entropy": -(log_p.exp() * log_p).sum(1),
        "runner_up": others.amax(1),
        "extrapolated": chosen((1.5 * logits - 0.5 * reference).log_softmax(1)),
        "extrapolated:0.25": chosen((1.25 * logits - 0.25 * reference).log_softmax(1)),
    }


def test_every_statistic_equals_its_definition(tiling: str) -> None:
    hidden, weight, bias, targets = random_inputs()
    other_hidden, other_weight, _, _ = random_inputs(seed=5)
    head, reference = Projection(weight, bias, softcap=4.0), (other_hidden, Projection(other_weight))
    expected = _statistics_by_hand(plain_logits(hidden, head), plain_logits(*reference), targets)
    _, found = project_with_statistics(hidden, head, targets, tuple(expected), reference)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_a_statistic_that_is_unknown_or_lacks_its_reference_is_refused() -> None:
    hidden, weight, _, targets = random_inputs()
    for name, message in (("entropi", "unknown"), ("kl_reference", "whole distribution"), ("entropy:2", "unknown")):
        with pytest.raises(InputError, match=message):
            project_with_statistics(hidden, Projection(weight), targets, (name,))
    with pytest.raises(InputError, match="not a number"):
        project_with_statistics(
            hidden, Projection(weight), targets, ("extrapolated:x",), (hidden, Projection(weight))
        )


def test_sixteen_bit_weights_are_summed_in_float32(tiling: str) -> None:
    hidden, weight, bias, targets = random_inputs(dtype=torch.bfloat16)
    leaves = [hidden.requires_grad_(), weight.requires_grad_()]
    ours = project(leaves[0], Projection(leaves[1], bias), targets)
    wide = [leaf.detach().float().requires_grad_() for leaf in leaves]
    plain = plain_log_probs(wide[0], Projection(wide[1], bias.float()), targets)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad(ours.sum(), leaves), torch.autograd.grad(plain.sum(), wide), strict=True
    ):
        assert mine.dtype == torch.bfloat16
        torch.testing.assert_close(mine.float(), theirs, rtol=1e-2, atol=1e-2)


def test_a_frozen_head_gets_no_gradient_and_a_graph_can_be_used_twice(tiling: str) -> None:
    hidden, weight, _, targets = random_inputs()
    hidden.requires_grad_()
    log_probs = project(hidden, Projection(weight), targets)
    first = torch.autograd.grad(log_probs.sum(), hidden, retain_graph=True)[0]
    second = torch.autograd.grad(log_probs.sum(), hidden)[0]
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_no_position_at_all_is_an_empty_answer(tiling: str) -> None:
    _, weight, _, _ = random_inputs()
    weight.requires_grad_()
    empty = weight.new_zeros(0, HIDDEN)
    log_probs = selected_log_probs(empty, weight, torch.zeros(0, dtype=torch.long))
    assert log_probs.shape == (0,)
    assert torch.autograd.grad(log_probs.sum(), weight)[0].abs().sum() == 0


def test_extreme_logits_stay_finite(tiling: str) -> None:
    hidden, weight, _, targets = random_inputs(dtype=torch.float32)
    hidden = (hidden * 1e4).requires_grad_()
    log_probs = selected_log_probs(hidden, weight, targets)
    log_probs.sum().backward()
    assert log_probs.isfinite().all()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


def test_what_is_remembered_does_not_grow_with_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "KEPT_BYTES", 0)
    remembered = {}
    for vocabulary in (1_000, 50_000):
        sizes: list[int] = []
        hidden = torch.randn(64, 8, requires_grad=True)
        weight = torch.randn(vocabulary, 8)
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: (s.append(x.numel()), x)[1], lambda x: x):
            selected_log_probs(hidden, weight, torch.zeros(64, dtype=torch.long))
        remembered[vocabulary] = sum(sizes) - weight.numel()
    assert remembered[1_000] == remembered[50_000]
