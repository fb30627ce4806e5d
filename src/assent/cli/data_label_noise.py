"""The part of `assent data audit` about labels: asks a model, estimates how many are wrong, and shows which."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from assent.errors import InputError

if TYPE_CHECKING:
    from assent.comparison import Comparison
    from assent.evaluation.label_noise import LabelNoise
    from assent.preference_models import Scored

CHUNK = 128
SHOWN, WIDTH = 5, 90


@dataclass(frozen=True)
class Asked:
    """Whose opinion of the labels is asked for.

    Args:
        model: as `assent score` takes it, or `rule:package.module:function`.
        score: in its place, the name of scores that the records carry.
        scale: what its log-odds are multiplied by; None: fitted.
        options: how the model is opened, as `assent.cli.score.scorer_options` takes them.
    """

    model: str | None
    score: str | None
    scale: float | None
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.model is not None and self.score is not None:
            raise InputError("one opinion at a time", field="--model and --score", remedy="Give one of them")
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise InputError("a scale is positive", field="--scale", found=str(self.scale))

    @property
    def name(self) -> str:
        """What the opinion is called in reports."""
        return str(self.model if self.score is None else self.score)

    def scored(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """What it says of each comparison; a bar on the terminal shows how far a model is."""
        if self.score is not None:
            return stored_scores(comparisons, self.score)
        from assent.cli.score import opened, scorer_options

        assert self.model is not None
        scorer = opened(self.model, scorer_options(beta=1.0, **self.options))
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        found: list[Scored] = []
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("asking the model", total=len(comparisons))
            for start in range(0, len(comparisons), CHUNK):
                found += scorer.score(comparisons[start : start + CHUNK])
                bar.update(task, completed=len(found))
        return found


def stored_scores(comparisons: Sequence[Comparison], name: str) -> list[Scored]:
    """The records' own scores of that name as a model's rewards; a candidate without one has no number."""
    from assent.preference_models import Scored

    found = [
        Scored(tuple(one.scores.get(name, math.nan) for one in comparison.candidates)) for comparison in comparisons
    ]
    if not any(math.isfinite(value) for scored in found for value in scored.rewards or ()):
        known = sorted({key for comparison in comparisons for one in comparison.candidates for key in one.scores})
        raise InputError(
            "no candidate has such a score",
            where="--score",
            found=name,
            expected=", ".join(known[:20]) or "a file with scores",
            remedy="`assent score` writes a model's scores into a file",
        )
    return found


def as_rows(
    noise: LabelNoise, comparisons: Sequence[Comparison], origins: Sequence[str], name: str, count: int
) -> dict[str, Any]:
    """The estimate as plain data, with the texts of the most suspicious comparisons."""
    from assent.comparison import to_dict

    return {
        "model": name,
        "labels": noise.labels,
        "left_out": dict(noise.left_out),
        "noise_rate": noise.noise_rate,
        "noise_rate_95": list(noise.interval),
        "disagreement": noise.disagreement,
        "scale": noise.scale,
        "annotators": [
            {"annotator": who or "everyone", "labels": noise.counts[who], "right": right}
            for who, right in sorted(noise.reliability.items(), key=lambda item: item[1])
        ],
        "suspicious": [
            {
                "where": origins[index],
                "probability_right": noise.probability_right[index],
                "comparison": to_dict(looked_at(comparisons[index])),
            }
            for index in noise.suspicious(count)
        ],
    }


def looked_at(comparison: Comparison) -> Comparison:
    """The comparison with the two candidates whose order was looked at, the preferred one first."""
    from assent.evaluation.label_noise import best_and_worst

    pair = best_and_worst(comparison)
    assert pair is not None
    return replace(comparison, candidates=[comparison.candidates[at] for at in pair], confidence=None)


def show(found: Mapping[str, Any], console: Console) -> None:
    """Prints the estimate and the first suspicious comparisons; their texts cannot control the terminal."""
    from assent.cli.data_tables import clean

    low, high = (100 * value for value in found["noise_rate_95"])
    console.print()
    console.print(Text(f"label noise by {clean(found['model'], 60)}", style="bold"))
    told = f"{100 * found['noise_rate']:.1f}% of {found['labels']:,} labels (95%: {low:.0f} to {high:.0f}%)"
    console.print(Text(f"    expected to be wrong  {told}"))
    console.print(Text(f"    contradicted          {100 * found['disagreement']:.1f}%"))
    for reason, count in found["left_out"].items():
        console.print(Text(f"    left out              {count:,}: {reason}", style="dim"))
    for row in found["annotators"] if len(found["annotators"]) > 1 else []:
        console.print(
            Text(f"    {clean(row['annotator'], 30):<30}{100 * row['right']:5.1f}% of {row['labels']:,} right")
        )
    if found["noise_rate"] > 0.5:
        console.print(
            Text("    The model contradicts most labels: is higher better here, and there?", style="yellow")
        )
    for row in found["suspicious"][:SHOWN]:
        console.print(
            Text(f"    {100 * row['probability_right']:5.1f}% right  {clean(row['where'], 200)}"), soft_wrap=True
        )
        first, second = row["comparison"]["candidates"]
        for side, text in (("preferred", first["completion"]), ("to", second["completion"])):
            console.print(Text(f"        {side:<10}{clean(shown_text(text), WIDTH)}", style="dim"), soft_wrap=True)
    if len(found["suspicious"]) > SHOWN:
        rest = len(found["suspicious"]) - SHOWN
        console.print(Text(f"    ... {rest:,} more (--json and --html show them)", style="dim"))


def shown_text(completion: Any) -> str:
    """A completion in words: its text, or what kind of thing it is."""
    from assent.preference_models.text import completion_text

    try:
        return completion_text(completion)
    except (InputError, TypeError, KeyError, AttributeError):
        return "(not a text)"


def write_report(found: Mapping[str, Any], source: str, path: Path) -> None:
    """Writes the estimate as a page with the suspicious comparisons to browse."""
    from assent.comparison import from_dict
    from assent.report import Report
    from assent.report.label_noise import add_suspicious

    low, high = found["noise_rate_95"]
    report = Report("Label noise", source)
    report.text(
        f"As {found['model']} sees it. What the model cannot know looks like noise too, and so does honest "
        "disagreement; a model that learnt from these very labels doubts too few of them."
    )
    report.key_values(
        {
            "labels": found["labels"],
            "expected share of wrong labels": found["noise_rate"],
            "95% interval": f"{low:.2f} to {high:.2f}",
            "share that the model contradicts": found["disagreement"],
            "scale of the model's log-odds": found["scale"],
            **found["left_out"],
        }
    )
    columns = {"annotator": "annotator", "labels": "labels", "right": "share of right labels"}
    report.table([{columns[key]: value for key, value in row.items()} for row in found["annotators"]])
    rows = [(from_dict(row["comparison"]), row["probability_right"]) for row in found["suspicious"]]
    if rows:
        add_suspicious(report.section("Most suspicious"), rows)
    report.write(path)
