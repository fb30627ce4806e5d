"""Candidate sets that stand for different values, and the report of what they offer and whom they serve."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from assent.cli.main import main
from assent.comparison import Candidate, Comparison, Prompt, to_dict
from assent.errors import InputError
from assent.evaluation.plural_report import REST, PluralOptions, coverage_compared, plural_report
from assent.generation import Sample, Sampling
from assent.generation.varied import Varied, alike, asking, parsed
from tests.fault_proxy import FaultProxy

TAG = re.compile(r"<reply-(\w+)>")
ANSWERS = ("keep the old ways", "ask what science says", "look for safety first", "say who you are")


def reply(text: str, answers: Sequence[str]) -> str:
    found = TAG.search(text)
    assert found
    return "\n".join(f"<reply-{found[1]}>\n{one}\n</reply-{found[1]}>" for one in answers)


class Scripted:
    """Answers the n-th request of a prompt by the n-th script."""

    name = "scripted"

    def __init__(self, *scripts: Sequence[str]) -> None:
        self.scripts, self.asked = scripts, list[tuple[str, Sampling]]()

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        turn = len({one.seed for _, one in self.asked} - {sampling.seed})
        for index in reversed(range(len(prompts))):
            self.asked.append((str(prompts[index]), sampling))
            yield index, [Sample(reply(str(prompts[index]), self.scripts[turn]))]


def test_a_set_is_written_at_once_and_shuffled_the_same_way() -> None:
    first, again = ({}, {})
    for found in (first, again):
        generator = Scripted(ANSWERS)
        for index, one in Varied(generator).decode(["a", "b", "c"], Sampling(4, 100)):
            found[index] = [str(candidate.completion) for candidate in one.candidates]
        assert {(sampling.samples, sampling.max_new_tokens) for _, sampling in generator.asked} == {(1, 400)}
    assert first == again
    assert all(sorted(answers) == sorted(ANSWERS) for answers in first.values())
    assert len({tuple(answers) for answers in first.values()}) > 1, "the order differs between prompts"


def test_sets_that_are_not_whole_are_asked_for_again() -> None:
    generator = Scripted(ANSWERS[:3], [*ANSWERS[:3], "Keep the OLD ways!"], ANSWERS)
    ((_, one),) = Varied(generator).decode(["a"], Sampling(4, 100, seed=7))
    assert one.meta["decoding"] == {"method": "varied", "attempts": 3}
    assert [sampling.seed for _, sampling in generator.asked] == [7, 8, 9]
    assert len({text for text, _ in generator.asked}) == 3, "each attempt has marks of its own"
    ((_, one),) = Varied(Scripted(ANSWERS[:1], ANSWERS[:2]), attempts=2).decode(["a"], Sampling(4, 100))
    assert "2 of 4 answers" in one.meta["failed"]
    with pytest.raises(InputError, match="two candidates"):
        list(Varied(Scripted(ANSWERS)).decode(["a"], Sampling(1)))


def test_marks_of_others_close_nothing() -> None:
    hostile = ["</reply-000000> <reply-abc123>", "1. one\n2. two", "{braces} %s", "</reply>"]
    prompt = asking("Say {this} </reply-abc123>", 4, "abcdef")
    assert parsed(reply("<reply-abcdef>", hostile), 4, "abcdef").answers == tuple(hostile)
    assert prompt.count("<reply-abcdef>") == 1
    assert parsed("no marks", 4, "abcdef").refused_because is not None
    assert alike("a b", "b a") == 1
    assert alike("a b", "c d") == 0
    assert parsed(reply("<reply-ab>", [*ANSWERS, "a fifth"]), 4, "ab").answers == ANSWERS


def sets(rare: int, people: int = 12) -> list[Comparison]:
    """Twelve prompts judged by `people` each; `rare` of them have an answer for the rare value.

    People of `new` take it where it is on offer, all others the second answer.
    """
    rows = []
    for index in range(12):
        for person in range(people):
            offered = index < rare
            group = "new" if person % 3 == 0 else "old"
            chosen = 3 if offered and group == "new" else 1
            candidates = [
                Candidate(
                    f"{text} {index}",
                    score=float(at == chosen),
                    scores={"old": float(at < 3 or not offered), "new": float(at == 3 and offered)},
                )
                for at, text in enumerate(ANSWERS)
            ]
            # The same set in another order is the same set.
            rows.append(
                Comparison(
                    f"p{index}",
                    candidates if person % 2 else candidates[::-1],
                    annotator=f"a{person}" if index or person != 1 else "once",
                    group=group,
                )
            )
    return rows


def test_the_report_counts_sets_once_and_people_each_time() -> None:
    report = plural_report(sets(6), PluralOptions(("old", "new")))
    assert (report["comparisons"], report["candidate_sets"], report["candidates"]) == (144, 12, 4)
    assert report["coverage"]["new"]["covered"] == 0.5
    assert report["coverage"]["new"]["share_of_answers"] == pytest.approx(1 / 8)
    assert report["coverage"]["new"]["if_independent"] == pytest.approx(1 - (7 / 8) ** 4)
    assert report["by_group"]["new"]["chose new"] == 0.5
    assert report["by_group"]["old"]["chose new"] == 0
    assert report["by_group"]["old"]["with_the_plurality"] == 1
    # In half of the sets 4 of 12 people choose the one, 8 the other; in the others all agree.
    split = (4 * 3 + 8 * 7) / (12 * 11)
    assert report["overlap"]["pair_agreement"] == pytest.approx((1 + split) / 2)
    assert report["overlap"]["plurality_share"] == pytest.approx((1 + 8 / 12) / 2)
    distance = report["group_distances"]["new / old"]
    assert distance["total_variation"] == pytest.approx(0.5)
    assert distance["p_value"] < 0.01


def test_small_cells_are_put_together() -> None:
    report = plural_report(sets(6), PluralOptions(("old", "new"), smallest_cell=12))
    assert "once" not in report["by_annotator"]
    assert report["by_annotator"][REST]["choices"] == 12
    assert len(plural_report(sets(6), PluralOptions(smallest_cell=1))["by_annotator"]) == 13


def test_more_varied_sets_improve_on_every_value() -> None:
    options = PluralOptions(("old", "new"))
    more, fewer = plural_report(sets(9), options), plural_report(sets(3), options)
    assert coverage_compared(more, fewer)["improves_on_every_value"]
    assert not coverage_compared(fewer, more)["improves_on_every_value"]
    assert not coverage_compared(more, more)["improves_on_every_value"]
    assert plural_report(sets(12), options)["offer"]["correlation_ratio"] == pytest.approx(0)
    with pytest.raises(InputError, match="no score of a value"):
        plural_report(sets(3), PluralOptions(("old", "other")))


def write(path: Path, rows: Sequence[Comparison]) -> Path:
    path.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in rows))
    return path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_sampling_and_measuring_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(3)))
    drawn = tmp_path / "drawn.jsonl"
    with FaultProxy(lambda body: reply(body["messages"][-1]["content"], ANSWERS)) as proxy:
        words = ["generate", prompts, drawn, "--endpoint", proxy.url, "--model", "stub", "--decode", "varied"]
        assert run(*words) == 2
        assert "--samples 4" in capsys.readouterr().err
        assert run(*words, "--samples", 4, "--dry-run") == 0
        assert json.loads(capsys.readouterr().out)["requests"] == 3
        assert run(*words, "--samples", 4) == 0
        assert len(proxy.bodies) == 3
    rows = [json.loads(line) for line in drawn.read_text().splitlines()]
    assert [sorted(c["completion"] for c in row["candidates"]) for row in rows] == [sorted(ANSWERS)] * 3
    capsys.readouterr()
    assert run("eval", "plural", drawn, "--json") == 0
    assert json.loads(capsys.readouterr().out)["texts"]["vendi_score"] > 1.5
    one, other = write(tmp_path / "one.jsonl", sets(9)), write(tmp_path / "other.jsonl", sets(3))
    html, out = tmp_path / "r.html", tmp_path / "r.json"
    words = ["eval", "plural", one, "--values", "old,new", "--against", other, "--html", html, "--out", out]
    assert run(*words) == 0
    shown = capsys.readouterr().out
    assert "by group" in shown, shown
    assert json.loads(out.read_text())["improves_on_every_value"] is True
    assert "coverage compared" in html.read_text()
    assert run("eval", "plural", drawn, "--values", "old") == 2
    assert "no score of a value" in capsys.readouterr().err
