"""Alignment at inference time: best of n, directional neighbourhoods, a rewriter, weights by prompt."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assent.comparison import Comparison, Prompt
from assent.errors import InputError
from assent.generation import LocalGenerator, Sample, Sampling
from assent.generation.best_of_n import BestOfN, kl_bound
from assent.generation.decoding import Plain, best
from assent.generation.preference_orchestrator import (
    Normalisation,
    OrchestratedBestOfN,
    Orchestrator,
    PromptWeights,
    adapter_loss,
    scalarised,
    target_weights,
)
from assent.generation.prompts import text_of
from assent.generation.rewriter import Rewriter
from assent.generation.rps import RPS, Neighbourhood, directed, in_cone, normalised, projected, unit_vector
from assent.preference_models import Scored
from assent.preference_models.encoders import HashedNgrams
from tests.tiny import byte_tokenizer, tiny_lm

FIXTURES = Path(__file__).parents[1] / "fixtures"


def cases(slug: str, start: str) -> list[Any]:
    rows = json.loads((FIXTURES / f"{slug}.json").read_text())["cases"]
    found = [case for case in rows if case["name"].startswith(start)]
    assert found
    return found


class Echo:
    """A generator whose k-th answer to a prompt is a function of both."""

    name = "echo"

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.prompts: list[Prompt] = []

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        self.prompts += prompts
        for index in reversed(range(len(prompts))):
            yield index, [Sample(self.answer(prompts[index], at)) for at in range(sampling.samples)]


class Length:
    name = "length"

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        return [Scored(rewards=tuple(float(len(str(c.completion))) for c in one.candidates)) for one in comparisons]


def test_plain_keeps_every_sample_unjudged() -> None:
    generator = LocalGenerator(tiny_lm(), byte_tokenizer(template="plain"), name="tiny")
    found = dict(Plain(generator).decode(["a", "b"], Sampling(samples=3, max_new_tokens=4)))
    assert [len(found[index].candidates) for index in (0, 1)] == [3, 3]
    assert {candidate.source for candidate in found[0].candidates} == {"tiny"}
    assert all(candidate.score is None for candidate in found[0].candidates)
    assert found[0].meta["samples"][0]["log_prob"] < 0


def test_best_of_n_picks_what_the_scorer_likes() -> None:
    found = dict(
        BestOfN(Echo(lambda prompt, at: "x" * (at * 3 % 5)), Length()).decode(["a", "b"], Sampling(samples=5))
    )
    for comparison in found.values():
        assert [candidate.score for candidate in comparison.candidates] == [0, 3, 1, 4, 2]
        assert comparison.meta["decoding"]["chosen"] == 3
        assert comparison.annotator == "length"
    assert kl_bound(1) == 0
    # Gaussian rewards: the best of n has the density n F^(n-1) f, whose divergence from f is the bound.
    assert kl_bound(16) == pytest.approx(math.log(16) - 15 / 16)


def test_the_bound_is_the_divergence_of_continuous_scores() -> None:
    n = 4
    uniform = np.linspace(0.0005, 0.9995, 1000)
    density = n * uniform ** (n - 1)
    assert float((density * np.log(density)).mean()) == pytest.approx(kl_bound(n), abs=1e-3)


def test_empty_answers_and_missing_scores_lose() -> None:
    assert best([5.0, math.nan, 1.0], ["", "x", "y"]) == 2
    assert best([1.0, 1.0], ["a", "b"]) == 0


@pytest.mark.parametrize("case", cases("rps", "grid_neighbourhood"), ids=lambda case: case["name"])
def test_rps_neighbourhoods(case: Any) -> None:
    angles = Neighbourhood().angles(case["inputs"]["target_angle_deg"])
    assert angles == case["expected"]["angles"]
    np.testing.assert_allclose([unit_vector(angle) for angle in angles], case["expected"]["vectors"], atol=1e-12)


@pytest.mark.parametrize("case", cases("rps", "select_best"), ids=lambda case: case["name"])
def test_rps_selection(case: Any) -> None:
    target = case["inputs"]["target_vector"]
    for rewards, scores, index in zip(
        case["inputs"]["rewards"], case["expected"]["scores"], case["expected"]["best_index"], strict=True
    ):
        found = projected(rewards, target)
        np.testing.assert_allclose(found, scores, atol=1e-10)
        assert best(found, ["x"] * len(found)) == index
        shifted = projected([[r + 7 for r in row] for row in rewards], [3 * v for v in target])
        assert best(shifted, ["x"] * len(found)) == index


def test_rps_prompt_weights_and_cone() -> None:
    (case,) = cases("rps", "dpa_prompt")
    for at, angle in enumerate(case["inputs"]["angles_deg"]):
        text = directed("hello", unit_vector(angle), ("helpfulness", "verbosity"))[0]["content"]
        a, b = (case["expected"][f"weight_{name}"][at] for name in ("helpfulness", "verbosity"))
        assert f"helpfulness*{a} + verbosity*{b}" in text
    (case,) = cases("rps", "cone")
    for draw, angle, vector in zip(
        case["inputs"]["gaussian_draws"], case["inputs"]["angles_deg"], case["expected"]["vectors"], strict=True
    ):
        np.testing.assert_allclose(in_cone(case["inputs"]["target_vector"], draw, angle), vector, atol=1e-12)
    with pytest.raises(InputError):
        normalised([0.0, 0.0])
    with pytest.raises(InputError, match="no direction"):
        Neighbourhood().angles(90)
    assert Neighbourhood().angles(60) == [40, 35, 30, 40, 40]


def simulated(target: float, gap: bool, prompts: int = 4000) -> float:
    """How often the best of five neighbours beats the best of five at the target, in the planted model."""
    draw = np.random.default_rng(0)

    def scores(angles: Sequence[float]) -> Any:
        mean = [60 * np.array(unit_vector(a)) * (1 - 0.012 * max(0.0, abs(a) - 20) * gap) for a in angles]
        rewards = np.stack(mean) + 6 * draw.standard_normal((prompts, len(angles), 2))
        return rewards @ np.array(unit_vector(target))

    return float((scores(Neighbourhood().angles(target)).max(1) > scores([target] * 5).max(1)).mean())


def test_rps_wins_where_the_model_has_a_gap_and_loses_where_it_has_none() -> None:
    assert simulated(30, gap=True) > 0.58
    assert simulated(45, gap=True) > 0.9
    assert simulated(10, gap=True) < 0.5
    assert simulated(45, gap=False) < 0.42


def test_rps_decodes_one_answer_from_each_direction() -> None:
    class Attributes:
        name = "attributes"

        def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
            rows = [[json.loads(str(c.completion)) for c in one.candidates] for one in comparisons]
            return [
                Scored(
                    rewards=(0.0,) * len(row),
                    dimensions={"help": tuple(r[0] for r in row), "long": tuple(r[1] for r in row)},
                )
                for row in rows
            ]

    def answer(prompt: Any, at: int) -> str:
        a, b = (int(term.split("*")[1]) for term in prompt[0]["content"].split("= ")[1].rstrip(".").split(" + "))
        return json.dumps([a + at, b])

    echo = Echo(answer)
    found = dict(RPS(echo, Attributes(), ("help", "long"), 45.0).decode(["one", "two"], Sampling()))
    assert len(found) == 2
    assert found[0].meta["decoding"]["angles"] == [40, 35, 30, 25, 20]
    assert found[0].meta["decoding"]["chosen"] == 0
    assert found[0].candidates[0].score == pytest.approx((77 + 64) / math.sqrt(2))
    assert found[0].prompt == "one", "the direction is not part of the record's prompt"
    inside = dict(RPS(Echo(answer), Attributes(), ("help", "long"), 10.0).decode(["one"], Sampling()))
    assert inside[0].meta["decoding"]["angles"] == [10.0] * 5, "no detour where the model is at home"
    with pytest.raises(InputError, match="short"):
        list(RPS(Echo(answer), Attributes(), ("help", "short"), 45.0).decode(["one"], Sampling()))


def test_the_rewriter_falls_back_to_the_request_as_it_was() -> None:
    replies = {
        "make list": "Sure: <<<Please make a list of the planets.>>>",
        "no marks here": "Please do it.",
        "blow up": "<<<" + "very " * 100 + ">>>",
        'keep "this quote" please': "<<<Kindly keep that quotation, please.>>>",
        "braces {x} >>> and %s": "<<<Braces {x} and %s, explained please.>>>",
    }
    rewriter = Echo(lambda prompt, at: replies[str(prompt).split("Request:\n", 1)[1]])
    model = Echo(lambda prompt, at: f"answer to {text_of(prompt)}")
    prompts: list[Prompt] = [
        [{"role": "system", "content": "s"}, {"role": "user", "content": text}] for text in replies
    ]
    found = dict(Rewriter(model, rewriter).decode(prompts, Sampling()))
    notes = [found[index].meta["decoding"] for index in range(5)]
    assert notes[0]["rewritten"] == "Please make a list of the planets."
    assert [note["kept_because"] is None for note in notes] == [True, False, False, False, True]
    assert [note["rewritten"] for note in notes[1:4]] == list(replies)[1:4]
    assert "Please make a list" in str(found[0].candidates[0].completion)
    assert found[0].prompt == prompts[0], "judged against what the person asked"
    assert model.prompts[0][0]["content"] == "s"  # type: ignore[index]


@pytest.mark.parametrize("case", cases("preference-orchestrator", "targets"), ids=lambda case: case["name"])
def test_orchestrator_targets(case: Any) -> None:
    rewards = torch.tensor(case["inputs"]["rewards_of_preferred_response"], dtype=torch.float64)
    normalised_rewards = Normalisation.fit(rewards, case["hyper"]["normalisation"])(rewards)
    np.testing.assert_allclose(normalised_rewards, case["expected"]["normalised_rewards"], atol=1e-12)
    weights = target_weights(normalised_rewards, case["hyper"]["temperature"])
    np.testing.assert_allclose(weights, case["expected"]["target_weights"], atol=1e-12)


@pytest.mark.parametrize("case", cases("preference-orchestrator", "adapter"), ids=lambda case: case["name"])
def test_orchestrator_losses(case: Any) -> None:
    targets = torch.tensor(case["inputs"]["target_weights"], dtype=torch.float64)
    for direction in ("forward", "reverse"):
        logits = torch.tensor(case["inputs"]["adapter_logits"], dtype=torch.float64, requires_grad=True)
        loss = adapter_loss(logits, targets, direction).mean()
        loss.backward()
        assert float(loss.detach()) == pytest.approx(case["expected"][f"{direction}_kl_loss"], abs=1e-10)
        gradient = case["expected"][f"grad_{direction}_wrt_adapter_logits"]
        np.testing.assert_allclose(logits.grad, gradient, atol=1e-10)


def test_orchestrator_scalarised_reward() -> None:
    (case,) = cases("preference-orchestrator", "scalarised")
    weights, rewards = (
        torch.tensor(case["inputs"][name], dtype=torch.float64) for name in ("weights", "normalised_rewards")
    )
    np.testing.assert_allclose(scalarised(weights, rewards), case["expected"]["reward"], atol=1e-12)


def planted(seed: int, by_prompt: bool, **adapter_options: Any) -> tuple[float, float, float]:
    """Mean utility on new prompts of the adapter, of the best fixed weights, and of the ideal weights."""
    torch.manual_seed(seed)
    mixing = torch.randn(3, 8)
    features = torch.randn(1200, 8)
    ideal = (1.5 * features @ mixing.T if by_prompt else torch.zeros(1200, 3) + mixing[:, 0]).softmax(dim=-1)
    candidates = torch.randn(1200, 20, 3)
    candidates = candidates - candidates.mean(dim=-1, keepdim=True)
    utility = (candidates * ideal[:, None]).sum(dim=-1)
    drawn = torch.stack([torch.randperm(20)[:4] for _ in range(600)])
    preferred = drawn.gather(1, utility[:600].gather(1, drawn).argmax(dim=1, keepdim=True))
    rewards = candidates[:600].gather(1, preferred[:, :, None].expand(-1, -1, 3))[:, 0]
    targets = target_weights(Normalisation.fit(rewards)(rewards))
    adapter = PromptWeights(8, ["a", "b", "c"], **adapter_options)
    held, constant = adapter.fit(features[:600], targets, seed=seed)
    assert not by_prompt or held < constant

    def reached(weights: torch.Tensor) -> float:
        chosen = (candidates[600:] * weights[:, None]).sum(dim=-1).argmax(dim=1, keepdim=True)
        return float(utility[600:].gather(1, chosen).mean())

    grid = [torch.tensor([a, b, 5 - a - b]) / 5 for a in range(6) for b in range(6 - a)]
    with torch.no_grad():
        found = reached(adapter.weights(features[600:]))
    return found, max(reached(one.expand(600, 3)) for one in grid), reached(ideal[600:])


@pytest.mark.parametrize("options", [{}, {"hidden": 0, "floor": 0.0}], ids=["default", "linear"])
def test_weights_by_prompt_beat_the_best_fixed_ones_only_where_prompts_differ(options: dict[str, Any]) -> None:
    adapter, fixed, oracle = planted(0, by_prompt=True, **options)
    assert adapter > fixed + 0.5
    assert adapter > 0.85 * oracle
    adapter, fixed, oracle = planted(0, by_prompt=False, **options)
    assert adapter < fixed + 0.05


@pytest.mark.parametrize("hidden", [0, 8])
def test_an_untrained_adapter_weighs_equally_and_survives_a_folder(tmp_path: Path, hidden: int) -> None:
    texts = [f"prompt about {word}" for word in ("cats", "dogs", "trees", "rivers", "stones")]
    encoder = HashedNgrams(size=4)
    encoder.fit(texts)
    adapter = PromptWeights(encoder.size, ["help", "brief"], hidden=hidden)
    orchestrator = Orchestrator(adapter, Normalisation(torch.zeros(2), torch.tensor([1.0, 2.0])), encoder)
    assert torch.allclose(orchestrator.weights(texts), torch.full((5, 2), 0.5))
    with torch.no_grad():
        adapter.network[-1].bias.copy_(torch.tensor([50.0, 0.0]))
    assert orchestrator.weights(texts)[0].tolist() == pytest.approx([0.98, 0.02])
    orchestrator.save(tmp_path)
    assert torch.equal(Orchestrator.load(tmp_path).weights(texts), orchestrator.weights(texts))

    class Two:
        name = "two"

        def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
            return [
                Scored(rewards=(0.0, 0.0), dimensions={"help": (1.0, 0.0), "brief": (0.0, 9.0)}) for _ in comparisons
            ]

    decoder = OrchestratedBestOfN(Echo(lambda prompt, at: f"answer {at}"), Two(), orchestrator)
    found = dict(decoder.decode(texts, Sampling(samples=2)))
    assert found[0].meta["decoding"]["chosen"] == 0
    assert found[0].candidates[1].score == pytest.approx(0.02 * 4.5)
