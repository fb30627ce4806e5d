"""Preferences mined from complaints, and answers revised under a constitution: scripted from end to end."""

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from assent.building.constitution import Principle, critique_and_revise, load_constitution
from assent.building.feedback_measures import agreement, nearest_to_centres, satisfaction
from assent.building.feedback_signals import annotate, complaints, signals
from assent.building.wildfeedback import pairs, preferred_by_wishes, wishes, with_wishes
from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.evaluation.agreement import cohen_kappa
from assent.evaluation.position_swap import swap_reliability
from assent.generation import Sample, Sampling
from assent.generation.remembered_generator import RememberedGenerator
from assent.judging import Verdict
from assent.work.journal import Journal

CASES = {
    case["name"]: case
    for case in json.loads((Path(__file__).parents[1] / "fixtures" / "wildfeedback.json").read_text())["cases"]
}


def test_agreement_with_people_of_derived_labels() -> None:
    case = CASES["agreement_with_humans"]
    people, model = case["inputs"]["human_labels"], case["inputs"]["model_labels"]
    found, expected = agreement(people, model), case["expected"]
    counts = expected["confusion"]
    assert (found.true_positives, found.false_positives) == (counts["tp"], counts["fp"])
    assert (found.false_negatives, found.true_negatives) == (counts["fn"], counts["tn"])
    for name in ("accuracy", "precision", "recall", "f1"):
        assert getattr(found, name) == pytest.approx(expected[name])
    assert cohen_kappa(people, model) == pytest.approx(expected["cohen_kappa"])
    assert agreement([1], [0]).precision is None


def test_signals_and_their_prompts() -> None:
    case = CASES["feedback_to_pair_sources"]
    conversations = case["inputs"]["conversations"]
    tags = [{at: turn["tags"] for at, turn in enumerate(one) if turn.get("tags")} for one in conversations]
    found = [
        {
            "conversation": number,
            "turn": signal.turn,
            "signal": "DSAT" if signal.dissatisfied else "SAT",
            "prompt_turns": list(range(signal.answer)),
            "judged_response_turn": signal.answer,
        }
        for number, one in enumerate(conversations)
        for signal in signals(one, tags[number])
    ]
    assert found == case["expected"]["signals"]
    sources = complaints(conversations, tags)
    assert [[one.conversation, len(one.prompt)] for one in sources] == case["expected"]["dispreferred_candidates"]
    assert all(one.prompt[-1]["role"] == "user" for one in sources)
    assert all(one.answer == conversations[one.conversation][len(one.prompt)]["content"] for one in sources)
    assert len(complaints(conversations, tags, most=1)) == 3


def test_two_orders_and_the_filter_on_policy() -> None:
    case = CASES["two_order_judgement"]
    orders = list(zip(case["inputs"]["first_order"], case["inputs"]["swapped_order"], strict=True))
    found = swap_reliability(orders)
    names = {"model_1": "A", "model_2": "B", "tie": "tie"}
    assert [names[one] for one in found.outcomes] == case["expected"]["verdicts"]
    assert found.win_rate == pytest.approx(case["expected"]["win_rate_ties_half"])
    case = CASES["on_policy_filter"]
    verdicts = case["inputs"]["verdict_preferred_vs_dispreferred"]
    points = {"A": (1.0, 0.0), "B": (0.0, 1.0), "tie": (0.5, 0.5)}
    made = [
        Comparison(f"Q{at}", [Candidate("x", score=1), Candidate("y", score=0)], meta={"wishes": ["short"]})
        for at in range(len(verdicts))
    ]

    class Said:
        name, criterion = "said", "wishes"

        def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
            assert all("- short" in str(one.prompt) and one.candidates[0].score is None for one in comparisons)
            for index, word in reversed(list(enumerate(verdicts))):
                yield index, Verdict("judged", points[word])

    built = preferred_by_wishes(made, Said())
    assert [made.index(one) for one in built.comparisons] == case["expected"]["kept_on_policy"]
    assert built.left_out == {"chosen answer not preferred": 8}


