"""`assent recipe`: what is listed exists, and what is passed on arrives."""

import importlib
import sys
from pathlib import Path

import pytest

import assent.recipes
from assent.cli.main import main
from assent.recipes import RECIPES


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["recipe", *words])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def test_every_recipe_of_the_room_is_listed_with_a_story_and_a_main() -> None:
    files = {path.stem for path in Path(assent.recipes.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(RECIPES)
    for name, module in RECIPES.items():
        loaded = importlib.import_module(module)
        assert module == f"assent.recipes.{name}"
        assert callable(loaded.main)
        assert (loaded.__doc__ or "").strip()


def test_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert out.splitlines()[0].split()[0] == min(RECIPES)
    code, out, _ = run(capsys, "show", "demo", "--source")
    assert code == 0
    assert "def run_demo" in out


def test_an_unknown_recipe_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "show", "dmeo")
    assert code == 2
    assert "`demo`?" in err.replace("\n", " ")


def test_arguments_are_passed_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own_recipe.py").write_text('"""Own story."""\n\ndef main(arguments):\n    print("got", arguments)\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(RECIPES, "own", "own_recipe")
    assert run(capsys, "run", "own", "--width", "3")[1] == "got ['--width', '3']\n"
    code, out, _ = run(capsys, "run", "own", "--dry-run", "--width", "3")
    assert code == 0
    assert "would run own_recipe.main(['--width', '3'])" in out
    assert "got" not in out
    sys.modules.pop("own_recipe", None)


def test_wrong_options_of_a_recipe_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "run", "demo", "--nonsense")[0] == 2
