"""Constitutional AI's data: answers criticised and revised under principles, and preferences by principle.

Source: Bai et al. 2022, arXiv 2212.08073.

Critique and revision: repeat S times: draw a principle; the model criticises its answer by it, then revises it. The
last revision against the first answer makes a pair; alone it is a demonstration. Critiques are no training target.

AI preferences: a judge with a principle as its criterion orders answers (`assent judge`, one rubric each).
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
from assent.comparison import Candidate, Comparison, Prompt, content_key
from assent.errors import InputError
from assent.generation.prompts import text_of
from assent.generation.sampling import Generator, Sampling, in_order


@dataclass(frozen=True)
class Principle:
    """One article of a constitution.

    Args:
        name: its name in the records.
        critique: what the criticism asks.
        revision: what the revision asks.
        weight: how often it is drawn, relative to the others.
    """

    name: str
    critique: str
    revision: str
    weight: float = 1.0


def load_constitution(path: Path | None = None) -> list[Principle]:
    """The principles of a YAML list, ours by default."""
    try:
        text = (
            (resources.files("assent.building") / "constitution.yaml").read_text(encoding="utf-8")
            if path is None
            else path.read_text(encoding="utf-8")
        )
        rows: Any = yaml.safe_load(text)
        found = [Principle(**row) for row in rows]
        total = sum(one.weight for one in found)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise InputError(
            "the constitution cannot be read",
            where=str(path),
            found=f"{type(error).__name__}: {error}",
            expected="a list of {name, critique, revision, weight}",
        ) from None
    if not found or total <= 0 or any(one.weight < 0 for one in found):
        raise InputError("no principle can be drawn", where=str(path), field="weight", found=str(total))
    return found


def critique_and_revise(
    prompts: Sequence[Prompt],
    generator: Generator,
    principles: Sequence[Principle],
    sampling: Sampling,
    rounds: int = 2,
    on_round: Callable[[], None] = lambda: None,
) -> Built:
    """Pairs of the last revision against the first answer; all drafts, critiques and principles stay in `meta`.

    Args:
        prompts: what is asked.
        generator: answers, criticises and revises.
        principles: one is drawn for each prompt and round.
        sampling: one sample each.
        rounds: critiques and revisions of each answer.
        on_round: called after the first answers and after each round.
    """
    if rounds < 1:
        raise InputError("no round of critique", field="rounds", found=str(rounds), expected="at least 1")
    once = sampling.with_samples(1)
    drafts: list[list[str]] = [[_text(row)] for row in in_order(generator, prompts, once)]
    steps: list[list[Mapping[str, str]]] = [[] for _ in prompts]
    on_round()
    for number in range(rounds):
        able = [at for at in range(len(prompts)) if drafts[at][-1]]
        drawn = {at: _drawn(prompts[at], principles, sampling.seed, number) for at in able}
        asked = [_critique_prompt(prompts[at], drafts[at][-1], drawn[at]) for at in able]
        critiques = [_text(row) for row in in_order(generator, asked, once)]
        asked = [
            _revision_prompt(prompts[at], drafts[at][-1], drawn[at], critique)
            for at, critique in zip(able, critiques, strict=True)
        ]
        for at, critique, row in zip(able, critiques, in_order(generator, asked, once), strict=True):
            drafts[at].append(_text(row))
            steps[at].append({"principle": drawn[at].name, "critique": critique})
        on_round()
    pairs = []
    reasons = Counter[str]()
    for prompt, written, taken in zip(prompts, drafts, steps, strict=True):
        if not all(written):
            reasons["a draft or revision could not be drawn"] += 1
        elif written[0] == written[-1]:
            reasons["nothing was revised"] += 1
        else:
            answers = [
                Candidate(written[at], score=score, source=generator.name) for at, score in ((-1, 1.0), (0, 0.0))
            ]
            meta = {"made_by": "constitution", "steps": taken, "drafts": written[1:-1]}
            pairs.append(Comparison(prompt, answers, context="constitution", meta=meta))
    return Built(pairs, counted(reasons))


def _drawn(prompt: Prompt, principles: Sequence[Principle], seed: int, number: int) -> Principle:
    draw = random.Random(f"{seed}:{content_key(prompt)}:{number}")
    return draw.choices(list(principles), [one.weight for one in principles])[0]


def _critique_prompt(prompt: Prompt, draft: str, principle: Principle) -> str:
    # Concatenated, never formatted: drafts may hold braces of their own.
    return (
        _shown(prompt, draft) + "\n\nCriticise this answer. " + principle.critique + " Reply with the critique alone."
    )


def _revision_prompt(prompt: Prompt, draft: str, principle: Principle, critique: str) -> str:
    ask = "\n\nRevise the answer. " + principle.revision + " Reply with the revised answer alone."
    return _shown(prompt, draft) + "\n\nCritique:\n" + critique + ask


def _shown(prompt: Prompt, draft: str) -> str:
    return "Request:\n" + text_of(prompt) + "\n\nAnswer:\n" + draft


def _text(samples: Sequence[Any]) -> str:
    return "" if samples[0].finish_reason == "error" else str(samples[0].text).strip()
