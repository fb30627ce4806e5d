"""A tree of versions of one instruction, searched by Monte-Carlo tree search under named principles.

Source: Song et al. 2025, arXiv 2508.04626 (P-Aligner). A step applies one principle to a version. V(s) is what
answers to version s are worth to somebody who asked the ORIGINAL instruction; N(s) counts visits.

    Q(n) = mean of V(n) and Q of its children                   an unweighted mean, recursively
    selection, while every principle was tried at n:  the child with the largest  Q + c sqrt(ln N(n) / N(child))
    expansion: one principle not tried at n;  simulation: V of the new version, no roll-out
    back-propagation: N + 1 and the best value so far, up to the root

The root's own value is measured but enters no Q that the search compares. Other strategies choose the version to be
expanded in another way, at the same cost.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from assent.errors import InputError


@dataclass
class Version:
    """A node: one version of the instruction.

    Args:
        text: the version.
        parent: index of the version it was made from; None for the root.
        principle: what was applied to make it.
        value: mean score of its answers against the original instruction; None for a root that is not scored yet.
        visits: how many scored versions lie below it, itself included unless it is the root.
        best: largest value at or below it; for the root below it.
        children: indices, in the order made.
    """

    text: str
    parent: int | None = None
    principle: str | None = None
    value: float | None = None
    visits: int = 0
    best: float = -math.inf
    children: list[int] = field(default_factory=list)


@dataclass
class Tree:
    """The versions of one instruction, the original first; JSON in and out, so that a search can go on.

    Args:
        principles: names, in order.
        versions: the nodes, in the order made.
        failures: steps that gave no version or no score; nothing of them is in the tree.
    """

    principles: list[str]
    versions: list[Version]
    failures: int = 0

    @classmethod
    def of(cls, instruction: str, principles: Sequence[str]) -> Tree:
        """A tree of the original alone."""
        if not principles:
            raise InputError("no principles to apply", field="principles")
        return cls(list(principles), [Version(instruction)])

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Tree:
        """The tree of its JSON form."""
        versions = [
            Version(**{**one, "best": -math.inf if one["best"] is None else one["best"]}) for one in row["versions"]
        ]
        return cls(list(row["principles"]), versions, row["failures"])

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        versions = [{**asdict(one), "best": None if one.best == -math.inf else one.best} for one in self.versions]
        return {"principles": self.principles, "versions": versions, "failures": self.failures}

    @property
    def original(self) -> str:
        """The instruction as it was written."""
        return self.versions[0].text

    def untried(self, at: int) -> list[str]:
        """The principles that were not yet applied to a version."""
        tried = {self.versions[child].principle for child in self.versions[at].children}
        return [name for name in self.principles if name not in tried]

    def path(self, at: int) -> list[str]:
        """The principles applied on the way from the original to a version."""
        found: list[str] = []
        place: int | None = at
        while place is not None:
            version = self.versions[place]
            if version.principle is not None:
                found.append(version.principle)
            place = version.parent
        return found[::-1]

    def quality(self, at: int) -> float:
        """Q: the mean of a version's value and its children's Q."""
        version = self.versions[at]
        own = [] if version.value is None else [version.value]
        known = [*own, *(self.quality(child) for child in version.children)]
        return sum(known) / len(known)

    def add(self, parent: int, principle: str, text: str, value: float) -> int:
        """Puts a scored version into the tree and tells its ancestors; returns its index."""
        if not math.isfinite(value):
            raise InputError("a version's value is no number", field="value", found=str(value))
        index = len(self.versions)
        self.versions.append(Version(text, parent, principle, value))
        self.versions[parent].children.append(index)
        place: int | None = index
        while place is not None:
            version = self.versions[place]
            version.visits += 1
            version.best = max(version.best, value)
            place = version.parent
        return index

    def ranked(self) -> list[int]:
        """The scored versions, best first; equal ones in the order made."""
        scored = [at for at, version in enumerate(self.versions) if version.value is not None]
        return sorted(scored, key=lambda at: -self.value(at))

    def value(self, at: int) -> float:
        """The value of a scored version."""
        value = self.versions[at].value
        assert value is not None
        return value


Strategy = Callable[[Tree, float, random.Random], int]
"""From (tree, exploration weight, randomness) to the version that is expanded next."""


def upper_confidence(quality: float, visits: int, parent_visits: int, exploration: float) -> float:
    """Q + c sqrt(ln N(parent) / N(child)); a child always has a visit, since expansion scores it."""
    return quality + exploration * math.sqrt(math.log(parent_visits) / visits)


def mcts(tree: Tree, exploration: float, draw: random.Random) -> int:
    """Down from the original by upper confidence until a principle is untried."""
    at = 0
    while not tree.untried(at):
        parent = tree.versions[at]
        scores = [
            upper_confidence(tree.quality(child), tree.versions[child].visits, parent.visits, exploration)
            for child in parent.children
        ]
        at = parent.children[scores.index(max(scores))]
    return at


def best_first(tree: Tree, exploration: float, draw: random.Random) -> int:
    """The version of the highest value that has an untried principle; the original counts as its children's mean."""
    if not tree.versions[0].children:
        return 0
    able = [at for at in range(len(tree.versions)) if tree.untried(at)]
    return max(able, key=lambda at: (tree.value(at) if at else tree.quality(0), -at))


def random_version(tree: Tree, exploration: float, draw: random.Random) -> int:
    """Any version that has an untried principle."""
    return draw.choice([at for at in range(len(tree.versions)) if tree.untried(at)])


STRATEGIES: dict[str, Strategy] = {"mcts": mcts, "best_first": best_first, "random": random_version}
