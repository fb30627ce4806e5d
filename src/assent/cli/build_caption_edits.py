"""`assent build caption-edits`: captions against captions that no longer fit the picture (TPO)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from assent.cli import models_asked
from assent.cli.builder_files import Output, Source, finished, in_groups, opened

if TYPE_CHECKING:
    from assent.building.built import Built
    from assent.comparison import Comparison


class Form(StrEnum):
    """What the records are."""

    pairs = "pairs"
    labels = "labels"


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("caption-edits")(models_asked.with_options(caption_edits, model=None, max_new_tokens=600))


def caption_edits(
    data: Source,
    out: Output,
    asked: models_asked.Asked,
    form: Annotated[
        Form, typer.Option(help="pairs: one picture, two prompts (TDPO); labels: good and bad captions (TKTO).")
    ] = Form.pairs,
    edits: Annotated[int, typer.Option(min=1, help="Edits asked of --model for each caption.")] = 4,
) -> None:
    """Edits each picture's caption so that it is false; train with `tpo_free_lunch`, without any pair of pictures.

    Without --model, rules swap one word for another of its class (colours, numbers, places, weather, ...). Edits that
    change nothing, reword only or change too much are refused and counted.

    Example:

      assent build caption-edits captions.jsonl pairs.jsonl
    """
    from assent.building.caption_edits import ModelEditor, RuleEditor, edit_captions

    comparisons = opened(data, out)
    if not asked.model:
        built = edit_captions(comparisons, RuleEditor(asked.seed), form.value)
    else:
        with asked.models(out) as models:
            editor = ModelEditor(models.generator(asked.model), edits, asked.sampling())

            def edited(first: int, part: Sequence[Comparison]) -> Built:
                return edit_captions(part, editor, form.value)

            built = in_groups(comparisons, edited, out, asked.place(out))
    finished(out, built.comparisons, len(comparisons), built.left_out)
