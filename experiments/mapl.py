"""MAPL reads every instruction of a prompt; a reward model of plain pairs is blind to them

Answers are bags of 6 to 14 of 20 symbols, better the larger their share of symbols from 12 on. 19 instructions can be
checked: contains or lacks one of symbols 0 to 5, at most 8 to 11 symbols, at least 9 to 11. Features of an answer are
its counts of symbols, which symbols occur, and its length (one-hot); the reward is linear in them and bilinear in
them and the instructions of the prompt. 1500 pairs ordered by quality, without instructions; two prompts for each
answer and a widened prompt for each pair as the method makes them, the three sets weighted equally; Adam 0.05, 300
steps. Tested on pairs of which exactly one answer satisfies all of 2 or 3 instructions. Swapped: the answers of two
prompts exchanged with other rows', so that only the prompts could tell; a little above one half, since an
instruction that most answers satisfy is the better one for another answer too. Policy: the reward's softmax over a
pool of 64 answers takes its place, so the normaliser of each prompt stands in the comparison of prompts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from assent.building.mapl import BASE_PROMPT, INTRA, better_prompt
from assent.likelihood import Likelihoods
from assent.objectives import Judged
from experiments._worlds import fitted

Bag = tuple[int, ...]
SYMBOLS, GOOD_FROM, LONGEST = 20, 12, 14
CHECKS: tuple[Callable[[Bag], bool], ...] = (
    *(lambda bag, s=s: s in bag for s in range(6)),
    *(lambda bag, s=s: s not in bag for s in range(6)),
    *(lambda bag, n=n: len(bag) <= n for n in range(8, 12)),
    *(lambda bag, n=n: len(bag) >= n for n in range(9, 12)),
)
VARIANTS: dict[str, dict[str, float]] = {
    "plain": {"intra_weight": 0.0, "inter_weight": 0.0},
    "inter": {"intra_weight": 0.0},
    "intra": {"inter_weight": 0.0},
    "both": {},
}
EXPECTED = {
    "constraint_plain": "0.50 to 0.53",
    "constraint_inter": "0.69 to 0.73",
    "constraint_intra": "0.87 to 0.88",
    "constraint_both": "0.79 to 0.82",
    "quality_plain": "0.84 to 0.86",
    "quality_both": "0.84 to 0.86",
    "swapped_both": "0.5 (where instructions are as often true as not)",
}
CLAIMS = {
    "plain pairs leave instructions unread": lambda n: n["constraint_plain"] < 0.58,
    "both levels read them": lambda n: n["constraint_both"] > 0.75,
    "at no more than a point of quality": lambda n: n["quality_both"] > n["quality_plain"] - 0.01,
    "the prompt alone tells little": lambda n: abs(n["swapped_both"] - 0.5) < 0.1,
    "a policy reads them too": lambda n: n["constraint_policy"] > 0.75,
}
QUICK: dict[str, Any] = {"steps": 3, "count": 40, "tested": 40}


@dataclass(frozen=True)
class Row:
    """One comparison: its candidates as (instructions, answer), and which level it belongs to."""

    candidates: tuple[tuple[tuple[int, ...], Bag], ...]
    level: str


def run(seed: int, steps: int = 300, count: int = 1500, tested: int = 2000) -> dict[str, float]:
    draw = random.Random(seed)
    pairs = [by_quality(draw) for _ in range(count)]
    rows = [Row((((), better), ((), worse)), "preference") for better, worse in pairs]
    rows += [row for pair in pairs for bag in pair if (row := two_prompts(bag, draw)) is not None]
    rows += [row for pair in pairs if (row := widened(*pair, draw)) is not None]
    tests = {
        "constraint": [one_satisfies(draw) for _ in range(tested)],
        "quality": [
            Row((((), better), ((), worse)), "") for better, worse in (by_quality(draw) for _ in range(tested))
        ],
        "swapped": exchanged([row for row in rows if row.level == INTRA], draw),
    }
    pool = torch.stack([features(bag_of(draw)) for _ in range(64)])
    numbers = {}
    for name, options in (*VARIANTS.items(), ("policy", {})):
        theta = trained(rows, options, steps, pool if name == "policy" else None)
        for test, held_out in tests.items():
            inputs, answers = tensors(held_out, 2)
            found = reward(inputs, answers, **theta)
            numbers[f"{test}_{name}"] = float((found[:, 0] > found[:, 1]).double().mean())
    return numbers


def bag_of(draw: random.Random) -> Bag:
    return tuple(draw.randrange(SYMBOLS) for _ in range(draw.randint(6, LONGEST)))


def by_quality(draw: random.Random) -> tuple[Bag, Bag]:
    """Two answers of different quality, the better one first."""
    while True:
        first, second = bag_of(draw), bag_of(draw)
        if quality(first) != quality(second):
            return (first, second) if quality(first) > quality(second) else (second, first)


def quality(bag: Bag) -> float:
    return sum(symbol >= GOOD_FROM for symbol in bag) / len(bag)


def two_prompts(bag: Bag, draw: random.Random) -> Row | None:
    """The answer under a better and a worse list of one to three instructions; None where none was drawn."""
    by_truth = {truth: [at for at, check in enumerate(CHECKS) if check(bag) is truth] for truth in (True, False)}
    for _ in range(20):
        count = draw.randint(1, 3)
        truths = [[draw.random() < 0.5 for _ in range(count)] for _ in range(2)]
        lists = [tuple(draw.choice(by_truth[truth]) for truth in given) for given in truths]
        order = better_prompt(*truths)
        if order is not None and all(len(set(given)) == count for given in lists):
            return Row(((lists[order], bag), (lists[1 - order], bag)), INTRA)
    return None


def widened(better: Bag, worse: Bag, draw: random.Random) -> Row | None:
    """The pair under one or two instructions that only its better answer satisfies, and under none."""
    separating = [at for at, check in enumerate(CHECKS) if check(better) and not check(worse)]
    if not separating:
        return None
    chosen = tuple(draw.sample(separating, min(2, len(separating))))
    return Row(((chosen, better), (chosen, worse), ((), better), ((), worse)), "inter")


def one_satisfies(draw: random.Random) -> Row:
    """Two answers and two or three instructions that the first satisfies all of, the second not."""
    while True:
        first, second = bag_of(draw), bag_of(draw)
        given = tuple(draw.sample(range(len(CHECKS)), draw.randint(2, 3)))
        kept = [all(CHECKS[at](bag) for at in given) for bag in (first, second)]
        if kept == [True, False]:
            return Row(((given, first), (given, second)), "")


def exchanged(rows: Sequence[Row], draw: random.Random) -> list[Row]:
    """Pairs of prompts, each with the answer of another pair."""
    bags = [row.candidates[0][1] for row in rows]
    draw.shuffle(bags)
    return [Row(tuple((given, bag) for given, _ in row.candidates), "") for row, bag in zip(rows, bags, strict=True)]


def features(bag: Bag) -> Tensor:
    """[54] counts, occurrences and length."""
    counts = torch.bincount(torch.tensor(bag), minlength=SYMBOLS).double()
    length = torch.nn.functional.one_hot(torch.tensor(len(bag)), LONGEST + 1)[1:].double()
    return torch.cat([counts / 10, (counts > 0).double(), length])


def tensors(rows: Sequence[Row], width: int) -> tuple[Tensor, Tensor]:
    """[B, K, 19] instructions and [B, K, 54] answers, zeros where a row has fewer candidates."""
    inputs = torch.zeros(len(rows), width, len(CHECKS), dtype=torch.float64)
    answers = torch.zeros(len(rows), width, 2 * SYMBOLS + LONGEST, dtype=torch.float64)
    for at, row in enumerate(rows):
        for column, (given, bag) in enumerate(row.candidates):
            inputs[at, column, list(given)] = 1
            answers[at, column] = features(bag)
    return inputs, answers


def reward(inputs: Tensor, answers: Tensor, linear: Tensor, bilinear: Tensor) -> Tensor:
    """[B, K] the reward of each candidate."""
    return answers @ linear + ((inputs @ bilinear) * answers).sum(dim=-1)


def trained(rows: Sequence[Row], options: dict[str, float], steps: int, pool: Tensor | None) -> dict[str, Tensor]:
    """The reward's weights after training it, or with a pool of answers its softmax, by MAPL."""
    inputs, answers = tensors(rows, 4)
    mask = torch.tensor([[column < len(row.candidates) for column in range(4)] for row in rows])
    scores = torch.tensor([1.0, 0.0, torch.nan, torch.nan], dtype=torch.float64).expand(len(rows), 4)
    roles = tuple((None, None, *[BASE_PROMPT if len(row.candidates) == 4 else None] * 2) for row in rows)
    levels = [row.level for row in rows]
    weight = torch.tensor([1 / levels.count(level) for level in levels], dtype=torch.float64)
    reference = Likelihoods.from_sums(torch.zeros(len(rows), 4, dtype=torch.float64), mask=mask)

    def make(linear: Tensor, bilinear: Tensor) -> Judged:
        found = reward(inputs, answers, linear, bilinear)
        if pool is not None:
            found = found - (inputs @ bilinear @ pool.T + pool @ linear).logsumexp(dim=-1)
        return Judged(
            policy=Likelihoods.from_sums(found, mask=mask),
            reference=reference,
            scores=scores,
            labels=torch.full(mask.shape, -1),
            roles=roles,
            mask=mask,
            confidence=None,
            weight=torch.ones(len(rows), dtype=torch.float64),
            group=tuple(levels),
        )

    start = {
        "linear": torch.zeros(answers.shape[-1], dtype=torch.float64),
        "bilinear": torch.zeros(len(CHECKS), answers.shape[-1], dtype=torch.float64),
    }
    return fitted({"mapl": {"beta": 1.0, **options}}, make, start, steps, rate=0.05, weight=weight)
