"""`assent build codeultrafeedback`: several models answer coding requests, a judge rates them, pairs come out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assent.cli import models_asked, paid_work
from assent.cli.builder_files import finished, in_groups
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.building.built import Built
    from assent.building.codeultrafeedback import Request
    from assent.comparison import Comparison
    from assent.judging import Judge


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("codeultrafeedback")(models_asked.with_options(coding_preferences, model=None, temperature=0.8))


def coding_preferences(
    prompts: Annotated[Path, typer.Argument(help="Coding requests: JSONL with prompt or messages, or text lines.")],
    out: Annotated[Path, typer.Argument(help="JSONL of pairs; the preference stands in `meta`.")],
    asked: models_asked.Asked,
    writer: Annotated[
        list[str], typer.Option(help="A model that answers; repeat it. local:FOLDER runs here beside an --endpoint.")
    ],
    answers: Annotated[int, typer.Option(min=2, help="Writers drawn for each request, each at most once.")] = 4,
    rule: Annotated[
        str | None, typer.Option(help="package.module:function of a comparison as the judge, in place of --model.")
    ] = None,
    principles: Annotated[Path | None, typer.Option(help="YAML {preference: [text]}; default: ours.")] = None,
    rated: Annotated[Path | None, typer.Option(help="Also write the rated lists.")] = None,
) -> None:
    """Writers answer under one of five coding preferences; --model rates all answers to a request at once, 1 to 5.

    Preferences: instruction following, readability, complexity, style, explanation, each for a fifth of the requests.
    `slot_p_value` near 0 tells of a judge that looks at the place of an answer.

    Example:

      assent build codeultrafeedback requests.txt pairs.jsonl --answers 2 --model judge --writer a --writer b
        --endpoint http://localhost:8000/v1
    """
    from assent.building import codeultrafeedback as building
    from assent.building.built import Built as Made
    from assent.building.models import checked_names
    from assent.building.ratings import binarize, slot_dependence
    from assent.judging import GeneratorRespondent, PromptedJudge, asking_of, load_rubric
    from assent.judging.rule import rule_judge

    paid_work.refuse_existing(out)
    if (asked.model is None) == (rule is None):
        raise InputError(
            "one judge is needed", field="model, rule", expected="--model NAME or --rule MODULE:FUNCTION"
        )
    texts = building.load_principles(principles)
    requests = building.assigned(paid_work.read_prompts(prompts), checked_names(writer), answers, asked.seed)
    lists: list[Comparison] = []
    with asked.models(out) as models:

        def judge_of(preference: str) -> Judge:
            if rule is not None:
                return rule_judge(rule)
            rubric = load_rubric(preference)
            respondent = GeneratorRespondent(models.generator(asked.model), asked.max_new_tokens)
            return PromptedJudge(respondent, asking_of(rubric, "listwise", seed=asked.seed), rubric.name)

        steps = len(requests) * (answers + 1)
        with paid_work.progress("answers and ratings", steps, asked.bill(models)) as step:

            def pairs(first: int, part: Sequence[Request]) -> Built:
                drawn = building.respond(part, models.generator, texts, asked.sampling(), step)
                found = building.rate(drawn.comparisons, judge_of, step)
                lists.extend(found.built.comparisons)
                made = binarize(found.built.comparisons, asked.seed)
                ties = {"fewer than two different ratings": made.left_out} if made.left_out else {}
                return Made(made.comparisons, ties).after(found.built).after(drawn)

            built = in_groups(requests, pairs, out, asked.place(out))
    if rated is not None:
        paid_work.write_rows(rated, lists)
    finished(out, built.comparisons, len(requests), built.left_out, slot_p_value=slot_dependence(lists))
