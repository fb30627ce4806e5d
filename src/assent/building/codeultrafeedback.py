"""Coding preferences: several models answer each request, steered towards one of five, and a judge rates them by it.

Source: Weyssow et al. 2024, arXiv 2403.09032 (CodeUltraFeedback).

1. Every request gets one of five preferences, in turn after a shuffle, so that all are equally frequent, and a few
   models drawn from the pool without replacement.
2. Each model answers under a principle of that preference, drawn from a list, as a system message which is not kept
   in the prompt; which principle it was stands in `meta`, since steering leaks style into the data.
3. One question shows all answers, in a random order that is kept, and asks for a rating of each by that preference.
4. The best rated against the worst makes a pair (`ratings.binarize`).

Ratings of different preferences are not comparable, and none says anything of correctness.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from assent.building.built import Built, counted
from assent.building.drawn import OnStep, nothing
from assent.building.ratings import round_robin
from assent.building.system_message import under
from assent.comparison import Candidate, Comparison, Prompt, content_key
from assent.errors import InputError
from assent.generation.sampling import Generator, Sample, Sampling, in_order
from assent.judging.verdict import Judge, Tally, apply

PREFERENCES = ("instruction_following", "readability", "complexity", "style", "explanation")
"""Names of rubrics, in the order in which they are given out."""

Principles = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Request:
    """A request, the preference it is judged by, and who answers it."""

    prompt: Prompt
    preference: str
    writers: tuple[str, ...]


def assigned(
    prompts: Sequence[Prompt],
    writers: Sequence[str],
    answers: int = 4,
    seed: int = 0,
    preferences: Sequence[str] = PREFERENCES,
) -> list[Request]:
    """The requests in the order of the prompts; preferences differ in frequency by at most one.

    Args:
        prompts: coding requests.
        writers: the pool of models; each answers a request at most once.
        answers: models drawn for each request.
        seed: of the shuffles.
        preferences: names of rubrics.
    """
    if not 2 <= answers <= len(writers):
        raise InputError(
            "no model answers a request twice", field="answers", found=str(answers), expected=f"2 to {len(writers)}"
        )
    order = list(range(len(prompts)))
    random.Random(f"{seed}:preferences").shuffle(order)
    given = dict(zip(order, round_robin(len(prompts), preferences), strict=True))
    return [
        Request(prompt, given[at], tuple(random.Random(f"{seed}:writers:{at}").sample(list(writers), answers)))
        for at, prompt in enumerate(prompts)
    ]


def respond(
    requests: Sequence[Request],
    writer_of: Callable[[str], Generator],
    principles: Principles,
    sampling: Sampling,
    on_step: OnStep = nothing,
) -> Built:
    """The answers, unjudged, each with its writer; failed, empty and repeated ones are left out and counted.

    Args:
        requests: from `assigned`.
        writer_of: from a name to who answers; asked for one writer after the other.
        principles: texts by preference.
        sampling: one answer each.
        on_step: called after each answer.
    """
    drawn = [
        {name: _principle(request, name, principles[request.preference], sampling.seed) for name in request.writers}
        for request in requests
    ]
    found: list[dict[str, str]] = [{} for _ in requests]
    for name in sorted({name for request in requests for name in request.writers}):
        asked = [at for at, request in enumerate(requests) if name in request.writers]
        steered = [under(requests[at].prompt, principles[requests[at].preference][drawn[at][name]]) for at in asked]
        for at, (sample,) in zip(asked, in_order(writer_of(name), steered, sampling.with_samples(1)), strict=True):
            found[at][name] = _text(sample)
            on_step()
    reasons = Counter[str]()
    made = []
    for request, texts, numbers in zip(requests, found, drawn, strict=True):
        different = {text: name for name in reversed(request.writers) if (text := texts[name])}
        reasons["answers empty, failed or repeated"] += len(texts) - len(different)
        kept = [name for name in request.writers if name in different.values()]
        if len(kept) < 2:
            reasons["fewer than two different answers"] += 1
            continue
        meta = {
            "made_by": "codeultrafeedback",
            "preference": request.preference,
            "principles": [numbers[name] for name in kept],
        }
        made.append(Comparison(request.prompt, [Candidate(texts[name], source=name) for name in kept], meta=meta))
    return Built(made, counted(reasons))


@dataclass(frozen=True)
class Rated:
    """Rated lists, and by preference how the judge's replies could be read."""

    built: Built
    tallies: dict[str, Tally]


def rate(drawn: Sequence[Comparison], judge_of: Callable[[str], Judge], on_step: OnStep = nothing) -> Rated:
    """The lists with their ratings; what could not be read is left out and counted, by preference.

    Args:
        drawn: from `respond`; `meta.preference` names the rubric.
        judge_of: from a preference to its judge.
        on_step: called after each list.
    """
    by_preference: defaultdict[str, list[int]] = defaultdict(list)
    for at, comparison in enumerate(drawn):
        by_preference[str(comparison.meta["preference"])].append(at)
    judged: dict[int, Comparison] = {}
    tallies: dict[str, Tally] = {}
    reasons = Counter[str]()
    for preference, places in sorted(by_preference.items()):
        judge, tally = judge_of(preference), Tally()
        for index, verdict in judge.judge([drawn[at] for at in places]):
            tally.add(verdict)
            if verdict.status == "judged":
                judged[places[index]] = apply(drawn[places[index]], verdict, judge)
            else:
                reasons[f"{preference}: verdict {verdict.status}"] += 1
            on_step()
        tallies[preference] = tally
    return Rated(Built([judged[at] for at in sorted(judged)], counted(reasons)), tallies)


def stratified(
    comparisons: Sequence[Comparison], held_out: float = 0.05, seed: int = 0
) -> tuple[list[Comparison], list[Comparison]]:
    """Training and held-out records, the same share of each preference held out; both in the given order."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for at, comparison in enumerate(comparisons):
        groups[str(comparison.meta.get("preference"))].append(at)
    out: set[int] = set()
    for name, places in sorted(groups.items()):
        random.Random(f"{seed}:{name}").shuffle(places)
        out.update(places[: round(held_out * len(places))])
    return (
        [one for at, one in enumerate(comparisons) if at not in out],
        [one for at, one in enumerate(comparisons) if at in out],
    )


def load_principles(path: Path | None = None, preferences: Sequence[str] = PREFERENCES) -> dict[str, list[str]]:
    """Texts by preference from a YAML mapping, ours by default; every preference must have some."""
    try:
        text = (
            (resources.files("assent.building") / "coding_principles.yaml").read_text(encoding="utf-8")
            if path is None
            else path.read_text(encoding="utf-8")
        )
        content: Any = yaml.safe_load(text)
        found = {str(name): [str(one) for one in rows] for name, rows in content.items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, AttributeError) as error:
        raise InputError(
            "the principles cannot be read",
            where=str(path),
            found=f"{type(error).__name__}: {error}",
            expected="preference: [text, ..]",
        ) from None
    missing = [name for name in preferences if not found.get(name)]
    if missing:
        raise InputError("a preference has no principles", where=str(path), field=missing[0])
    return found


def _principle(request: Request, writer: str, texts: Sequence[str], seed: int) -> int:
    return random.Random(f"{seed}:{content_key(request.prompt)}:{writer}").randrange(len(texts))


def _text(sample: Sample) -> str:
    return "" if sample.finish_reason == "error" else sample.text.strip()
