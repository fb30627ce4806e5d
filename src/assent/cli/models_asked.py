"""Builders' models on the command line: a local folder or an endpoint, everything drawn kept in a journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assent.cli import paid_work

if TYPE_CHECKING:
    from assent.generation import Generator, Ledger
    from assent.work.journal import Journal

Model = Annotated[str, typer.Option(help="Model folder, or the model's name at the endpoint.")]
EndpointUrl = Annotated[str | None, typer.Option(help="OpenAI-compatible base URL.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Tokens after which a text is cut.")]
Temperature = Annotated[float, typer.Option(min=0, help="0 takes the most likely token.")]
Seed = Annotated[int, typer.Option(help="Same seed, same texts (local models).")]
Concurrency = Annotated[int, typer.Option(min=1, help="Endpoint: requests in flight.")]
PricePrompt = Annotated[float | None, typer.Option(help="Money per million tokens read.")]
PriceCompletion = Annotated[float | None, typer.Option(help="Money per million tokens written.")]
Budget = Annotated[float | None, typer.Option(help="Stops before this much money is spent.")]
JournalFile = Annotated[Path | None, typer.Option(help="SQLite file of what is done; default OUT.journal.")]


@dataclass(frozen=True)
class Asked:
    """Where models are asked, and what it may cost.

    Args:
        endpoint: base URL; None: models are local folders.
        concurrency: requests in flight.
        ledger: prices and budget.
    """

    endpoint: str | None
    concurrency: int
    ledger: Ledger

    def generator(self, model: str, kept: Journal) -> Generator:
        """The model's generator; nothing is drawn, or paid for, twice."""
        from assent.generation import Endpoint, EndpointClient, LocalGenerator
        from assent.generation.remembered_generator import RememberedGenerator

        if self.endpoint is not None:
            target = Endpoint(self.endpoint, model, concurrency=self.concurrency)
            return EndpointClient(target, kept, self.ledger)
        local = LocalGenerator(*paid_work.load_local(model, trust_remote_code=False), name=model)
        return RememberedGenerator(local, kept, paid_work.fingerprint(model))


def asked(
    model: str,
    endpoint: str | None,
    concurrency: int,
    price_prompt: float | None,
    price_completion: float | None,
    budget: float | None,
) -> Asked:
    """What the options say of models."""
    ledger = paid_work.ledger_of(model, None, price_prompt, price_completion, budget, None)
    return Asked(endpoint, concurrency, ledger)
