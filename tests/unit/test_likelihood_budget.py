"""The token budget follows the memory, never cuts a comparison, and leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from assent.errors import RunError
from assent.likelihood.budget import ENOUGH, _available, _container, activation_bytes, auto_budget, free_memory
from assent.likelihood.build_policy import build_policy
from tests.tiny import tiny_lm
from tests.unit.test_likelihood_families import drawn_comparisons


def test_the_budget_grows_with_the_memory_up_to_what_is_useful() -> None:
    policy, comparisons = build_policy(tiny_lm("llama")), drawn_comparisons()
    used = activation_bytes(policy, [max(comparisons, key=policy.cost)])
    longest = max(map(policy.cost, comparisons))
    assert auto_budget(policy, comparisons, free_bytes=used) == longest
    assert auto_budget(policy, comparisons, free_bytes=10 * used) == pytest.approx(7 * longest, abs=1)
    assert auto_budget(policy, comparisons, free_bytes=10**6 * used) == ENOUGH["cpu"]


def test_more_tokens_keep_more_memory() -> None:
    policy, comparisons = build_policy(tiny_lm("llama")), drawn_comparisons()
    one, all_of_them = activation_bytes(policy, comparisons[:1]), activation_bytes(policy, comparisons)
    tokens = sum(map(policy.cost, comparisons)) / policy.cost(comparisons[0])
    assert 0.5 * tokens < all_of_them / one < 2 * tokens


def test_a_comparison_that_cannot_fit_stops_the_run_with_its_name() -> None:
    policy = build_policy(tiny_lm("llama"))
    with pytest.raises(RunError, match=r"list.*max_length"):
        auto_budget(policy, drawn_comparisons(), free_bytes=1000)


def test_probing_leaves_no_gradients() -> None:
    policy = build_policy(tiny_lm("llama"))
    auto_budget(policy, drawn_comparisons())
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_free_memory_is_the_machines_or_the_containers(tmp_path: Path) -> None:
    assert free_memory(torch.device("cpu")) > 2**20
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    5 kB\n")
    assert _available(tmp_path / "meminfo") == 5 * 1024
    (tmp_path / "memory.current").write_text("300\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert _container(tmp_path) == 700
    (tmp_path / "memory.max").write_text("max\n")
    assert _container(tmp_path) is None
    assert _container(tmp_path / "nowhere") is None
