"""Pairs and demonstrations from scores, and records that repeat each other or a test set."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from assent.building.best_worst import best_and_random, best_only, best_worst, rejection_sample
from assent.building.decontaminate import decontaminate, deduplicate
from assent.cli.main import main
from assent.comparison import Candidate, Comparison, to_dict
from assent.errors import InputError


def scored(*scores: float | None, prompt: str = "Q?") -> Comparison:
    return Comparison(prompt, [Candidate(f"answer {at}", score=score) for at, score in enumerate(scores)])


def texts(comparison: Comparison) -> list[object]:
    return [candidate.completion for candidate in comparison.candidates]


def test_best_against_worst_ignores_the_unjudged_and_counts_what_is_left_out() -> None:
    built = best_worst([scored(0.2, None, 0.9, -1.0), scored(1, 1), scored(1, None), scored(0.5, 0.45)], 0.1)
    assert [texts(one) for one in built.comparisons] == [["answer 2", "answer 3"]]
    assert [c.score for c in built.comparisons[0].candidates] == [0.9, -1.0]
    assert built.left_out == {"all scores equal": 1, "fewer than two scored answers": 1, "gap small": 1}


def test_equal_answers_make_no_pair() -> None:
    twice = Comparison("Q?", [Candidate("same", score=1), Candidate("same", score=0)])
    assert best_worst([twice]).left_out == {"fewer than two scored answers": 1}


def test_a_random_loser_is_any_worse_answer() -> None:
    losers = Counter(
        texts(best_and_random([scored(3, 1, 2, 0, prompt=f"Q{at}")]).comparisons[0])[1] for at in range(300)
    )
    assert set(losers) == {"answer 1", "answer 2", "answer 3"}
    assert min(losers.values()) > 70


def test_raft_keeps_the_best_of_each_or_of_the_batch() -> None:
    rows = [scored(0.1, 0.3), scored(0.9, 0.2), scored(0.5, 0.4), scored(None, None)]
    assert [texts(one)[0] for one in best_only(rows).comparisons] == ["answer 1", "answer 0", "answer 0"]
    top = best_only(rows, share=1 / 3)
    assert [one.meta["parent"] for one in top.comparisons] == [rows[1].key]
    assert top.left_out == {"best answer outside the share": 2, "no scored answer": 1}
    assert len(best_only(rows, threshold=0.5).comparisons) == 2


def test_rejection_sampling_accepts_with_the_stated_probability() -> None:
    rows = [scored(1.0, 0.5, prompt=f"Q{at}") for at in range(4000)]
    built = rejection_sample(rows, beta=0.5)
    second = sum(len(one.candidates) == 2 for one in built.comparisons) / len(rows)
    assert second == pytest.approx(math.exp(-1), abs=0.03)
    assert all("answer 0" in texts(one) for one in built.comparisons)
    assert built.left_out == {"answers rejected": 8000 - sum(len(one.candidates) for one in built.comparisons)}
    with pytest.raises(InputError, match="temperature"):
        rejection_sample(rows, beta=0)


LONG = "Explain to a curious child why the sky over the sea looks so blue on a bright summer morning"


def test_near_duplicates_go_and_different_answers_can_keep_them() -> None:
    rows = [scored(1, 0, prompt=LONG), scored(1, 0, prompt=LONG + "!"), scored(1, 0, prompt="Name three rivers")]
    assert [one.prompt for one in deduplicate(rows).comparisons] == [LONG, "Name three rivers"]
    other = Comparison(LONG, [Candidate("It scatters light " * 30, score=1)])
    assert len(deduplicate([rows[0], other], answers=True).comparisons) == 2
    assert deduplicate([rows[0], other]).left_out == {"near duplicates": 1}


def test_a_test_question_inside_a_longer_prompt_is_found() -> None:
    rows = [
        scored(
            1, prompt=f"You are a kind teacher of physics. Please do the following task with care: {LONG}. Thanks!"
        ),
        scored(1, prompt="Explain to a curious child why the grass is green"),
        scored(1, prompt="Hi"),
        scored(1, prompt="Hi there, how are you today my friend"),
    ]
    built = decontaminate(rows, [LONG, "Hi"])
    assert [one.prompt for one in built.comparisons] == [rows[1].prompt, rows[3].prompt]
    assert built.left_out == {"hold a test question": 2}


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        ("best-worst", [], 2),
        ("best-worst", ["--random-loser"], 2),
        ("raft", ["--share", "0.5"], 2),
        ("rejection-sample", ["--beta", "0.5"], 3),
        ("binarize", [], 2),
        ("relabel", ["--low", "0", "--high", "1"], 4),
        ("constraints", ["--kind", "intra"], 6),
        ("deduplicate", ["--answers"], 3),
    ],
)
def test_every_builder_runs_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, options: list[str], expected: int
) -> None:
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [scored(0.1, 0.9, prompt="Name a river"), scored(1, 0, prompt="Name a hill"), scored(0.5, 0.5)]
    data.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in rows))
    assert run("build", command, str(data), str(out), *options) == 0
    account = json.loads(capsys.readouterr().out)
    assert account["read"] == 3
    assert account["written"] == expected == len(out.read_text().splitlines())
    assert run("build", command, str(data), str(out), *options) == 2


def test_nothing_made_is_an_error_with_the_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    data.write_text(json.dumps(to_dict(scored(0.5, 0.5))) + "\n")
    assert run("build", "best-worst", str(data), str(out)) == 2
    assert "all scores equal: 1" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_decontaminate_reads_several_test_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    data.write_text("".join(json.dumps(to_dict(scored(1, 0, prompt=one))) + "\n" for one in (LONG, "Name a hill")))
    (tmp_path / "one.txt").write_text(LONG + "\n")
    (tmp_path / "two.jsonl").write_text(json.dumps({"question": "What is a hill called that smokes?"}) + "\n")
    tests = ["--against", str(tmp_path / "one.txt"), "--against", str(tmp_path / "two.jsonl")]
    assert run("build", "decontaminate", str(data), str(out), *tests) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == {"hold a test question": 1}
