"""The diffusion demo, small: every part runs, the page holds what it shows, the control is built right."""

import json
from pathlib import Path

import pytest

from assent.errors import InputError
from assent.likelihood.diffusion import LATENTS
from assent.recipes.diffusion_demo import MARK, Sizes, run_diffusion_demo, shuffled
from assent.recipes.digits.data import digits, ink, ink_pairs

SMALL = Sizes(base_steps=60, pairs=64, share=0.02, reward_steps=2, per_class=2)


def test_a_small_run_writes_a_report_with_every_model(tmp_path: Path) -> None:
    report = run_diffusion_demo(tmp_path / "demo", seed=1, sizes=SMALL)
    page = report.read_text()
    assert "What it costs: Diffusion-DPO" in page
    assert page.count('class="photographs"') == 2
    for name in ("base model", "Diffusion-DPO", "MaPO", "DPO, shuffled labels", "plain reward gradient", "D^2-Align"):
        assert name in page
    assert len(json.loads((tmp_path / "demo" / MARK).read_text())["results"]) == 6


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="did not write"):
        run_diffusion_demo(tmp_path, sizes=SMALL)


def test_pairs_prefer_ink_and_the_control_half_of_them() -> None:
    pairs = ink_pairs(digits(0), 400)

    def share(chosen: list) -> float:
        amounts = [[float(ink(c.media[LATENTS].unsqueeze(0))) for c in pair.candidates] for pair in chosen]
        return sum(first > second for first, second in amounts) / len(amounts)

    assert share(pairs) == 1.0
    assert 0.4 < share(shuffled(pairs, 0)) < 0.6
