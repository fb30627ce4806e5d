"""`assent build caption-edits`: captions against captions that no longer fit the picture (TPO)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assent.cli import models_asked
from assent.cli.builder_files import Output, Source, finished, in_groups, opened

if TYPE_CHECKING:
    from assent.building.built import Built
    from assent.building.caption_checks import CaptionChecks
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
    text_encoder: Annotated[
        Path | None,
        typer.Option(help="Folder of the pipeline to be trained, or of a CLIP: its text encoder checks edits."),
    ] = None,
    nearest: Annotated[
        float, typer.Option(min=-1, max=1, help="Cosine above which the text encoder cannot see an edit.")
    ] = 0.995,
    farthest: Annotated[
        float, typer.Option(min=-1, max=1, help="Cosine below which an edit is too easy to learn from.")
    ] = 0.3,
) -> None:
    """Edits each picture's caption so that it is false; train with `tpo_free_lunch`, without any pair of pictures.

    Without --model, rules swap one word for another of its class (colours, numbers, places, weather, ...). Edits that
    change nothing, reword only, change too much, or are another caption of the same picture are refused and counted.
    With --text-encoder also those that it would cut off, cannot tell from the caption, or finds far from it.

    Examples:

      assent build caption-edits captions.jsonl pairs.jsonl

      assent build caption-edits captions.jsonl pairs.jsonl --text-encoder ./stable-diffusion-v1-5
    """
    from assent.building.caption_edits import ModelEditor, RuleEditor, edit_captions

    comparisons = opened(data, out)
    checks = _checks(text_encoder, comparisons, (nearest, farthest))
    if not asked.model:
        built = edit_captions(comparisons, RuleEditor(asked.seed), form.value, checks)
    else:
        with asked.models(out) as models:
            editor = ModelEditor(models.generator(asked.model), edits, asked.sampling())

            def edited(first: int, part: Sequence[Comparison]) -> Built:
                return edit_captions(part, editor, form.value, checks)

            built = in_groups(comparisons, edited, out, asked.place(out))
    finished(out, built.comparisons, len(comparisons), built.left_out)


def _checks(folder: Path | None, comparisons: Sequence[Comparison], bounds: tuple[float, float]) -> CaptionChecks:
    from assent.building.caption_checks import CaptionChecks, open_text_encoder
    from assent.building.caption_edits import known_captions
    from assent.errors import InputError

    nearest, farthest = bounds
    if farthest >= nearest:
        raise InputError("no edit could pass", field="--farthest", found=f"{farthest}", expected=f"below {nearest}")
    known = known_captions(comparisons)
    if folder is None:
        return CaptionChecks(known=known)
    encoder = open_text_encoder(folder)
    return CaptionChecks(encoder.seen, encoder.cosines, known, nearest, farthest)
