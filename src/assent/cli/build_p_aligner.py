"""`assent build p-aligner`: better versions of instructions by search, and a rewriter's training data."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assent.cli import models_asked, paid_work
from assent.cli.builder_files import finished, kept_if_stopped
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.building.instruction_tree import Tree
    from assent.comparison import Comparison

GROUP = 32
"""Trees that are searched in step and saved in one file."""


class Strategy(StrEnum):
    """How the next version to expand is chosen."""

    mcts = "mcts"
    best_first = "best_first"
    random = "random"


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("p-aligner")(models_asked.with_options(p_aligner))


def p_aligner(
    prompts: Annotated[Path, typer.Argument(help="Instructions: JSONL with prompt, or text lines.")],
    out: Annotated[Path, typer.Argument(help="JSONL: a rewriter's prompt, best against worst version.")],
    asked: models_asked.Asked,
    scorer: Annotated[str, typer.Option(help="Preference model folder that scores the answers.")],
    rewriter: Annotated[str | None, typer.Option(help="Who makes versions; default: the model.")] = None,
    iterations: Annotated[int, typer.Option(min=1, help="Versions made of each instruction.")] = 20,
    exploration: Annotated[float, typer.Option(min=0, help="Weight of visits, in units of the score.")] = 0.1,
    answers: Annotated[int, typer.Option(min=1, help="Answers drawn to value a version.")] = 3,
    strategy: Annotated[Strategy, typer.Option(help="How the search chooses.")] = Strategy.mcts,
    principles: Annotated[Path | None, typer.Option(help="YAML {category: [{name, text}]}; default: ours.")] = None,
    category: Annotated[str | None, typer.Option(help="Category whose principles are added to the general.")] = None,
    steps: Annotated[Path | None, typer.Option(help="Also write single steps that raised the value.")] = None,
) -> None:
    """Searches versions of each instruction and writes (best, worst) pairs to train a rewriter on.

    A version is worth what answers to it score against the ORIGINAL instruction. Trees are saved after every step in
    OUT.trees; the same command goes on. Train with `dpo` or `sft` on OUT, then `assent generate --decode rewriter`.
    """
    from assent.building import p_aligner as building
    from assent.generation.prompts import messages_of, text_of
    from assent.preference_models.loading import open_scorer

    paid_work.refuse_existing(out)
    table = building.principles_of(category, building.load_principles(principles))
    plan = building.Search(iterations, exploration, strategy.value, asked.seed)
    rows = paid_work.read_prompts(prompts)
    single = [text_of(prompt) for prompt in rows if len(messages_of(prompt)) == 1]
    trees: list[Tree] = []

    def so_far() -> tuple[str, Sequence[Comparison]]:
        return f"{len(trees)} of {len(rows)}", building.path_rows(trees).comparisons

    with asked.models(out) as models, kept_if_stopped(out, asked.place(out), so_far):
        answering = models.generator(asked.model)
        writing = models.generator(rewriter) if rewriter else answering
        rewrite = building.GeneratorRewriter(writing, table, asked.sampling())
        value = building.AnswerValue(answering, open_scorer(scorer), asked.sampling(answers))
        with paid_work.progress("versions", len(single) * iterations, asked.bill(models)) as step:
            for number in range(0, len(single), GROUP):
                place = out.with_name(f"{out.name}.trees") / f"trees-{number:06d}.json"
                group = _begun(place, single[number : number + GROUP], list(table))
                made = _Made(place, step)
                made(group)
                building.search(group, rewrite, value, plan, made)
                trees += group
    built = building.path_rows(trees)
    left_out = {"prompts of several turns": len(rows) - len(single), **built.left_out}
    failures = sum(tree.failures for tree in trees)
    if steps is not None:
        paid_work.write_rows(steps, building.step_rows(trees, table).comparisons)
    gains = [
        tree.value(tree.ranked()[0]) - value0 for tree in trees if (value0 := tree.versions[0].value) is not None
    ]
    gain = sum(gains) / len(gains) if gains else None
    finished(out, built.comparisons, len(rows), left_out, failed_steps=failures, mean_gain_on_the_searched=gain)


class _Made:
    """Saves the trees after each step and moves the bar by the versions made since."""

    def __init__(self, place: Path, step: object) -> None:
        self.place, self.step, self.count = place, step, 0

    def __call__(self, trees: Sequence[Tree]) -> None:
        self.place.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.place.with_name(f"{self.place.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps([tree.to_dict() for tree in trees]))
        temporary.replace(self.place)
        count = sum(len(tree.versions) - 1 for tree in trees)
        for _ in range(count - self.count):
            self.step()  # type: ignore[operator]
        self.count = count


def _begun(place: Path, instructions: Sequence[str], principles: list[str]) -> list[Tree]:
    from assent.building.instruction_tree import Tree

    if not place.exists():
        return [Tree.of(text, principles) for text in instructions]
    trees = [Tree.from_dict(row) for row in json.loads(place.read_text())]
    if [tree.original for tree in trees] != list(instructions) or any(one.principles != principles for one in trees):
        raise InputError(
            "the trees belong to other instructions or principles",
            where=str(place),
            remedy="Name another output, or move the folder of trees away",
        )
    return trees
