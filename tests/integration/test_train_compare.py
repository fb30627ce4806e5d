"""`assent train --compare`: several objectives from one start, one report, and nothing is run twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml

from assent.cli.main import main
from assent.comparison import to_dict
from tests.tiny import save_tiny_lm, tiny_comparisons


def shorter(prompt: str, answer: str) -> float:
    """A judge: fewer characters are better."""
    return -len(answer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("compare")
    save_tiny_lm(place / "model", layers=1, hidden=16)
    rows = [json.dumps(to_dict(comparison)) for comparison in tiny_comparisons(24)]
    (place / "prefs.jsonl").write_text("\n".join(rows))
    return place


def run_file(folder: Path, name: str, **changes: object) -> Path:
    values = {
        "model": str(folder / "model"),
        "data": {"train": str(folder / "prefs.jsonl"), "eval": {"split": 0.3}},
        "reference": {"store": str(folder / "store")},
        "training": {
            "output_dir": str(folder / name),
            "learning_rate": 1e-2,
            "num_train_epochs": 1,
            "per_device_train_batch_size": 4,
            "logging_steps": 1,
            "use_cpu": True,
        },
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def cli(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def test_three_objectives_get_one_report_and_a_second_call_repeats_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_file(folder, "three")
    command = ("train", run, "--compare", "dpo,simpo,kto", "--judge", f"{__name__}:shorter", "--max-new-tokens", 12)
    assert cli(*command, "--prompts", 4, "--samples", 2) == 0
    out = folder / "three"
    numbers = json.loads((out / "comparison.json").read_text())
    assert set(numbers["runs"]) == {"dpo", "simpo", "kto"}
    # Equal budgets, though kto makes two comparisons of each pair.
    assert len({row["steps"] for row in numbers["runs"].values()}) == 1
    for row in numbers["runs"].values():
        measures = row["measures"]
        assert 0 <= measures["by_log_ratio"]["estimate"] <= 1
        assert measures["wins"] + measures["losses"] + measures["ties"] + measures["unjudged"] == 8
        assert measures["length"]["estimate"] <= 12
    changes = [row["measures"]["chosen"]["estimate"] for row in numbers["runs"].values()]
    assert len({round(change, 6) for change in changes}) == 3
    page = (out / "comparison.html").read_text()
    assert all(name in page for name in ("dpo", "simpo", "kto", "win rate"))

    assert cli(*command, "--prompts", 4, "--samples", 2) == 2  # the folder is not empty
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/model/*")}
    capsys.readouterr()
    assert cli(*command, "--prompts", 4, "--samples", 2, "--resume") == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/model/*")} == before
    assert "dpo has ended before" in capsys.readouterr().err
    assert (
        json.loads((out / "comparison.json").read_text())["runs"]["kto"]["measures"]
        == (numbers["runs"]["kto"]["measures"])
    )


def test_a_grid_gives_a_robustness_table(folder: Path) -> None:
    run = run_file(folder, "grid")
    assert (
        cli("train", run, "--compare", "dpo,simper", "--grid", "beta=0.1,0.5", "--prompts", 2, "--max-new-tokens", 4)
        == 0
    )
    numbers = json.loads((folder / "grid" / "comparison.json").read_text())
    # simper has no beta: one run.
    assert set(numbers["runs"]) == {"dpo-beta-0.1", "dpo-beta-0.5", "simper"}
    assert numbers["robustness"]["dpo"]["runs"] == 2
    assert numbers["robustness"]["simper"]["runs"] == 1
    for row in numbers["robustness"].values():
        assert row["worst"] <= row["median"] <= row["best"]
        assert math.isclose(row["budget"][0], row["mean"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--compare", "dpo,dpo"), "share a folder"),
        (("--compare", "dpo,simpoo"), "simpo"),
        (("--compare", "dpo", "--grid", "temperature=1,2"), "no objective of the comparison has this option"),
        (("--compare", "dpo", "--judge", "nowhere"), "no such judge"),
        (("--compare", "dpo", "--grid", "beta"), "key=value,value"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_training(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    run = run_file(folder, "refused")
    assert cli("train", run, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "refused").exists()


def test_a_comparison_needs_held_out_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_file(folder, "bare", data=str(folder / "prefs.jsonl"))
    assert cli("train", run, "--compare", "dpo,simpo") == 2
    assert "data.eval.split=0.1" in capsys.readouterr().err
