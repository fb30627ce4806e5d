"""Damaged pictures in the middle of a training set: named before any weight is loaded, or left out and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assent.config import run_from
from assent.errors import InputError
from assent.training.run import train
from tests.tiny_diffusion import picture, png


def damaged_set(folder: Path) -> Path:
    """Eight pairs; the fourth has a picture that is cut short, the sixth one that is none."""
    rows = []
    for number in range(8):
        names = [f"{number}-{side}.png" for side in "ab"]
        for side, name in enumerate(names):
            content = png(picture(2 * number + side, 8))
            (folder / name).write_bytes(content[:-60] if (number, side) == (3, 1) else content)
        rows.append({"caption": "1", "chosen": names[0], "rejected": names[1]})
    (folder / "5-a.png").write_bytes(b"<html>not found</html>")
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def values(folder: Path, **data: Any) -> dict[str, Any]:
    return {
        "model": str(folder / "no-weights"),
        "data": {"train": str(damaged_set(folder)), **data},
        "objective": "diffusion_dpo",
        "diffusion": {},
        "training": {"output_dir": str(folder / "out"), "use_cpu": True, "max_steps": 1},
    }


def test_a_damaged_picture_is_named_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a readable image") as raised:
        train(run_from(values(tmp_path)), dry_run=True)
    assert raised.value.where is not None
    assert not (tmp_path / "out").exists()


def test_under_quarantine_damaged_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    said: list[str] = []
    config = run_from(values(tmp_path, on_invalid="quarantine"))
    result = train(config, dry_run=True, on_event=lambda event: said.append(str(event.get("text"))))
    assert result.plan is not None
    assert result.plan.comparisons == 6
    assert any("2 of 8 records left out" in text and "not a readable image" in text for text in said)
