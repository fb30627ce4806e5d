"""`assent eval images`: how far generated pictures are from real ones."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer


def register(group: typer.Typer) -> None:
    """Adds the command to `assent eval`."""
    group.command("images")(images)


def images(
    generated: Annotated[Path, typer.Argument(help="Features of generated pictures: .npy, [pictures, features].")],
    real: Annotated[Path, typer.Argument(help="Features of real pictures, from the same network.")],
    neighbours: Annotated[int, typer.Option(min=1, help="k of density and coverage.")] = 5,
) -> None:
    """Frechet and kernel distance, density and coverage, from features of both sets.

    The Frechet distance depends on the number of pictures: compare only sets of one size. Low coverage at high
    density is what a collapsed model looks like.

    Example:

      assent eval images generated.npy real.npy
    """
    from assent.evaluation.image_distances import density_and_coverage, frechet_distance, kernel_distance

    first, second = _read(generated), _read(real)
    found = {
        "generated": len(first),
        "real": len(second),
        "frechet_distance": frechet_distance(first, second),
        "kernel_distance": kernel_distance(first, second),
        **asdict(density_and_coverage(first, second, neighbours)),
    }
    typer.echo(json.dumps(found, indent=1))


def _read(path: Path) -> Any:
    import numpy as np

    from assent.errors import InputError

    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError("not a readable .npy file", where=str(path), found=str(error)[:120]) from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "fiu":
        raise InputError("not a table of numbers", where=str(path), expected="an array [pictures, features]")
    return found
