"""A run that estimates label noise says whom it trusts and which comparisons to look at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from assent.config import run_from
from assent.report.run import write_run_report
from assent.training import Given, train
from tests.tiny import save_tiny_lm, tiny_comparisons

ATTACK = "<script>alert(1)</script>"


def test_the_report_names_annotators_and_shows_suspicious_comparisons(tmp_path: Path) -> None:
    save_tiny_lm(tmp_path / "model", layers=1, hidden=16)
    comparisons = [
        replace(one, annotator="ann" if at % 2 else "bob", prompt=f"{one.prompt} {ATTACK}")
        for at, one in enumerate(tiny_comparisons(8))
    ]
    config = run_from(
        {
            "model": str(tmp_path / "model"),
            "objective": {"lcpo": {"base": {"dpo": {"beta": 0.5}}}},
            "reference": {"store": str(tmp_path / "store")},
            "training": {
                "output_dir": str(tmp_path / "out"),
                "max_steps": 2,
                "per_device_train_batch_size": 4,
                "learning_rate": 1e-2,
                "use_cpu": True,
            },
        }
    )
    train(config, given=Given(comparisons=comparisons))
    noise = json.loads((tmp_path / "out" / "label_noise.json").read_text())
    assert noise["labels"] == 8
    assert set(noise["reliability"]) == {"ann", "bob"}
    rows = [json.loads(line) for line in (tmp_path / "out" / "suspicious.jsonl").read_text().splitlines()]
    chances = [row["probability_right"] for row in rows]
    assert len(rows) == 8
    assert chances == sorted(chances)
    assert {row["id"] for row in rows} == {one.key for one in comparisons}
    page = write_run_report(tmp_path / "out").read_text()
    assert "Label noise" in page
    assert "bob" in page
    assert ATTACK not in page
