"""The demo's report: the result first, then everything it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assent.comparison import Comparison
from assent.recipes.demo_parts.measure import SIMILAR_WORDS, Measured, Samples, texts
from assent.recipes.demo_parts.rule import CRITERION, PlainWordRule
from assent.report import Report, interval_chart, line_chart
from assent.report.run import read_metrics

SHOWN_SAMPLES = 12


@dataclass(frozen=True)
class Story:
    """Everything the report tells.

    Args:
        facts: names and values of what was run.
        rows: the measured policies, the start's own repeat first, the control last.
        control: the control's name.
        curve: (steps, losses in nats per token) of the language model's training.
        runs: the run folders of the aligned policies, by name.
        comparisons: what was learned from.
        openings: held out; with the start's samples and the first method's.
    """

    facts: Mapping[str, Any]
    rows: Sequence[Measured]
    control: str
    curve: tuple[Sequence[float], Sequence[float]]
    runs: Mapping[str, Path]
    comparisons: Sequence[Comparison]
    openings: Sequence[str]
    before: Samples
    after: Samples
    after_name: str
    rule: PlainWordRule


def demo_report(story: Story) -> Report:
    """The report of a demo."""
    best = next(row for row in story.rows if row.name == story.after_name)
    control = next(row for row in story.rows if row.name == story.control)
    start = story.rows[0]
    report = Report(
        "A small language model learns to write plain words",
        "Trained from scratch on this Python's own documentation, then aligned with its own judged samples, offline.",
    )
    report.headlines(
        [
            {
                "label": f"{best.name} against the start",
                "value": f"{100 * best.win_rate.estimate:.1f}%",
                "detail": f"wins, 95% interval {_bounds(best)}",
            },
            {
                "label": "With shuffled labels",
                "value": f"{100 * control.win_rate.estimate:.1f}%",
                "detail": f"wins, 95% interval {_bounds(control)}",
            },
            {
                "label": "Faulty words",
                "value": f"{100 * best.faulty:.1f}%",
                "detail": f"the start: {100 * start.faulty:.1f}%",
            },
            {"label": "KL to the start", "value": f"{best.kl.estimate:.2f} nats", "detail": "per continuation"},
        ]
    )
    report.text(
        "The model reads the first five words of a sentence and writes the rest. A small model invents words; the "
        "judge counts them. It reads two continuations side by side as far as the shorter one goes, and the one with "
        "fewer faulty words is better: words that the training text hardly knows, words with quotes, brackets or "
        "figures in them, words said twice in a row. Equally many are a tie and count one half."
    )
    _results(report.section("Results"), story)
    _samples(report.section("Before and after"), story)
    _curves(report.section("Training"), story)
    report.section("What it learned from").comparisons(
        story.comparisons,
        f"Continuations by the starting model, judged by {CRITERION}. A score is the share of the other "
        "continuations that one beats. Training took the best and the worst of each list.",
    )
    report.section("How it was done").key_values(story.facts)
    return report


def _bounds(row: Measured) -> str:
    return f"{100 * row.win_rate.low:.1f} to {100 * row.win_rate.high:.1f}%"


def _results(report: Report, story: Story) -> None:
    rows = [(row.name, row.win_rate.low, row.win_rate.estimate, row.win_rate.high) for row in story.rows]
    report.figure(
        interval_chart(rows, "share of held-out texts that beat the starting model's", 0.5),
        "Win rates with 95% intervals (bootstrap over openings). Grey: the interval holds one half.",
    )
    wins = [
        {
            "policy": row.name,
            "wins against the start": row.win_rate.percent(),
            "at equal length": row.win_rate_equal_length.percent() if row.win_rate_equal_length else None,
            "won": row.wins,
            "tied": row.ties,
            "lost": row.losses,
            "KL to the start, nats": f"{row.kl.estimate:.2f} [{row.kl.low:.2f}, {row.kl.high:.2f}]",
        }
        for row in story.rows
    ]
    report.table(
        wins,
        "Texts on held-out openings, sampled at temperature 1, against the start's. Equal length: only texts within "
        f"{SIMILAR_WORDS} words of each other. In brackets 95% intervals.",
    )
    written = [
        {
            "policy": row.name,
            "faulty words": f"{100 * row.faulty:.1f}%",
            "words of a text": round(row.words, 1),
            "word triples repeated": f"{100 * row.repeated:.2f}%",
            "pairs ranked right": row.ranking.percent(),
            "by log-ratio": row.reward_ranking.percent(),
        }
        for row in story.rows
    ]
    report.table(
        written,
        "What the texts are like, and how the policy ranks pairs of the start's texts on the held-out openings: by "
        "their log-probability, and by log-ratio to the start (what training logs as reward accuracy).",
    )
    report.callout(
        f"The control, “{story.control}”, is the same training on the same texts, with the verdict turned round in a "
        "random half of the comparisons, so that exactly as many labels are right as wrong. What the methods gain "
        "comes from the labels if the control does not gain it."
    )


def _samples(report: Report, story: Story) -> None:
    before, after = texts(story.before), texts(story.after)
    rows = [
        {
            "prompt": f"{opening} …",
            "before": opening + old[0],
            "after": opening + new[0],
            "before_note": story.rule.read(opening, old[0]).told(),
            "after_note": story.rule.read(opening, new[0]).told(),
        }
        for opening, old, new in list(zip(story.openings, before, after, strict=True))[:SHOWN_SAMPLES]
    ]
    report.samples(
        rows,
        f"The first {len(rows)} held-out openings and the first sample of each, not chosen by hand.",
        "Start",
        f"After {story.after_name}",
    )


def _curves(report: Report, story: Story) -> None:
    report.figure(
        line_chart({"loss": story.curve}, "optimizer step", "nats per token"),
        "The language model's loss while it learns to write from nothing.",
    )
    for key, label in (("rewards/margins", "reward margin"), ("rewards/accuracies", "pairs ranked right by reward")):
        series = {name: read_metrics(folder, key) for name, folder in story.runs.items()}
        drawn = {name: points for name, points in series.items() if points[0]}
        if drawn:
            report.figure(line_chart(drawn, "optimizer step", label), f"Alignment: {label} on the training pairs.")
