"""The benchmark's harness runs end to end on made-up pairs, so that it cannot rot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cases import TINY
from benchmarks.curve import measure_curve

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_tiny_case_writes_its_page_and_its_losses_agree(tmp_path: Path) -> None:
    arguments = [
        "tiny",
        "--steps",
        "2",
        "--without-trl",
        "--work",
        str(tmp_path / "w"),
        "--output",
        str(tmp_path / "o"),
    ]
    subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, check=True, timeout=300)
    result = json.loads((tmp_path / "o" / "benchmarks.json").read_text())["results"]["tiny"]
    stored, live, bare, padded = result["sides"]
    assert result["losses_agree"]
    assert stored["losses"] == pytest.approx(padded["losses"], rel=1e-4)
    assert stored["losses"][-1] < stored["losses"][0] == pytest.approx(0.6931, abs=1e-3)
    assert stored["reference_passes"] == bare["reference_passes"] == 0
    assert stored["read_tokens"] == bare["read_tokens"]
    assert live["reference_passes"] > 0
    assert stored["read_tokens"] <= stored["needed_tokens"] < padded["read_tokens"]
    assert "tokens read / needed" in (tmp_path / "o" / "benchmarks.md").read_text()


@pytest.mark.slow
def test_two_phases_and_one_agree_and_read_helpers_once(tmp_path: Path) -> None:
    arguments = ["tiny-coupled", "--steps", "2", "--warm", "1", "--without-trl"]
    arguments += ["--work", str(tmp_path), "--output", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, check=True, timeout=300)
    result = json.loads((tmp_path / "benchmarks.json").read_text())["results"]["tiny-coupled"]
    phases, apart, whole = result["sides"]
    assert result["losses_agree"]
    assert phases["losses"] == pytest.approx(whole["losses"], rel=1e-5)
    assert apart["losses"] == [None] * 3
    # The second phase reads the labelled answers again, but not the mismatched ones.
    assert apart["read_tokens"] == whole["read_tokens"]
    assert whole["head_rows"] < phases["head_rows"] < 2 * whole["head_rows"]


@pytest.mark.slow
def test_a_reward_model_goes_through_the_same_harness(tmp_path: Path) -> None:
    arguments = ["tiny-reward", "--steps", "1", "--without-trl", "--work", str(tmp_path), "--output", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, check=True, timeout=300)
    (side,) = json.loads((tmp_path / "benchmarks.json").read_text())["results"]["tiny-reward"]["sides"]
    assert all(0 < loss < 2 for loss in side["losses"])
    assert side["head_rows"] == 16


def test_the_curve_shows_what_sharing_and_tiling_keep() -> None:
    short, long = measure_curve(TINY, ((30, 2, 500), (30, 8, 500)))["records"]
    for record in (short, long):
        ours, plain = record["kept_mebibytes"]
        assert ours < plain
    assert long["kept_mebibytes"][0] < 8 / 2 * short["kept_mebibytes"][0]
