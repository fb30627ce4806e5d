"""`assent build relabel`: goal-conditioned pairs from scored ones (reward-augmented data)."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from assent.cli import paid_work
from assent.cli.builder_files import Output, Source, finished, opened
from assent.errors import InputError


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("relabel")(relabel_goals)


def relabel_goals(
    data: Source,
    out: Output,
    low: Annotated[float, typer.Option(help="Lowest score of the scale.")] = 1.0,
    high: Annotated[float, typer.Option(help="Highest score: the goal at inference.")] = 10.0,
    resolution: Annotated[float, typer.Option(help="Goals are rounded to multiples of it.")] = 0.5,
    system_role: Annotated[bool, typer.Option(help="The goal as a system message; else before the request.")] = True,
) -> None:
    """Twice as many pairs, each with a target score in its prompt (Zhang et al. 2024, reward-augmented data).

    Scores outside the scale are read at its ends. OUT.goal.json keeps the scale and its wording and the text to
    put before requests at inference.
    """
    from assent.building.reward_augmented import GoalScale, relabel

    if not low < high or not resolution > 0:
        raise InputError("no scale", field="low, high, resolution", found=f"{low}, {high}, {resolution}")
    comparisons = opened(data, out)
    scale = GoalScale(low, high, resolution, system_role=system_role)
    place = out.with_name(f"{out.name}.goal.json")
    paid_work.refuse_existing(place)
    built = relabel(comparisons, scale)
    outside = sum(not low <= one.meta["goal"] <= high for one in built.comparisons)
    left_out = {"no two different scores": built.left_out}
    finished(out, built.comparisons, len(comparisons), left_out, goals_outside_the_scale=outside, goal=str(place))
    place.write_text(json.dumps({**asdict(scale), "at_inference": scale.text(high)}, indent=1) + "\n")
