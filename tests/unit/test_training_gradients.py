"""Combining gradients: fixtures, what the methods promise, and inputs built to be nasty."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assent.errors import InputError, RunError
from assent.training.gradients import METHODS, RACO, CAGrad, PCGrad, WeightedSum, build_combination
from assent.training.gradients.combine import gram_matrix

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = {case["name"]: case for case in json.loads((FIXTURES / "raco.json").read_text())["cases"]}
RAG = {case["name"]: case for case in json.loads((FIXTURES / "dpa-rag.json").read_text())["cases"]}
WEIGHED = [name for name in CASES if name.startswith(("k2", "k3"))]


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def gram_of(gradients: Tensor) -> Tensor:
    return gradients @ gradients.T


@pytest.mark.parametrize("name", WEIGHED)
def test_cagrad_and_raco_equal_the_fixture(name: str) -> None:
    case = CASES[name]
    gradients, weights = tensor(case["inputs"]["gradients"]), tensor(case["inputs"]["weights"])
    radius = case["hyper"]["c"]
    expected = case["expected"]
    plain = CAGrad(radius=radius).coefficients(gram_of(gradients), weights)
    clipped = RACO(radius=radius).coefficients(gram_of(gradients), weights)
    torch.testing.assert_close(plain, tensor(expected["coef_unclipped"]), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(clipped, tensor(expected["coef_clipped"]), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(plain @ gradients, tensor(expected["update_unclipped"]), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(clipped @ gradients, tensor(expected["update_clipped"]), rtol=1e-6, atol=1e-9)


def test_baselines_equal_the_fixture() -> None:
    case = CASES["baselines_k2"]
    gradients, expected = tensor(case["inputs"]["gradients"]), case["expected"]
    gram = gram_of(gradients)
    half, ones = tensor([0.5, 0.5]), tensor([1.0, 1.0])
    mgda = METHODS["mgda"]().coefficients(gram, ones)
    torch.testing.assert_close(mgda, tensor(expected["mgda_coef"]))
    torch.testing.assert_close(PCGrad().coefficients(gram, ones) @ gradients, tensor(expected["pcgrad_sum"]))
    torch.testing.assert_close(
        PCGrad(mean=True).coefficients(gram, ones) @ gradients, tensor(expected["pcgrad_mean"])
    )
    for rescale, key in (("none", "unrescaled"), ("square", "rescale_1_plus_c2"), ("linear", "rescale_1_plus_c")):
        combined = CAGrad(radius=0.5, rescale=rescale).coefficients(gram, half) @ gradients
        torch.testing.assert_close(combined, tensor(expected[f"cagrad_{key}"]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["mgda_three_tasks", "mgda_two_tasks_conflict", "mgda_dominated_task"])
def test_mgda_equals_the_fixture(name: str) -> None:
    gradients, expected = tensor(RAG[name]["inputs"]["gradients"]), RAG[name]["expected"]
    found = METHODS["mgda"]().coefficients(gram_of(gradients), torch.ones(len(gradients), dtype=torch.float64))
    torch.testing.assert_close(found, tensor(expected["weights"]), rtol=1e-6, atol=1e-8)
    assert float((found @ gradients).square().sum()) == pytest.approx(expected["min_norm_squared"], rel=1e-9)


def test_clipping_never_turns_away_from_the_weighted_gradient() -> None:
    case = CASES["theorem_rho_clipped_ge_unclipped"]
    for index, row in enumerate(case["inputs"]["rows"]):
        gradients, weights = tensor(row["gradients"]), tensor(row["weights"])
        goal = weights @ gradients
        for method, key in ((CAGrad, "rho_unclipped"), (RACO, "rho_clipped")):
            direction = method(radius=row["c"]).coefficients(gram_of(gradients), weights) @ gradients
            cosine = torch.nn.functional.cosine_similarity(direction - goal, goal, dim=0)
            assert float(cosine) == pytest.approx(case["expected"][key][index], rel=1e-6)


NASTY = {
    "equal": [[1.0, 2.0], [1.0, 2.0]],
    "opposite": [[1.0, 2.0], [-1.0, -2.0]],
    "opposite, one longer": [[1.0, 2.0], [-3.0, -6.0]],
    "orthogonal": [[1.0, 0.0], [0.0, 1.0]],
    "one vanishes": [[1.0, 2.0], [0.0, 0.0]],
    "all vanish": [[0.0, 0.0], [0.0, 0.0]],
    "tiny": [[1e-12, 2e-12], [-2e-12, 1e-13]],
    "huge": [[1e12, 2e12], [-2e12, 1e11]],
    "three in a plane": [[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]],
    "three collinear": [[1.0, 1.0], [2.0, 2.0], [-1.0, -1.0]],
}


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("method", METHODS)
def test_nasty_gradients_give_finite_coefficients(method: str, name: str) -> None:
    gradients = tensor(NASTY[name])
    weights = torch.full((len(gradients),), 1 / len(gradients), dtype=torch.float64)
    found = METHODS[method]().coefficients(gram_of(gradients), weights, torch.Generator().manual_seed(0))
    assert bool(found.isfinite().all())
    assert bool((found >= -1e-9).all()), "every method adds gradients, none subtracts one"


def test_nearly_opposite_gradients_leave_next_to_nothing() -> None:
    """Near a Pareto-critical point the Gram matrix is singular but for rounding; one gradient alone is far off."""
    gram = torch.tensor(
        [[0.09457780040263318, -0.09916771913362171], [-0.09916771913362171, 0.10398038944699814]],
        dtype=torch.float64,
    )
    found = METHODS["mgda"]().coefficients(gram, torch.full((2,), 0.5, dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.51184, 0.48816], abs=1e-4)
    assert float(found @ gram @ found) < 1e-10


def test_the_shortest_mixture_of_opposite_gradients_is_zero() -> None:
    gradients = tensor(NASTY["opposite, one longer"])
    found = METHODS["mgda"]().coefficients(gram_of(gradients), tensor([0.5, 0.5]))
    torch.testing.assert_close(found, tensor([0.75, 0.25]))


drawn = st.lists(
    st.lists(st.floats(-3, 3, allow_nan=False).map(lambda x: round(x, 3)), min_size=4, max_size=4),
    min_size=2,
    max_size=4,
).map(tensor)


@settings(max_examples=60, deadline=None)
@given(gradients=drawn, radius=st.floats(0.0, 0.95))
def test_conflict_averse_directions_keep_their_promises(gradients: Tensor, radius: float) -> None:
    weights = torch.arange(1.0, len(gradients) + 1, dtype=torch.float64)
    weights = weights / weights.sum()
    goal = weights @ gradients
    for method in (CAGrad(radius=radius), RACO(radius=radius)):
        direction = method.coefficients(gram_of(gradients), weights) @ gradients
        length = float(goal.norm())
        assert float((direction - goal).norm()) <= radius * length + 1e-6 * (1 + length)
        assert float(direction @ goal) >= (1 - radius) * length**2 - 1e-6 * (1 + length**2)
        scaled = method.coefficients(gram_of(7 * gradients), weights) @ gradients
        torch.testing.assert_close(scaled, direction, rtol=1e-4, atol=1e-5)
    order = torch.arange(len(gradients) - 1, -1, -1)
    plain = CAGrad(radius=radius).coefficients(gram_of(gradients), weights) @ gradients
    flipped = CAGrad(radius=radius).coefficients(gram_of(gradients[order]), weights[order]) @ gradients[order]
    torch.testing.assert_close(flipped, plain, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(gradients=drawn)
def test_mgda_is_shorter_than_any_other_mixture(gradients: Tensor) -> None:
    found = METHODS["mgda"]().coefficients(gram_of(gradients), torch.ones(len(gradients), dtype=torch.float64))
    best = float((found @ gradients).norm())
    assert float(found.sum()) == pytest.approx(1)
    others = torch.distributions.Dirichlet(torch.ones(len(gradients), dtype=torch.float64)).sample((200,))
    assert best <= float((others @ gradients).norm(dim=1).min()) + 1e-7
    # A descent direction for all: no gradient points against the shortest mixture.
    assert bool((gradients @ (found @ gradients) >= best**2 - 1e-6).all())


def test_pcgrad_equals_projection_by_hand() -> None:
    gradients = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    weights = tensor([0.5, 1.0, 2.0])
    found = PCGrad().coefficients(gram_of(gradients), weights, torch.Generator().manual_seed(9)) @ gradients
    generator, scaled = torch.Generator().manual_seed(9), weights.unsqueeze(1) * gradients
    total = torch.zeros(5, dtype=torch.float64)
    for i in range(3):
        own = scaled[i].clone()
        for j in torch.randperm(3, generator=generator).tolist():
            if i != j and float(own @ scaled[j]) < 0:
                own -= (own @ scaled[j]) / (scaled[j] @ scaled[j]) * scaled[j]
        total += own
    torch.testing.assert_close(found, total)


def test_a_combination_mixes_parameters_and_records_the_conflict() -> None:
    combination = build_combination({"raco": {"radius": 0.4, "weights": {"quality": 0.8, "brevity": 0.2}}})
    first, second = tensor([1.0, 0.0]), tensor([-1.0, 1.0])
    shared, own = tensor([[2.0]]), None
    mixed = combination([[first, shared], [second, own]], ("quality", "brevity"))
    coefficients = [combination.record[f"gradients/coefficient/{name}"] for name in ("quality", "brevity")]
    torch.testing.assert_close(mixed[0], coefficients[0] * first + coefficients[1] * second)
    torch.testing.assert_close(mixed[1], coefficients[0] * shared)
    assert combination.record["gradients/cosine/quality/brevity"] == pytest.approx(-1 / (5**0.5 * 2**0.5))
    assert combination([[None], [None]], ("quality", "brevity")) == [None]
    torch.testing.assert_close(gram_matrix([[first, shared], [second, own]]), tensor([[5.0, -1.0], [-1.0, 2.0]]))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("rac", "raco"),
        ({"raco": {"radios": 0.4}}, "radios"),
        ({"raco": {"radius": 1.5}}, "radius"),
        ({"raco": {"weights": {"quality": -1}}}, "negative"),
        ({"raco": {"weights": 3}}, "numbers by term"),
        ({"raco": {}, "mgda": {}}, "one method"),
    ],
)
def test_wrong_combinations_are_refused(spec: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        build_combination(spec)


def test_weights_of_unknown_terms_and_infinite_gradients_stop_the_step() -> None:
    combination = build_combination({"weighted_sum": {"weights": {"qualty": 1.0, "brevity": 1.0}}})
    with pytest.raises(InputError, match="Did you mean `quality`"):
        combination([[tensor([1.0])], [tensor([1.0])]], ("quality", "brevity"))
    with pytest.raises(RunError, match="not finite"):
        build_combination("mgda")([[tensor([torch.inf])], [tensor([1.0])]], ("quality", "brevity"))


def test_the_weighted_sum_is_the_gradient_of_the_weighted_loss() -> None:
    weights = tensor([0.3, 0.7])
    assert WeightedSum().coefficients(torch.eye(2, dtype=torch.float64), weights) is weights


def test_on_a_convex_problem_raco_ends_where_the_weighted_sum_does_by_another_path() -> None:
    """Logistic regression on two opposed labellings; the theorem demands equal ends, the clip shows on the way."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 8, generator=generator, dtype=torch.float64)
    axis = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    axis[1] = -0.7 * axis[0] / axis[0].norm() + 0.7 * axis[1] / axis[1].norm()
    noise = torch.randn(300, 2, generator=generator, dtype=torch.float64)
    signs = (features @ axis.T / axis.norm(dim=1) + 0.5 * noise).sign()
    weights = tensor([0.8, 0.2])

    def losses(theta: Tensor) -> Tensor:
        return -torch.nn.functional.logsigmoid(signs * (features @ theta).unsqueeze(1)).mean(dim=0)

    ends, early = {}, {}
    for name, method in (("sum", WeightedSum()), ("raco", RACO(radius=0.4))):
        theta = torch.zeros(8, dtype=torch.float64, requires_grad=True)
        for step in range(400):
            gradients = torch.stack([torch.autograd.grad(losses(theta)[i], theta)[0] for i in range(2)])
            coefficients = method.coefficients(gram_of(gradients), weights)
            with torch.no_grad():
                theta -= 0.5 * (coefficients @ gradients)
            if step == 19:
                early[name] = losses(theta).detach()
        ends[name] = losses(theta).detach()
    assert float(weights @ ends["raco"]) == pytest.approx(float(weights @ ends["sum"]), abs=1e-4)
    torch.testing.assert_close(ends["raco"], ends["sum"], rtol=1e-2, atol=1e-2)
    assert float(early["raco"][1]) < float(early["sum"][1]) - 0.01, "the minority objective is protected early"
