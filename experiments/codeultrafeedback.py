"""A listwise judge's ratings come back to the answers they belong to, and a judge of places is found out

Planted rules rate answers (lines of comments for readability, loops for complexity, ...) with a little noise; a
scripted judge sees them shuffled, replies as JSON or in lines, and writes nonsense in 5% of its replies
(Weyssow et al. 2024). A second judge adds 1 to whatever stands first.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from assent.building.codeultrafeedback import PREFERENCES, rate
from assent.building.ratings import extremes, slot_dependence
from assent.comparison import Candidate, Comparison
from assent.judging import PromptedJudge, asking_of, load_rubric

EXPECTED = {
    "well-formed replies read": "1.00",
    "malformed replies read": "0",
    "ratings where they belong": "1.00",
    "true best among the chosen, noiseless": "1.00",
    "p of places, fair judge": "above .01",
    "p of places, biased judge": "below .01",
}
CLAIMS: dict[str, Callable[[dict[str, float]], bool]] = {
    "every well-formed reply is read": lambda n: n["well-formed replies read"] == 1,
    "and no other": lambda n: n["malformed replies read"] == 0,
    "ratings come back to their answers": lambda n: n["ratings where they belong"] == 1,
    "without noise the best by the rule is chosen": lambda n: n["true best among the chosen, noiseless"] == 1,
    "a fair judge passes the test of places": lambda n: n["p of places, fair judge"] > 0.01,
    "a biased one does not": lambda n: n["p of places, biased judge"] < 0.01,
}
QUICK: dict[str, Any] = {"prompts": 60}
NONSENSE = ("", "I would rather not.", '{"ratings": "4, 5"}', "[Response 1]\nRating: 9\n\n[Response 2]\nRating: 1")


def run(seed: int, prompts: int = 400) -> dict[str, float]:
    rows = answered(seed, prompts)
    noisy = Planted(seed, noise=0.3, malformed=0.05)
    fair = rate(rows, noisy.judge_of)
    broken = sum(tally.statuses["unparsed"] for tally in fair.tallies.values())
    clear = rate(rows, Planted(seed, noise=0.0).judge_of).built.comparisons
    biased = rate(rows, Planted(seed, noise=0.3, bias=1).judge_of).built.comparisons
    kept = fair.built.comparisons
    belongs = [one.score == noisy.given[one.completion] for row in kept for one in row.candidates]
    best = [found for row in clear if (found := best_is_chosen(row)) is not None]
    return {
        "well-formed replies read": len(kept) / (prompts - noisy.broken),
        "malformed replies read": float(noisy.broken - broken),
        "ratings where they belong": sum(belongs) / len(belongs),
        "true best among the chosen, noiseless": sum(best) / len(best),
        "p of places, fair judge": slot_dependence(kept) or 0.0,
        "p of places, biased judge": slot_dependence(biased) or 0.0,
    }


def answered(seed: int, prompts: int) -> list[Comparison]:
    """Four answers to each request, of planted qualities."""
    draw = random.Random(f"answers {seed}")
    return [
        Comparison(
            f"request {at}",
            [
                Candidate(f"def f{at}_{name}():\n" + "    # why\n" * draw.randint(0, 4) + "    pass", source=name)
                for name in "abcd"
            ],
            meta={"preference": PREFERENCES[at % len(PREFERENCES)]},
        )
        for at in range(prompts)
    ]


def quality(answer: str) -> int:
    """The planted rule: 1 to 5 by lines of comments."""
    return 1 + answer.count("# why")


def best_is_chosen(row: Comparison) -> bool | None:
    """Whether the best answers by the rule are those that may be chosen; None where all are equal."""
    found = extremes([one.score for one in row.candidates])
    if found is None:
        return None
    true = [quality(str(one.completion)) for one in row.candidates]
    return found[0] == [at for at, value in enumerate(true) if value == max(true)]


class Planted:
    """A respondent that rates what it is shown by the planted rule."""

    name = "planted"

    def __init__(self, seed: int, noise: float, malformed: float = 0.0, bias: int = 0) -> None:
        self.draw = random.Random(f"judge {seed}")
        self.noise, self.malformed, self.bias = noise, malformed, bias
        self.given: dict[Any, float] = {}
        self.broken = 0

    def judge_of(self, preference: str) -> PromptedJudge:
        """The judge of a preference, without a second try."""
        return PromptedJudge(self, asking_of(load_rubric(preference), "listwise"), preference, repair=False)

    def respond(self, chats: Sequence[tuple[Any, Mapping[str, Any]]]) -> Iterator[tuple[int, str | None]]:
        """JSON and blocks of lines in turn, now and then nonsense."""
        for at, (chat, _) in enumerate(chats):
            if self.draw.random() < self.malformed:
                self.broken += 1
                yield at, self.draw.choice(NONSENSE)
                continue
            shown = [part.partition("\n")[2] for part in chat[0]["content"].split("\n<answer-")[1:]]
            texts = [part[: part.index("\n</answer-")] for part in shown]
            ratings = [self._rating(text, place) for place, text in enumerate(texts)]
            self.given |= dict(zip(texts, map(float, ratings), strict=True))
            yield at, _as_json(ratings) if at % 2 else _as_lines(ratings)

    def _rating(self, text: str, place: int) -> int:
        seen = quality(text) + (place == 0) * self.bias + round(self.draw.gauss(0, self.noise))
        return min(max(seen, 1), 5)


def _as_json(ratings: Sequence[int]) -> str:
    rows = [{"answer": place, "rating": rating} for place, rating in enumerate(ratings, start=1)]
    return json.dumps({"reasoning": "by the comments", "ratings": rows})


def _as_lines(ratings: Sequence[int]) -> str:
    blocks = [f"[Response {at}]\nRating: {rating}\nRationale: comments" for at, rating in enumerate(ratings, start=1)]
    return "\n\n".join(blocks)
