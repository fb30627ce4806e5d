"""Recipes that make data and train on it, end to end on tiny models, by a scripted endpoint and by rules."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from assent.cli.main import main
from assent.comparison import Comparison, from_dict
from assent.generation.preference_orchestrator import Orchestrator
from assent.recipes.best_of_n import expected_best
from tests.faults.test_building_stopped import reply
from tests.scripted_endpoint import scripted
from tests.tiny import byte_tokenizer, tiny_lm

SETTINGS = """
training: {max_steps: 2, per_device_train_batch_size: 2, learning_rate: 1.0e-3, report_to: none, save_strategy: "no",
           disable_tqdm: true}
data: {max_length: 1024, truncate: prompt_left}
"""
NAMES = [
    "best_of_n",
    "codeultrafeedback",
    "constitution",
    "p_aligner",
    "preference_orchestrator",
    "raft",
    "rejection_sampling",
    "reward_augmented",
    "wildfeedback",
]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bed")
    tiny_lm(layers=1).save_pretrained(folder / "policy")
    byte_tokenizer(template="plain").save_pretrained(folder / "policy")
    (folder / "settings.yaml").write_text(SETTINGS)
    (folder / "prompts.txt").write_text("".join(f"tell me {'of {0} ' * at}rivers\n" for at in range(6)))
    (folder / "held_out.txt").write_text("name a hill\nname a lake\n")
    (folder / "planted_rules.py").write_text(
        "def vowels(prompt, answer):\n    return sum(answer.count(c) for c in 'aeiou') + len(answer) / 1000\n\n"
        "def lengths(comparison):\n    return [len(str(c.completion)) % 5 + 1 for c in comparison.candidates]\n"
    )
    return folder


@pytest.fixture(autouse=True)
def rules(bed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(bed)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["recipe", "run", *arguments])
    return int(stop.value.code or 0)


def rows(path: Path) -> list[Comparison]:
    return [from_dict(json.loads(line)) for line in path.read_text().splitlines()]


def training(bed: Path) -> list[str]:
    return ["--policy", str(bed / "policy"), "--settings", str(bed / "settings.yaml"), "--max-new-tokens", "8"]


def goes_on(output: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the recipe printed; the same command again must find every step done and change no file."""
    assert run(*arguments, "--output", str(output)) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    before = {file: file.stat().st_mtime_ns for file in output.glob("*.jsonl")}
    assert run(*arguments, "--output", str(output)) == 0
    again = capsys.readouterr().out
    assert "already" in again
    kept = {file: file.stat().st_mtime_ns for file in before}
    assert {file: kept[file] for file in kept if file.name not in ("rounds.jsonl", "train.jsonl", "test.jsonl")} == {
        file: before[file] for file in kept if file.name not in ("rounds.jsonl", "train.jsonl", "test.jsonl")
    }
    return printed


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_tells_the_story_and_runs_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--dry-run", "--output", "nowhere") == 0
    printed = capsys.readouterr().out
    assert f"assent recipe run {name}" in printed
    assert f"would run assent.recipes.{name}.main" in printed
    assert not Path("nowhere").exists()


