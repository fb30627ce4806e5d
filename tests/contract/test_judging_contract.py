"""What every kind of judge promises: each comparison once, in the record's order, never a guess."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from assent import judging as room
from assent.cli.judges import By
from assent.comparison import Candidate, Comparison
from assent.generation import Endpoint, EndpointClient
from assent.judging import EndpointRespondent, Judge, PromptedJudge, apply, asking_of, load_rubric
from assent.judging.labels import LabelJudge
from assent.judging.person import PersonJudge
from assent.judging.remembered import RememberedJudge
from assent.judging.rule import RuleJudge
from assent.judging.scorers import ScorerJudge
from assent.judging.verdict import answers_of
from assent.preference_models import Scored
from assent.work.journal import Journal
from tests.fault_proxy import FaultProxy

COUNT = 5


def data() -> list[Comparison]:
    """Pairs whose better answer stands first and second in turn, each with a helper in between."""
    return [
        Comparison(
            f"question {at}",
            [
                Candidate("winner" if at % 2 else "loser", score=9.0, source="a"),
                Candidate("helper", role="mismatched"),
                Candidate("loser" if at % 2 else "winner", score=3.0, source="b"),
            ],
        )
        for at in range(COUNT)
    ]


def test_every_export_is_there() -> None:
    for name in room.__all__:
        assert getattr(room, name) is not None


class Scripted:
    name = "scripted"

    def __init__(self, answer: Callable[[str], str | None]) -> None:
        self.answer = answer

    def respond(self, chats: Any) -> Any:
        for index in reversed(range(len(chats))):
            yield index, self.answer(chats[index][0][-1]["content"])


def reply(text: str) -> str:
    """What a judge who likes `winner` writes, whichever way it is asked."""
    if '"verdict"' in text:
        return json.dumps({"reasoning": "r", "verdict": "A" if text.find("winner") < text.find("loser") else "B"})
    if '"ratings": [' in text or '"answer": ' in text:
        first = 5 if text.find("winner") < text.find("loser") else 1
        return json.dumps({"ratings": [{"answer": 1, "rating": first}, {"answer": 2, "rating": 6 - first}]})
    rating = 3 if "winner" in text else 1
    if '"critique"' in text:
        return json.dumps({"critique": "c", "rating": rating})
    return json.dumps({"reasoning": "r", "rating": rating})


class Letters:
    name = "letters"

    def read(self, texts: Sequence[str], labels: Any) -> Any:
        sure, unsure = math.log(0.9), math.log(0.1)
        first = [text.find("winner") < text.find("loser") for text in texts]
        return [{"A": sure if at else unsure, "B": unsure if at else sure} for at in first]


class Scores:
    name = "scores"

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        return [Scored(tuple(float(c.completion == "winner") for c in one.candidates)) for one in comparisons]


def likes(prompt: str, answer: str) -> float:
    return float(answer == "winner")


def person(folder: Path) -> PersonJudge:
    judge = PersonJudge(folder / "form.csv", load_rubric("helpful"))
    judge.write(data())
    lines = (folder / "form.csv").read_text(encoding="utf-8-sig").splitlines()
    filled = [lines[0]]
    for line in lines[1:]:
        columns = line.split(",")
        columns[-2] = "A" if columns[2] == "winner" else "B"
        filled.append(",".join(columns))
    (folder / "form.csv").write_text("\n".join(filled) + "\n", encoding="utf-8-sig")
    return judge


def prompted(mode: Any) -> PromptedJudge:
    name = "relevance" if mode == "pointwise" else "helpful"
    return PromptedJudge(Scripted(reply), asking_of(load_rubric(name), mode), name)


KINDS: dict[str, Callable[[Path], Judge]] = {
    "model pairwise": lambda folder: prompted("pairwise"),
    "model pointwise": lambda folder: prompted("pointwise"),
    "model critique": lambda folder: prompted("critique"),
    "model listwise": lambda folder: prompted("listwise"),
    "labels": lambda folder: LabelJudge(Letters(), load_rubric("helpful")),
    "scorer": lambda folder: ScorerJudge(Scores()),
    "rule": lambda folder: RuleJudge(likes, "likes"),
    "person": person,
}


def check(judge: Judge) -> None:
    records = data()
    rows = list(judge.judge(records))
    assert sorted(index for index, _ in rows) == list(range(COUNT)), "each comparison exactly once"
    assert isinstance(judge.name, str)
    assert judge.criterion
    for index, verdict in rows:
        record = records[index]
        assert verdict.status == "judged"
        assert len(verdict.scores) == len(record.candidates)
        better = next(at for at, one in enumerate(record.candidates) if one.completion == "winner")
        worse = next(at for at, one in enumerate(record.candidates) if one.completion == "loser")
        assert verdict.scores[1] is None, "a helper is never scored"
        assert verdict.scores[better] > verdict.scores[worse]
        if verdict.confidence is not None:
            assert (verdict.confidence > 0.5) == (better < worse)
        written = apply(record, verdict, judge)
        assert (written.annotator, written.context) == (judge.name, judge.criterion)
        assert written.meta["judgement"]["status"] == "judged"
        assert [one.completion for one in written.candidates] == [one.completion for one in record.candidates]
        assert [written.candidates[at].score for at in answers_of(record)] != [9.0, 3.0], "old scores are gone"
    assert list(judge.judge([])) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_judge_finds_the_better_answer_in_the_records_order(kind: str, tmp_path: Path) -> None:
    check(KINDS[kind](tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_every_judge_can_be_remembered(kind: str, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        first = RememberedJudge(KINDS[kind](tmp_path), journal, kind)
        check(first)
        said = dict(first.judge(data()))
        first.inner = None  # type: ignore[assignment]  # nothing is asked again
        assert dict(first.judge(data())) == said


def test_an_endpoint_is_the_same_judge() -> None:
    with FaultProxy(lambda body: reply(body["messages"][-1]["content"])) as proxy:
        client = EndpointClient(Endpoint(proxy.url, "stub"))
        for mode in ("pairwise", "critique", "listwise"):
            check(PromptedJudge(EndpointRespondent(client), asking_of(load_rubric("helpful"), mode), "helpful"))


@pytest.mark.parametrize("mode", ["pairwise", "pointwise", "critique", "listwise"])
@pytest.mark.parametrize(("said", "status"), [("no idea", "unparsed"), (None, "failed")])
def test_no_way_of_asking_guesses(mode: Any, said: str | None, status: str) -> None:
    judge = PromptedJudge(Scripted(lambda text: said), asking_of(load_rubric("helpful"), mode), "helpful")
    for index, verdict in judge.judge(data()):
        assert verdict.status == status
        written = apply(data()[index], verdict, judge)
        assert all(one.score is None for one in written.candidates if one.role is None)


def test_every_kind_of_the_command_line_is_held_to_the_contract() -> None:
    held = {kind.split()[0] for kind in KINDS} | {"endpoint"}
    assert {by.value for by in By} <= held
