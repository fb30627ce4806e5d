"""`assent train`: from a run file to an aligned model, with everything that was done beside it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("train")(train_from_file)


def train_from_file(
    run: Annotated[Path | None, typer.Argument(help="The run file (YAML).")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Keys of the run file: objective.dpo.beta=0.05 training.max_steps=100")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest complete checkpoint.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, estimate memory, load no weights, train nothing.")
    ] = False,
    from_trl: Annotated[
        Path | None, typer.Option(help="A YAML file of TRL (DPOConfig, KTOConfig, ...) in place of the run file.")
    ] = None,
    report: Annotated[bool, typer.Option(help="Write report.html into the run folder.")] = True,
    compare: Annotated[
        str | None, typer.Option(help="Objectives to compare, as dpo,simpo,kto; each gets a run below output_dir.")
    ] = None,
    compare_file: Annotated[
        Path | None, typer.Option(help="The same as a YAML list of names, {name: options} or lists (sums).")
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="With --compare: beta=0.05,0.1 or training.learning_rate=1e-6,5e-6; may be repeated."),
    ] = None,
    sweep_weights: Annotated[
        str | None,
        typer.Option(help="Train over user weights of an objective's terms, as quality,brevity:5 (five points)."),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="Judge of win rates against the start: package.module:function, or a preference model."),
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Held-out prompts that the compared runs answer.")] = 64,
    samples: Annotated[int, typer.Option(min=1, help="Answers to each of them.")] = 1,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest of these answers, in tokens.")] = 128,
    near_best: Annotated[
        float, typer.Option(min=0, help="In the robustness table: how far below the best still counts as near it.")
    ] = 0.05,
) -> None:
    """Aligns a policy with preferences, as a run file says.

    The run folder (training.output_dir) holds the resolved configuration, what was done to the data, metrics.jsonl,
    checkpoints, the model with its tokenizer, and report.html. Interrupted or killed, a run goes on with --resume
    to the same weights.

    Examples:

      assent train run.yaml

      assent train run.yaml objective.dpo.beta=0.05 training.output_dir=out/beta-0.05

      assent train run.yaml --resume

      assent train --from-trl dpo_config.yaml training.output_dir=out

    Compare objectives on the same data under the same budget; --resume repeats nothing that has ended:

      assent train run.yaml --compare dpo,simpo,kto --judge my_rules:polite

      assent train run.yaml --compare dpo,ln_dpo --grid beta=0.05,0.1,0.3 --grid training.learning_rate=1e-6,5e-6

    Conflicting objectives: one run for each user weight, combined as `gradients:` says, with the front they make:

      assent train run.yaml --sweep-weights quality,brevity:5 gradients=raco
    """
    from assent.config import load_run
    from assent.errors import InputError
    from assent.training.progress import TerminalProgress
    from assent.training.run import train

    if (run is None) == (from_trl is None):
        # A first word with `=` is an override, where the run comes from TRL's file.
        if run is not None and "=" in str(run):
            overrides, run = [str(run), *(overrides or [])], None
        else:
            raise InputError("needs a run file, or --from-trl", remedy="assent train run.yaml")
    show = TerminalProgress()
    if not show.console.is_terminal:
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
    if compare is not None or compare_file is not None:
        from assent.cli.measured_runs import Measuring
        from assent.cli.train_compare import compare_from_file

        if run is None:
            raise InputError(
                "a comparison starts from a run file", remedy="assent train run.yaml --compare dpo,simpo"
            )
        measuring = Measuring(judge, prompts, samples, max_new_tokens, near_best)
        compare_from_file(run, overrides or [], (compare, compare_file), grid or [], measuring, resume, show)
        return
    config = load_run(run, overrides or []) if run is not None else _translated(from_trl, overrides or [], show)
    if sweep_weights is not None:
        from assent.cli.measured_runs import Measuring
        from assent.cli.train_sweep import sweep_from_file

        measuring = Measuring(judge, prompts, samples, max_new_tokens, near_best)
        sweep_from_file(config, sweep_weights, measuring, resume, show, run or Path("run.yaml"))
        return
    try:
        result = train(config, resume=resume, dry_run=dry_run, on_event=show)
    except KeyboardInterrupt:
        show({"event": "interrupted"})
        sys.stderr.write(f"saved; go on with `assent train {run or ''} --resume`\n")
        raise
    finally:
        show({"event": "end"})
    if dry_run:
        from assent.cli.plan import print_plan

        if result.plan is not None:
            print_plan(config, result.plan)
        typer.echo("dry run: everything is checked, nothing was trained")
        return
    # Under torchrun every rank comes here; one speaks.
    if int(os.environ.get("RANK", "0")) == 0:
        _say_result(result, report)


def _translated(path: Path | None, overrides: list[str], show: Any) -> Any:
    from assent.config import from_trl, run_from
    from assent.errors import InputError

    assert path is not None
    made = from_trl(path)
    for name, reason in made.notes.items():
        show({"event": "stage", "text": f"{path}: `{name}` has no effect here: {reason}"})
    if made.unknown:
        raise InputError(
            "keys of TRL that cannot be translated",
            where=str(path),
            found=", ".join(made.unknown),
            remedy="Leave them out of the file, or write a run file (see `assent schema`)",
        )
    return run_from(made.values, overrides)


def _say_result(result: Any, report: bool) -> None:
    from assent.training.progress import headline

    metrics: Mapping[str, float] = result.metrics
    typer.echo(f"{result.steps} steps  {headline(metrics)}")
    typer.echo(f"model: {result.model_folder}")
    if report:
        from assent.report.run import write_run_report

        typer.echo(f"report: {write_run_report(result.folder)}")
