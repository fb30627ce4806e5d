"""`assent build best-worst`, `raft`, `rejection-sample`, `binarize`: pairs and demonstrations from scored answers."""

from __future__ import annotations

from typing import Annotated

import typer

from assent.cli.builder_files import Output, Source, finished, opened


def register(group: typer.Typer) -> None:
    """Adds the commands to `assent build`."""
    group.command("best-worst")(best_worst_pairs)
    group.command("raft")(raft)
    group.command("rejection-sample")(rejection)
    group.command("binarize")(binarize_ratings)


def best_worst_pairs(
    data: Source,
    out: Output,
    smallest_gap: Annotated[float, typer.Option(min=0, help="Leave out pairs whose scores differ by no more.")] = 0.0,
    random_loser: Annotated[bool, typer.Option(help="Any worse answer as the loser, not the worst one.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of --random-loser.")] = 0,
) -> None:
    """One pair for each scored list: its best answer against its worst.

    Example:

      assent generate prompts.jsonl drawn.jsonl --model m --samples 8
      assent judge drawn.jsonl judged.jsonl --judge scorer --model reward-model
      assent build best-worst judged.jsonl pairs.jsonl
    """
    from assent.building.best_worst import best_and_random, best_worst

    comparisons = opened(data, out)
    built = best_and_random(comparisons, seed) if random_loser else best_worst(comparisons, smallest_gap)
    finished(out, built.comparisons, len(comparisons), built.left_out)


def raft(
    data: Source,
    out: Output,
    threshold: Annotated[float | None, typer.Option(help="Only answers that score at least this.")] = None,
    share: Annotated[float, typer.Option(help="Only this share of the prompts, by their best score.")] = 1.0,
) -> None:
    """The best answer of each scored list, for supervised fine-tuning (RAFT); train with `objective: sft`."""
    from assent.building.best_worst import best_only

    comparisons = opened(data, out)
    built = best_only(comparisons, threshold, share)
    finished(out, built.comparisons, len(comparisons), built.left_out)


def rejection(
    data: Source,
    out: Output,
    beta: Annotated[float, typer.Option(help="Temperature in the units of the score; small keeps only the best.")],
    seed: Annotated[int, typer.Option(help="Same seed and record, same answers.")] = 0,
) -> None:
    """Thins scored lists (statistical rejection sampling): an answer stays with probability exp((r - r_max)/beta)."""
    from assent.building.best_worst import rejection_sample

    comparisons = opened(data, out)
    built = rejection_sample(comparisons, beta, seed)
    finished(out, built.comparisons, len(comparisons), built.left_out)


def binarize_ratings(
    data: Source,
    out: Output,
    seed: Annotated[int, typer.Option(help="Draws among answers of equal rating.")] = 0,
) -> None:
    """One pair for each rated list: ties at either end are broken at random, lists of one rating left out."""
    from assent.building.ratings import binarize

    comparisons = opened(data, out)
    built = binarize(comparisons, seed)
    finished(out, built.comparisons, len(comparisons), {"fewer than two different ratings": built.left_out})
