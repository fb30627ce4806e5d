"""`assent train`, `plan` and the library on a tiny model, end to end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from assent.cli.main import main
from assent.comparison import to_dict
from assent.config import run_from
from assent.errors import InputError
from assent.training import align, train
from tests.tiny import save_tiny_lm, tiny_comparisons


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    save_tiny_lm(place / "model", layers=1, hidden=16)
    rows = [json.dumps(to_dict(comparison)) for comparison in tiny_comparisons(20)]
    (place / "prefs.jsonl").write_text("\n".join(rows))
    return place


def run_file(folder: Path, name: str, **changes: object) -> Path:
    values = {
        "model": str(folder / "model"),
        "data": {"train": str(folder / "prefs.jsonl"), "eval": {"split": 0.2}},
        "objective": {"dpo": {"beta": 0.1}},
        "reference": {"store": str(folder / "store")},
        "training": {
            "output_dir": str(folder / name),
            "learning_rate": 1e-2,
            "max_steps": 6,
            "per_device_train_batch_size": 4,
            "logging_steps": 1,
            "save_steps": 3,
            "use_cpu": True,
        },
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return path


def cli(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def test_a_run_file_gives_a_run_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_file(folder, "out")
    assert cli("train", run, "training.weight_decay=0.01") == 0
    out = folder / "out"
    names = {path.name for path in out.iterdir()}
    assert {"config.resolved.yaml", "versions.json", "data.json", "metrics.jsonl", "model", "report.html"} <= names
    assert {"checkpoint-3", "checkpoint-6"} <= names
    config = yaml.safe_load((out / "config.resolved.yaml").read_text())
    assert config["training"]["weight_decay"] == 0.01
    assert config["objective"] == {"dpo": {"beta": 0.1}}
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[0] == pytest.approx(0.6931, abs=1e-3)
    assert losses[-1] < losses[0]
    assert any("eval_rewards/accuracies" in row for row in rows)
    data = json.loads((out / "data.json").read_text())
    assert data["train"]["matched"]["comparisons"] == 16
    assert data["reference"]["scored"] + data["reference"]["found"] == 20
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    assert tokenizer.chat_template
    assert model.generate(**tokenizer("red", return_tensors="pt"), max_new_tokens=2).shape[1] > 2
    # The same folder again is refused, before anything is loaded.
    assert cli("train", run) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_second_run_scores_no_reference(folder: Path) -> None:
    first = train(run_from(yaml.safe_load(run_file(folder, "a").read_text())))
    other = yaml.safe_load(run_file(folder, "b", objective={"ipo": {}}).read_text())
    other["training"] |= {"learning_rate": 1e-4}
    second = train(run_from(other))
    assert first.steps == second.steps == 6
    assert json.loads((folder / "b" / "data.json").read_text())["reference"]["scored"] == 0


def test_an_adapter_is_trained_and_loads_in_plain_peft(folder: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    run = run_file(folder, "lora", peft={"r": 4, "target_modules": "all-linear"})
    assert cli("train", run, "--no-report") == 0
    trained = AutoPeftModelForCausalLM.from_pretrained(folder / "lora" / "model")
    before = AutoModelForCausalLM.from_pretrained(folder / "model")
    ids = torch.tensor([[1, 2, 3, 4]])
    assert (trained(ids).logits - before(ids).logits).abs().max() > 1e-3
    with trained.disable_adapter():
        assert torch.equal(trained(ids).logits, before(ids).logits)


def test_five_lines_align_a_model(tmp_path: Path, folder: Path) -> None:
    result = align(
        model=folder / "model",
        data=tiny_comparisons(8),
        objective="simpo",
        output_dir=tmp_path / "out",
        training={"max_steps": 2, "use_cpu": True},
    )
    assert result.steps == 2
    assert result.model_folder.is_dir()
    assert result.model is not None


def test_a_dry_run_checks_everything_and_leaves_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_file(folder, "dry")
    assert cli("train", run, "--dry-run") == 0
    assert not (folder / "dry").exists()
    said = capsys.readouterr().out
    assert "memory, predicted peak" in said
    assert cli("train", run, "--dry-run", "objective.dpo.beta=-1") == 2


def test_plan_shows_settings_data_and_what_the_model_sees(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_file(folder, "plan")
    assert cli("plan", run) == 0
    said = capsys.readouterr().out
    for part in ("beta: 0.1", "truncate: drop", "16 to train on, 4 held out", "What the model sees", "<|turn|>"):
        assert part in said
    assert cli("plan", run, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["plan"]["memory"]["peak"] > 0
    assert found["plan"]["parameters"] == sum(
        parameter.numel() for parameter in AutoModelForCausalLM.from_pretrained(folder / "model").parameters()
    )


def test_an_objective_from_a_file_trains_from_yaml(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "filed_losses.py").write_text(
        '''
from dataclasses import dataclass
from assent.objectives import Judged, Needs


@dataclass(frozen=True)
class Squared:
    """The squared distance of the margin from a target."""

    needs = Needs(pairs=True, reference=True)
    target: float = 1.0

    def __call__(self, batch: Judged):
        return (batch.margin() - self.target).square()
'''
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    run = run_file(folder, "mine", objective={"filed_losses:Squared": {"target": 2.0}})
    assert cli("train", run, "--no-report") == 0
    rows = [json.loads(line) for line in (folder / "mine" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] == pytest.approx(4.0, abs=1e-3)
    sys.modules.pop("filed_losses", None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": {"simpo": {}}, "reference": "model"}, r"`simpo` uses no reference"),
        ({"objective": {"dpo": {}}, "reference": "none"}, r"`dpo` needs a reference"),
        ({"objective": {"dpo": {"bta": 1}}}, r"bad.yaml:\d+.*Did you mean `beta`"),
        ({"objective": {"dpoo": {}}}, r"Did you mean `dpo`"),
        ({"training": {"output_dir": "x", "fsdp": "full_shard"}}, r"fsdp"),
        ({"gradients": "raco"}, r"several terms"),
        ({"model": "/nowhere/at/all"}, r"no such model folder"),
        ({"peft": {"r": 4, "task_type": "NONSENSE"}}, r"peft"),
    ],
    ids=str,
)
def test_contradictions_are_input_errors(folder: Path, changes: dict[str, object], said: str) -> None:
    from assent.config import load_run

    run = run_file(folder, "bad", **changes)
    with pytest.raises(InputError, match=said):
        train(load_run(run))


def test_micro_batches_are_sized_by_the_memory_that_is_free(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from assent.training import tuning

    def budget_with(free: int, name: str, **changes: object) -> int:
        monkeypatch.setattr(tuning, "free_memory", lambda device: free)
        path = run_file(folder, name, **changes)
        assert cli("train", path) == 0, capsys.readouterr().err
        return int(json.loads((folder / name / "data.json").read_text())["max_tokens_per_micro_batch"])

    plenty, little = budget_with(2**34, "plenty"), budget_with(2 * 2**20, "little")
    assert little < plenty
    # Results do not depend on it.
    last = [
        json.loads((folder / n / "metrics.jsonl").read_text().splitlines()[5])["loss"] for n in ("plenty", "little")
    ]
    assert last[0] == pytest.approx(last[1], abs=1e-5)
    assert budget_with(2**34, "given", max_tokens_per_micro_batch=300) == 300


def test_a_run_that_cannot_fit_stops_before_its_first_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from assent.training import tuning

    monkeypatch.setattr(tuning, "free_memory", lambda device: 1000)
    assert cli("train", run_file(folder, "tight")) == 1
    shown = " ".join(capsys.readouterr().err.split())
    assert "does not fit" in shown
    assert "data.max_length" in shown
