"""`assent train --compare` where things are less plain: adapters, a model as judge, failing objectives, two ranks."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from torch import Tensor

from assent.cli.main import main
from assent.comparison import to_dict
from assent.objectives import Judged, Needs
from assent.preference_models.fit import FitOptions, train_preference_model
from tests.distributed.two_ranks import run_two
from tests.tiny import save_tiny_lm, tiny_comparisons


@dataclass(frozen=True)
class NotFinite:
    """A loss that leaves the finite numbers once the policy has moved."""

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)

    def __call__(self, batch: Judged) -> Tensor:
        margin = batch.margin()
        return torch.where(margin.detach().abs() > 1e-6, margin + float("nan"), -margin)


@dataclass(frozen=True)
class Broken:
    """A loss with a mistake in it."""

    needs: ClassVar[Needs] = Needs(pairs=True)

    def __call__(self, batch: Judged) -> Tensor:
        raise ValueError("shapes do not fit <b>here</b>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kinds")
    save_tiny_lm(place / "model", layers=1, hidden=16)
    comparisons = [replace(one, annotator="ann" if at % 2 else "bob") for at, one in enumerate(tiny_comparisons(12))]
    (place / "prefs.jsonl").write_text("\n".join(json.dumps(to_dict(one)) for one in comparisons))
    return place


def run_file(folder: Path, name: str, **changes: Any) -> Path:
    training = {
        "output_dir": str(folder / name),
        "learning_rate": 1e-2,
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "logging_steps": 1,
        "use_cpu": True,
        **changes.pop("training", {}),
    }
    values = {
        "model": str(folder / "model"),
        "data": {"train": str(folder / "prefs.jsonl"), "eval": {"split": 0.3}},
        "reference": {"store": str(folder / "store")},
        "training": training,
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def cli(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


SHORT = ("--prompts", 2, "--max-new-tokens", 4)


def test_a_failing_objective_is_reported_and_the_others_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_file(folder, "failing")
    listed = folder / "objectives.yaml"
    listed.write_text(yaml.safe_dump([f"{__name__}:NotFinite", f"{__name__}:Broken", "simpo"]))
    assert cli("train", run, "--compare-file", listed, *SHORT) == 0
    numbers = json.loads((folder / "failing" / "comparison.json").read_text())
    errors = {name.rsplit("-", 1)[-1]: row["error"] for name, row in numbers["runs"].items()}
    assert "the loss is not finite" in errors["NotFinite"]
    assert "ValueError: shapes do not fit" in errors["Broken"]
    assert errors["simpo"] is None
    assert numbers["runs"]["simpo"]["measures"]["kl"]["estimate"] is not None
    assert [row["measures"] is None for row in numbers["runs"].values()] == [True, True, False]
    page = (folder / "failing" / "comparison.html").read_text()
    assert "Failed runs" in page
    assert "the loss is not finite" in page
    assert "<b>here</b>" not in page
    # What a loss did is certain; what a library did is tried again.
    capsys.readouterr()
    assert cli("train", run, "--compare-file", listed, *SHORT, "--resume") == 0
    said = capsys.readouterr().err
    assert "NotFinite has ended before" in said
    assert "Broken has ended before" not in said
    assert "simpo has ended before" in said


def test_where_every_run_fails_the_command_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_file(folder, "all")
    assert cli("train", run, "--compare", f"{__name__}:Broken", "--grid", "training.seed=1,2", *SHORT) == 1
    assert "every run failed: ValueError" in capsys.readouterr().err
    assert "Failed runs" in (folder / "all" / "comparison.html").read_text()


def test_adapters_are_compared_from_the_same_start(folder: Path) -> None:
    run = run_file(folder, "lora", peft={"r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"]})
    assert cli("train", run, "--compare", "dpo,simpo", *SHORT) == 0
    numbers = json.loads((folder / "lora" / "comparison.json").read_text())
    moved = [row["measures"]["chosen"]["estimate"] for row in numbers["runs"].values()]
    assert all(abs(change) > 1e-4 for change in moved), "the adapter that was measured is the one that was trained"
    assert moved[0] != pytest.approx(moved[1], abs=1e-6)
    assert (folder / "lora" / "dpo" / "model" / "adapter_config.json").is_file()


def test_a_preference_model_judges(folder: Path) -> None:
    features = {"encoder": "hashed_ngrams", "size": 8}
    train_preference_model(
        tiny_comparisons(12), "bradley_terry", features, FitOptions(epochs=2), output_dir=folder / "judge"
    )
    run = run_file(folder, "judged")
    command = ("train", run, "--compare", "dpo,simpo", "--judge", folder / "judge", "--samples", 2, *SHORT)
    assert cli(*command) == 0
    numbers = json.loads((folder / "judged" / "comparison.json").read_text())
    for row in numbers["runs"].values():
        measures = row["measures"]
        assert measures["wins"] + measures["losses"] + measures["ties"] == 4
        assert measures["unjudged"] == 0
        assert 0 <= measures["win_rate"]["estimate"] <= 1
    assert "win rate" in (folder / "judged" / "comparison.html").read_text()


RANKS = """
import os, sys
import torch
torch.set_num_threads(1)
from assent.cli.main import main

try:
    main(sys.argv[1:])
except SystemExit as left:
    sys.stdout.flush()
    # Threads of gloo's that are still alive abort the interpreter's own way out.
    os._exit(left.code or 0)
"""


def test_two_ranks_compare_as_one_does(folder: Path) -> None:
    """Also the state of an objective that learns about labels: gathered over ranks, equal to that of one."""
    objectives = "simpo,lcpo"
    alone = run_file(folder, "alone")
    assert cli("train", alone, "--compare", objectives, *SHORT) == 0
    together = run_file(folder, "together", training={"per_device_train_batch_size": 2})
    first, second = run_two(RANKS, "train", together, "--compare", objectives, *SHORT)
    assert "report:" in first
    assert "report:" not in second
    one, two = (json.loads((folder / name / "comparison.json").read_text()) for name in ("alone", "together"))
    assert set(one["runs"]) == set(two["runs"]) == {"simpo", "lcpo"}
    for name, row in one["runs"].items():
        assert two["runs"][name]["steps"] == row["steps"] == 2
        for measure in ("chosen", "rejected"):
            expected = row["measures"][measure]["estimate"]
            assert two["runs"][name]["measures"][measure]["estimate"] == pytest.approx(expected, abs=1e-3)
    noise, theirs = (
        json.loads((folder / name / "lcpo" / "label_noise.json").read_text()) for name in ("alone", "together")
    )
    assert theirs["labels"] == noise["labels"]
    assert set(theirs["reliability"]) == {"ann", "bob"}
    assert theirs["noise_rate"] == pytest.approx(noise["noise_rate"], abs=1e-5)
    assert theirs["reliability"] == pytest.approx(noise["reliability"], abs=1e-5)
    assert "Label noise" in (folder / "together" / "comparison.html").read_text()
