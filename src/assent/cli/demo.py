"""`assent demo`: the whole job on two cores in a few minutes, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    output: Annotated[Path, typer.Option(help="Folder for the report, the records and the models.")] = Path(
        "demo-report"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same texts, same numbers.")] = 0,
) -> None:
    """Trains, aligns and measures a small language model offline, and writes a report.

    A model of two million parameters learns English from the documentation that ships with Python. Its
    continuations of unseen openings are compared by a rule that can be checked by eye. DPO, KTO and SimPO learn from
    the comparisons, and so does a control whose labels are shuffled. Wins against the start, KL, length and ranking
    accuracy are measured on held-out openings.

    Example:

      assent demo --output demo-report
    """
    import os

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    from assent.recipes.demo import run_demo

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    run_demo(output, seed)
