"""Better instructions found by search, and the data that trains a rewriter on them.

Source: Song et al. 2025, arXiv 2508.04626 (P-Aligner and its data). Each instruction gets a tree of versions
(`instruction_tree`); V of a version is the mean score of a few answers to it, scored against the ORIGINAL
instruction, so that drifting from what was asked costs value. From each tree come

    the path row:  a rewriter's prompt with the original; the best version against the worst;
    the step rows: the same prompt naming one principle, for every step that raised the value.

Best and worst are the extremes of some twenty noisy means, so both are too extreme: read gains on fresh answers.
Trees are searched in step with each other, so that every call is one batch.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from assent.building.built import Built, counted
from assent.building.instruction_tree import STRATEGIES, Tree
from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.generation.rewriter import marked, read_rewriting, rewriting_prompt
from assent.generation.sampling import Generator, Sampling, in_order
from assent.preference_models import Scorer

Rewrite = Callable[[Sequence[tuple[str, str]]], Sequence[str | None]]
"""From (version, principle) pairs to new versions; None where none could be had."""

Value = Callable[[Sequence[tuple[str, str]]], Sequence[float | None]]
"""From (original, version) pairs to values; None where none could be had."""

ATTEMPTS = 4
"""Failed steps in a row after which a tree is given up in this run."""


@dataclass(frozen=True)
class Search:
    """How trees are searched.

    Args:
        iterations: versions made of each instruction (T).
        exploration: weight c of visits against value; in the units of the score.
        strategy: mcts, best_first or random.
        seed: decides which principle is tried first.
    """

    iterations: int = 20
    exploration: float = 0.1
    strategy: str = "mcts"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.exploration < 0:
            raise InputError(
                "no search", field="iterations, exploration", found=f"{self.iterations}, {self.exploration}"
            )
        if self.strategy not in STRATEGIES:
            raise InputError(
                "unknown strategy", field="strategy", found=repr(self.strategy), expected=", ".join(STRATEGIES)
            )


def search(
    trees: Sequence[Tree],
    rewrite: Rewrite,
    value: Value,
    plan: Search,
    on_step: Callable[[Sequence[Tree]], None] = lambda trees: None,
) -> None:
    """Grows the trees in place until each has its versions and a scored original; goes on with begun ones.

    Args:
        trees: new, or loaded from a search that was interrupted.
        rewrite: makes versions.
        value: scores them against the original.
        plan: how.
        on_step: called after each step with all trees, to save them.
    """
    failed_in_a_row = Counter[int]()
    while True:
        growing = [
            at
            for at, tree in enumerate(trees)
            if len(tree.versions) <= plan.iterations and failed_in_a_row[at] < ATTEMPTS
        ]
        if not growing:
            break
        steps = [_next_step(trees[at], plan) for at in growing]
        texts = rewrite(
            [(trees[at].versions[place].text, name) for at, (place, name) in zip(growing, steps, strict=True)]
        )
        made = [(at, step, text) for at, step, text in zip(growing, steps, texts, strict=True) if text is not None]
        values = value([(trees[at].original, text) for at, _, text in made])
        done = set()
        for (at, (place, name), text), found in zip(made, values, strict=True):
            if found is not None:
                trees[at].add(place, name, text, found)
                done.add(at)
        for at in growing:
            failed_in_a_row[at] = 0 if at in done else failed_in_a_row[at] + 1
            trees[at].failures += at not in done
        on_step(trees)
    _score_originals(trees, value)
    on_step(trees)


def path_rows(trees: Sequence[Tree], unchanged_share: float = 0.1) -> Built:
    """A rewriter's training pairs: the best version against the worst, scores and principles with them.

    Args:
        trees: searched.
        unchanged_share: rows whose best version is the original teach to leave alone what is good; at most this
            share of all rows are such.
    """
    rows: list[Comparison] = []
    unchanged: list[Comparison] = []
    reasons = Counter[str]()
    for tree in trees:
        order = tree.ranked()
        if len(order) < 2 or tree.value(order[0]) == tree.value(order[-1]):
            reasons["no two versions of different value"] += 1
            continue
        best, worst = order[0], order[-1]
        row = Comparison(
            rewriting_prompt(tree.original),
            [Candidate(marked(tree.versions[at].text), score=tree.value(at)) for at in (best, worst)],
            context="value of answers to the original",
            meta={
                "made_by": "p_aligner",
                "original": tree.original,
                "chosen_principles": tree.path(best),
                "rejected_principles": tree.path(worst),
            },
        )
        (unchanged if best == 0 else rows).append(row)
    most = int(unchanged_share * len(rows) / (1 - unchanged_share)) if unchanged_share < 1 else len(unchanged)
    reasons["original best, beyond the share"] = max(len(unchanged) - most, 0)
    return Built([*rows, *unchanged[:most]], counted(reasons))


def step_rows(trees: Sequence[Tree], principles: Mapping[str, str]) -> Built:
    """Demonstrations of single principles: every step that raised the value."""
    rows, reasons = [], Counter[str]()
    for tree in trees:
        for version in tree.versions[1:]:
            assert version.parent is not None
            before = tree.versions[version.parent].value
            if before is None or version.value is None or version.value <= before:
                reasons["steps that raised nothing"] += 1
                continue
            name = str(version.principle)
            rows.append(
                Comparison(
                    principle_prompt(tree.versions[version.parent].text, principles[name]),
                    [Candidate(marked(version.text), score=version.value)],
                    meta={"made_by": "p_aligner.steps", "principle": name, "gain": version.value - before},
                )
            )
    return Built(rows, counted(reasons))


def principle_prompt(text: str, principle: str) -> str:
    """What a rewriter is asked when it is told how to improve a request."""
    # Put before the rewriter's usual prompt and never formatted: requests may hold braces of their own.
    return f"Improve the request in this one way: {principle}.\n\n" + rewriting_prompt(text)


class GeneratorRewriter:
    """Rewrites by a model; versions that lost quotations or code, or have another length altogether, are refused.

    Args:
        generator: the model.
        principles: texts by name.
        sampling: one sample per version; a seed of its own for each step keeps tries apart.
    """

    def __init__(self, generator: Generator, principles: Mapping[str, str], sampling: Sampling) -> None:
        self.generator, self.principles, self.sampling = generator, principles, sampling.with_samples(1)

    def __call__(self, steps: Sequence[tuple[str, str]]) -> list[str | None]:
        """The new version of each step."""
        prompts = [principle_prompt(text, self.principles[name]) for text, name in steps]
        drawn = in_order(self.generator, prompts, self.sampling)
        found: list[str | None] = []
        for (text, _), (sample,) in zip(steps, drawn, strict=True):
            read = read_rewriting(text, sample.text)
            found.append(None if sample.finish_reason == "error" or read.kept_because else read.text)
        return found


class AnswerValue:
    """The mean score of a few answers to a version, against the original instruction.

    Args:
        generator: who answers.
        scorer: any preference model with a reward.
        sampling: `samples` answers each.
    """

    def __init__(self, generator: Generator, scorer: Scorer, sampling: Sampling) -> None:
        self.generator, self.scorer, self.sampling = generator, scorer, sampling

    def __call__(self, versions: Sequence[tuple[str, str]]) -> list[float | None]:
        """The value of each version; None where no answer could be drawn or scored."""
        drawn = in_order(self.generator, [version for _, version in versions], self.sampling)
        answers = [[one.text for one in row if one.finish_reason != "error" and one.text] for row in drawn]
        asked = [at for at, row in enumerate(answers) if row]
        scored = self.scorer.score(
            [Comparison(versions[at][0], [Candidate(text) for text in answers[at]]) for at in asked]
        )
        values: list[float | None] = [None] * len(versions)
        for at, one in zip(asked, scored, strict=True):
            mean = sum(one.rewards) / len(one.rewards) if one.rewards else float("nan")
            values[at] = mean if mean == mean and abs(mean) != float("inf") else None
        return values


def load_principles(path: Path | None = None) -> dict[str, dict[str, str]]:
    """Principles by category, texts by name; ours, or those of a YAML file of the same form."""
    try:
        text = (
            (resources.files("assent.building") / "principles.yaml").read_text(encoding="utf-8")
            if path is None
            else path.read_text(encoding="utf-8")
        )
        content: Any = yaml.safe_load(text)
        return {
            str(category): {str(row["name"]): str(row["text"]) for row in rows} for category, rows in content.items()
        }
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            "the principles cannot be read",
            where=str(path),
            found=f"{type(error).__name__}: {error}",
            expected="category: [{name: .., text: ..}]",
        ) from None


def principles_of(category: str | None, table: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """A category's principles and the general ones, texts by name."""
    return {**table.get("general", {}), **(table.get(category, {}) if category else {})}


def _next_step(tree: Tree, plan: Search) -> tuple[int, str]:
    """The version to expand and the principle; seed and tree alone decide, so that a resumed search is the same."""
    draw = random.Random(f"{plan.seed}:{tree.original}:{len(tree.versions)}:{tree.failures}")
    place = STRATEGIES[plan.strategy](tree, plan.exploration, draw)
    return place, draw.choice(tree.untried(place))


def _score_originals(trees: Sequence[Tree], value: Value) -> None:
    unscored = [tree for tree in trees if tree.versions[0].value is None]
    values = value([(tree.original, tree.original) for tree in unscored]) if unscored else []
    for tree, found in zip(unscored, values, strict=True):
        tree.versions[0].value = found
