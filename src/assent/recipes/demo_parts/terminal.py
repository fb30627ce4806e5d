"""What the demo says while it runs, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from assent.recipes.demo_parts.measure import Measured

COLUMNS = 80
LABEL = 22


class Advance(Protocol):
    """Moves a progress bar on by some steps, with a word beside it."""

    def __call__(self, note: str = "", steps: int = 1) -> None:
        """Moves on."""


class Teller:
    """Prints the demo's story.

    Args:
        console: where to; a terminal shows live bars, anything else one line per stage.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(highlight=False)
        # Wider lines would only spread the bars.
        self.console = (
            console if console.width <= COLUMNS else Console(file=console.file, width=COLUMNS, highlight=False)
        )

    def title(self, text: str) -> None:
        """Prints the first line."""
        self.console.print(Text(text, style="bold"))

    def say(self, label: str, text: str) -> None:
        """Prints a stage that is done."""
        self.console.print(Text(f"{label:<{LABEL}}", style="cyan") + Text(text), soft_wrap=True)

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Advance]:
        """Shows a stage while it runs."""
        bar = Progress(
            TextColumn(f"[cyan]{label:<{LABEL - 1}}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
        )
        with bar:
            task = bar.add_task("", total=total, note="")

            def advance(note: str = "", steps: int = 1) -> None:
                if note:
                    bar.update(task, advance=steps, note=note)
                else:
                    bar.update(task, advance=steps)

            yield advance

    def results(self, rows: Sequence[Measured]) -> None:
        """Prints the table of what was measured."""
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("policy")
        for name in ("wins against start", "KL", "words", "faulty", "ranked right"):
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(
                row.name,
                row.win_rate.percent(),
                f"{row.kl.estimate:.2f}",
                f"{row.words:.1f}",
                f"{100 * row.faulty:.1f}%",
                f"{100 * row.ranking.estimate:.0f}% ({100 * row.reward_ranking.estimate:.0f}%)",
            )
        self.console.print()
        self.console.print(table)
        self.console.print(
            Text(
                "Held-out openings, 95% intervals; KL in nats per text; pairs ranked right by\n"
                "log-probability (by log-ratio to the start).",
                style="dim",
            )
        )

    def verdict(self, rows: Sequence[Measured], control: str) -> None:
        """Says in a sentence what the numbers show, and says so too where they do not show it."""
        gained = [row.name for row in rows[1:] if row.name != control and row.win_rate.above(0.5)]
        failed = [row.name for row in rows[1:] if row.name != control and not row.win_rate.above(0.5)]
        by_control = next(row for row in rows if row.name == control).win_rate.above(0.5)
        parts = [f"{', '.join(gained)}: better than the start"] if gained else []
        parts += [f"{', '.join(failed)}: no improvement shown"] if failed else []
        parts.append("shuffled labels: " + ("an improvement too, so distrust this run" if by_control else "no gain"))
        self.console.print()
        self.console.print(Text("; ".join(parts) + "."))

    def end(self, report: Path, seconds: float) -> None:
        """Prints where the report is."""
        self.console.print(Text(f"report: {report}  ({seconds:.0f} s)", style="bold"), soft_wrap=True)
