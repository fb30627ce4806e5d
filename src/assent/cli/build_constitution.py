"""`assent build constitution`: answers criticised and revised under principles, as pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assent.cli import models_asked, paid_work
from assent.cli.builder_files import finished


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("constitution")(constitution)


def constitution(
    prompts: Annotated[Path, typer.Argument(help="JSONL with prompt or messages, or text lines.")],
    out: Annotated[Path, typer.Argument(help="JSONL: last revision against first answer.")],
    model: models_asked.Model,
    endpoint: models_asked.EndpointUrl = None,
    principles: Annotated[
        Path | None, typer.Option(help="YAML list of {name, critique, revision, weight}; default: ours.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Critiques and revisions of each answer.")] = 2,
    max_new_tokens: models_asked.MaxNewTokens = 512,
    temperature: models_asked.Temperature = 1.0,
    seed: models_asked.Seed = 0,
    concurrency: models_asked.Concurrency = 16,
    price_prompt: models_asked.PricePrompt = None,
    price_completion: models_asked.PriceCompletion = None,
    budget: models_asked.Budget = None,
    journal: models_asked.JournalFile = None,
) -> None:
    """The model answers, criticises its answer by a principle and revises it; the revision against the answer.

    Critiques and drafts stay in `meta`. For preferences by AI feedback, draw answers with `assent generate` and judge
    them by a rubric of your own with `assent judge`.
    """
    from assent.building.constitution import critique_and_revise, load_constitution
    from assent.generation import Sampling
    from assent.work.journal import Journal

    paid_work.refuse_existing(out)
    articles = load_constitution(principles)
    rows = paid_work.read_prompts(prompts)
    asked = models_asked.asked(model, endpoint, concurrency, price_prompt, price_completion, budget)
    sampling = Sampling(1, max_new_tokens, temperature, seed=seed)
    with Journal(journal or out.with_name(f"{out.name}.journal")) as kept:
        generator = asked.generator(model, kept)
        with paid_work.progress("rounds", rounds + 1, asked.ledger if endpoint else None) as step:
            built = critique_and_revise(rows, generator, articles, sampling, rounds, step)
    finished(out, built.comparisons, len(rows), built.left_out)
