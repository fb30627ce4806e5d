"""The policy under adapters, live references and engines: the same numbers, and the right parameters trained."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import nn

from assent.errors import InputError
from assent.likelihood.build_policy import build_policy
from assent.likelihood.causal_lm import PaddedCausalPolicy
from assent.likelihood.output_head import projection
from tests.tiny import tiny_lm
from tests.unit.test_likelihood_families import assert_same, drawn_comparisons


def adapted(**options: Any) -> nn.Module:
    """A tiny model under LoRA whose adapter does something."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **options}
    torch.manual_seed(1)
    model = get_peft_model(tiny_lm("llama", dtype=torch.float64), LoraConfig(**settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.double()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"target_modules": ["q_proj", "lm_head"]},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["lm_head"], "use_dora": True},
    ],
    ids=["layers", "head", "whole head", "DoRA head"],
)
def test_an_adapter_gives_the_same_numbers_and_gradients(options: dict[str, Any]) -> None:
    model = adapted(**options)
    policy = build_policy(model)
    assert policy.shared
    assert policy.tiled == ("use_dora" not in options)
    assert_same(model, policy, drawn_comparisons(), 1e-6)


def test_switching_the_adapter_off_gives_the_model_below_it() -> None:
    model = adapted(target_modules=["q_proj", "lm_head"])
    comparisons = drawn_comparisons()
    policy = build_policy(model)
    below = tiny_lm("llama", dtype=torch.float64)
    expected = PaddedCausalPolicy(below)(PaddedCausalPolicy(below).collate(comparisons)).tokens
    batch = policy.collate(comparisons)
    with model.disable_adapter():
        off = policy(batch).tokens
    torch.testing.assert_close(off, expected, rtol=1e-6, atol=1e-6)
    assert float((policy(batch).tokens - off).detach().abs().max()) > 1e-3


def test_dropout_of_the_adapter_on_the_head_acts_in_training_only() -> None:
    model = adapted(target_modules=["lm_head"], lora_dropout=0.5)
    assert projection(model.train()).dropout == 0.5
    assert projection(model.eval()).dropout == 0.0


def test_prompt_tuning_uses_the_model_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model = get_peft_model(tiny_lm("llama"), settings).double()
    with caplog.at_level(logging.WARNING, logger="assent"):
        policy = build_policy(model)
    assert not policy.shared
    assert not policy.tiled
    comparisons = drawn_comparisons()[:1]
    likelihoods = policy(policy.collate(comparisons))
    bare = build_policy(tiny_lm("llama", dtype=torch.float64))
    plain = bare(bare.collate(comparisons))
    assert likelihoods.tokens.shape == plain.tokens.shape
    assert not torch.allclose(likelihoods.tokens, plain.tokens)
    likelihoods.tokens.sum().backward()
    assert any(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_the_divergence_from_the_model_below_the_adapter() -> None:
    model = adapted()
    policy = build_policy(model)
    comparisons = drawn_comparisons()
    batch = policy.collate(comparisons)
    found = policy(batch, ("kl_reference", "extrapolated", "entropy")).statistics
    assert set(found) == {"kl_reference", "extrapolated", "entropy"}
    divergence = found["kl_reference"]
    assert bool((divergence > 0).all())
    below = build_policy(tiny_lm("llama", dtype=torch.float64))
    policy.compare_with(below)
    torch.testing.assert_close(policy(batch, ("kl_reference",)).statistics["kl_reference"], divergence)
    divergence.sum().backward()
    trained = [p.grad for name, p in model.named_parameters() if "lora_B" in name]
    assert all(gradient is not None and bool(gradient.any()) for gradient in trained)
    assert not any("compared" in name or name.startswith("_live") for name, _ in policy.named_parameters())
    assert len(list(policy.parameters())) == len(list(model.parameters()))


def test_live_statistics_without_a_reference_are_refused() -> None:
    policy = build_policy(tiny_lm("llama"))
    with pytest.raises(InputError, match="live reference"):
        policy(policy.collate(drawn_comparisons()), ("kl_reference",))
