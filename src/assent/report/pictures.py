"""The page of measured pictures: scores, distances, and the same pictures before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assent.encoding.images import load_image
from assent.evaluation.intervals import Interval
from assent.evaluation.picture_scores import PictureScore
from assent.evaluation.pictures import PictureFolder
from assent.report.figures import interval_chart
from assent.report.page import Report

SHOWN = 24
COLUMNS = 6
THUMBNAIL = 224

MEANINGS: Mapping[str, str] = {
    "frechet_distance": "Distance of the Gaussians of both sets; falls with the number of pictures, so compare equal "
    "numbers only.",
    "kernel_distance": "Distance of both sets without that bias; about 0 where they are alike.",
    "density": "How thickly real pictures lie around the generated ones; above 1: in the midst of them.",
    "coverage": "Share of the real pictures that some generated one is near to: falls when a model collapses.",
    "precision": "Share of the generated pictures that are near to some real one.",
    "recall": "Share of the real pictures within reach of the generated ones.",
    "variety_within_captions": "Mean distance between two pictures of one caption.",
    "tonal_variety": "Spread of saturation, brightness and contrast over the pictures (DivGenBench's PVS).",
}


@dataclass(frozen=True)
class Measured:
    """What was measured of a folder of pictures.

    Args:
        distances: to real pictures, by name.
        others: further numbers by name.
    """

    distances: Mapping[str, Interval]
    others: Mapping[str, float]

    def shown(self, name: str) -> str:
        """A number with its interval, or nothing."""
        if name in self.distances:
            return str(self.distances[name])
        return f"{self.others[name]:.3g}" if name in self.others else ""


def picture_report(
    after: PictureFolder,
    before: PictureFolder | None,
    scores: Sequence[PictureScore],
    measured: Mapping[str, Measured],
) -> Report:
    """The page of a folder of pictures, and of those it is compared with.

    Args:
        after: the pictures.
        before: others of the same prompts and seeds, or None.
        scores: of each reward model.
        measured: numbers by "after" and "before".
    """
    report = Report("Pictures measured", _subtitle(after, before))
    report.headlines([_headline(score) for score in scores] or _distance_headlines(measured["after"]))
    if scores:
        report.section("Scores of reward models")
        report.table([_score_row(score) for score in scores], "Intervals (95%) resample captions.")
        gains = [(s.name, s.gain.low, s.gain.estimate, s.gain.high) for s in scores if s.gain is not None]
        if len(gains) == 1:
            report.figure(interval_chart(gains, "reward gained", 0.0), "Mean of the paired differences.")
    names = [name for name in MEANINGS if any(one.shown(name) for one in measured.values())]
    if names:
        report.section("Distances and variety")
        sides = [side for side in ("before", "after") if side in measured]
        report.table(
            [
                {
                    "measure": n.replace("_", " "),
                    **{s: measured[s].shown(n) for s in sides},
                    "what it says": MEANINGS[n],
                }
                for n in names
            ],
            "Intervals (95%) by leaving out groups of pictures of both sets.",
        )
    report.section("The pictures" if before is None else "The same prompts and seeds before and after")
    places = _places(after)
    report.photographs(_grid(after, before, places), _listed(after, places))
    return report


def _subtitle(after: PictureFolder, before: PictureFolder | None) -> str:
    beside = "" if before is None else f", beside as many in {before.folder.name}"
    return f"{len(after):,} pictures in {after.folder.name}{beside}."


def _headline(score: PictureScore) -> dict[str, str]:
    if score.gain is None:
        return {"label": f"mean {score.name}", "value": f"{score.after.estimate:.3f}", "detail": str(score.after)}
    return {
        "label": f"{score.name} gained",
        "value": f"{score.gain.estimate:+.3f}",
        "detail": f"95% interval {score.gain.low:+.3f} to {score.gain.high:+.3f}",
    }


def _distance_headlines(measured: Measured) -> list[dict[str, str]]:
    return [
        {"label": name.replace("_", " "), "value": f"{value.estimate:.3g}", "detail": str(value)}
        for name, value in measured.distances.items()
        if name in ("kernel_distance", "coverage", "precision")
    ]


def _score_row(score: PictureScore) -> dict[str, str]:
    row = {"reward model": score.name}
    if score.before is not None and score.gain is not None and score.wins is not None:
        row |= {"before": str(score.before), "after": str(score.after), "gained": str(score.gain)}
        return row | {"higher than before": score.wins.percent()}
    return row | {"mean": str(score.after)}


def _places(after: PictureFolder) -> list[int]:
    """Which pictures are shown: evenly over the names, not chosen by what came out."""
    count = min(SHOWN, len(after))
    return [int(place) for place in np.linspace(0, len(after) - 1, count).round()] if count > 1 else [0]


def _grid(after: PictureFolder, before: PictureFolder | None, places: Sequence[int]) -> Figure:
    sides = [after] if before is None else [before, after]
    bands = -(-len(places) // COLUMNS)
    figure = Figure(figsize=(1.25 * COLUMNS, 1.35 * bands * len(sides)))
    axes = np.atleast_1d(figure.subplots(bands * len(sides), COLUMNS, squeeze=False))
    for one in axes.flat:
        one.axis("off")
    for number, place in enumerate(places):
        band, column = divmod(number, COLUMNS)
        for row, side in enumerate(sides):
            _draw(axes[band * len(sides) + row, column], side, place)
            if column == 0 and len(sides) > 1:
                axes[band * len(sides) + row, 0].set_title(("before", "after")[row], fontsize=8, loc="left")
    figure.tight_layout(pad=0.3)
    return figure


def _draw(axes: Axes, folder: PictureFolder, place: int) -> None:
    picture = load_image(folder.media()[place], str(folder.folder / folder.names[place]))
    small = max(picture.size) <= 64
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    axes.imshow(np.asarray(picture), interpolation="nearest" if small else "antialiased")


def _listed(folder: PictureFolder, places: Sequence[int]) -> str:
    captions = list(dict.fromkeys(folder.captions[place] or folder.names[place] for place in places))
    return f"{len(places)} of {len(folder):,} pictures, evenly over their names: " + "; ".join(
        c[:80] for c in captions
    )
