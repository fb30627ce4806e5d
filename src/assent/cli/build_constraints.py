"""`assent build constraints`: comparisons of prompts and of gaps, from instructions that code can check (MAPL)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from assent.cli.builder_files import Output, Source, finished, opened


class Kind(StrEnum):
    """What is compared."""

    intra = "intra"
    inter = "inter"
    both = "both"


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("constraints")(constraints)


def constraints(
    data: Source,
    out: Output,
    kind: Annotated[
        Kind, typer.Option(help="intra: one answer, two prompts; inter: a pair with its prompt widened; or both.")
    ] = Kind.both,
    seed: Annotated[int, typer.Option(help="Draws instructions and their wording.")] = 0,
) -> None:
    """Widens prompts by instructions that an answer satisfies or violates by construction; train with `mapl`."""
    from assent.building.mapl import inter, intra

    comparisons = opened(data, out)
    made, left_out = [], {}
    if kind is not Kind.inter:
        built = intra(comparisons, seed)
        made += built.comparisons
        left_out["answers for which no instructions were found"] = built.left_out
    if kind is not Kind.intra:
        built = inter(comparisons, seed)
        made += built.comparisons
        left_out["comparisons that no instruction separates"] = built.left_out
    finished(out, made, len(comparisons), left_out)
