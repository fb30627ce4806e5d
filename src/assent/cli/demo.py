"""`assent demo`: the whole job on two cores in a few minutes, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    output: Annotated[
        Path | None, typer.Option(help="Folder for the report and the records.", show_default="demo-report")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same texts, same numbers.")] = 0,
    diffusion: Annotated[bool, typer.Option("--diffusion", help="Align pictures of digits instead of text.")] = False,
) -> None:
    """Trains, aligns and measures a small language model offline, and writes a report.

    A model of two million parameters learns English from the documentation that ships with Python. Its
    continuations of unseen openings are compared by a rule that can be checked by eye. DPO, KTO and SimPO learn from
    the comparisons, and so does a control whose labels are shuffled. Wins against the start, KL, length and ranking
    accuracy are measured on held-out openings.

    With --diffusion the model draws handwritten digits and learns a preference for more ink (Diffusion-DPO, MaPO);
    then a biased reward is climbed with and without a remedy (D^2-Align).

    Example:

      assent demo --output demo-report
    """
    import os

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if diffusion:
        from assent.recipes.diffusion_demo import run_diffusion_demo

        run_diffusion_demo(output or Path("diffusion-demo-report"), seed)
        return
    from assent.recipes.demo import run_demo

    run_demo(output or Path("demo-report"), seed)
