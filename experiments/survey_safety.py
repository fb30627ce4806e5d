"""Conservative ensembles keep gaining where one proxy is over-optimised; revision removes what a critique names

Best of n: true rewards N(0, 1), five proxies = true reward + 0.8 t(2.5), 600 prompts with 256 answers; the expected
true reward of the pick at n of them, by one proxy and by the library's three rules over all five.

Critique and revision: 200 drafts hold one or two banned words among six helpful ones. A scripted model names the
first banned word where the principle asks for it, and deletes the words that its critique names. The control is a
principle that asks for something else: the same revisions then have nothing to delete.

Lu et al. 2025 (arXiv 2507.19672) survey these without experiments of their own; the expected numbers are of an
earlier simulation. It had two parts more, conformal selection of outputs and an attack that rewords refused prompts;
they are not repeated, since the library has no conformal selection and no attack loop.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch

from assent.building.constitution import Principle, critique_and_revise
from assent.comparison import Prompt
from assent.evaluation.best_of_n import expected_gold
from assent.generation.prompts import text_of
from assent.generation.sampling import Sample, Sampling
from assent.preference_models.ensemble import combined

RULES: tuple[Literal["mean", "worst", "pessimistic"], ...] = ("mean", "pessimistic", "worst")
COUNTS = (16, 64, 256)
BANNED = ("venom", "arson")
HELPFUL = ("first", "open", "the", "window", "then", "rest", "drink", "water", "and", "call")
SHARP = Principle("harmless", "Name the harmful words.", "Delete the words that the critique names.")
BLUNT = Principle("brief", "Name the needless words.", "Delete the words that the critique names.")
EXPECTED = {
    "one_16": "0.97",
    "one_64": "0.83",
    "one_256": "0.54",
    "mean_16": "1.40",
    "mean_64": "1.67",
    "mean_256": "1.49",
    "pessimistic_16": "1.50",
    "pessimistic_64": "2.00",
    "pessimistic_256": "2.46",
    "worst_16": "1.45",
    "worst_64": "1.94",
    "worst_256": "2.42",
    "banned_before": "1",
    "banned_after_1": "about half: those with two words",
    "banned_after_2": "0",
    "helpful_kept": "1",
    "revised_by_another_principle": "0",
}
CLAIMS = {
    "one proxy is over-optimised": lambda n: n["one_16"] > n["one_64"] > n["one_256"],
    "mean minus spread keeps rising": lambda n: n["pessimistic_16"] < n["pessimistic_64"] < n["pessimistic_256"],
    "the worst member keeps rising": lambda n: n["worst_16"] < n["worst_64"] < n["worst_256"],
    "at 256 both leave the mean behind": lambda n: min(n["pessimistic_256"], n["worst_256"]) > n["mean_256"] + 0.3,
    "every draft is banned, no second revision is": lambda n: n["banned_before"] == 1 and n["banned_after_2"] == 0,
    "each round removes what its critique names": lambda n: 0.3 < n["banned_after_1"] < 0.7,
    "helpful words stay, in their order": lambda n: n["helpful_kept"] == 1,
    "another principle revises nothing": lambda n: n["revised_by_another_principle"] == 0,
}
QUICK: dict[str, Any] = {"prompts": 10, "drafts": 20}


def run(seed: int, prompts: int = 600, drafts: int = 200) -> dict[str, float]:
    return best_of_n(seed, prompts) | revisions(seed, drafts)


def best_of_n(seed: int, prompts: int) -> dict[str, float]:
    """Expected true reward of the best of n, for each rule and n."""
    draw = np.random.default_rng(seed)
    gold = draw.standard_normal((prompts, max(COUNTS)))
    members = torch.from_numpy(gold + 0.8 * draw.standard_t(2.5, (5, *gold.shape)))
    rules = {"one": members[0]} | {rule: combined(members, rule) for rule in RULES}
    golds = gold.tolist()
    return {
        f"{rule}_{n}": float(np.mean([expected_gold(*rows, n) for rows in zip(proxy.tolist(), golds, strict=True)]))
        for rule, proxy in rules.items()
        for n in COUNTS
    }


def revisions(seed: int, drafts: int) -> dict[str, float]:
    """What two rounds of critique and revision leave of banned and of helpful words."""
    requests = [f"request {number}" for number in range(drafts)]
    sampling = Sampling(seed=seed)
    pairs = critique_and_revise(requests, Scripted(seed), [SHARP], sampling, rounds=2).comparisons
    others = critique_and_revise(requests, Scripted(seed), [BLUNT], sampling, rounds=2).comparisons
    last, first = ([str(pair.answers[at].completion).split() for pair in pairs] for at in (0, 1))
    middle = [str(pair.meta["drafts"][0]).split() for pair in pairs]
    kept = [[word for word in row if word not in BANNED] for row in first]
    return {
        "banned_before": share_banned(first, drafts),
        "banned_after_1": share_banned(middle, drafts),
        "banned_after_2": share_banned(last, drafts),
        "helpful_kept": sum(a == b for a, b in zip(last, kept, strict=True)) / drafts,
        "revised_by_another_principle": len(others) / drafts,
    }


def share_banned(rows: Sequence[Sequence[str]], count: int) -> float:
    """Share of the answers that hold a banned word."""
    return sum(any(word in BANNED for word in row) for row in rows) / count


class Scripted:
    """A model that drafts with banned words, names the first of them if so asked, and deletes what is named."""

    name = "scripted"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        for index, prompt in enumerate(prompts):
            yield index, [Sample(self.answer(text_of(prompt)))]

    def answer(self, text: str) -> str:
        """A draft, a critique or a revision, by what the text asks for."""
        if "\n\nAnswer:\n" not in text:
            return self.draft(text)
        words = text.partition("\n\nAnswer:\n")[2].partition("\n\n")[0].split()
        if "Criticise this answer." in text:
            found = [word for word in words if word in BANNED] if SHARP.critique in text else []
            return found[0] if found else "nothing"
        named = text.partition("\n\nCritique:\n")[2].partition("\n\n")[0].split()
        return " ".join(word for word in words if word not in named)

    def draft(self, request: str) -> str:
        draw = random.Random(f"{self.seed}:{request}")
        words = draw.sample(HELPFUL, 6) + draw.sample(BANNED, draw.choice((1, 2)))
        draw.shuffle(words)
        return " ".join(words)
