"""Shared prefixes give, for every family, the numbers and gradients of one padded row per candidate."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from assent.encoding import UNSCORED, EncodedCandidate, EncodedComparison
from assent.likelihood.build_policy import build_policy
from assent.likelihood.causal_lm import CausalPolicy, PaddedCausalPolicy
from assent.likelihood.likelihoods import Likelihoods
from assent.likelihood.policy import Batch, Policy
from tests.tiny import VOCABULARY, tiny_lm

FAMILIES = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {},
    "gemma": {},
    "gemma2": {},
    "gemma3_text": {},
    "phi": {},
    "phi3": {},
    "olmo": {},
    "olmo2": {},
    "smollm3": {},
    "gpt_neox": {},
    "cohere": {"logit_scale": 0.5},
    "granite": {"logits_scaling": 4.0},
    "gpt2": {"n_positions": 2048, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "opt": {"dropout": 0.0},
    "starcoder2": {},
    "mixtral": {"experts_implementation": "eager"},
    "qwen3_moe": {"experts_implementation": "eager"},
}
"""Every family of decoders worth naming, with what its tiny configuration needs besides."""


def comparison(
    name: str, candidates: list[tuple[list[int], list[int]]], scored_prompt: bool = False
) -> EncodedComparison:
    """An encoded comparison of (prompt, completion) pairs of token ids."""
    encoded = tuple(
        EncodedCandidate(
            (*prompt, *completion),
            (*[1 if scored_prompt else UNSCORED] * len(prompt), *[0] * len(completion)),
            len(prompt),
        )
        for prompt, completion in candidates
    )
    count = len(encoded)
    return EncodedComparison(
        name, encoded, tuple(float(count - k) for k in range(count)), (-1,) * count, (None,) * count
    )


def drawn_comparisons(seed: int = 0) -> list[EncodedComparison]:
    """A pair, a list of three, a joint comparison with different prompts that are scored too, and a single answer."""
    draw = random.Random(seed)

    def tokens(length: int) -> list[int]:
        return [draw.randrange(VOCABULARY - 32) for _ in range(length)]

    prompt, other, system = tokens(25), tokens(41), tokens(20)
    common = tokens(17)
    return [
        comparison("pair", [(prompt, tokens(9)), (prompt, tokens(5))]),
        comparison("list", [(other, common + tokens(3)), (other, common + tokens(6)), (other, tokens(11))]),
        comparison("joint", [(system + tokens(4), tokens(6)), (system + tokens(7), tokens(3))], scored_prompt=True),
        comparison("single", [(tokens(6), tokens(4))]),
    ]


def weighted(policy: Policy, comparisons: list[EncodedComparison]) -> tuple[Tensor, Tensor, Tensor]:
    """Sums, token log-probabilities, and a scalar that weighs every candidate and token differently."""
    likelihoods = policy(policy.collate(comparisons))
    sums = likelihoods.sum
    weights = torch.linspace(-1, 1, sums.numel(), dtype=sums.dtype).view_as(sums)
    tilts = torch.linspace(0.5, 1.5, len(likelihoods.tokens), dtype=sums.dtype)
    return sums, likelihoods.tokens, (weights * sums).sum() + (tilts * likelihoods.tokens).mean()


Result = tuple[Tensor, Tensor, dict[str, Tensor | None]]


def scored(model: nn.Module, policy: Policy, comparisons: list[EncodedComparison]) -> Result:
    """Sums, tokens and the gradient of every parameter."""
    model.zero_grad()
    sums, tokens, scalar = weighted(policy, comparisons)
    scalar.backward()
    return sums.detach(), tokens.detach(), {name: p.grad for name, p in model.named_parameters()}


class AlonePolicy(Policy):
    """The ground truth: every candidate in a forward of its own, without any padding, through the model's logits."""

    def collate(self, comparisons: Sequence[EncodedComparison]) -> Batch:
        return {"comparisons": comparisons}

    def forward(self, batch: Batch, statistics: tuple[str, ...] = ()) -> Likelihoods:
        plain = PaddedCausalPolicy(self.model)
        whole: Any = batch["comparisons"]
        layout = plain.collate(whole)
        alone = [
            replace(c, candidates=(candidate,), scores=(0.0,), labels=(-1,), roles=(None,))
            for c in whole
            for candidate in c.candidates
        ]
        tokens = torch.cat([plain(plain.collate([one])).tokens for one in alone])
        mask = layout["mask"]
        return Likelihoods(tokens, layout["owner"], (mask.shape[0], mask.shape[1]), mask, layout["segment"])


