"""`assent eval images`: pictures against real ones, under reward models, and before against after."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from assent.errors import InputError


def register(group: typer.Typer) -> None:
    """Adds the command to `assent eval`."""
    group.command("images")(images)


def images(
    generated: Annotated[
        Path, typer.Argument(help="Folder of generated pictures, or their features: .npy, [pictures, features].")
    ],
    real: Annotated[Path | None, typer.Argument(help="Real pictures, or their features by the same network.")] = None,
    before: Annotated[
        Path | None, typer.Option(help="Pictures of the same names (prompts and seeds) by the model before training.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Folder of the vision model whose features are compared (DINOv2, CLIP, ViT).")
    ] = None,
    scorer: Annotated[
        list[str] | None,
        typer.Option(help="Folder of a reward model: CLIP, PickScore, SigLIP, an aesthetic head; may be repeated."),
    ] = None,
    neighbours: Annotated[int, typer.Option(min=1, help="k of density, coverage, precision and recall.")] = 5,
    report: Annotated[Path | None, typer.Option(help="HTML page with the numbers and the pictures.")] = None,
) -> None:
    """Preference scores, distances to real pictures and variety, with intervals; pictures before and after.

    Captions come from a metadata.jsonl beside the pictures: rows of file_name and prompt. The Frechet distance
    depends on the number of pictures: compare only sets of one size. Low coverage at high density is what a
    collapsed model looks like.

    Examples:

      assent eval images after/ real/ --features dinov2-base

      assent eval images after/ --before before/ --scorer pickscore --report pictures.html

      assent eval images generated.npy real.npy
    """
    if generated.suffix == ".npy":
        _refuse({"--before": before, "--features": features, "--scorer": scorer, "--report": report})
        if real is None:
            raise InputError("features are compared with those of real pictures", field="REAL", found="nothing")
        first, second = _table(generated), _table(real)
        found = {"generated": len(first), "real": len(second), **_plain(_distances(first, second, neighbours))}
    else:
        found = _measured(generated, real, before, features, list(scorer or []), neighbours, report)
    typer.echo(json.dumps(found, indent=1))


def _measured(
    generated: Path,
    real: Path | None,
    before: Path | None,
    features: Path | None,
    scorers: list[str],
    neighbours: int,
    report: Path | None,
) -> dict[str, Any]:
    from transformers.utils import logging

    from assent.cli.score import opened
    from assent.evaluation.picture_scores import score_pictures, tones_of, variety_within_captions
    from assent.evaluation.pictures import check_pictures, matched, read_picture_folder
    from assent.preference_models.loading import ScorerOptions
    from assent.report.pictures import Measured, picture_report

    logging.disable_progress_bar()
    if (real is None) != (features is None):
        raise InputError(
            "real pictures are compared by the features of a vision model",
            field="REAL" if real is None else "--features",
            found="nothing",
            expected="both REAL and --features, or neither",
        )
    sides = {"after": read_picture_folder(generated)}
    if before is not None:
        sides["before"] = read_picture_folder(before)
        matched(sides["before"], sides["after"])
    genuine = None if real is None else read_picture_folder(real)
    for folder in [*sides.values(), *([] if genuine is None else [genuine])]:
        check_pictures(folder)
        if folder.ignored:
            Console(stderr=True).print(f"{folder.folder}: {folder.ignored} other files left aside", markup=False)
    models = [opened(name, ScorerOptions()) for name in scorers]
    read = None if features is None else _reader(features)
    target = None if genuine is None or read is None else read(genuine)
    measured = {}
    for side, folder in sides.items():
        others = {"tonal_variety": tones_of(folder)}
        distances = {}
        if read is not None and target is not None:
            own = read(folder)
            distances = _distances(own, target, neighbours)
            variety = variety_within_captions(own, folder)
            others |= {"variety_within_captions": variety} if variety == variety else {}
        measured[side] = Measured(distances, others)
    scores = [_with_bar(m.name, partial(score_pictures, m, sides["after"], sides.get("before"))) for m in models]
    found: dict[str, Any] = {"generated": len(sides["after"])}
    found |= {} if genuine is None else {"real": len(genuine)}
    found |= _plain(measured["after"].distances) | dict(measured["after"].others)
    if "before" in measured:
        found["before"] = _plain(measured["before"].distances) | dict(measured["before"].others)
    found["scores"] = {score.name: _score(score) for score in scores}
    if report is not None:
        path = picture_report(sides["after"], sides.get("before"), scores, measured).write(report)
        Console(stderr=True).print(f"report: {path}", markup=False, highlight=False)
    return found


def _reader(model: Path) -> Callable[[Any], Any]:
    """From a folder of pictures to features, kept on disk."""
    from assent.evaluation.picture_features import features_of, load_vision_model
    from assent.likelihood.stored_reference import default_store
    from assent.work.store import ArrayStore

    encoder = load_vision_model(model)
    store = ArrayStore(default_store().parent / "features")
    return lambda folder: _with_bar(
        f"features of {folder.folder.name}", lambda tell: features_of(folder.media(), encoder, store, tell)
    )


def _with_bar(title: str, work: Callable[[Callable[[int, int], None]], Any]) -> Any:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        return work(lambda done, total: bar.update(task, completed=done, total=total))


def _distances(first: Any, second: Any, neighbours: int) -> Any:
    from assent.evaluation.distance_intervals import distances_with_intervals

    return distances_with_intervals(first, second, neighbours)


def _plain(distances: Any) -> dict[str, Any]:
    """Each number, and its interval under the same name with `_interval`."""
    found: dict[str, Any] = {}
    for name, value in distances.items():
        found |= {name: value.estimate, f"{name}_interval": [value.low, value.high]}
    return found


def _score(score: Any) -> dict[str, Any]:
    named = {"mean": score.after, "before": score.before, "gain": score.gain, "wins": score.wins}
    return _plain({name: value for name, value in named.items() if value is not None})


def _refuse(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if value:
            raise InputError(
                "features are numbers already", field=name, found=str(value), remedy="Give folders of pictures"
            )


def _table(path: Path) -> Any:
    import numpy as np

    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError("not a readable .npy file", where=str(path), found=str(error)[:120]) from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "fiu":
        raise InputError("not a table of numbers", where=str(path), expected="an array [pictures, features]")
    return found
