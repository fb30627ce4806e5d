"""`assent score`: writes a preference model's scores into comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from assent.cli.judge_models import (
    PREFIX,
    JudgeAsked,
    JudgeConcurrency,
    JudgeJournal,
    JudgeLabels,
    JudgeMode,
    JudgeModel,
    JudgeRubric,
    JudgeTokens,
    open_judge_scorer,
    verdict_line,
)
from assent.comparison import Comparison, content_key
from assent.errors import InputError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("score")(score)


def score(
    data: Annotated[Path, typer.Argument(help="Comparisons, or rows of any known format.")],
    output: Annotated[Path, typer.Argument(help="JSONL of comparisons with scores.")],
    model: Annotated[
        str,
        typer.Option(
            help="Folder of a preference model, of a reward head, of a model of pictures and texts (CLIP, PickScore, "
            "SigLIP), of an aesthetic head, or of a language model (implicit reward); "
            "rrr:<encoder folder>; judge:<endpoint or folder>; or rule:package.module:function."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the scores; default: the model folder's.")] = None,
    as_score: Annotated[
        bool, typer.Option("--as-score", help="Also make the reward each candidate's score, the verdict to train on.")
    ] = False,
    reference: Annotated[str | None, typer.Option(help="Reference of an implicit reward: a model folder.")] = None,
    beta: Annotated[float, typer.Option(help="Scale of an implicit reward.")] = 1.0,
    max_length: Annotated[int | None, typer.Option(min=2, help="Longest candidate in tokens.")] = None,
    truncate: Annotated[
        str, typer.Option(help="For longer ones: prompt_left, completion_right, or drop to stop with an error.")
    ] = "prompt_left",
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens that are computed at once; scores do not depend on it.")
    ] = 16_384,
    chunk: Annotated[int, typer.Option(min=1, help="Comparisons between two writes.")] = 128,
    chat_template: Annotated[
        str | None, typer.Option(help="Template in place of the tokenizer's own; `transcript` for base models.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the weights, such as bfloat16.")] = None,
    adapt: Annotated[
        Path | None, typer.Option(help="pal: judged pairs of annotators it does not know; they are learned first.")
    ] = None,
    save_adapted: Annotated[
        Path | None, typer.Option(help="With --adapt: folder for the model that knows them too.")
    ] = None,
    judge_model: JudgeModel = None,
    rubric: JudgeRubric = "helpful",
    mode: JudgeMode = None,
    labels: JudgeLabels = False,
    journal: JudgeJournal = None,
    concurrency: JudgeConcurrency = 16,
    token_budget: JudgeTokens = None,
    overwrite: Annotated[bool, typer.Option(help="Start anew even if the output is there.")] = False,
) -> None:
    """Scores every candidate: reward, all dimensions and uncertainty, under `scores` of each.

    Batches are cut by tokens, and a score does not depend on what else is in its batch. A killed run goes on where it
    was when the same command is given again.

    Examples:

      assent score --model reward-model prefs.jsonl scored.jsonl

      assent score --model dpo-model --reference base-model --beta 0.1 prefs.jsonl scored.jsonl

      assent score --model judge:http://localhost:8000/v1 --judge-model my-judge prefs.jsonl scored.jsonl

      assent score --model pal --adapt ten-pairs-of-ann.jsonl --save-adapted pal-ann data.jsonl scored.jsonl
    """
    from assent.preference_models.score_file import ScoringJob, score_file
    from assent.readers import read

    options = scorer_options(
        reference=reference,
        beta=beta,
        max_length=max_length,
        truncate=truncate,
        batch_tokens=batch_tokens,
        chat_template=chat_template,
        dtype=dtype,
    )
    if output.resolve() == data.resolve():
        raise InputError("the output is the data", where=str(output), remedy="Name another file")
    if save_adapted is not None and (adapt is None or save_adapted.exists()):
        raise InputError(
            "a folder for the adapted model",
            field="--save-adapted",
            found="no --adapt" if adapt is None else f"{save_adapted} exists",
            expected="a new folder, with --adapt",
        )
    comparisons = read(data).comparisons
    kept = journal or output.with_name(f"{output.name}.journal")
    judge = JudgeAsked(kept, judge_model, rubric, mode, labels, concurrency, token_budget)
    scorer = opened(model, options, judge)
    asked: list[Any] = [judge_model, rubric, mode, labels] if model.startswith(PREFIX) else []
    if adapt is not None:
        newcomers = read(adapt).comparisons
        learn_newcomers(scorer, newcomers, save_adapted)
        asked = [*asked, [comparison.key for comparison in newcomers]]
    fingerprint = content_key([model_files(model), {**vars(options), "batch_tokens": None}, *asked])
    job = ScoringJob(output, name or scorer.name, fingerprint, as_score, chunk)
    if overwrite:
        for path in (job.output, job.partial, job.state):
            path.unlink(missing_ok=True)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("scoring", total=len(comparisons))
        before = score_file(
            scorer, comparisons, job, lambda done, total: bar.update(task, completed=done, total=total)
        )
    said = verdict_line(scorer)
    if said is not None:
        console.print(said, markup=False, highlight=False)
    resumed = f", {before} of them by an earlier run" if before else ""
    console.print(f"{len(comparisons)} comparisons scored{resumed}: {output}", markup=False, highlight=False)


def learn_newcomers(scorer: Any, comparisons: Sequence[Comparison], folder: Path | None) -> None:
    """Fits new annotators, says what became of each, and keeps the model if a folder is given."""
    from assent.preference_models.adapting import adapt_scorer, save_adapted

    for one in adapt_scorer(scorer, comparisons):
        weights = ", ".join(f"{weight:.2f}" for weight in one.weights)
        typer.echo(f"{one.name}: mixture {weights} from {one.comparisons} comparisons", err=True)
    if folder is not None:
        save_adapted(scorer, folder)
        typer.echo(f"the adapted model: {folder}", err=True)


def scorer_options(**options: Any) -> Any:
    """The options of a scorer, checked."""
    from assent.preference_models.loading import ScorerOptions

    if options.get("truncate") not in (None, "prompt_left", "completion_right", "drop"):
        raise InputError(
            "unknown truncation",
            field="--truncate",
            found=str(options["truncate"]),
            expected="prompt_left, completion_right or drop",
        )
    if options["beta"] <= 0:
        raise InputError("beta is positive", field="--beta", found=str(options["beta"]))
    return ScorerOptions(**{key: value for key, value in options.items() if value is not None})


def opened(model: str, options: Any, judge: JudgeAsked | None = None) -> Any:
    """The scorer of a model, a rule (`rule:package.module:function`) or a judge; an error that says why not."""
    from safetensors import SafetensorError

    from assent.preference_models.loading import open_scorer

    if model.startswith("rule:"):
        from assent.judging.rule import rule_judge
        from assent.judging.scorers import JudgeScorer

        return JudgeScorer(rule_judge(model.removeprefix("rule:")))
    if model.startswith(PREFIX):
        return open_judge_scorer(model, judge or JudgeAsked(Path("judge.journal")))
    try:
        return open_scorer(model, options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError("the model cannot be loaded", where=model, found=first) from error


def model_files(model: str) -> list[Any]:
    """Names, sizes and times of a model's files: what tells one model from another without reading all of it."""
    folder = Path(model.partition(":")[2] if model.startswith("rrr") else model)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return [model, [[str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns] for f in files]]
