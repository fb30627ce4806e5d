"""The scenarios of RAG-RewardBench tell apart what a reward model can and cannot see

300 made-up items from a toy table of facts, in the published schema (Jin et al. 2024): citation (the right passage's
number or another's), abstain (the fact is missing: decline or invent; it is there: answer or decline), conflict (two
passages disagree: say so or pick one), reason (two hops: the value at the end or another). Scored: an oracle, a rule
that checks nothing but the cited passage, the length of the answer, chance; and a judge that always says "A".
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from assent.comparison import Comparison
from assent.evaluation.rag_rewardbench import comparison_of, rag_rewardbench, two_orders
from assent.preference_models import Scored
from assent.preference_models.text import completion_text, prompt_text

SPECIFIC = ("citation", "abstain", "conflict", "reason")
EXPECTED = {
    "oracle_micro": "1.0",
    "rule_citation": "1.0",
    "rule_elsewhere": "0.50 ± 0.06",
    "length_micro": "0.50 ± 0.06",
    "random_micro": "0.50",
    "always_a_accuracy": "0.5",
    "always_a_flips": "1.0",
}
CLAIMS = {
    "the oracle is always right": lambda n: n["oracle_micro"] == 1,
    "a rule for citations knows citations only": lambda n: (
        n["rule_citation"] == 1 and abs(n["rule_elsewhere"] - 0.5) < 0.1
    ),
    "length is no shortcut": lambda n: abs(n["length_micro"] - 0.5) < 0.1,
    "a judge of positions is at one half and is found out": lambda n: (
        n["always_a_accuracy"] == 0.5 and n["always_a_flips"] == 1
    ),
}
QUICK: dict[str, Any] = {"items": 40}
TOWNS = ("Aro", "Bel", "Cim", "Dor", "Esk", "Fal", "Gor", "Hul", "Ist", "Jav")
RIVERS = ("Umba", "Veda", "Wiss", "Xant", "Yser", "Zorn")


@dataclass(frozen=True)
class Formula:
    """A scorer that is a function of the comparison and one of its texts."""

    name: str
    value: Callable[[Comparison, str], float]

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        return [
            Scored(rewards=tuple(self.value(one, completion_text(c.completion)) for c in one.candidates))
            for one in comparisons
        ]


def run(seed: int, items: int = 300) -> dict[str, float]:
    draw = random.Random(seed)
    rows = [_row(SPECIFIC[index % 4], index, draw) for index in range(items)]
    right = {(comparison_of(row).key, row["chosen"]) for row in rows}
    chance = random.Random(seed + 1)
    scorers = (
        Formula("oracle", lambda c, text: float((c.key, text) in right)),
        Formula("rule", lambda c, text: _cited(c, text) + 1e-3 * chance.random()),
        Formula("length", lambda c, text: float(len(text)) + 1e-3 * chance.random()),
        Formula("random", lambda c, text: chance.random()),
    )
    numbers: dict[str, float] = {}
    for scorer in scorers:
        found = rag_rewardbench(scorer, rows)
        numbers |= {f"{scorer.name}_{name}": part.strict.estimate for name, part in found.scenarios.items()}
        numbers[f"{scorer.name}_micro"] = found.micro.strict.estimate
    numbers["rule_elsewhere"] = sum(numbers[f"rule_{name}"] for name in SPECIFIC[1:]) / 3
    judged = two_orders([("A", "A")] * items)
    return numbers | {"always_a_accuracy": judged.accuracy, "always_a_flips": judged.flip_rate}


def _row(scenario: str, index: int, draw: random.Random) -> dict[str, Any]:
    """One item in the published schema."""
    town, others = draw.choice(TOWNS), list(TOWNS)
    others.remove(town)
    year, wrong = draw.sample(range(1100, 1999), 2)
    filler = [f"{name} has {draw.randint(2, 90)} streets." for name in draw.sample(others, 2)]
    river = draw.choice(RIVERS)
    first, second = f"{town} was founded in {year}.", f"{town} was founded in {wrong}."
    question = f"When was {town} founded?"
    if scenario == "citation":
        passages, (chosen, rejected) = [first, *filler], ("{at}", "{elsewhere}")
    elif scenario == "abstain" and index % 8 < 4:
        passages = [f"{town} has {draw.randint(2, 90)} streets.", *filler]
        chosen, rejected = "The passages do not tell.", f"It was founded in {wrong}."
    elif scenario == "abstain":
        passages, (chosen, rejected) = [first, *filler], (f"It was founded in {year}.", "The passages do not tell.")
    elif scenario == "conflict":
        passages = [first, second, *filler]
        chosen, rejected = f"They disagree: {year} or {wrong}.", f"In {draw.choice([year, wrong])}, surely."
    else:
        passages = [f"{town} lies on the {river}.", f"The town on the {river} was founded in {year}.", *filler]
        chosen, rejected = f"It was founded in {year}.", f"It was founded in {wrong}."
    draw.shuffle(passages)
    if scenario == "citation":
        at = passages.index(first) + 1
        elsewhere = draw.choice([n for n in range(1, len(passages) + 1) if n != at])
        chosen, rejected = f"In {year} [{at}].", f"In {year} [{elsewhere}]."
    # One of the two is padded at random, so that length tells nothing.
    padded = draw.random() < 0.5
    shorter, pad = (chosen, rejected) if padded else (rejected, chosen)
    longer = pad + " That is all." + " Indeed." * max(0, (len(shorter) - len(pad)) // 8)
    chosen, rejected = (chosen, longer) if padded else (longer, rejected)
    references = "\n".join(f"[{n}] {text}" for n, text in enumerate(passages, 1))
    return {"prompt": references, "question": question, "chosen": chosen, "reject": rejected, "subset": scenario}


def _cited(comparison: Comparison, text: str) -> float:
    """Whether the passage that the answer cites holds what the question asks for; 0 without a citation."""
    found = re.search(r"\[(\d)\]", text)
    town = re.search(r"When was (\w+) founded", prompt_text(comparison.prompt))
    if not found or not town:
        return 0.0
    return float(f"[{found[1]}] {town[1]} was founded" in prompt_text(comparison.prompt))