def test_held_out_prompts_are_nearest_to_the_centres() -> None:
    case = CASES["held_out_selection"]
    found = nearest_to_centres(case["inputs"]["embeddings"], case["inputs"]["cluster"], case["hyper"]["per_cluster"])
    assert found == case["expected"]["selected"]


def test_satisfaction_of_conversations() -> None:
    case = CASES["conversation_satisfaction_score"]
    counts = zip(case["inputs"]["sat_counts"], case["inputs"]["dsat_counts"], strict=True)
    assert [satisfaction(*row) for row in counts] == case["expected"]["score"]


WISHES = {
    "short": ("Make it shorter!", "Use at most 20 words"),
    "bullets": ("I wanted a list", "Answer as a bullet list"),
    "fact": ("You forgot the price", "Mention the price"),
}


def obeys(wish: str, text: str) -> bool:
    if wish == "short":
        return len(text.split()) <= 20
    return text.lstrip().startswith("- ") if wish == "bullets" else "price" in text


class Keywords:
    """An annotator by keyword."""

    name, criterion = "keywords", "user_feedback"

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        for index, one in enumerate(comparisons):
            text = str(one.candidates[0].completion)
            complains = any(said in text for said, _ in WISHES.values())
            yield (
                index,
                Verdict("judged", (0.0,), {"style": (float(complains),), "gratitude": (float("Thanks" in text),)}),
            )


class Obedient:
    """Writes the wish down, and obeys the system message when it answers."""

    name = "obedient"

    def stream(self, prompts, sampling, keys=None):  # type: ignore[no-untyped-def]
        for index, prompt in enumerate(prompts):
            if isinstance(prompt, str):
                said = prompt.rpartition("Feedback:\n")[2]
                lines = [f"- {wish}" for text, wish in WISHES.values() if text in said]
                yield index, [Sample("Here they are:\n" + "\n".join(lines))]
                continue
            system = prompt[0]["content"] if prompt[0]["role"] == "system" else ""
            words = ["word"] * (10 if "at most 20" in system else 30)
            text = " ".join([*words, *(["the price"] if "price" in system else [])])
            yield index, [Sample(f"- {text}" if "bullet list" in system else text)]


def logs(seed: int) -> tuple[list[list[dict[str, str]]], list[str | None]]:
    draw = random.Random(seed)
    conversations, hidden = [], []
    for at in range(200):
        fate = draw.random()
        wish = draw.choice(sorted(WISHES)) if fate < 0.4 else None
        reply = WISHES[wish][0] if wish else ("Thanks a lot" if fate < 0.5 else "Another thing: what is rain?")
        answer = " ".join(["blah"] * draw.randint(25, 40))
        turns = [("user", f"question {at}"), ("assistant", answer), ("user", reply), ("assistant", "Fine.")]
        conversations.append([{"role": role, "content": text} for role, text in turns])
        hidden.append(wish)
    return conversations, hidden


def test_complaints_become_pairs_that_teach_the_hidden_wishes() -> None:
    conversations, hidden = logs(0)
    tags, unread = annotate(conversations, Keywords())
    found = complaints(conversations, tags)
    assert unread == 0
    assert [one.conversation for one in found] == [at for at, wish in enumerate(hidden) if wish]
    built = pairs(found, wishes(found, Obedient(), Sampling()), Obedient(), Sampling())
    assert len(built.comparisons) == len(found) > 60
    differences = []
    for one, complaint in zip(built.comparisons, found, strict=True):
        wish = hidden[complaint.conversation]
        chosen, rejected = (str(c.completion) for c in one.candidates)
        assert obeys(wish, chosen)
        assert not obeys(wish, rejected)
        assert [turn["role"] for turn in one.prompt] == ["user"]
        assert "shorter" not in json.dumps(one.prompt)
        differences.append([float(obeys(name, chosen)) - float(obeys(name, rejected)) for name in sorted(WISHES)])
    both = np.array(differences + [[-value for value in row] for row in differences])
    fit = LogisticRegression(fit_intercept=False).fit(both, [1] * len(differences) + [0] * len(differences))
    assert fit.coef_.min() > 0.5

    class ByLength:
        name, criterion = "longer", "length"

        def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
            for index, one in enumerate(comparisons):
                yield index, Verdict("judged", tuple(float(len(str(c.completion))) for c in one.candidates))

    class ByWishes(ByLength):
        def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
            for index, one in enumerate(comparisons):
                listed = re.findall(r"^- (.*)$", str(one.prompt), re.MULTILINE)
                kinds = [name for name, (_, wish) in WISHES.items() if wish in listed]
                assert kinds
                met = tuple(float(sum(obeys(kind, str(c.completion)) for kind in kinds)) for c in one.candidates)
                yield index, Verdict("judged", met)

    assert len(preferred_by_wishes(built.comparisons, ByWishes()).comparisons) == len(built.comparisons)
    assert len(preferred_by_wishes(built.comparisons, ByLength()).comparisons) < 0.9 * len(built.comparisons)


