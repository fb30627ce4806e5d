"""docs/results.md from the stored results: the number expected, the number seen, and what did not come out."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy import stats

from assent.objectives.catalogue import catalogue, markdown
from experiments.coverage import coverage
from experiments.results import Experiment, stored


def write_summary(chosen: list[Experiment], path: Path) -> None:
    """Writes one section for each experiment."""
    parts = [
        "# Results",
        "Made by `make experiments` from the files in `docs/results/`; do not edit. Numbers are the mean over seeds "
        "with a 95% interval (Student's t); a claim counts the seeds in which it held.",
        overview(chosen),
        untried(chosen),
    ]
    for experiment in chosen:
        parts += section(experiment)
    path.write_text("\n\n".join(parts) + "\n")


def overview(chosen: list[Experiment]) -> str:
    """One row for each experiment: how many of its claims held in every seed, and what it is about."""
    rows = ["| experiment | claims that held | seeds | |", "|---|---|---|---|"]
    for experiment in chosen:
        seeds = sum(stored(experiment, seed) is not None for seed in experiment.seeds)
        rows.append(
            f"| [`{experiment.slug}`](#{anchor(heading(experiment))}) | {outcome(experiment)} "
            f"| {seeds} of {len(experiment.seeds)} | {title_of(experiment)} |"
        )
    return "\n".join(rows)


def write_methods(chosen: list[Experiment], path: Path) -> None:
    """Writes the page of objectives, each with what its experiments have shown."""
    path.write_text(markdown(catalogue(), outcomes(chosen)))


def outcomes(chosen: list[Experiment]) -> dict[str, str]:
    """For every objective that an experiment trains by: the experiments, and how many of their claims held."""
    found = coverage(Path(str(experiment.module.__file__)) for experiment in chosen)
    shown = {
        experiment.slug: f"[{experiment.slug}](results.md#{anchor(heading(experiment))}) {outcome(experiment)}"
        for experiment in chosen
    }
    return {slug: ", ".join(shown[name] for name in names) for slug, names in found.items() if names}


def untried(chosen: list[Experiment]) -> str:
    """The objectives that no experiment trains by."""
    found = coverage(Path(str(experiment.module.__file__)) for experiment in chosen)
    without = ", ".join(f"`{slug}`" for slug, names in found.items() if not names)
    return (
        "Which objective was trained in which experiment stands in [methods](methods.md). Checked by tests only, "
        f"without an experiment: {without}."
    )


def outcome(experiment: Experiment) -> str:
    """How many claims held in every seed; bold where not all did."""
    numbers = [result["numbers"] for seed in experiment.seeds if (result := stored(experiment, seed))]
    held = sum(all(verdicts(predicate, numbers)) for predicate in experiment.claims.values())
    if numbers and held == len(experiment.claims):
        return f"{held} of {held}"
    return f"**{held} of {len(experiment.claims)}**" if numbers else "**not run**"


def title_of(experiment: Experiment) -> str:
    """The first line of what the experiment says of itself."""
    return (experiment.module.__doc__ or experiment.slug).strip().partition("\n")[0].strip()


def heading(experiment: Experiment) -> str:
    """The heading of its section."""
    return f"`{experiment.slug}`: {title_of(experiment)}"


def anchor(text: str) -> str:
    """What a Markdown page makes of a heading to link to it."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def section(experiment: Experiment) -> list[str]:
    """The paragraphs of one experiment."""
    _, _, story = (experiment.module.__doc__ or experiment.slug).strip().partition("\n")
    parts = [f"## {heading(experiment)}"]
    if story.strip():
        parts.append(story.strip())
    results = [result for seed in experiment.seeds if (result := stored(experiment, seed))]
    if not results:
        return [*parts, "**Not run.**"]
    parts.append(table(experiment, [result["numbers"] for result in results]))
    stale = sum(result["key"] != experiment.key for result in results)
    last = results[-1]
    parts.append(
        f"{len(results)} of {len(experiment.seeds)} seeds, {last['date']}, torch {last['torch']}, {last['machine']}, "
        f"{mean(result['seconds'] for result in results):.0f} s a seed."
        + (f" **{stale} of them ran with earlier code or data.**" if stale else "")
    )
    return parts


def table(experiment: Experiment, numbers: list[dict[str, float]]) -> str:
    """Expected and seen numbers, then the claims."""
    rows = ["| number | expected | seen |", "|---|---|---|"]
    names = list(dict.fromkeys([*experiment.expected, *(name for row in numbers for name in row)]))
    for name in names:
        values = [row[name] for row in numbers if name in row]
        rows.append(f"| {name} | {experiment.expected.get(name, '')} | {interval(values)} |")
    claims = ["| claim | held |", "|---|---|"]
    for claim, predicate in experiment.claims.items():
        found = verdicts(predicate, numbers)
        verdict = f"{sum(found)} of {len(found)}" + ("" if all(found) else " (**did not come out**)")
        claims.append(f"| {claim} | {verdict} |")
    return "\n".join(rows) + ("\n\n" + "\n".join(claims) if experiment.claims else "")


def verdicts(predicate: Any, numbers: list[dict[str, float]]) -> list[bool]:
    """Whether a claim held, in each seed that measured what it speaks of."""
    return [verdict for row in numbers if (verdict := _holds(predicate, row)) is not None]


def _holds(predicate: Any, row: dict[str, float]) -> bool | None:
    """Whether a claim held in one seed; None where an earlier version did not measure what it speaks of."""
    try:
        return bool(predicate(row))
    except KeyError:
        return None


def interval(values: list[float]) -> str:
    """Mean and 95% interval; the value alone where there is one."""
    if not values:
        return "not measured"
    if len(values) == 1:
        return f"{values[0]:.4g}"
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.4g} ± {half:.2g}"
