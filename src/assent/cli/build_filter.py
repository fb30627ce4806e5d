"""`assent build deduplicate` and `decontaminate`: records that repeat each other, or a test set, taken out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assent.cli import paid_work
from assent.cli.builder_files import Output, Source, finished, opened


def register(group: typer.Typer) -> None:
    """Adds the commands to `assent build`."""
    group.command("deduplicate")(deduplicate_file)
    group.command("decontaminate")(decontaminate_file)


def deduplicate_file(
    data: Source,
    out: Output,
    threshold: Annotated[float, typer.Option(help="Jaccard similarity of five-word shingles, in (0, 1].")] = 0.8,
    answers: Annotated[bool, typer.Option(help="Compare prompts with answers; else the prompts alone.")] = False,
) -> None:
    """Keeps the first record of each group of near duplicates."""
    from assent.building.decontaminate import deduplicate

    comparisons = opened(data, out)
    built = deduplicate(comparisons, threshold, answers)
    finished(out, built.comparisons, len(comparisons), built.left_out)


def decontaminate_file(
    data: Source,
    out: Output,
    against: Annotated[list[Path], typer.Option(help="Test set (JSONL or text lines); may be repeated.")],
    threshold: Annotated[
        float, typer.Option(help="Share of a test question's five-word shingles in a prompt, in (0, 1].")
    ] = 0.8,
) -> None:
    """Keeps the records whose prompts hold no question of the test sets, also inside longer prompts.

    Example:

      assent build decontaminate train.jsonl clean.jsonl --against alpaca_eval.jsonl --against mt_bench.jsonl
    """
    from assent.building.decontaminate import decontaminate
    from assent.generation.prompts import text_of

    comparisons = opened(data, out)
    tests = [text_of(prompt) for file in against for prompt in paid_work.read_prompts(file)]
    built = decontaminate(comparisons, tests, threshold)
    finished(out, built.comparisons, len(comparisons), built.left_out, test_questions=len(tests))
