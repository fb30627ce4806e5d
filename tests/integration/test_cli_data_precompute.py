"""`assent data precompute`: killed, started again, and shared by runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from assent.cli import data_precompute
from assent.comparison import to_dict
from assent.config import load_run
from assent.encoding import CausalEncoder
from assent.errors import InputError, RunError
from assent.likelihood.precompute import OpenReference, ReferenceSource, open_reference, precompute
from assent.likelihood.stored_reference import ReferenceStore
from assent.training import train
from tests.tiny import save_tiny_lm, tiny_comparisons


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("model"))


def write(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps(to_dict(one)) + "\n" for one in tiny_comparisons(count)))
    return path


def call(*arguments: object) -> dict[str, int]:
    app = typer.Typer()
    group = typer.Typer()
    data_precompute.register(group)
    group.command("other")(lambda: None)
    app.add_typer(group, name="data")
    result = CliRunner().invoke(
        app, ["data", "precompute", *map(str, arguments), "--json"], standalone_mode=False, catch_exceptions=False
    )
    return json.loads(result.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_a_second_call_and_another_run_file_score_nothing(model: Path, tmp_path: Path) -> None:
    data, store = write(tmp_path / "prefs.jsonl", 20), tmp_path / "store"
    first = call("--model", model, "--data", data, "--store", store)
    assert (first["found"], first["scored"]) == (0, 20)
    assert call("--model", model, "--data", data, "--store", store)["scored"] == 0
    run = tmp_path / "run.yaml"
    run.write_text(
        f"model: {model}\ndata: {data}\nobjective: {{dpo: {{beta: 0.3}}}}\nreference: {{store: {store}}}\n"
        f"training: {{output_dir: {tmp_path / 'elsewhere'}, learning_rate: 1.0e-3}}\n"
    )
    again = call(run)
    assert (again["found"], again["scored"]) == (20, 0)
    write(data, 22)
    assert call(run)["scored"] == 2
    assert call(run, "model.dtype=bfloat16")["scored"] == 22
    assert call(run, "data.max_length=60")["found"] > 0


@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_training_scores_nothing_of_what_was_precomputed(tmp_path: Path, objective: str) -> None:
    """Also where the weights are saved in 16 bits: full training loads them in 32, and so must the precompute."""
    model = save_tiny_lm(tmp_path / "half", dtype=torch.bfloat16, layers=1, hidden=16)
    data, store = write(tmp_path / "prefs.jsonl", 12), tmp_path / "store"
    run = tmp_path / "run.yaml"
    run.write_text(
        f"model: {model}\ndata: {{train: {data}, eval: {{split: 0.25}}}}\nobjective: {objective}\n"
        f"reference: {{store: {store}}}\ntraining: {{output_dir: {tmp_path / 'out'}, max_steps: 1, use_cpu: true}}\n"
    )
    # KTO's mismatched answers are drawn with the steps: one step of eight and the three records held out.
    assert call(run)["scored"] == {"dpo": 12, "kto": 11}[objective]
    train(load_run(run))
    facts = json.loads((tmp_path / "out" / "data.json").read_text())["reference"]
    assert facts["scored"] == 0


def test_what_cannot_be_precomputed_is_said(model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "prefs.jsonl", 2)
    with pytest.raises(InputError, match="needs a run file"):
        call("--data", data)
    run = tmp_path / "run.yaml"
    for reference, said in (
        ("none", "no reference"),
        ("{sync: {every: 2}}", "follows"),
        ("{store: none}", "no store"),
    ):
        run.write_text(f"model: {model}\ndata: {data}\nreference: {reference}\nobjective: dpo\n")
        with pytest.raises(InputError, match=said):
            call(run)
    run.write_text(f"model: {model}\ndata: {data}\nobjective: simpo\n")
    with pytest.raises(InputError, match="reads no reference"):
        call(run)


SCORE = """
import os, sys, time
from pathlib import Path
from tests.integration.test_cli_data_precompute import opened, score
def report(scored, wanted):
    print(scored, flush=True)
    if scored >= 20:
        time.sleep(60)
score(*opened(Path(sys.argv[1]), Path(sys.argv[2]), 60), Path(sys.argv[2]), report)
"""


def opened(model: Path, store: Path, count: int) -> tuple[OpenReference, list[object]]:
    reference = open_reference(ReferenceSource(str(model)), store)
    return reference, CausalEncoder(reference.tokenizer).encode_all(tiny_comparisons(count))[0]  # type: ignore[return-value]


def score(reference: OpenReference, encoded: list[object], store: Path, progress: object = None) -> int:
    report = progress or (lambda scored, wanted: None)
    return precompute(reference, encoded, store, budget=400, progress=report).scored  # type: ignore[arg-type]


def test_a_killed_precompute_goes_on_where_it_was(model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCORE, str(model), str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while int(process.stdout.readline()) < 20:
        pass
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    left = score(*opened(model, tmp_path, 60), tmp_path)
    assert 0 < left < 60
    assert score(*opened(model, tmp_path, 60), tmp_path) == 0


def test_a_changed_model_under_the_same_name_is_another_reference(model: Path, tmp_path: Path) -> None:
    folder, store = tmp_path / "model", tmp_path / "store"
    save_tiny_lm(folder, seed=1)
    assert score(*opened(folder, store, 10), store) == 10
    save_tiny_lm(folder, seed=2)
    assert score(*opened(folder, store, 10), store) == 10
    save_tiny_lm(folder, seed=1)
    assert score(*opened(folder, store, 10), store) == 0


def test_wrong_numbers_in_the_store_stop_the_precompute(model: Path, tmp_path: Path) -> None:
    reference, encoded = opened(model, tmp_path, 10)
    store = ReferenceStore(tmp_path, reference.identity)
    likelihoods = reference.policy(reference.policy.collate(encoded))  # type: ignore[arg-type]
    object.__setattr__(likelihoods, "tokens", likelihoods.tokens + 0.5)
    store.put(encoded, likelihoods)  # type: ignore[arg-type]
    store.arrays.close()
    with pytest.raises(RunError, match="not those of the reference"):
        score(reference, encoded, tmp_path)
