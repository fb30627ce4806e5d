"""One round of Selfie and OSP from the command line, on tiny models; a second run draws and judges nothing again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assent.cli.main import main
from assent.comparison import Comparison, from_dict
from assent.generation import LocalGenerator
from assent.judging.local_labels import LocalLabels
from tests.tiny import byte_tokenizer, tiny_lm

RUBRIC = "name: first\ntitle: first letter\nsource: planted\ncriterion: it begins earlier in the alphabet\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("initial", "last")):
        tiny_lm(layers=1, seed=seed).save_pretrained(folder / name)
        byte_tokenizer().save_pretrained(folder / name)
    (folder / "prompts.txt").write_text("".join(f"prompt {at}\n" for at in range(12)))
    (folder / "rubric.yaml").write_text(RUBRIC)
    return folder / "initial", folder / "last"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["build", *arguments])
    return int(stop.value.code or 0)


def rows(path: Path) -> list[Comparison]:
    return [from_dict(json.loads(line)) for line in path.read_text().splitlines()]


def account_of(printed: str) -> dict[str, Any]:
    """The last JSON object that was printed."""
    return dict(json.loads(printed[printed.rindex("\n{") :]))


def again_without_work(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str) -> list[Comparison]:
    """The rows of a command; the same command after its output is gone must neither draw nor judge."""
    assert run(*arguments) == 0
    made = rows(out)
    out.unlink()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("work was done twice")

    monkeypatch.setattr(LocalGenerator, "stream", never)
    monkeypatch.setattr(LocalLabels, "read", never)
    monkeypatch.setattr("assent.judging.scorers.ScorerJudge.judge", never)
    assert run(*arguments) == 0
    assert rows(out) == made
    return made


@pytest.mark.parametrize("per_token", [False, True])
def test_selfie(
    models: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    per_token: bool,
) -> None:
    initial, last = models
    out = tmp_path / "pairs.jsonl"
    options = ["--model", str(last), "--initial", str(initial), "--samples", "3", "--max-new-tokens", "6"]
    options += ["--round", "2", *(["--per-token"] if per_token else [])]
    made = again_without_work(monkeypatch, out, "selfie", str(initial.parent / "prompts.txt"), str(out), *options)
    assert len(made) == 12
    assert all((one.candidates[0].score or 0) > (one.candidates[1].score or 0) for one in made)
    account = account_of(capsys.readouterr().out)
    assert account["train_with"]["selfie"]["extrapolation"] == 0.25
    assert account["mean_margin"] > 0


def test_a_model_that_has_learnt_nothing_labels_nothing(
    models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    initial, _ = models
    options = ["--model", str(initial), "--initial", str(initial), "--max-new-tokens", "6"]
    assert run("selfie", str(initial.parent / "prompts.txt"), str(tmp_path / "o.jsonl"), *options) == 2
    assert "all scores equal: 12" in " ".join(capsys.readouterr().err.split())


def test_selfie_needs_probabilities_of_given_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "m", "--initial", "i", "--endpoint", "http://127.0.0.1:9/v1"]
    assert run("selfie", "none.txt", str(tmp_path / "o.jsonl"), *options) == 2
    assert "endpoint" in capsys.readouterr().err


@pytest.mark.parametrize("direct", [False, True])
def test_osp(
    models: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    direct: bool,
) -> None:
    initial, last = models
    out, known = tmp_path / "pairs.jsonl", tmp_path / "known.jsonl"
    known.write_text(json.dumps({"prompt": "p", "chosen": "apple", "rejected": "zebra"}) + "\n")
    options = ["--model", str(last), "--initial", str(initial), "--samples", "3", "--max-new-tokens", "6"]
    options += ["--rubric", str(initial.parent / "rubric.yaml"), "--labelled", str(known)]
    made = again_without_work(
        monkeypatch,
        out,
        *("osp", str(initial.parent / "prompts.txt"), str(out)),
        *([*options, "--direct"] if direct else options),
    )
    assert 12 <= len(made) <= 36
    assert all(0.5 < (one.confidence or 0) < 1 for one in made)
    account = account_of(capsys.readouterr().out)
    assert account["judge"]["judged"] == 1


@pytest.mark.parametrize("name", ["selfie", "osp"])
def test_an_interrupted_round_goes_on_to_the_same_pairs(
    models: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    initial, last = models
    out, whole = tmp_path / "pairs.jsonl", tmp_path / "whole.jsonl"
    options = ["--model", str(last), "--initial", str(initial), "--samples", "3", "--max-new-tokens", "6"]
    command = [name, str(initial.parent / "prompts.txt")]
    assert run(*command, str(whole), *options) == 0
    stream = LocalGenerator.stream
    drawn = 0

    def stops(self: LocalGenerator, *arguments: Any) -> Any:
        nonlocal drawn
        for item in stream(self, *arguments):
            drawn += 1
            if drawn == 6:
                raise KeyboardInterrupt
            yield item

    with monkeypatch.context() as patched:
        patched.setattr(LocalGenerator, "stream", stops)
        assert run(*command, str(out), *options) == 130
    assert "the same command goes on" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    assert run(*command, str(out), *options) == 0
    assert rows(out) == rows(whole)
