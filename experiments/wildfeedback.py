"""Complaints planted in conversations are found, and the pairs made of them teach what the users wanted

200 conversations (Shi et al. 2024), a hidden wish in each: at most 20 words, a list, or the price. The first answer
violates it; 40% complain and name the wish, 10% thank, the rest go on to something else. The annotator reads
keywords, the writer obeys wishes it is told. A logistic Bradley-Terry model of three features of a text learns from
the pairs and ranks obeying above violating answers of new prompts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from assent.building.wildfeedback import Miner, mine, preferred_by_wishes
from assent.comparison import Comparison, Message, Prompt
from assent.generation import Sample, Sampling
from assent.judging import Verdict

EXPECTED = {
    "complaints planted": "about 80 (40%)",
    "complaints that became pairs": "1.00",
    "other turns that became pairs": "0",
    "chosen obeying": "1.00",
    "rejected obeying": "0.00",
    "prompts holding the feedback": "0",
    "kept by a judge with the wishes": "1.00",
    "kept by a judge of length": "well below 1",
    "new answers ranked right": "1.00, at least .95",
}
CLAIMS: dict[str, Callable[[dict[str, float]], bool]] = {
    "exactly the complained turns become pairs": lambda n: (
        n["complaints that became pairs"] == 1 and n["other turns that became pairs"] == 0
    ),
    "chosen answers obey, rejected do not": lambda n: n["chosen obeying"] == 1 and n["rejected obeying"] == 0,
    "no prompt holds the feedback": lambda n: n["prompts holding the feedback"] == 0,
    "a judge with the wishes agrees, one of length does not": lambda n: (
        n["kept by a judge with the wishes"] == 1 and n["kept by a judge of length"] < 0.9
    ),
    "the pairs teach the wishes": lambda n: n["new answers ranked right"] > 0.95,
}
QUICK: dict[str, Any] = {"count": 60, "new": 30}

WISHES = {
    "short": ("Make it shorter!", "Use at most 20 words"),
    "bullets": ("I wanted a list", "Answer as a bullet list"),
    "fact": ("You forgot the price", "Mention the price"),
}


def run(seed: int, count: int = 200, new: int = 300) -> dict[str, float]:
    conversations, hidden = logs(seed, count)
    miner = Miner(Keywords(), Obedient(), Sampling())
    made = mine(conversations, miner).built.comparisons
    planted = {f"conversation {at}" for at, wish in enumerate(hidden) if wish}
    found = {str(one.group) for one in made}
    wishes = [hidden[int(str(one.group).split()[1])] or "" for one in made]
    texts = [[str(c.completion) for c in one.candidates] for one in made]
    with_wishes = preferred_by_wishes(made, ByWishes()).comparisons
    by_length = preferred_by_wishes(made, ByLength()).comparisons
    feedback = [said for said, _ in WISHES.values()]
    return {
        "complaints planted": float(len(planted)),
        "complaints that became pairs": len(found & planted) / len(planted),
        "other turns that became pairs": float(len(made) - len(found & planted)),
        "chosen obeying": float(np.mean([obeys(wish, row[0]) for wish, row in zip(wishes, texts, strict=True)])),
        "rejected obeying": float(np.mean([obeys(wish, row[1]) for wish, row in zip(wishes, texts, strict=True)])),
        "prompts holding the feedback": float(sum(said in str(one.prompt) for one in made for said in feedback)),
        "kept by a judge with the wishes": len(with_wishes) / len(made),
        "kept by a judge of length": len(by_length) / len(made),
        "new answers ranked right": ranked_right(texts, random.Random(f"new {seed}"), new),
    }


def logs(seed: int, count: int) -> tuple[list[list[Message]], list[str | None]]:
    """Conversations, and the wish that each complains of, if it does."""
    draw = random.Random(seed)
    conversations: list[list[Message]] = []
    hidden: list[str | None] = []
    for at in range(count):
        fate = draw.random()
        wish = draw.choice(sorted(WISHES)) if fate < 0.4 else None
        reply = WISHES[wish][0] if wish else ("Thanks a lot" if fate < 0.5 else "Another thing: what is rain?")
        turns = [("user", f"question {at}"), ("assistant", words(draw)), ("user", reply), ("assistant", "Fine.")]
        conversations.append([{"role": role, "content": text} for role, text in turns])
        hidden.append(wish)
    return conversations, hidden


def words(draw: random.Random, fewest: int = 25, most: int = 40) -> str:
    return " ".join(["blah"] * draw.randint(fewest, most))


def obeys(wish: str, text: str) -> bool:
    if wish == "short":
        return len(text.split()) <= 20
    return text.startswith("- ") if wish == "bullets" else "price" in text


def features(text: str) -> list[float]:
    """What the ranking model sees: word count (in hundreds), bullets, the fact."""
    return [len(text.split()) / 100, float(text.startswith("- ")), float("price" in text)]


def ranked_right(texts: Sequence[Sequence[str]], draw: random.Random, new: int) -> float:
    """Share of new pairs (an answer that obeys one wish, one that violates it) that the model of pairs orders so."""
    rows = np.array([np.subtract(features(chosen), features(rejected)) for chosen, rejected in texts])
    both = np.concatenate([rows, -rows])
    labels = [1] * len(rows) + [0] * len(rows)
    model = LogisticRegression(fit_intercept=False, C=100.0).fit(both, labels)
    right = []
    for _ in range(new):
        wish, bad = draw.choice(sorted(WISHES)), words(draw)
        good = {"short": words(draw, 5, 15), "bullets": f"- {bad}", "fact": f"{bad} the price"}[wish]
        right.append(float(model.decision_function([np.subtract(features(good), features(bad))])[0] > 0))
    return float(np.mean(right))


class Keywords:
    """An annotator by keyword."""

    name, criterion = "keywords", "user_feedback"

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        for index, one in enumerate(comparisons):
            text = str(one.candidates[0].completion)
            complains = any(said in text for said, _ in WISHES.values())
            kinds = {"style": (float(complains),), "gratitude": (float("Thanks" in text),)}
            yield index, Verdict("judged", (0.0,), kinds)


class Obedient:
    """Writes down the wish that a complaint names, and obeys the system message when it answers."""

    name = "obedient"

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        for index, prompt in enumerate(prompts):
            if isinstance(prompt, str):
                said = prompt.rpartition("Feedback:\n")[2]
                lines = [f"- {wish}" for text, wish in WISHES.values() if text in said]
                yield index, [Sample("Here they are:\n" + "\n".join(lines))]
                continue
            system = str(prompt[0]["content"]) if prompt[0]["role"] == "system" else ""
            text = " ".join(["word"] * (10 if "at most 20" in system else 30))
            text += " the price" if "price" in system else ""
            yield index, [Sample(f"- {text}" if "bullet list" in system else text)]


class ByLength:
    """A judge that likes the longer answer."""

    name, criterion = "longer", "length"

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        for index, one in enumerate(comparisons):
            yield index, Verdict("judged", tuple(float(len(str(c.completion))) for c in one.candidates))


class ByWishes:
    """A judge that counts the wishes an answer meets."""

    name, criterion = "wishes", "wishes"

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        for index, one in enumerate(comparisons):
            listed = re.findall(r"^- (.*)$", str(one.prompt), re.MULTILINE)
            kinds = [name for name, (_, wish) in WISHES.items() if wish in listed]
            met = tuple(float(sum(obeys(kind, str(c.completion)) for kind in kinds)) for c in one.candidates)
            yield index, Verdict("judged", met)
