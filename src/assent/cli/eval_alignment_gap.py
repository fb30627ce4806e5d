"""`assent eval alignment-gap`: how well a policy ranks, how well it could, and which pairs are out of reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from assent.cli.number_tables import print_numbers
from assent.cli.score import opened, scorer_options
from assent.errors import InputError


def register(group: typer.Typer) -> None:
    """Adds the command to `assent eval`."""
    group.command("alignment-gap")(alignment_gap)


def alignment_gap(
    file: Annotated[
        Path, typer.Argument(help="Judged pairs; `confidence` is the share of raters for the better one.")
    ],
    model: Annotated[str, typer.Option(help="The policy: a folder of a language model.")],
    reference: Annotated[str, typer.Option(help="What it was trained from: a folder of a language model.")],
    votes: Annotated[
        float | None, typer.Option(min=0.5, max=1, help="Share of raters for pairs without a confidence.")
    ] = None,
    beta: Annotated[float, typer.Option(help="Beta of the training, for the difficulty of pairs.")] = 0.1,
    max_length: Annotated[int | None, typer.Option(min=2, help="Longest candidate in tokens.")] = None,
    chat_template: Annotated[str | None, typer.Option(help="Template in place of the tokenizer's own.")] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens that are computed at once.")] = 16_384,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    rows: Annotated[
        Path | None, typer.Option(help="Also write each pair's difficulty and transition as JSONL.")
    ] = None,
) -> None:
    """Ranking accuracy against the best that training from this reference could reach.

    The idealised accuracy is that of the optimum of DPO on the true preferences, for several betas; the gap is its
    median minus the policy's accuracy. A pair's difficulty is how strongly the reference prefers the worse answer.

    Example:

      assent eval alignment-gap pairs.jsonl --model dpo-model --reference base-model --votes 0.75
    """
    from dataclasses import asdict

    from assent.evaluation import alignment_gap as gap
    from assent.evaluation.policy_ranking import two_sided
    from assent.readers import read

    comparisons = [comparison for comparison in read(file).comparisons if two_sided(comparison)]
    shares = [_share(comparison, votes) for comparison in comparisons]
    options = scorer_options(
        reference=reference,
        beta=1.0,
        max_length=max_length,
        truncate="prompt_left",
        batch_tokens=batch_tokens,
        chat_template=chat_template,
    )
    with Console(stderr=True).status(f"scoring {len(comparisons)} pairs"):
        scored = opened(model, options).score(comparisons)
    pairs = gap.pairs_of(comparisons, scored)
    bins = gap.difficulty_bins(pairs, beta)
    numbers: dict[str, Any] = asdict(gap.alignment_gap(pairs, shares))
    numbers["pairs_by_difficulty"] = {name: len(index) for name, index in bins.items()}
    transitions = gap.transitions(pairs)
    numbers["transitions"] = {name: transitions.count(name) for name in sorted(set(transitions))}
    if rows is not None:
        columns = zip(comparisons, gap.difficulty(pairs), gap.flip_threshold(pairs, beta), transitions, strict=True)
        lines = [
            json.dumps({"id": c.key, "difficulty": float(d), "flip_threshold_loss": float(t), "transition": moved})
            for c, d, t, moved in columns
        ]
        rows.parent.mkdir(parents=True, exist_ok=True)
        rows.write_text("\n".join(lines) + "\n")
    if as_json:
        typer.echo(json.dumps(numbers, indent=1))
    else:
        print_numbers(numbers)


def _share(comparison: Any, votes: float | None) -> float:
    """The share of raters who prefer the better of two answers."""
    from assent.evaluation.policy_ranking import vote_share

    share = vote_share(comparison, votes)
    if share is None:
        raise InputError(
            "the idealised accuracy needs to know how raters voted",
            where=comparison.key[:12],
            field="confidence",
            found="none",
            remedy="Give shares in the data, or one for all with `--votes` (0.75 where one person judged)",
        )
    return share
