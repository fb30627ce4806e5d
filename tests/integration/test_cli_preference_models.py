"""Scoring, evaluating and routing from the command line, on tiny models made on the spot."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, from_dict, to_dict
from assent.preference_models.fit import FitOptions, train_preference_model
from tests.fault_proxy import FaultProxy
from tests.tiny import save_tiny_lm

GOOD, BAD = ["kind", "clear", "right", "helpful"], ["rude", "vague", "wrong", "useless"]


def records(count: int = 60, seed: int = 0) -> list[Comparison]:
    draw = random.Random(seed)
    rows = []
    for row in range(count):
        texts = [" ".join(draw.choices(words, k=draw.randint(2, 6))) for words in (GOOD, BAD)]
        candidates = [
            Candidate(text, score=float(1 - i), scores={"gold": float(1 - i)}) for i, text in enumerate(texts)
        ]
        draw.shuffle(candidates)
        rows.append(Comparison(f"question {row}?", candidates, group=f"g{row % 2}", annotator=f"a{row % 3}"))
    return rows


def write(path: Path, rows: list[Comparison]) -> Path:
    path.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "quality"
    spec = {"ensemble": {"members": 3}}
    features = {"encoder": "hashed_ngrams", "size": 8}
    trained = train_preference_model(records(), spec, features, FitOptions(epochs=10), output_dir=folder)
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    return folder


def run(*words: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def read(path: Path) -> list[Comparison]:
    return [from_dict(json.loads(line)) for line in path.read_text().splitlines()]


def test_scores_are_written_with_their_uncertainty(tmp_path: Path, model: Path) -> None:
    data, out = write(tmp_path / "data.jsonl", records(20, 1)), tmp_path / "out.jsonl"
    assert run("score", "--model", model, data, out) == 0
    rows = read(out)
    assert len(rows) == 20
    assert all({"quality", "quality/uncertainty", "gold"} <= set(c.scores) for row in rows for c in row.candidates)
    right = [max(row.candidates, key=lambda c: c.scores["quality"]).score == 1 for row in rows]
    assert sum(right) >= 18
    assert not list(tmp_path.glob("*.partial*"))
    assert run("score", "--model", model, data, out) == 2, "an output is never overwritten unasked"
    assert run("score", "--model", model, data, out, "--as-score", "--overwrite") == 0
    assert all(c.score == c.scores["quality"] for row in read(out) for c in row.candidates)


def test_scoring_goes_on_where_it_was_killed(tmp_path: Path, model: Path) -> None:
    data, out = write(tmp_path / "data.jsonl", records(40, 2)), tmp_path / "out.jsonl"
    whole = tmp_path / "whole.jsonl"
    command = [sys.executable, "-m", "assent", "score", "--model", str(model), str(data), str(out), "--chunk", "1"]
    process = subprocess.Popen(command, env={**os.environ, "ASSENT_DEBUG": "1"}, stderr=subprocess.PIPE)
    partial = tmp_path / "out.jsonl.partial"
    # Long, for a machine that does much else: it ends at the third line.
    deadline = time.monotonic() + 300
    while (not partial.exists() or partial.read_bytes().count(b"\n") < 3) and time.monotonic() < deadline:
        if process.poll() is not None:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[1].decode()
    if out.exists():
        pytest.skip("scored everything before it could be killed")
    assert partial.exists(), said
    with partial.open("ab") as file:
        file.write(b'{"prompt": "cut off in the mid')
    done = partial.read_bytes().count(b"\n")
    assert done >= 3
    assert run("score", "--model", model, data, out, "--name", "other") == 2, "another run's partial file is refused"
    assert run("score", "--model", model, data, out, "--chunk", "7") == 0
    assert run("score", "--model", model, data, whole) == 0
    for one, other in zip(read(out), read(whole), strict=True):
        for first, second in zip(one.candidates, other.candidates, strict=True):
            assert first.scores == pytest.approx(second.scores, abs=1e-5)


def test_evaluation_on_comparisons(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "data.jsonl", records(60, 3))
    out, html = tmp_path / "numbers.json", tmp_path / "report.html"
    words = ["eval", "preference-model", data, "--model", model, "--out", out, "--html", html, "--gold", "gold"]
    assert run(*words) == 0
    assert "calibration" in capsys.readouterr().out
    numbers = json.loads(out.read_text())
    assert numbers["accuracy"]["strict"]["estimate"] > 0.9
    assert set(numbers["by_group"]) == {"g0", "g1"}
    assert set(numbers["by_annotator"]) == {"a0", "a1", "a2"}
    assert numbers["transitivity"]["disagreement"] == pytest.approx(0, abs=1e-5)
    assert numbers["best_of_n"][0]["kl"] == 0
    assert numbers["agreement"]["cohen_kappa_with_judge"] > 0.8
    assert "data:image" in html.read_text()


@pytest.mark.parametrize("benchmark", ["rewardbench", "rewardbench2", "rm-bench", "rag-rewardbench"])
def test_benchmarks_from_local_files(
    tmp_path: Path, model: Path, benchmark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = "kind clear right", "rude vague wrong"
    rows: dict[str, Any] = {
        "rewardbench": {"prompt": "p", "chosen": good, "rejected": bad, "subset": "donotanswer"},
        "rewardbench2": {"id": "1", "prompt": "p", "chosen": [good], "rejected": [bad] * 3, "subset": "Math"},
        "rm-bench": {"prompt": "p", "chosen": [good] * 3, "rejected": [bad] * 3, "domain": "chat"},
        "rag-rewardbench": {
            "prompt": "[1] passage",
            "question": "q",
            "chosen": good,
            "reject": bad,
            "subset": "abstain",
        },
    }
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(rows[benchmark]))
    assert run("eval", "preference-model", path, "--model", model, "--benchmark", benchmark, "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    headline = {"rewardbench": "average", "rag-rewardbench": "macro"}.get(benchmark, "overall")
    assert numbers[headline] == 1


def test_mistakes_end_in_a_sentence(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "data.jsonl", records(4))
    for words in (
        ["score", "--model", tmp_path / "nowhere", data, tmp_path / "o"],
        ["score", "--model", model, tmp_path / "nothing.jsonl", tmp_path / "o"],
        ["score", "--model", tmp_path, data, tmp_path / "o"],
        ["eval", "preference-model", data, "--model", model, "--benchmark", "glue"],
        ["eval", "preference-model", data, "--model", model, "--benchmark", "rewardbench"],
    ):
        assert run(*words) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert said.startswith("error:")


def test_routing_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(0)
    rows = []
    for row in records(60, 5):
        wrong = draw.random() < 0.4
        candidates = [
            Candidate(c.completion, score=c.score, scores={"human": c.score, "machine": abs((c.score or 0) - wrong)})
            for c in row.candidates
        ]
        rows.append(Comparison(row.prompt, candidates, meta={"tags": ["hard" if wrong else "easy"]}))
    data, test = write(tmp_path / "data.jsonl", rows), write(tmp_path / "test.jsonl", records(20, 6))
    out, report = tmp_path / "routed.jsonl", tmp_path / "report.json"
    words = ["build", "route", data, out, "--test", test, "--mixes", 20, "--size", 8, "--report", report]
    assert run(*words) == 0
    routed = [row for row in read(out) if row.meta["routed"] == "people"]
    assert len(routed) == 15
    assert len(json.loads(report.read_text())["gains"]) == 60
    assert json.loads(capsys.readouterr().out)["to_judge"] == 0


def test_routing_asks_models_about_prompts_and_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(0)
    rows = []
    for number, row in enumerate(records(40, 5)):
        wrong = draw.random() < 0.4
        candidates = [
            Candidate(c.completion, score=c.score, scores={"human": c.score, "machine": abs((c.score or 0) - wrong)})
            for c in row.candidates
        ]
        rows.append(Comparison(f"{'hard' if wrong else 'easy'} question {number}", candidates))
    data, test = write(tmp_path / "data.jsonl", rows), write(tmp_path / "test.jsonl", records(20, 6))
    encoder = save_tiny_lm(tmp_path / "encoder")

    def answer(body: dict[str, Any]) -> str:
        hard = "hard question" in body["messages"][0]["content"]
        return json.dumps(
            {"subjects": ["physics" if hard else "sports"], "complexity": "complex" if hard else "simple"}
        )

    words = ["build", "route", data, tmp_path / "out.jsonl", "--test", test, "--mixes", 20, "--size", 8]
    words += ["--similarity", encoder, "--report", tmp_path / "report.json"]
    assert run(*words, "--endpoint", "http://localhost:1/v1") == 2
    capsys.readouterr()
    with FaultProxy(answer) as proxy:
        assert run(*words, "--tagger", "stub", "--endpoint", proxy.url) == 0
    assert "40 prompts tagged, 0 without" in capsys.readouterr().err
    features = json.loads((tmp_path / "report.json").read_text())["features"]
    assert {"tag: subject: physics", "tag: complexity: simple"} <= set(features)
    assert any(name.startswith(("BERTScore", "cosine")) for name in features)
    assert all(row.meta["tags"] for row in read(tmp_path / "out.jsonl"))


def test_a_run_file_trains_on_frozen_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "data.jsonl", records(40))
    run_file = tmp_path / "run.yaml"
    run_file.write_text(
        f"preference_model: {{bradley_terry: {{center_rewards_coefficient: 0.01}}}}\n"
        f"features: {{encoder: hashed_ngrams, size: 8}}\n"
        f"data: {{train: {data}, eval: {{split: 0.2}}}}\n"
        f"training: {{output_dir: {tmp_path / 'out'}, num_train_epochs: 30, learning_rate: 0.03}}\n"
    )
    assert run("train", run_file) == 0
    metrics = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["eval_accuracy"] >= 0.75
    out = tmp_path / "scored.jsonl"
    assert run("score", "--model", tmp_path / "out" / "model", data, out) == 0
    assert len(read(out)) == 40
    assert run("train", run_file) == 2, "a run folder is never written over"
    capsys.readouterr()
    assert run("train", run_file, f"training.output_dir={tmp_path / 'x'}", "preference_model.gpm.temperatur=1") == 2


def test_a_run_file_trains_on_a_backbone(tmp_path: Path) -> None:
    from tests.tiny import byte_tokenizer, save_tiny_lm

    base = save_tiny_lm(tmp_path / "base", tokenizer=byte_tokenizer())
    data = write(tmp_path / "data.jsonl", records(16))
    run_file = tmp_path / "run.yaml"
    run_file.write_text(
        f"model: {base}\npreference_model: bradley_terry\ndata: {data}\n"
        f"training: {{output_dir: {tmp_path / 'out'}, max_steps: 3, use_cpu: true, learning_rate: 0.001}}\n"
    )
    assert run("train", run_file) == 0
    assert (tmp_path / "out" / "model" / "config.json").exists()
    numbers = tmp_path / "numbers.json"
    words = ["eval", "preference-model", data, "--model", tmp_path / "out" / "model", "--out", numbers]
    assert run(*words) == 0
    assert json.loads(numbers.read_text())["accuracy"]["pairs"] == 16


def test_the_alignment_gap_of_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.tiny import byte_tokenizer, save_tiny_lm

    policy = save_tiny_lm(tmp_path / "policy", seed=1, tokenizer=byte_tokenizer())
    reference = save_tiny_lm(tmp_path / "reference", seed=2, tokenizer=byte_tokenizer())
    data, rows = write(tmp_path / "data.jsonl", records(12)), tmp_path / "rows.jsonl"
    words = ["eval", "alignment-gap", data, "--model", policy, "--reference", reference, "--json"]
    assert run(*words) == 2
    assert "--votes" in capsys.readouterr().err
    assert run(*words, "--votes", 0.75, "--rows", rows) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert 0 <= numbers["ranking"] <= 1
    assert sum(numbers["pairs_by_difficulty"].values()) == 12
    assert len(rows.read_text().splitlines()) == 12
    # As beta goes to infinity the idealised ranking is the reference's own.
    hard = [json.loads(line)["difficulty"] for line in rows.read_text().splitlines()]
    assert numbers["reference_ranking"] == pytest.approx(sum(d <= 0 for d in hard) / 12)
