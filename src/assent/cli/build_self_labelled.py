"""`assent build selfie` and `osp`: one round of pairs that a model labels itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assent.cli import models_asked, paid_work
from assent.cli.builder_files import finished, in_groups
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.building.built import Built
    from assent.comparison import Prompt

Prompts = Annotated[Path, typer.Argument(help="Fresh prompts: JSONL with prompt or messages, or text lines.")]


class Pairing(StrEnum):
    """Which pairs are made of a ranked list."""

    all = "all"
    adjacent = "adjacent"
    best_vs_rest = "best_vs_rest"
    best_worst = "best_worst"


def register(group: typer.Typer) -> None:
    """Adds the commands to `assent build`."""
    group.command("selfie")(models_asked.with_options(selfie, temperature=0.7, max_new_tokens=300))
    group.command("osp")(models_asked.with_options(osp, max_new_tokens=300))


def selfie(
    prompts: Prompts,
    out: Annotated[Path, typer.Argument(help="JSONL: best against worst answer, by the model's own log-ratio.")],
    asked: models_asked.Asked,
    initial: Annotated[str, typer.Option(help="Folder of the model before any preference was learnt.")],
    round_number: Annotated[int, typer.Option("--round", min=1, help="Which round; names the loss to train.")] = 1,
    samples: Annotated[int, typer.Option(min=2, help="Answers drawn for each prompt.")] = 2,
    per_token: Annotated[
        bool, typer.Option(help="Label by the log-ratio per token, so length earns nothing.")
    ] = False,
) -> None:
    """The last round's model answers, and labels its answers by what it has learnt since the initial model.

    `train_with` is the objective of the round; its reference is the model that labelled. The whole loop:
    `assent recipe run selfie`.

    Example:

      assent build selfie fresh.jsonl round-1.jsonl --model out/round-0/model --initial sft-model
    """
    from assent.building import selfie as building
    from assent.building.drawn import draw
    from assent.building.models import state_of
    from assent.generation.decoding import Plain
    from assent.judging.scorers import ScorerJudge
    from assent.preference_models.loading import ScorerOptions, open_scorer

    paid_work.refuse_existing(out)
    if asked.endpoint is not None:
        raise InputError(
            "endpoints do not report what a given text's probability is", field="endpoint", expected="model folders"
        )
    rows = paid_work.read_prompts(prompts)
    scorer = open_scorer(asked.model, ScorerOptions(reference=initial))
    judge = ScorerJudge(building.PerToken(scorer), "log_ratio_per_token") if per_token else ScorerJudge(scorer)
    with asked.models(out) as models, paid_work.progress("answers and labels", 2 * len(rows)) as step:
        decoder = Plain(models.generator(asked.model))
        kept = models.remembered(judge, "log_ratio", state_of(asked.model), state_of(initial), str(per_token))

        def labelled(first: int, part: Sequence[Prompt]) -> Built:
            drawn = draw(part, decoder, asked.sampling(samples), step)
            return building.self_label(drawn.comparisons, kept, step).after(drawn)

        built = in_groups(rows, labelled, out, asked.place(out))
    more = {**building.measures(built.comparisons), "train_with": building.objective(round_number)}
    finished(out, built.comparisons, len(rows), built.left_out, **more)


def osp(
    prompts: Prompts,
    out: Annotated[Path, typer.Argument(help="JSONL of pairs with the strength as `confidence`.")],
    asked: models_asked.Asked,
    initial: Annotated[
        str | None, typer.Option(help="Model that writes the baseline answers; default: the model itself.")
    ] = None,
    rubric: Annotated[str, typer.Option(help="What better means: a built-in rubric, or a file.")] = "helpful",
    samples: Annotated[int, typer.Option(min=2, help="Answers drawn for each prompt.")] = 4,
    pairing: Annotated[Pairing, typer.Option(help="Which pairs are made of the ranked answers.")] = Pairing.all,
    smallest_gap: Annotated[
        float, typer.Option(min=0, help="Leave out pairs whose probabilities to beat the baseline differ by no more.")
    ] = 0.0,
    direct: Annotated[bool, typer.Option(help="Ask about each pair face to face for its strength.")] = False,
    labelled: Annotated[Path | None, typer.Option(help="Judged pairs to measure the model as a judge by.")] = None,
) -> None:
    """The model answers, and says by the probabilities of two letters which of its answers beat a baseline, and how
    strongly; train with `osp` against the initial model. The whole loop: `assent recipe run osp`.

    With --endpoint the letters' probabilities come from the server's `top_logprobs`.

    Example:

      assent build osp prompts.jsonl round-1.jsonl --model chat-model --samples 4 --labelled held-out.jsonl
    """
    from assent.building import osp as building
    from assent.building.drawn import draw
    from assent.generation.decoding import Plain
    from assent.judging import load_rubric

    paid_work.refuse_existing(out)
    rows = paid_work.read_prompts(prompts)
    known = paid_work.read_comparisons(labelled) if labelled else []
    with asked.models(out) as models:
        judge = models.letter_judge(asked.model, load_rubric(rubric))
        decoder = Plain(models.generator(asked.model))
        first_decoder = Plain(models.generator(initial)) if initial else decoder
        report = building.judge_report(known, judge) if known else None
        steps = len(rows) * (1 + samples)
        with paid_work.progress("answers and questions", steps, asked.bill(models)) as step:

            def preferred(first: int, part: Sequence[Prompt]) -> Built:
                drawn = draw(part, decoder, asked.sampling(samples), step)
                asked_of = [one.prompt for one in drawn.comparisons]
                baselines = building.baseline_answers(first_decoder, asked_of, asked.sampling())
                pairs = building.self_prefer(
                    drawn.comparisons, baselines, judge, pairing.value, smallest_gap, step
                ).after(drawn)
                return building.strengthened(pairs.comparisons, judge).after(pairs) if direct else pairs

            built = in_groups(rows, preferred, out, asked.place(out))
    more = {**building.measures(built.comparisons), **({"judge": asdict(report)} if report else {})}
    finished(out, built.comparisons, len(rows), built.left_out, **more)