def test_codeultrafeedback(bed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writers = ["--writers", "one", "two", f"local:{bed / 'policy'}", "--answers", "2", "--held-out", "0"]
    with scripted(reply) as server:
        judge = ["--model", "judge", "--endpoint", server.url]
        printed = goes_on(
            tmp_path / "out",
            capsys,
            *("codeultrafeedback", "--prompts", str(bed / "prompts.txt"), *writers, *judge, *training(bed)),
        )
    assert "independent of the place shown" in printed
    rated, train = rows(tmp_path / "out" / "rated.jsonl"), rows(tmp_path / "out" / "train.jsonl")
    assert {c.source for one in rated for c in one.candidates} == {"one", "two", f"local:{bed / 'policy'}"}
    assert 0 < len(train) <= len(rated) <= 6
    assert (tmp_path / "out" / "dpo" / "model" / "config.json").exists()


def test_codeultrafeedback_by_a_rule(bed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(reply) as server:
        asked = ["--endpoint", server.url, "--rule", "planted_rules:lengths", "--writers", "one", "two", "three"]
        arguments = ["codeultrafeedback", "--prompts", str(bed / "prompts.txt"), *asked, "--answers", "3"]
        assert run(*arguments, "--output", str(tmp_path)) == 0
    assert "fewer than two different ratings" in capsys.readouterr().out
    for one in rows(tmp_path / "pairs.jsonl"):
        assert one.annotator == "lengths"
        assert [c.score for c in one.candidates] == [len(str(c.completion)) % 5 + 1 for c in one.candidates]


def test_wildfeedback(bed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = ["What is rain?", "A very long answer.", "Too long!", "Water."]
    chats = [
        [{"role": ("user", "assistant")[i % 2], "content": text.replace("rain", f"rain {at}")}
         for i, text in enumerate(turns)]
        for at in range(4)
    ]  # fmt: skip
    (tmp_path / "logs.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    with scripted(reply) as server:
        asked = ["--logs", str(tmp_path / "logs.jsonl"), "--model", "annotator", "--endpoint", server.url]
        printed = goes_on(tmp_path / "out", capsys, "wildfeedback", *asked, *training(bed))
    assert "'conversations with a complaint': 4" in printed
    assert len(rows(tmp_path / "out" / "pairs.jsonl")) == 4
    assert (tmp_path / "out" / "dpo" / "model" / "config.json").exists()


def test_constitution(bed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(reply) as server:
        asked = ["--model", "scripted", "--endpoint", server.url, "--judge", f"local:{bed / 'policy'}"]
        goes_on(
            tmp_path / "out",
            capsys,
            *("constitution", "--prompts", str(bed / "prompts.txt"), *asked, *training(bed)),
        )
    preferred = rows(tmp_path / "out" / "preferred.jsonl")
    assert preferred
    assert all(0.5 < (one.confidence or 0) <= 1 for one in preferred)
    assert (tmp_path / "out" / "preferences" / "model" / "config.json").exists()


def test_p_aligner(bed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted(reply) as server:
        asked = ["--model", "scripted", "--endpoint", server.url, "--rule", "planted_rules:vowels"]
        asked += ["--iterations", "3", "--answers", "2", "--held-out", str(bed / "held_out.txt")]
        printed = goes_on(
            tmp_path / "out", capsys, *("p_aligner", "--prompts", str(bed / "prompts.txt"), *asked, *training(bed))
        )
    found = json.loads((tmp_path / "out" / "results.json").read_text())["mean_score"]
    assert set(found) == {"raw", "rewritten"}
    assert "mean score against the raw requests" in printed
    assert all("<<<" in str(one.candidates[0].completion) for one in rows(tmp_path / "out" / "rewritings.jsonl"))


def test_reward_augmented(bed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [
        {"prompt": f"q {at}", "chosen": f"good {at}", "rejected": f"bad {at}", "score_chosen": 9, "score_rejected": 2}
        for at in range(4)
    ]
    (tmp_path / "scored.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    asked = ["--data", str(tmp_path / "scored.jsonl"), "--prompts", str(bed / "held_out.txt")]
    asked += ["--rule", "planted_rules:vowels", "--goals", "2"]
    goes_on(tmp_path / "out", capsys, "reward_augmented", *asked, *training(bed))
    made = rows(tmp_path / "out" / "relabelled.jsonl")
    assert len(made) == 8
    assert {one.meta["goal"] for one in made} == {9.0, 2.0}
    assert set(json.loads((tmp_path / "out" / "results.json").read_text())["mean_score_by_goal"]) == {"1", "10"}
    assert "10" in (tmp_path / "out" / "goal.txt").read_text()


def test_raft(bed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [
        "--prompts",
        str(bed / "prompts.txt"),
        "--rule",
        "planted_rules:vowels",
        "--rounds",
        "2",
        "--samples",
        "3",
    ]
    goes_on(tmp_path / "out", capsys, "raft", *asked, *training(bed))
    rounds = [json.loads(line) for line in (tmp_path / "out" / "rounds.jsonl").read_text().splitlines()]
    assert [one["round"] for one in rounds] == [1, 2]
    assert all(one["mean_kept"] > one["mean"] for one in rounds)


def test_rejection_sampling(bed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [
        "--prompts",
        str(bed / "prompts.txt"),
        "--rule",
        "planted_rules:vowels",
        "--samples",
        "6",
        "--beta",
        ".002",
    ]
    goes_on(tmp_path / "out", capsys, "rejection_sampling", *asked, *training(bed))
    scored, accepted = (rows(tmp_path / "out" / f"{name}.jsonl") for name in ("scored", "accepted"))
    assert sum(len(one.candidates) for one in accepted) < sum(len(one.candidates) for one in scored)
    assert (tmp_path / "out" / "dpo" / "model" / "config.json").exists()


def test_best_of_n(bed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--prompts", str(bed / "prompts.txt"), "--rule", "planted_rules:vowels", "--samples", "4"]
    asked += ["--model", str(bed / "policy"), "--max-new-tokens", "8"]
    goes_on(tmp_path / "out", capsys, "best_of_n", *asked)
    curve = json.loads((tmp_path / "out" / "results.json").read_text())["best_of"]
    assert list(curve) == ["1", "2", "4"]
    assert curve["1"]["score"] < curve["2"]["score"] < curve["4"]["score"]
    assert curve["1"]["kl_at_most"] == 0


def test_the_best_of_a_subset_is_averaged_over_all_subsets() -> None:
    row = from_dict(
        {"prompt": "p", "candidates": [{"completion": str(at), "score": at} for at in (1.0, 2.0, 4.0, 8.0)]}
    )
    assert expected_best([row], 1) == pytest.approx(15 / 4)
    assert expected_best([row], 2) == pytest.approx((2 + 4 + 8 + 4 + 8 + 8) / 6)
    assert expected_best([row], 4) == 8
    assert expected_best([row], 5) is None


def test_preference_orchestrator(bed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(0)
    lines = []
    for at in range(200):
        topic = ("poem", "sum")[at % 2]
        answers = [{"style": draw.gauss(0, 1), "truth": draw.gauss(0, 1)} for _ in range(4)]
        wanted = {"poem": "style", "sum": "truth"}[topic]
        rows_of_it = [
            {"completion": f"answer {i}", "score": scores[wanted], "scores": scores}
            for i, scores in enumerate(answers)
        ]
        lines.append({"prompt": f"please write a {topic} number {at}", "candidates": rows_of_it})
    (tmp_path / "scored.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ["--data", str(tmp_path / "scored.jsonl")]
    goes_on(tmp_path / "out", capsys, "preference_orchestrator", *asked, *training(bed))
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["held_out"] < found["constant"]
    orchestrator = Orchestrator.load(tmp_path / "out" / "orchestrator")
    poem, total = orchestrator.weights(["please write a poem number 7", "please write a sum number 7"]).tolist()
    assert orchestrator.adapter.objectives == ("style", "truth")
    assert poem[0] > total[0]
    assert len(rows(tmp_path / "out" / "pairs.jsonl")) == 200
    (tmp_path / "scored.jsonl").write_text(json.dumps({"prompt": "p", "chosen": "a", "rejected": "b"}) + "\n")
    assert run("preference_orchestrator", *asked, "--output", str(tmp_path / "other")) == 2
    assert "two objectives" in capsys.readouterr().err
