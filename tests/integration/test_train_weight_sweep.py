"""`assent train --sweep-weights`: a run for each user weight, the record of conflict, and the front."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from assent.cli.main import main
from assent.comparison import to_dict
from tests.tiny import save_tiny_lm, tiny_comparisons


def cli(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def test_weights_are_swept_and_the_front_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tiny_lm(tmp_path / "model", layers=1, hidden=16)
    rows = []
    for one in tiny_comparisons(12):
        better, worse = one.candidates
        scored = (
            replace(better, scores={"long": 1.0, "short": 0.0}),
            replace(worse, scores={"long": 0.0, "short": 1.0}),
        )
        rows.append(json.dumps(to_dict(replace(one, candidates=scored))))
    (tmp_path / "prefs.jsonl").write_text("\n".join(rows))
    values = {
        "model": str(tmp_path / "model"),
        "data": {"train": str(tmp_path / "prefs.jsonl"), "eval": {"split": 0.4}},
        "objective": {"raco": {"dimensions": ["long", "short"]}},
        "gradients": {"raco": {"radius": 0.4}},
        "reference": {"store": str(tmp_path / "store")},
        "training": {
            "output_dir": str(tmp_path / "out"),
            "max_steps": 3,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-2,
            "logging_steps": 3,
            "use_cpu": True,
        },
    }
    run = tmp_path / "run.yaml"
    run.write_text(yaml.safe_dump(values))
    for wrong in ("long,short", "long:3", "long,shrt:2"):
        assert cli("train", run, "--sweep-weights", wrong) == 2
        assert "sweep" in capsys.readouterr().err
    assert cli("train", run, "--sweep-weights", "long,short:2", "--prompts", 2, "--max-new-tokens", 4) == 0
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {tuple(run["weights"].values()) for run in numbers["runs"].values()} == {(0.0, 1.0), (1.0, 0.0)}
    assert any(run["on_front"] for run in numbers["runs"].values())
    assert numbers["hypervolume"] > 0
    for found in numbers["runs"].values():
        # Opposite wishes: what ranks one right ranks the other wrong, and the gradients point apart.
        assert sum(found["scores"].values()) == pytest.approx(1)
        assert found["conflict"]["gradients/cosine/long/short"] < 0
        assert found["conflict"]["gradients/opposed/long/short"] == 1
    for name in numbers["runs"]:
        # Every step has its record, whatever is logged.
        lines = (tmp_path / "out" / name / "gradients.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
        assert all("gradients/coefficient/long" in json.loads(line) for line in lines)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "Conflict" in page
    assert "Hypervolume" in page
