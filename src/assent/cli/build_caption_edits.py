"""`assent build caption-edits`: captions against captions that no longer fit the picture (TPO)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from assent.cli import models_asked
from assent.cli.builder_files import Output, Source, finished, opened


class Form(StrEnum):
    """What the records are."""

    pairs = "pairs"
    labels = "labels"


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("caption-edits")(caption_edits)


def caption_edits(
    data: Source,
    out: Output,
    form: Annotated[
        Form, typer.Option(help="pairs: one picture, two prompts (TDPO); labels: good and bad captions (TKTO).")
    ] = Form.pairs,
    model: Annotated[
        str | None, typer.Option(help="A language model as the editor: folder, hub name, or an endpoint's model.")
    ] = None,
    endpoint: models_asked.EndpointUrl = None,
    edits: Annotated[int, typer.Option(min=1, help="Edits asked of the model for each caption.")] = 4,
    seed: models_asked.Seed = 0,
    max_new_tokens: models_asked.MaxNewTokens = 600,
    concurrency: models_asked.Concurrency = 16,
    price_prompt: models_asked.PricePrompt = None,
    price_completion: models_asked.PriceCompletion = None,
    budget: models_asked.Budget = None,
    journal: models_asked.JournalFile = None,
) -> None:
    """Edits each picture's caption so that it is false; train with `tpo_free_lunch`, without any pair of pictures.

    Without --model, rules swap one word for another of its class (colours, numbers, places, weather, ...). Edits that
    change nothing, reword only or change too much are refused and counted.

    Example:

      assent build caption-edits captions.jsonl pairs.jsonl
    """
    from assent.building.caption_edits import ModelEditor, RuleEditor, edit_captions
    from assent.generation import Sampling
    from assent.work.journal import Journal

    comparisons = opened(data, out)
    if model is None:
        built = edit_captions(comparisons, RuleEditor(seed), form.value)
    else:
        asked = models_asked.asked(model, endpoint, concurrency, price_prompt, price_completion, budget)
        with Journal(journal or out.with_name(f"{out.name}.journal")) as kept:
            editor = ModelEditor(asked.generator(model, kept), edits, Sampling(1, max_new_tokens, seed=seed))
            built = edit_captions(comparisons, editor, form.value)
    finished(out, built.comparisons, len(comparisons), built.left_out)