def assert_equal(ours: Result, truth: Result, tolerance: float) -> None:
    """The gradient's error is the largest difference over the largest gradient of the model: key biases have none."""
    torch.testing.assert_close(ours[0], truth[0], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(ours[1], truth[1], rtol=tolerance, atol=tolerance)
    scale = max(float(gradient.abs().max()) for gradient in truth[2].values() if gradient is not None)
    for name, gradient in truth[2].items():
        found = ours[2][name]
        if gradient is None or found is None:
            assert gradient is None or not gradient.any(), name
            assert found is None or not found.any(), name
            continue
        assert float((found - gradient).abs().max()) / scale <= tolerance, name


def assert_same(model: nn.Module, policy: Policy, comparisons: list[EncodedComparison], tolerance: float) -> None:
    """The policy's numbers and gradients are those of candidates scored alone."""
    assert_equal(scored(model, policy, comparisons), scored(model, AlonePolicy(model), comparisons), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_shares_prefixes_exactly(family: str, dtype: torch.dtype, tolerance: float) -> None:
    model = tiny_lm(family, dtype=dtype, attn_implementation="eager", **FAMILIES[family])
    truth = scored(model, AlonePolicy(model), drawn_comparisons())
    policy = build_policy(model)
    assert policy.route == "shared prefixes, head in tiles"
    assert_equal(scored(model, policy, drawn_comparisons()), truth, tolerance)


@pytest.mark.parametrize(
    ("family", "options", "reason"),
    [
        ("mamba", {"state_size": 4}, "attention"),
        ("bloom", {"hidden_dropout": 0.0}, "attention"),
        ("lfm2", {"layer_types": ["conv", "full_attention"]}, "conv"),
    ],
)
def test_a_family_that_cannot_share_falls_back_and_says_so(
    family: str, options: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_lm(family, **options)
    with caplog.at_level(logging.WARNING, logger="assent"):
        policy = build_policy(model)
    assert not policy.shared
    assert policy.tiled
    assert reason in policy.route
    assert [record.message for record in caplog.records if "prefixes are not shared" in record.message]
    assert_same(model, policy, drawn_comparisons()[:2], 1e-3)


def test_rows_without_sharing_can_be_asked_for() -> None:
    model = tiny_lm("llama", dtype=torch.float64)
    policy = build_policy(model, shared_prefixes=False)
    assert "not asked for" in policy.route
    assert_same(model, policy, drawn_comparisons(), 1e-6)


@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral"])
def test_the_batch_does_not_change_a_record(family: str) -> None:
    model = tiny_lm(family, dtype=torch.float64)
    policy = build_policy(model)
    comparisons = drawn_comparisons()
    together = policy(policy.collate(comparisons)).sum
    for index, one in enumerate(comparisons):
        alone = policy(policy.collate([one])).sum
        torch.testing.assert_close(together[index, : alone.shape[1]], alone[0], rtol=1e-6, atol=1e-6)
    turned = policy(policy.collate(comparisons[::-1])).sum
    torch.testing.assert_close(turned, together.flip(0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_the_model_stays_usable_for_everything_else(family: str) -> None:
    ids = torch.randint(0, 200, (2, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 12, [0] * 4 + [1] * 8])
    plain = tiny_lm(family, attn_implementation="eager").eval()
    before = plain(input_ids=ids, attention_mask=mask).logits
    build_policy(plain)
    after = plain(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(after[0], before[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after[1, 4:], before[1, 4:], rtol=1e-4, atol=1e-4)


def test_modes_are_put_back_after_the_probe() -> None:
    model = tiny_lm("llama").train()
    model.model.norm.eval()
    build_policy(model)
    assert model.training
    assert not model.model.norm.training


def test_gradient_checkpointing_changes_nothing() -> None:
    model = tiny_lm("llama", dtype=torch.float64)
    policy = build_policy(model)
    model.activation_checkpointing_enable()
    assert_same(model, policy, drawn_comparisons(), 1e-6)


def test_sixteen_bit_weights_score_within_their_rounding() -> None:
    comparisons = drawn_comparisons()
    wide = tiny_lm("llama")
    narrow = tiny_lm("llama").to(torch.bfloat16)
    expected = AlonePolicy(wide)(AlonePolicy(wide).collate(comparisons)).tokens
    policy = build_policy(narrow)
    assert policy.shared
    tokens = policy(policy.collate(comparisons)).tokens
    assert tokens.dtype == torch.float32
    assert float((tokens - expected).detach().abs().mean()) < 0.1
    tokens.sum().backward()


def test_a_candidate_is_scored_alone_when_it_repeats_another() -> None:
    model = tiny_lm("llama", dtype=torch.float64)
    answer = (list(range(20)), [5, 6, 7])
    assert_same(model, build_policy(model), [comparison("same", [answer, answer, (answer[0], [5, 6])])], 1e-6)


def test_cost_counts_what_is_read() -> None:
    pair = drawn_comparisons()[0]
    policy = build_policy(tiny_lm("llama"))
    assert policy.cost(pair) == policy.collate([pair])["input_ids"].numel() == 25 + 8 + 4
    assert CausalPolicy(policy.model, shared=False, tiled=True, route="").cost(pair) == 2 * (25 + 8)
