"""`assent build constitution`: answers criticised and revised under principles, as pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assent.cli import models_asked, paid_work
from assent.cli.builder_files import GROUP, finished, in_groups

if TYPE_CHECKING:
    from assent.building.built import Built
    from assent.comparison import Prompt


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("constitution")(models_asked.with_options(constitution))


def constitution(
    prompts: Annotated[Path, typer.Argument(help="JSONL with prompt or messages, or text lines.")],
    out: Annotated[Path, typer.Argument(help="JSONL: last revision against first answer.")],
    asked: models_asked.Asked,
    principles: Annotated[
        Path | None, typer.Option(help="YAML list of {name, critique, revision, weight}; default: ours.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Critiques and revisions of each answer.")] = 2,
) -> None:
    """The model answers, criticises its answer by a principle and revises it; the revision against the answer.

    Critiques and drafts stay in `meta`. For preferences by AI feedback, draw answers with `assent generate` and judge
    them by a rubric of your own with `assent judge`.
    """
    from assent.building.constitution import critique_and_revise, load_constitution

    paid_work.refuse_existing(out)
    articles = load_constitution(principles)
    rows = paid_work.read_prompts(prompts)
    with asked.models(out) as models:
        generator = models.generator(asked.model)
        steps = (rounds + 1) * -(-len(rows) // GROUP)
        with paid_work.progress("rounds", steps, asked.bill(models)) as step:

            def revised(first: int, part: Sequence[Prompt]) -> Built:
                return critique_and_revise(part, generator, articles, asked.sampling(), rounds, step)

            built = in_groups(rows, revised, out, asked.place(out))
    finished(out, built.comparisons, len(rows), built.left_out)