def test_on_policy_both_answers_are_the_models_own() -> None:
    conversations, _ = logs(1)
    tags, _ = annotate(conversations, Keywords())
    found = complaints(conversations, tags)
    built = pairs(
        found, [[] if at == 0 else ["Mention the price"] for at in range(len(found))], Obedient(), Sampling(), True
    )
    assert built.left_out == {"complaints without a wish": 1}
    assert {c.source for one in built.comparisons for c in one.candidates} == {"obedient"}
    assert all("blah" not in str(one.candidates[1].completion) for one in built.comparisons)
    assert "the price" in str(with_wishes(built.comparisons[0]).prompt).lower()


class Critic:
    """Deletes what a critique names; counts how often it is asked."""

    name = "critic"

    def __init__(self) -> None:
        self.asked = 0

    def stream(self, prompts, sampling, keys=None):  # type: ignore[no-untyped-def]
        for index, prompt in enumerate(prompts):
            self.asked += 1
            text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
            draft = text.partition("Answer:\n")[2].partition("\n\n")[0]
            if "Revise the answer" in text:
                yield index, [Sample(draft.replace(" BAD", "", 1))]
            elif "Criticise" in text:
                yield index, [Sample("it says BAD")]
            elif text == "broken {0}":
                yield index, [Sample("", finish_reason="error")]
            else:
                yield index, [Sample("good" if text == "fine" else "an answer BAD BAD")]


def test_revisions_take_out_what_the_critique_names() -> None:
    principles = [Principle("harm", "What harms?", "Take it out."), Principle("never", "x", "y", weight=0)]
    built = critique_and_revise(["one", "fine", "broken {0}"], Critic(), principles, Sampling(), rounds=2)
    (pair,) = built.comparisons
    assert [c.completion for c in pair.candidates] == ["an answer", "an answer BAD BAD"]
    assert pair.meta["drafts"] == ["an answer BAD"]
    assert [step["principle"] for step in pair.meta["steps"]] == ["harm", "harm"]
    assert built.left_out == {"a draft or revision could not be drawn": 1, "nothing was revised": 1}
    assert len(load_constitution()) == 5
    with pytest.raises(InputError, match="round"):
        critique_and_revise(["one"], Critic(), principles, Sampling(), rounds=0)


def test_a_bad_constitution_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("- {name: a, critique: b}")
    with pytest.raises(InputError, match="constitution"):
        load_constitution(tmp_path / "c.yaml")


def test_a_remembered_generator_draws_nothing_twice(tmp_path: Path) -> None:
    critic = Critic()
    with Journal(tmp_path / "j") as journal:
        generator = RememberedGenerator(critic, journal, "critic-1")
        principles = load_constitution()
        first = critique_and_revise(["one", "two"], generator, principles, Sampling())
        asked = critic.asked
        again = critique_and_revise(["one", "two"], generator, principles, Sampling())
        assert (again.comparisons, critic.asked) == (first.comparisons, asked)
        critique_and_revise(["one", "two"], RememberedGenerator(critic, journal, "critic-2"), principles, Sampling())
        assert critic.asked == 2 * asked
