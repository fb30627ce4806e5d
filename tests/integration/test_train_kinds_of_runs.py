"""Kinds of runs beyond a plain policy: preference models, references that follow, combined gradients, TRL's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, to_dict
from assent.config import run_from
from assent.training import Given, TrainResult, train
from tests.tiny import save_tiny_lm, tiny_comparisons


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("model"), layers=1, hidden=16)


def run(model: Path, out: Path, data: Any = None, resume: bool = False, **keys: Any) -> TrainResult:
    training = {
        "output_dir": str(out),
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "use_cpu": True,
        **keys.pop("training", {}),
    }
    values = {"model": str(model), "objective": "dpo", "training": training, **keys}
    values.setdefault("reference", {"store": str(out.parent / "store")})
    values = {name: value for name, value in values.items() if value is not None}
    return train(run_from(values), given=Given(data or tiny_comparisons(8)), resume=resume)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_preference_model_is_trained_by_the_same_verb(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(json.dumps(to_dict(c)) for c in tiny_comparisons(8)))
    path = tmp_path / "run.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "model": str(model),
                "data": str(data),
                "preference_model": {"bradley_terry": {}},
                "training": {"output_dir": str(tmp_path / "out"), "max_steps": 2, "use_cpu": True},
            }
        )
    )
    with pytest.raises(SystemExit) as left:
        main(["train", str(path)])
    assert left.value.code == 0
    assert (tmp_path / "out" / "model" / "preference_model.json").is_file()
    assert (tmp_path / "out" / "config.resolved.yaml").is_file()


@pytest.mark.parametrize("peft", [None, {"r": 2, "target_modules": ["q_proj"]}], ids=["full", "adapter"])
def test_a_reference_follows_the_policy_and_is_resumed(model: Path, tmp_path: Path, peft: Any) -> None:
    # An adapter starts at zero, so that its first step moves far less than one of the whole model.
    rate = {"learning_rate": 1e-2 if peft is None else 3e-1}
    keys = {"reference": {"source": "model", "sync": {"every": 2, "mix": 1.0}}, "peft": peft}
    whole = run(model, tmp_path / "whole", **keys, training=rate)
    # After the hard update at step 2 the reference is the policy again: the loss of step 3 is log 2.
    losses = [row["loss"] for row in rows(tmp_path / "whole") if "loss" in row]
    assert losses[0] == pytest.approx(losses[2], abs=1e-5) == pytest.approx(0.6931, abs=1e-4)
    assert abs(losses[1] - losses[0]) > 1e-4
    constant = {"lr_scheduler_type": "constant", **rate}
    run(model, tmp_path / "part", **keys, training={"max_steps": 3, "save_steps": 3, **constant})
    resumed = run(model, tmp_path / "part", resume=True, **keys, training=constant)
    straight = run(model, tmp_path / "straight", **keys, training=constant)
    assert whole.steps == resumed.steps == straight.steps == 4
    for mine, theirs in zip(resumed.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_gradients_of_several_terms_are_combined_and_reported(model: Path, tmp_path: Path) -> None:
    objective = [{"dpo": {}}, {"sft": {}}]
    run(model, tmp_path / "raco", objective=objective, gradients="raco")
    logged = rows(tmp_path / "raco")[0]
    assert any(name.startswith("gradients/cosine") for name in logged)
    assert {"loss/dpo", "loss/sft"} <= set(logged)
    # Half of each term's gradient is half of the sum's; SGD shows it.
    plain = {
        "optim": "sgd",
        "max_grad_norm": 0,
        "max_steps": 1,
        "learning_rate": 0.2,
        "lr_scheduler_type": "constant",
    }
    one = run(model, tmp_path / "one", objective=objective, gradients="weighted_sum", training=plain)
    two = run(model, tmp_path / "two", objective=objective, training={**plain, "learning_rate": 0.1})
    for mine, theirs in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_a_mixture_and_labels_and_lists(model: Path, tmp_path: Path) -> None:
    lists = [Comparison(f"q{i}?", [Candidate(f"answer {k} {i}", score=float(k)) for k in range(4)]) for i in range(6)]
    result = run(model, tmp_path / "kto", lists, objective="kto")
    assert result.metrics["num_comparisons"] == 2
    facts = json.loads((tmp_path / "kto" / "data.json").read_text())
    assert facts["train"]["matched"]["counts"]["pairs made into one good and one bad answer"] == 6


@pytest.mark.parametrize("spelling", ["gradient_checkpointing", "activation_checkpointing"])
def test_checkpointing_changes_nothing_but_memory(model: Path, tmp_path: Path, spelling: str) -> None:
    plain = run(model, tmp_path / "plain")
    saved = run(model, tmp_path / "saved", training={spelling: True})
    for mine, theirs in zip(plain.model.parameters(), saved.model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)
    assert saved.policy is not None


def test_an_adapter_on_an_adapter(model: Path, tmp_path: Path) -> None:
    peft = {"r": 2, "target_modules": ["q_proj", "v_proj"]}
    run(model, tmp_path / "sft", objective="sft", reference=None, peft=peft)
    second = run(tmp_path / "sft" / "model", tmp_path / "dpo", peft=peft)
    losses = [row["loss"] for row in rows(tmp_path / "dpo") if "loss" in row]
    assert losses[0] == pytest.approx(0.6931, abs=1e-4), "the reference is the model with the first adapter on"
    assert second.steps == 4


def test_bf16_computes_and_keeps_float32_weights(model: Path, tmp_path: Path) -> None:
    result = run(model, tmp_path / "bf16", training={"bf16": True})
    assert next(result.model.parameters()).dtype == torch.float32
    losses = [row["loss"] for row in rows(tmp_path / "bf16") if "loss" in row]
    assert losses[0] == pytest.approx(0.6931, abs=2e-2)


def test_a_file_of_trl_trains(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(json.dumps(to_dict(c)) for c in tiny_comparisons(8)))
    path = tmp_path / "dpo.yaml"
    path.write_text(
        f"model_name_or_path: {model}\ndataset_name: {data}\nloss_type: ipo\nbeta: 0.2\nmax_steps: 2\n"
        f"output_dir: {tmp_path / 'out'}\nper_device_train_batch_size: 2\nuse_cpu: true\n"
    )
    with pytest.raises(SystemExit) as left:
        main(["train", "--from-trl", str(path), "training.logging_steps=1"])
    assert left.value.code == 0
    assert yaml.safe_load((tmp_path / "out" / "config.resolved.yaml").read_text())["objective"] == {
        "ipo": {"beta": 0.2}
    }
    with path.open("a") as file:
        file.write("tools: something\n")
    with pytest.raises(SystemExit) as left:
        main(["train", "--from-trl", str(path)])
    assert left.value.code == 2
