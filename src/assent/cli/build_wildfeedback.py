"""`assent build wildfeedback`: preferences from the complaints in logged conversations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assent.cli import models_asked, paid_work
from assent.cli.builder_files import finished, in_groups
from assent.comparison import Message

if TYPE_CHECKING:
    from assent.building.built import Built


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("wildfeedback")(models_asked.with_options(mine_feedback))


def mine_feedback(
    logs: Annotated[Path, typer.Argument(help="JSONL: `messages` (or `conversation`) of a whole chat per row.")],
    out: Annotated[Path, typer.Argument(help="JSONL of pairs; the user's wishes stand in `meta`.")],
    asked: models_asked.Asked,
    policy: Annotated[
        str | None, typer.Option(help="Model folder that writes both answers; default: logged answers are rejected.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Complaints used of one conversation.")] = 2,
) -> None:
    """Finds complaints, writes down what the user wants, and pairs a better answer with the one complained of.

    The model annotates each user turn, writes the wishes and the better answer. With --policy both answers are the
    policy's own, and pairs stay only if the model, going by the wishes, prefers the chosen one in both orders.
    """
    from assent.building.conversations import read_conversations
    from assent.building.models import LOCAL
    from assent.building.wildfeedback import Miner, mine, turns_of

    paid_work.refuse_existing(out)
    conversations = read_conversations(logs)
    signals = Counter[str]()
    with asked.models(out) as models:
        writer = models.generator(f"{LOCAL}{policy}") if policy else None
        miner = Miner.of(models.generator(asked.model), asked.sampling(), writer, most)
        with paid_work.progress("annotate", len(turns_of(conversations)), asked.bill(models)) as step:

            def mined(first: int, part: Sequence[Sequence[Message]]) -> Built:
                found = mine(part, miner, first, step)
                signals.update(found.signals)
                return found.built

            built = in_groups(conversations, mined, out, asked.place(out))
    finished(out, built.comparisons, len(conversations), built.left_out, signals=dict(sorted(signals.items())))
