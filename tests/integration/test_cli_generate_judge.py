"""`assent generate` and `assent judge` from end to end: local models, endpoints, rules, people, budgets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, to_dict
from tests.fault_proxy import FaultProxy
from tests.tiny import save_tiny_lm

ANSWER = re.compile(r"<([AB])-([0-9a-f]{10})>\n(.*?)\n</\1-\2>", re.DOTALL)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("model"))


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    lines: list[dict[str, Any]] = [{"prompt": f"question {index}"} for index in range(6)]
    lines.append({"messages": [{"role": "user", "content": "as messages"}]})
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def write(path: Path, comparisons: list[Comparison]) -> Path:
    path.write_text("".join(json.dumps(to_dict(one)) + "\n" for one in comparisons))
    return path


def answers(count: int) -> list[Comparison]:
    return [
        Comparison(f"question {index}", [Candidate("good " * (index % 3) + "x"), Candidate("good y")])
        for index in range(count)
    ]


def preferring_good(body: dict[str, Any]) -> str:
    shown = {match[1]: match[3] for match in ANSWER.finditer(body["messages"][0]["content"])}
    gap = shown["A"].count("good") - shown["B"].count("good")
    return json.dumps({"reasoning": "r", "verdict": "A" if gap > 0 else "B" if gap < 0 else "tie"})


def test_a_local_model_generates_and_resumes(
    tmp_path: Path, model: Path, prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    options = ["--model", model, "--samples", 3, "--max-new-tokens", 6, "--journal", tmp_path / "j"]
    assert run("generate", prompts, first, *options) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 7
    found = rows(first)
    assert [len(row["candidates"]) for row in found] == [3] * 7
    assert found[0]["prompt"] == "question 0"
    assert found[6]["prompt"] == [{"role": "user", "content": "as messages"}]
    assert run("generate", prompts, first, *options) == 2, "finished work is not written over"
    assert run("generate", prompts, second, *options) == 0
    assert first.read_text() == second.read_text()


def test_an_endpoint_generates_judges_and_stays_in_budget(
    tmp_path: Path, prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn, judged = tmp_path / "drawn.jsonl", tmp_path / "judged.jsonl"
    with FaultProxy(
        lambda body: "good " * body["choice"] + "answer", fault_share=0.2, faults=("server_error", "cut")
    ) as proxy:
        shared = ["--endpoint", proxy.url, "--model", "stub"]
        assert run("generate", prompts, drawn, *shared, "--samples", 2, "--dry-run") == 0
        assert json.loads(capsys.readouterr().out)["requests"] == 7
        assert not proxy.bodies
        assert run("generate", prompts, drawn, *shared, "--samples", 2) == 0
    capsys.readouterr()
    with FaultProxy(preferring_good) as proxy:
        shared = ["--judge", "endpoint", "--endpoint", proxy.url, "--model", "stub"]
        priced = ["--price-prompt", 1e6, "--price-completion", 1e6]
        assert run("judge", drawn, judged, *shared, *priced, "--budget", 3000) == 1
        message = capsys.readouterr().err
        assert "budget of 3000" in message
        assert 0 < len(proxy.bodies) < 14
        assert not judged.exists()
        assert len(rows(tmp_path / "judged.jsonl.partial")) > 0
        assert run("judge", drawn, judged, *shared) == 0
        assert len(proxy.bodies) == 14, "two orders for each of seven pairs, none twice"
    summary = json.loads(capsys.readouterr().out)
    assert (summary["judged"], summary["parse_failure_rate"], summary["order_consistency"]) == (7, 0, 1)
    for row in rows(judged):
        assert [candidate["score"] for candidate in row["candidates"]] == [0.0, 1.0]
        assert (row["annotator"], row["context"]) == ("stub", "helpful")


def test_local_models_judge_by_text_and_by_labels(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "data.jsonl", answers(3))
    options = ["--judge", "model", "--model", model, "--max-tokens", 8]
    assert run("judge", data, tmp_path / "text.jsonl", *options) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["unparsed"] == 3, "a random model writes nothing readable"
    assert all("score" not in c for row in rows(tmp_path / "text.jsonl")[:1] for c in row["candidates"])
    assert run("judge", data, tmp_path / "labels.jsonl", *options, "--labels") == 0
    assert json.loads(capsys.readouterr().out)["judged"] == 3
    for row in rows(tmp_path / "labels.jsonl"):
        assert row["candidates"][0]["score"] + row["candidates"][1]["score"] == pytest.approx(1)


def test_a_policy_judges_itself_by_log_ratio(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "data.jsonl", answers(3))
    other = save_tiny_lm(tmp_path / "other", seed=5)
    options = ["--judge", "scorer", "--model", other, "--reference", model, "--beta", 0.1]
    assert run("judge", data, tmp_path / "out.jsonl", *options) == 0
    assert json.loads(capsys.readouterr().out)["judged"] == 3
    assert len({c["score"] for row in rows(tmp_path / "out.jsonl") for c in row["candidates"]}) == 6


def test_rules_and_people_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path / "data.jsonl", answers(3))
    (tmp_path / "rules_of_mine.py").write_text("def goods(prompt, answer):\n    return answer.count('good')\n")
    monkeypatch.chdir(tmp_path)
    assert run("judge", data, tmp_path / "rule.jsonl", "--judge", "rule", "--rule", "rules_of_mine:goods") == 0
    assert [row["candidates"][0]["score"] for row in rows(tmp_path / "rule.jsonl")] == [0, 1, 2]
    form = tmp_path / "form.csv"
    options = ["--judge", "person", "--form", form, "--name", "ann"]
    assert run("judge", data, tmp_path / "person.jsonl", *options) == 0
    assert form.exists()
    assert run("judge", data, tmp_path / "person.jsonl", *options) == 0
    assert {row["meta"]["judgement"]["status"] for row in rows(tmp_path / "person.jsonl")} == {"waiting"}


def test_best_of_n_by_a_scorer(tmp_path: Path, model: Path, prompts: Path) -> None:
    options = ["--model", model, "--samples", 4, "--max-new-tokens", 6]
    assert run("generate", prompts, tmp_path / "x", *options, "--decode", "best_of_n") == 2
    assert run("generate", prompts, tmp_path / "x", *options, "--decode", "best_of_n", "--scorer", model) == 0
    for row in rows(tmp_path / "x"):
        scores = [candidate.get("score") for candidate in row["candidates"]]
        numbers = [score for score in scores if score is not None]
        assert scores[row["meta"]["decoding"]["chosen"]] == max(numbers)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"}', "prompt or messages"),
        ("{broken", "not JSON"),
        ('["list"]', "a row is an object"),
        ('{"messages": [{"role": "king", "content": "x"}]}', "unknown role"),
    ],
)
def test_mistakes_in_the_input_are_named(
    tmp_path: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "fine"}\n' + line + "\n")
    assert run("generate", path, tmp_path / "out.jsonl", "--model", "nowhere") == 2
    assert f"{path}:2" in capsys.readouterr().err.replace("\n", "")


def test_mistakes_in_the_options_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], prompts: Path) -> None:
    data = write(tmp_path / "data.jsonl", answers(1))
    out = tmp_path / "out.jsonl"
    for arguments, message in (
        (["--judge", "endpoint"], "needs --endpoint"),
        (["--judge", "rule", "--rule", "nowhere:f"], "cannot import"),
        (["--judge", "person"], "needs --form"),
        (["--judge", "scorer", "--model", "nowhere", "--labels"], "reads no labels"),
        (["--judge", "model", "--model", "nowhere", "--rubric", "helpfull"], "no rubric is called"),
        (["--judge", "model", "--model", "nowhere", "--mode", "checklist"], "no checklist"),
        (["--judge", "endpoint", "--endpoint", "ftp://x", "--model", "m"], "not an endpoint"),
        (["--judge", "endpoint", "--endpoint", "http://h/v1", "--model", "m", "--budget", "1"], "price"),
        (
            ["--judge", "endpoint", "--endpoint", "http://h/v1", "--model", "m", "--key-variable", "NO_KEY"],
            "NO_KEY is not set",
        ),
    ):
        assert run("judge", data, out, *arguments) == 2, arguments
        assert message in capsys.readouterr().err.replace("\n", " ")
    assert (
        run("generate", prompts, out, "--model", "m", "--budget", 1, *["--price-prompt", 1, "--price-completion", 1])
        == 2
    )
    assert "costs nothing" in capsys.readouterr().err


@pytest.mark.parametrize("how", [["--engine", "pool", "--workers", 2], ["--rank", "0/2"]])
def test_shards_give_the_same_as_one_process(tmp_path: Path, model: Path, prompts: Path, how: list[Any]) -> None:
    options = ["--model", model, "--samples", 2, "--max-new-tokens", 5]
    assert run("generate", prompts, tmp_path / "whole.jsonl", *options) == 0
    parts = tmp_path / "parts.jsonl"
    assert run("generate", prompts, parts, *options, *how, "--shard-size", 2) == 0
    if "--rank" in how:
        assert not parts.exists(), "the other rank's shards are missing"
        assert run("generate", prompts, parts, *options, "--rank", "1/2", "--shard-size", 2) == 0
    assert [row["candidates"] for row in rows(parts)] == [row["candidates"] for row in rows(tmp_path / "whole.jsonl")]
    assert not list(tmp_path.rglob("*.tmp*"))
    again = tmp_path / "again"
    parts.rename(again)
    assert run("generate", prompts, parts, *options, *how, "--shard-size", 3) == 2, "another cut is other work"


def test_ray_judges_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    data = write(tmp_path / "data.jsonl", answers(5))
    (tmp_path / "rules_for_ray.py").write_text("def goods(prompt, answer):\n    return answer.count('good')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = ["--judge", "rule", "--rule", "rules_for_ray:goods", "--engine", "ray", "--shard-size", 2]
    assert run("judge", data, tmp_path / "out.jsonl", *options) == 0
    assert [row["candidates"][0]["score"] for row in rows(tmp_path / "out.jsonl")] == [0, 1, 2, 0, 1]


def test_rows_of_other_formats_are_judged_and_bad_ones_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "pairs.jsonl"
    good = [{"prompt": f"q{index}", "chosen": "longer answer", "rejected": "short"} for index in range(30)]
    data.write_text("\n".join(map(json.dumps, [*good, {"prompt": "q", "chosen": 5, "rejected": "x"}])))
    (tmp_path / "rules_by_length.py").write_text("def length(prompt, answer):\n    return len(answer)\n")
    monkeypatch.chdir(tmp_path)
    options = ["--judge", "rule", "--rule", "rules_by_length:length"]
    assert run("judge", data, tmp_path / "o.jsonl", *options) == 2
    assert "pairs.jsonl:31" in capsys.readouterr().err.replace("\n", "")
    assert run("judge", data, tmp_path / "o.jsonl", *options, "--on-invalid", "quarantine") == 0
    assert "1 of 31 rows could not be read" in capsys.readouterr().err.replace("\n", " ")
    assert len(rows(tmp_path / "o.jsonl")) == 30


@pytest.mark.parametrize("how", [["--engine", "ray"], ["--engine", "pool"], ["--rank", "0/2"]])
def test_a_budget_is_never_split_over_processes(
    tmp_path: Path, prompts: Path, how: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultProxy() as proxy:
        server = ["--endpoint", proxy.url, "--model", "m"]
        for budget in (["--token-budget", "50"], ["--budget", "1", "--price-prompt", "1", "--price-completion", "1"]):
            assert run("generate", prompts, tmp_path / "out.jsonl", *server, *how, *budget) == 2
            assert "a budget is kept by one process" in " ".join(capsys.readouterr().err.split())
        assert not proxy.bodies, "nothing was sent"
