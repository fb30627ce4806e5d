"""The diffusion benchmark runs end to end, and both of its sides compute the same loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import benchmarks.diffusion as benchmark
from assent.encoding.diffusion import DiffusionComparisons, Encoders
from assent.likelihood.adapters import add_adapter
from assent.likelihood.diffusion import LATENTS, DiffusionPolicy, Draws
from assent.likelihood.pipelines import load_pipeline
from assent.likelihood.reference import start_reference
from assent.objectives.judged import Judged
from assent.objectives.registry import build_objective
from assent.readers import read
from assent.work.store import ArrayStore
from benchmarks.diffusion_model import Shape, described, lora, save_model, save_pairs
from benchmarks.example_diffusion import Example

SHAPE = Shape(32, network=16, blocks=1, encoder=8, text=32, layers=2)


def test_losses_and_gradients_are_those_of_the_examples_arithmetic(tmp_path: Path) -> None:
    save_model(tmp_path / "model", SHAPE)
    save_pairs(tmp_path / "pairs.jsonl", SHAPE, 3)
    loaded = load_pipeline(str(tmp_path / "model"))
    comparisons = list(read(tmp_path / "pairs.jsonl").comparisons)
    data = DiffusionComparisons(comparisons, Encoders(loaded.images, loaded.prompts, ArrayStore(tmp_path / "store")))
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    told = {"model": str(tmp_path / "model"), "rows": str(tmp_path / "pairs.jsonl"), "shape": described(SHAPE)}
    example = Example({**told, "beta": 2000.0, "learning_rate": 0.0})
    # The example's own encoding gives what is kept, up to rounding.
    latents, states, pooled, sizes = example.encode(rows)
    media = [pair.candidates[side].media for side in (0, 1) for pair in data]
    kept: list[Any] = [
        torch.stack([one[name] for one in media]) for name in (LATENTS, "prompt_embeds", "pooled_embeds", "time_ids")
    ]
    for ours, theirs in zip(kept, (latents, states, pooled, sizes), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)

    loaded.network.requires_grad_(False)
    torch.manual_seed(0)
    policy = DiffusionPolicy(add_adapter(loaded.network, lora()).double(), loaded.noising, Draws("fixed", 1))
    reference = start_reference(policy)
    batch = policy.collate(list(data))
    batch[LATENTS] = batch[LATENTS].double()
    with torch.no_grad():
        before = reference(list(data), batch)
    loss = build_objective({"diffusion_dpo": {"beta": 2000.0}})(Judged.of(list(data), policy(batch), before)).mean()
    loss.backward()
    ours = {name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None}

    example.network.double()
    example.encode = lambda _: tuple(kept)  # type: ignore[method-assign, assignment]
    seen: dict[str, torch.Tensor] = {}
    example.optimizer.step = lambda: seen.update(  # type: ignore[method-assign, assignment]
        {name: p.grad.clone() for name, p in example.network.named_parameters() if p.grad is not None}
    )
    found = example(rows, [one.key[:12] for one in comparisons])
    assert found == pytest.approx(loss.item(), rel=1e-6)
    assert abs(found - 0.6931) > 1e-3
    # The example cuts its gradient to length 1.
    length = torch.stack([g.norm() for g in ours.values()]).norm()
    assert set(seen) == set(ours)
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient / length.clamp(min=1), seen[name], rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_the_benchmark_writes_a_row_for_each_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "real_share", lambda: "")
    result = benchmark.measure_diffusion(tmp_path, 2, 1, [benchmark.Setting("tiny", SHAPE)], pairs=2)
    (record,) = result["records"]
    assert record["losses_agree"]
    assert record["ours"]["losses"] == pytest.approx(record["example"]["losses"], rel=0.02)
    assert 0 < record["encoders_share"] < 1
    assert [len(row) for row in result["cells"]] == [len(result["columns"])]
