"""P-Aligner's search finds better instructions than random rewriting; on smooth landscapes greedy steps are as good

Six principles (Song et al. 2025). The hidden value of a version is .1, plus a gain N(.016, .03) for each principle
applied, discounted by .6 a step, plus synergies N(0, .01) of pairs, less .03 for each repetition; it is seen with
noise of .02, as the mean of a few scored answers would be. Spread and discount are not published: they are chosen so
that raw, one random step and greedy steps come out as published; the searches are what is tested. Every strategy
makes 20 versions; reported is the TRUE value of the version it returns, over 300 random landscapes. Random paths are
of one to four principles drawn with repetition, as the search may choose them. Random paths that never repeat a
principle know something that the search does not, and do as well as it. In about one landscape of a hundred every
principle does harm or next to nothing, and the best that is seen is noise: there the raw instruction is better.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import mean
from typing import Any

from assent.building.instruction_tree import Tree
from assent.building.p_aligner import Search, search

PRINCIPLES = [f"principle_{at}" for at in range(6)]
BASE, GAIN, SPREAD, SYNERGY, DISCOUNT, REPETITION, NOISE = 0.1, 0.016, 0.03, 0.01, 0.6, 0.03, 0.02
LONGEST = 4

EXPECTED = {
    "raw": "0.100",
    "one random step": "0.116",
    "random paths": "0.167",
    "MCTS, c = 0.1": "0.171",
    "MCTS, c = 1": "0.169",
    "greedy steps": "0.176",
    "random paths without repetition": "",
    "random versions": "",
    "best first": "",
    "MCTS better than raw": "1.00",
    "MCTS at least as good as random": "0.60 or more",
}
CLAIMS: dict[str, Callable[[dict[str, float]], bool]] = {
    "the search beats random rewriting on the mean": lambda n: n["MCTS, c = 0.1"] > n["random paths"],
    "and random choice of the version to expand": lambda n: n["MCTS, c = 0.1"] > n["random versions"],
    "it beats the raw instruction in every landscape": lambda n: n["MCTS better than raw"] == 1,
    "random rewriting beats one random step": lambda n: n["random paths"] > n["one random step"],
}
QUICK: dict[str, Any] = {"landscapes": 10}


class Landscape:
    """The hidden values of all paths of principles, and a noisy look at them."""

    def __init__(self, seed: str) -> None:
        draw = random.Random(seed)
        self.gains = {name: draw.gauss(GAIN, SPREAD) for name in PRINCIPLES}
        self.synergies = {pair: draw.gauss(0, SYNERGY) for pair in combinations(PRINCIPLES, 2)}
        self.noise = random.Random(f"{seed}:noise")

    def value(self, path: Sequence[str]) -> float:
        """The true value of the principles applied in this order."""
        first = list(dict.fromkeys(path))
        gains = sum(self.gains[name] * DISCOUNT**at for at, name in enumerate(first))
        synergies = sum(value for pair, value in self.synergies.items() if set(pair) <= set(first))
        return BASE + gains + synergies - REPETITION * (len(path) - len(first))

    def seen(self, path: Sequence[str]) -> float:
        """The same with noise."""
        return self.value(path) + self.noise.gauss(0, NOISE)


def run(seed: int, landscapes: int = 300, iterations: int = 20) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in EXPECTED}
    for number in range(landscapes):
        name = f"{seed}:{number}"
        draw = random.Random(f"{name}:choices")
        values = {
            "raw": BASE,
            "one random step": Landscape(name).value([draw.choice(PRINCIPLES)]),
            "random paths": by_random_paths(Landscape(name), draw, iterations),
            "random paths without repetition": by_paths_without_repetition(Landscape(name), draw, iterations),
            "random versions": by_search(Landscape(name), Search(iterations, strategy="random", seed=number)),
            "best first": by_search(Landscape(name), Search(iterations, strategy="best_first", seed=number)),
            "MCTS, c = 0.1": by_search(Landscape(name), Search(iterations, 0.1, seed=number)),
            "MCTS, c = 1": by_search(Landscape(name), Search(iterations, 1.0, seed=number)),
            "greedy steps": by_greedy_steps(Landscape(name), iterations),
        }
        values["MCTS better than raw"] = float(values["MCTS, c = 0.1"] > BASE)
        values["MCTS at least as good as random"] = float(values["MCTS, c = 0.1"] >= values["random paths"])
        for key, value in values.items():
            found[key].append(value)
    return {key: mean(values) for key, values in found.items()}


def by_search(landscape: Landscape, plan: Search) -> float:
    """True value of what the library's search returns."""
    tree = Tree.of("", PRINCIPLES)
    search(
        [tree],
        lambda steps: [f"{text} {name}".strip() for text, name in steps],
        lambda versions: [landscape.seen(version.split()) for _, version in versions],
        plan,
    )
    return landscape.value(tree.path(tree.ranked()[0]))


def by_random_paths(landscape: Landscape, draw: random.Random, iterations: int) -> float:
    """True value of the seen best of as many versions, each made by a random path."""
    paths = [[draw.choice(PRINCIPLES) for _ in range(draw.randint(1, LONGEST))] for _ in range(iterations)]
    return landscape.value(max(paths, key=landscape.seen))


def by_paths_without_repetition(landscape: Landscape, draw: random.Random, iterations: int) -> float:
    """The same on random paths through all principles, every version on the way counted."""
    versions: list[list[str]] = []
    while len(versions) < iterations:
        path = draw.sample(PRINCIPLES, len(PRINCIPLES))
        versions += [path[: length + 1] for length in range(len(path))]
    return landscape.value(max(versions[:iterations], key=landscape.seen))


def by_greedy_steps(landscape: Landscape, iterations: int) -> float:
    """True value after taking the seen best of all single steps, again and again while it rises."""
    path: list[str] = []
    best = landscape.seen(path)
    for _ in range(iterations // len(PRINCIPLES)):
        step, value = max(((name, landscape.seen([*path, name])) for name in PRINCIPLES), key=lambda found: found[1])
        if value <= best:
            break
        path, best = [*path, step], value
    return landscape.value(path)
