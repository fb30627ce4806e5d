"""A judge as a preference model on the command line: an endpoint that answers, one that does not, a local model."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from assent.cli.judge_models import AnsweringJudge, verdict_line
from assent.cli.main import main
from assent.comparison import Candidate, Comparison, from_dict, to_dict
from assent.errors import RunError
from assent.judging import Verdict
from assent.judging.scorers import JudgeScorer
from tests.fault_proxy import FaultProxy
from tests.tiny import save_tiny_lm

ANSWER = re.compile(r"<([AB])-([0-9a-f]{10})>\n(.*?)\n</\1-\2>", re.DOTALL)


def preferring_good(body: dict[str, Any]) -> str:
    shown = {match[1]: match[3] for match in ANSWER.finditer(body["messages"][0]["content"])}
    gap = shown["A"].count("good") - shown["B"].count("good")
    return json.dumps({"reasoning": "r", "verdict": "A" if gap > 0 else "B" if gap < 0 else "tie"})


def data(folder: Path, count: int = 8) -> Path:
    rows = [
        Comparison(f"question {n}", [Candidate("bad", score=0.0), Candidate("good " * (n + 1), score=1.0)])
        for n in range(count)
    ]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in rows))
    return path


def run(*words: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_an_endpoint_scores_and_is_measured_and_asked_once(tmp_path: Path, capsys: Any) -> None:
    pairs, journal = data(tmp_path), tmp_path / "answers.journal"
    with FaultProxy(preferring_good) as proxy:
        judge = ["--model", f"judge:{proxy.url}", "--judge-model", "stub", "--rubric", "helpful"]
        judge += ["--mode", "pairwise", "--journal", journal]
        assert run("score", pairs, tmp_path / "out.jsonl", *judge, "--name", "stub") == 0
        asked = sum(proxy.attempts.values())
        assert asked == 16
        assert "8 judged" in capsys.readouterr().err
        for line in (tmp_path / "out.jsonl").read_text().splitlines():
            bad, good = from_dict(json.loads(line)).candidates
            assert (bad.scores["stub"], good.scores["stub"]) == (0.0, 1.0)
        assert run("eval", "preference-model", pairs, *judge, "--json") == 0
        # The journal knows every answer already.
        assert sum(proxy.attempts.values()) == asked
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"]["strict"]["estimate"] == 1.0


def test_an_endpoint_that_does_not_answer_is_said_at_once(tmp_path: Path, capsys: Any) -> None:
    pairs = data(tmp_path)
    judge = ["--model", "judge:http://127.0.0.1:9/v1", "--judge-model", "stub"]
    assert run("score", pairs, tmp_path / "out.jsonl", *judge) == 1
    assert "cannot be reached" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
    assert run("eval", "preference-model", pairs, *judge) == 1
    assert run("score", pairs, tmp_path / "out.jsonl", "--model", "judge:http://127.0.0.1:9/v1") == 2
    assert "--judge-model" in capsys.readouterr().err
    assert run("score", pairs, tmp_path / "out.jsonl", "--model", f"judge:{tmp_path / 'nothing'}") == 2


class Silent:
    name, criterion = "silent", "helpful"

    def __init__(self, answered: int) -> None:
        self.answered = answered

    def judge(self, comparisons: Any) -> Any:
        for at in range(len(comparisons)):
            yield at, Verdict("judged", (1.0, 0.0)) if at < self.answered else Verdict("failed")


def test_a_judge_that_answers_nothing_stops_the_run_and_one_lost_answer_does_not() -> None:
    rows = [Comparison(f"q{n}", [Candidate("a"), Candidate("b")]) for n in range(3)]
    with pytest.raises(RunError, match="answered none of 3"):
        JudgeScorer(AnsweringJudge(Silent(0), "here")).score(rows)
    scorer = JudgeScorer(AnsweringJudge(Silent(1), "here"))
    first, second, _ = scorer.score(rows)
    assert first.rewards == (1.0, 0.0)
    assert second.rewards is not None
    assert math.isnan(second.rewards[0])
    assert verdict_line(scorer) == "judge: 1 judged, 2 failed"


def test_a_local_judge_scores(tmp_path: Path, capsys: Any) -> None:
    model = save_tiny_lm(tmp_path / "judge")
    pairs = data(tmp_path, 3)
    arguments = ["--model", f"judge:{model}", "--labels", "--mode", "pairwise"]
    assert run("score", pairs, tmp_path / "out.jsonl", *arguments, "--name", "local") == 0
    rows = [from_dict(json.loads(line)) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert all("local" in candidate.scores for row in rows for candidate in row.candidates)
    assert "judged" in capsys.readouterr().err
