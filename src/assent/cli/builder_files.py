"""What builders share on the command line: the input read with a bar, the output written whole, the counts said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console

from assent.cli import paid_work
from assent.comparison import Comparison
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.building.built import Built

GROUP = 256
"""Prompts, or conversations, that a builder takes from beginning to end before it begins the next."""
Row = TypeVar("Row")

Source = Annotated[Path, typer.Argument(help="Comparisons: our own rows, or any format that Assent reads.")]
Output = Annotated[Path, typer.Argument(help="JSONL of comparisons.")]


def opened(source: Path, out: Path) -> list[Comparison]:
    """The comparisons of the source; an error if the output is there already, or the source empty."""
    paid_work.refuse_existing(out)
    with Console(stderr=True).status("reading"):
        comparisons = paid_work.read_comparisons(source)
    if not comparisons:
        raise InputError("no comparisons", where=str(source))
    return comparisons


def finished(
    out: Path, comparisons: Sequence[Comparison], read: int, left_out: Mapping[str, int], **more: Any
) -> None:
    """Writes the comparisons and prints the account of them; nothing made at all is an error that says why."""
    if not comparisons:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in left_out.items()) or "no reason known"
        raise InputError("nothing could be made, and nothing was written", where=str(out), found=reasons)
    written = paid_work.write_rows(out, comparisons)
    out.with_name(f"{out.name}.partial").unlink(missing_ok=True)
    account = {"read": read, "written": written, "left_out": dict(left_out), **more, "out": str(out)}
    typer.echo(json.dumps(account, indent=1))


def in_groups(rows: Sequence[Row], build: Callable[[int, Sequence[Row]], Built], out: Path, journal: Path) -> Built:
    """What `build` makes of all rows, a group at a time; `build` takes the number of the group's first row.

    Whatever ends the work early (a budget, an interrupt, a failure), what the finished groups gave is written beside
    the output, and how to go on is said.
    """
    from assent.building.built import Built, counted

    made: list[Comparison] = []
    reasons = Counter[str]()
    done = 0
    with kept_if_stopped(out, journal, lambda: (f"{done} of {len(rows)}", made)):
        for start in range(0, len(rows), GROUP):
            part = rows[start : start + GROUP]
            built = build(start, part)
            made += built.comparisons
            reasons.update(built.left_out)
            done = start + len(part)
    return Built(made, counted(reasons))


@contextmanager
def kept_if_stopped(
    out: Path, journal: Path, so_far: Callable[[], tuple[str, Sequence[Comparison]]]
) -> Iterator[None]:
    """Writes what is finished (the share of the inputs, and their comparisons) if the work inside ends early."""
    from assent.generation.cost import BudgetReached

    try:
        yield
    except BaseException as error:
        _say_how_to_go_on(out, *so_far(), journal, isinstance(error, BudgetReached))
        raise


def _say_how_to_go_on(out: Path, share: str, made: Sequence[Comparison], journal: Path, by_budget: bool) -> None:
    partial = out.with_name(f"{out.name}.partial")
    if made:
        paid_work.write_rows(partial, made)
    there = f"; the {len(made)} comparisons made of them are in {partial}" if made else ""
    paid_work.say(f"{share} inputs are done{there}. Every answer so far is in {journal}:")
    more = "the same command with a larger budget" if by_budget else "the same command"
    paid_work.say(f"{more} goes on from there and pays for nothing twice")
