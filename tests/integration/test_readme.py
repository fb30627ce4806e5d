"""The examples of README.md and CONTRIBUTING.md run, with a tiny model in place of the hub's."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import yaml

from assent.config import load_run
from assent.objectives import build_objective
from assent.readers import write_jsonl
from tests.tiny import save_tiny_lm, tiny_comparisons

ROOT = Path(__file__).parents[2]
HUB_MODEL = "Qwen/Qwen2.5-0.5B-Instruct"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and preferences, as the pages assume them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSENT_CACHE", str(tmp_path / "cache"))
    save_tiny_lm(tmp_path / "model")
    write_jsonl(tiny_comparisons(8), tmp_path / "prefs.jsonl")
    return tmp_path


@pytest.mark.parametrize("index", range(2))
def test_the_readme_s_python_runs(here: Path, index: int) -> None:
    code = blocks("README.md", "python")[index].replace(HUB_MODEL, str(here / "model"))
    exec(compile(code, "README.md", "exec"), {})
    assert (here / "out").is_dir()


def test_there_are_no_other_blocks() -> None:
    assert len(blocks("README.md", "python")) == 2
    assert len(blocks("README.md", "yaml")) == 1


def test_the_readme_s_run_file_is_valid(here: Path) -> None:
    (run,) = blocks("README.md", "yaml")
    (here / "run.yaml").write_text(run)
    config = load_run(here / "run.yaml", ["objective.dpo.beta=0.05"])
    assert config.model.path == HUB_MODEL
    assert config.objective == {"dpo": {"beta": 0.05}}
    assert yaml.safe_load(run)["training"]["output_dir"] == "out"


def test_the_contributor_s_objective_trains(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assent.training import align

    (code,) = blocks("CONTRIBUTING.md", "python")
    (here / "contributed_losses.py").write_text(code)
    monkeypatch.syspath_prepend(here)
    importlib.invalidate_caches()
    name = "contributed_losses:MyMethod"
    assert build_objective({name: {"beta": 0.2}}).beta == 0.2
    result = align(
        str(here / "model"), "prefs.jsonl", {name: {}}, "out", training={"max_steps": 1, "logging_steps": 1}
    )
    # -log sigmoid(-shift) where policy and reference are equal.
    assert result.metrics["loss"] == pytest.approx(0.974077, abs=1e-4)
    sys.modules.pop("contributed_losses", None)


def test_every_page_that_is_linked_exists() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert (ROOT / link).is_file(), f"{page} links to {link}"


def test_the_readme_says_what_the_command_line_has() -> None:
    from assent.cli.main import VERBS
    from assent.objectives import objective_classes

    text = (ROOT / "README.md").read_text()
    assert f"{len(objective_classes())} objectives" in text
    named = set(re.findall(r"(?:`|^)assent ([a-z]+)", text, re.MULTILINE))
    assert len(named) > 8
    for verb in named:
        assert verb in VERBS
        assert (ROOT / "src" / "assent" / "cli" / f"{verb}.py").is_file()
