"""`assent`: finds the verb, imports only its file, and turns every failure into one clear message."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text

from assent.errors import AssentError

VERBS: dict[str, str] = {
    "demo": "Train, align and measure a small model offline, in minutes, and write a report.",
    "plan": "Resolve a run file and say what it would do, need and take, before anything is loaded.",
    "train": "Align a policy, or train a preference model, as a run file says.",
    "data": "Inspect, convert, audit and precompute preference data.",
    "generate": "Sample completions from a local model or an endpoint.",
    "judge": "Have candidates judged by an endpoint, a model, a rule or a person.",
    "build": "Make preference data: sample, perturb, mine, relabel, filter.",
    "score": "Write a preference model's scores into comparisons.",
    "eval": "Measure: win rates, ranking accuracy, preference-model benchmarks.",
    "explain": "Say what an objective means: its formula, structure and curve.",
    "export": "Merge adapters into a plain model and check that nothing moved.",
    "methods": "List what exists, what each needs, and its source.",
    "recipe": "List papers' recipes, show one, or run it.",
    "schema": "Print the JSON schema of run files, for editors.",
}
"""The verbs and their one-line help; each lives in `assent.cli.<verb>` and has `register(app)`."""

INTERRUPTED = 130

UsageProblem: type[Exception] = typer.BadParameter.__mro__[2]
"""What typer raises for a wrong command line: click's own class, or its copy in newer versions of typer."""


def build_app(verb: str | None) -> typer.Typer:
    """The command line, with the one verb that is needed imported and the others by name only."""
    app = typer.Typer(
        name="assent",
        help="Align generative models with preferences.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def root() -> None:
        """Align generative models with preferences."""

    for name, text in VERBS.items():
        if name == verb:
            importlib.import_module(f"assent.cli.{name}").register(app)
        else:
            app.command(name=name, help=text)(_unreached)
    return app


def _unreached() -> None:
    """Stands for a verb that this call does not use."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 run failed, 2 input or configuration, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    verb = next((word for word in arguments if not word.startswith("-")), None)
    try:
        command = typer.main.get_command(build_app(verb))
        code = command.main(args=arguments, prog_name="assent", standalone_mode=False)
        if code == INTERRUPTED:
            # Newer versions of typer turn Ctrl-C into an exit code themselves, without a word.
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except (typer.Abort, KeyboardInterrupt):
        _say("interrupted", INTERRUPTED)
    except UsageProblem as error:
        known = f"assent {verb} --help" if verb in VERBS else "assent --help"
        message: str = error.format_message()  # type: ignore[attr-defined]
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stdout.write(f"{message}\n")
            sys.exit(2)
        _say(f"{message} (see `{known}`)", 2)
    except AssentError as error:
        _say(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("ASSENT_DEBUG"):
            raise
        _say(f"internal error: {type(error).__name__}: {error} (set ASSENT_DEBUG=1 for the traceback)", 1)


def _say(message: str, code: int) -> None:
    # Model output and file content can reach messages: never read as markup, never as control characters.
    safe = "".join(ch if ch.isprintable() or ch == "\n" else repr(ch)[1:-1] for ch in message)
    console = Console(stderr=True, highlight=False)
    console.print(Text("error: " if code != INTERRUPTED else "", style="bold red") + Text(safe), soft_wrap=True)
    sys.exit(code)
