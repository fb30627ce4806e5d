"""What recipes of preference models share: options, a split by prompt, models trained and measured side by side."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assent.comparison import Comparison, content_key
from assent.errors import InputError
from assent.evaluation.preference_report import preference_report
from assent.preference_models.fit import FitOptions, train_preference_model, usable
from assent.preference_models.registry import DataFacts, Spec, build_preference_model
from assent.readers import read


def options(recipe: str, about: str) -> argparse.ArgumentParser:
    """The parser of a recipe that trains on frozen features."""
    parser = argparse.ArgumentParser(prog=f"assent recipe run {recipe}", description=about)
    parser.add_argument("--data", required=True, type=Path, help="judged comparisons")
    parser.add_argument("--output", required=True, type=Path, help="folder of models and results")
    parser.add_argument("--test", type=Path, help="judged comparisons to measure on; default: a share of the data")
    parser.add_argument("--held-out", type=float, default=0.2, help="share of prompts to measure on")
    parser.add_argument("--encoder", default="hashed_ngrams", help="hashed_ngrams, or a local encoder's folder")
    parser.add_argument("--size", type=int, default=128, help="components of hashed_ngrams")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser


@dataclass(frozen=True)
class Data:
    """What is learned from, and what is measured on."""

    train: list[Comparison]
    test: list[Comparison]


def data_of(given: argparse.Namespace) -> Data:
    """The comparisons that the options name, split by prompt: no prompt is on both sides."""
    rows = list(read(given.data).comparisons)
    if given.test is not None:
        return Data(rows, list(read(given.test).comparisons))
    sides: tuple[list[Comparison], list[Comparison]] = ([], [])
    for row in rows:
        sides[_share(row, given.seed) < given.held_out].append(row)
    data = Data(*sides)
    if not data.train or not data.test:
        raise InputError(
            "one side of the split is empty",
            where=str(given.data),
            found=f"{len(data.train)} and {len(data.test)} comparisons",
            remedy="Give more data, another --held-out, or a --test file",
        )
    return data


def compared(
    given: argparse.Namespace, data: Data, specs: Mapping[str, Spec], **fitting: Any
) -> dict[str, dict[str, Any]]:
    """Trains each model, measures it on the test side, and leaves `results.json` beside the models.

    Args:
        given: the options of `options`.
        data: both sides.
        specs: the `preference_model:` of each, by the name of its folder.
        fitting: further fields of `FitOptions`; a mapping by model's name gives each its own.
    """
    features = {"encoder": given.encoder} | ({"size": given.size} if given.encoder == "hashed_ngrams" else {})
    fit = FitOptions(given.epochs, given.batch_size, given.learning_rate, seed=given.seed)
    reports: dict[str, dict[str, Any]] = {}
    for name, spec in specs.items():
        folder = given.output / name
        own = replace(fit, **fitting.get(name, {}))
        trained = train_preference_model(data.train, spec, features, own, output_dir=folder)
        rows = usable(data.test, build_preference_model(spec, 1, 1, DataFacts.of(data.train)))[0]
        reports[name] = {
            "trained_on": trained.used,
            "left_out": trained.left_out,
            "final_loss": trained.history[-1]["loss"],
            **preference_report(rows, trained.model.score(rows)),
        }
        print(f"{name}: {headline(reports[name])}; model in {folder}")
    path = given.output / "results.json"
    path.write_text(json.dumps(reports, indent=1, default=str) + "\n")
    print(f"all measures: {path}")
    return reports


def headline(report: Mapping[str, Any]) -> str:
    """Accuracy with its interval, and calibration, in one line."""
    strict = report["accuracy"]["strict"]
    return (
        f"accuracy {strict['estimate']:.3f} [{strict['low']:.3f}, {strict['high']:.3f}], "
        f"ECE {report['calibration']['ece']:.3f}"
    )


def written(path: Path, numbers: Mapping[str, Any]) -> None:
    """Writes numbers as JSON and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers, indent=1, default=str) + "\n")
    print(f"all measures: {path}")


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    return parser.parse_args(list(arguments))


def _share(row: Comparison, seed: int) -> float:
    """A number in [0, 1) that depends on the prompt alone."""
    digest = hashlib.blake2b(f"{seed}/{content_key(row.prompt)}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
