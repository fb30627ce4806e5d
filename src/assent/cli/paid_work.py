"""What generating and judging share on the command line: input lines, endpoints, budgets, progress, output files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from assent.building.models import load_local
from assent.building.models import state_of as fingerprint
from assent.comparison import Comparison, to_dict
from assent.errors import InputError
from assent.generation.prompt_files import read_prompts

if TYPE_CHECKING:
    from assent.generation import Ledger, Request

__all__ = [
    "cost_line",
    "estimate",
    "fingerprint",
    "ledger_of",
    "load_local",
    "progress",
    "read_comparisons",
    "read_prompts",
    "refuse_existing",
    "saving",
    "say",
    "write_rows",
]


def read_comparisons(path: Path, on_invalid: Literal["error", "quarantine"] = "error") -> list[Comparison]:
    """The comparisons of a file in any format that the readers know; what was set aside is said."""
    from assent.readers import read

    result = read(path, on_invalid=on_invalid)
    if result.quarantined:
        say(f"{result.quarantined} of {result.rows} rows could not be read: {result.quarantine}")
    return list(result.comparisons)


def refuse_existing(path: Path) -> None:
    """An error if the output is there already: finished work is never written over."""
    if path.exists():
        raise InputError("the output exists already", where=str(path), remedy="Move it away or name another file")


def write_rows(path: Path, comparisons: Iterable[Comparison]) -> int:
    """Writes the comparisons under a temporary name, then renames; returns their number."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            for comparison in comparisons:
                file.write(json.dumps(to_dict(comparison), ensure_ascii=False) + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError("the output cannot be written", where=str(path), found=str(error)) from None
    return count


@contextmanager
def saving(path: Path, found: dict[int, Comparison], total: int, journal: Path) -> Iterator[None]:
    """Whatever ends the work early, what is there is written beside the output, and how to go on is said."""
    try:
        yield
    except BaseException:
        if found:
            partial = path.with_name(f"{path.name}.partial")
            write_rows(partial, (found[index] for index in sorted(found)))
            say(f"{len(found)} of {total} records are done and in {partial}; nothing is lost: the same command goes")
            say(f"on from {journal}")
        raise


@contextmanager
def progress(title: str, total: int, ledger: Ledger | None = None) -> Iterator[Callable[[], None]]:
    """A bar on the error stream with the cost so far; call what it gives after each record."""
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[cost]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(title, total=total, cost="")

        def step() -> None:
            bar.update(task, advance=1, cost=cost_line(ledger) if ledger else "")

        yield step


def cost_line(ledger: Ledger) -> str:
    """Tokens and money so far, in a few words."""
    tokens = f"{ledger.tokens['prompt']} + {ledger.tokens['completion']} tokens"
    return tokens if ledger.money is None else f"{tokens}, {ledger.money:.4f} spent"


def estimate(requests: Sequence[Request], ledger: Ledger) -> dict[str, Any]:
    """What requests would cost: expected and at most; money is None where the price is unknown."""
    expected = {kind: sum(one.expected()[kind] for one in requests) for kind in ("prompt", "completion")}
    bound = {kind: sum(one.bound()[kind] for one in requests) for kind in ("prompt", "completion")}
    price = ledger.price
    return {
        "requests": len(requests),
        "expected_tokens": expected,
        "tokens_at_most": bound,
        "expected_money": price.of(expected) if price else None,
        "money_at_most": price.of(bound) if price else None,
    }


def ledger_of(
    model: str,
    prices: Path | None,
    price_prompt: float | None,
    price_completion: float | None,
    budget: float | None,
    token_budget: int | None,
) -> Ledger:
    """The ledger that the price and budget options describe."""
    from assent.generation import Ledger, Price
    from assent.generation.cost import read_price

    if (price_prompt is None) != (price_completion is None):
        raise InputError(
            "a price has two parts", field="price-prompt", expected="--price-prompt and --price-completion"
        )
    if price_prompt is not None and price_completion is not None:
        price: Price | None = Price(price_prompt, price_completion)
    else:
        price = read_price(prices, model) if prices else None
    return Ledger(price, budget, token_budget)


def say(text: str) -> None:
    """One line on the error stream, shown as it is."""
    Console(stderr=True, highlight=False, markup=False).print(text, soft_wrap=True)
