"""MAPL's reward model: the paper's numbers, and a run file that trains it on comparisons of prompts and of gaps."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from assent.building import mapl as building
from assent.cli.main import main
from assent.comparison import to_dict
from assent.preference_models import Embedded, MultiLevel
from tests.batches import NAN, judged
from tests.tiny import save_tiny_lm, tiny_comparisons

FIXTURES = Path(__file__).parents[1] / "fixtures"


def embedded(rewards: torch.Tensor) -> Embedded:
    return Embedded(rewards.unsqueeze(-1), rewards.unsqueeze(-1), None, torch.ones(rewards.shape, dtype=torch.bool))


def test_the_levels_equal_the_fixture_with_their_gradients() -> None:
    cases = json.loads((FIXTURES / "mapl.json").read_text())["cases"]
    case = next(case for case in cases if case["name"] == "rm_losses")
    given = {
        name: torch.tensor(value, dtype=torch.float64).requires_grad_() for name, value in case["inputs"].items()
    }
    model = MultiLevel(1, intra_weight=case["hyper"]["lambda_intra"], inter_weight=case["hyper"]["lambda_inter"])
    plain = torch.stack([given["score_x_chosen"], given["score_x_rejected"]], dim=1)
    prompts = torch.stack(
        [given["score_better_prompt_same_response"], given["score_worse_prompt_same_response"]], dim=1
    )
    wide = torch.stack([given["score_widened_chosen"], given["score_widened_rejected"]], dim=1)
    size = len(plain)
    roles = [[None] * 4] * (2 * size) + [[None, None, "base_prompt", "base_prompt"]] * size
    rows = torch.cat([torch.nn.functional.pad(torch.cat([plain, prompts]), (0, 2)), torch.cat([wide, plain], dim=1)])
    mask = torch.ones(rows.shape, dtype=torch.bool)
    mask[: 2 * size, 2:] = False
    scores = torch.tensor([[1.0, 0.0, NAN, NAN]], dtype=torch.float64).expand(len(rows), 4)
    groups = (*(None,) * size, *("intra",) * size, *(None,) * size)
    batch = judged(rows.detach(), mask=mask, scores=scores, roles=roles, group=groups)
    losses = model.loss(replace(embedded(rows), mask=mask), batch)
    expected = case["expected"]
    levels = [torch.tensor(expected[name], dtype=torch.float64) for name in ("bt", "intra", "inter")]
    levels[1], levels[2] = (levels[1] * model.intra_weight, levels[2] * model.inter_weight)
    torch.testing.assert_close(losses, torch.cat(levels))
    total = losses.view(3, size).mean(dim=1).sum()
    assert total.item() == pytest.approx(expected["loss"], rel=1e-9)
    total.backward()
    for key in (key for key in expected if key.startswith("grad_wrt_")):
        found = given[key.removeprefix("grad_wrt_")].grad
        torch.testing.assert_close(found, torch.tensor(expected[key], dtype=torch.float64))


def test_a_model_blind_to_prompts_stays_at_log_two() -> None:
    rewards = torch.tensor([[1.5, 1.5, 0.0, 0.0], [2.0, -1.0, 2.0, -1.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    batch = judged(
        rewards,
        mask=mask,
        scores=torch.tensor([[1.0, 0.0, NAN, NAN]] * 2, dtype=torch.float64),
        roles=[[None] * 4, [None, None, "base_prompt", "base_prompt"]],
        group=("intra", None),
    )
    losses = MultiLevel(1).loss(replace(embedded(rewards), mask=mask), batch)
    assert losses.tolist() == pytest.approx([math.log(2)] * 2)


def test_a_run_file_trains_it(tmp_path: Path) -> None:
    save_tiny_lm(tmp_path / "model", layers=1, hidden=16)
    pairs = tiny_comparisons(8)
    data = [*pairs, *building.intra(pairs).comparisons, *building.inter(pairs).comparisons]
    kinds = {(one.group, len(one.candidates)) for one in data}
    assert ("intra", 2) in kinds
    assert any(count == 4 for _, count in kinds)
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(to_dict(one)) for one in data))
    values = {
        "model": str(tmp_path / "model"),
        "data": str(tmp_path / "data.jsonl"),
        "preference_model": {"mapl": {"inter_weight": 0.5}},
        "training": {
            "output_dir": str(tmp_path / "out"),
            "max_steps": 6,
            "per_device_train_batch_size": len(data),
            "learning_rate": 5e-3,
            "logging_steps": 1,
            "use_cpu": True,
        },
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SystemExit) as left:
        main(["train", str(tmp_path / "run.yaml")])
    assert not left.value.code
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 6
    # Every step sees all comparisons, so that losses can be compared.
    assert losses[-1] < losses[0] - 1e-3
