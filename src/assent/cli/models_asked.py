"""The options of every builder that asks models, declared once, and what they mean.

A builder takes one parameter `asked: Asked`; `with_options` shows its fields as options of the command.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from assent.cli import paid_work

if TYPE_CHECKING:
    from assent.building.models import Models
    from assent.generation import Ledger, Sampling


@dataclass(frozen=True)
class Asked:
    """Who is asked, how texts are drawn, and what it may cost; the fields are the options."""

    model: Annotated[str, typer.Option(help="Model folder, or the model's name at the endpoint.")]
    endpoint: Annotated[str | None, typer.Option(help="OpenAI-compatible base URL.")] = None
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens after which a text is cut.")] = 512
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the most likely token.")] = 1.0
    seed: Annotated[int, typer.Option(help="Same seed, same texts (local models).")] = 0
    concurrency: Annotated[int, typer.Option(min=1, help="Endpoint: requests in flight.")] = 16
    timeout: Annotated[float, typer.Option(help="Endpoint: seconds until an answer counts as lost.")] = 120.0
    key_variable: Annotated[str, typer.Option(help="Environment variable that holds the endpoint's key.")] = (
        "OPENAI_API_KEY"
    )
    price_prompt: Annotated[float | None, typer.Option(help="Money per million tokens read.")] = None
    price_completion: Annotated[float | None, typer.Option(help="Money per million tokens written.")] = None
    budget: Annotated[float | None, typer.Option(help="Stops before this much money is spent.")] = None
    token_budget: Annotated[int | None, typer.Option(help="Stops before this many tokens are spent.")] = None
    journal: Annotated[Path | None, typer.Option(help="SQLite file of what is done; default OUT.journal.")] = None

    def sampling(self, samples: int = 1) -> Sampling:
        """How texts are drawn."""
        from assent.generation import Sampling

        return Sampling(samples, self.max_new_tokens, self.temperature, seed=self.seed)

    def place(self, out: Path) -> Path:
        """The journal's file."""
        return self.journal or out.with_name(f"{out.name}.journal")

    def bill(self, models: Models) -> Ledger | None:
        """The ledger to be shown; None where nothing is paid."""
        return models.ledger if self.endpoint else None

    @contextmanager
    def models(self, out: Path) -> Iterator[Models]:
        """The models, with the journal open."""
        from assent.building.models import Models
        from assent.errors import InputError
        from assent.work.journal import Journal

        if self.endpoint is None and (self.budget is not None or self.token_budget is not None):
            raise InputError("a local model costs nothing", field="budget", remedy="Leave the budget out")
        prices = (self.price_prompt, self.price_completion)
        ledger = paid_work.ledger_of(self.model, None, *prices, self.budget, self.token_budget)
        with Journal(self.place(out)) as kept:
            yield Models(kept, self.endpoint, ledger, self.concurrency, self.timeout, self.key_variable)


def with_options(command: Callable[..., None], **defaults: Any) -> Callable[..., None]:
    """The command with the fields of `Asked` as options in place of its parameter `asked`.

    Args:
        command: takes `asked` besides its own arguments and options.
        defaults: other defaults for some of the fields; a field with one is no longer required.
    """
    hints = get_type_hints(Asked, include_extras=True)
    shared = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(one.name, inspect.Parameter.empty if one.name == "model" else one.default),
            annotation=hints[one.name],
        )
        for one in fields(Asked)
    ]
    own = inspect.signature(command, eval_str=True)
    before = [one for name, one in own.parameters.items() if name != "asked"]
    names = {one.name for one in shared}

    @functools.wraps(command)
    def run(*positional: Any, **named: Any) -> None:
        asked = Asked(**{name: named.pop(name) for name in names})
        command(*positional, asked=asked, **named)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in before] + shared
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
