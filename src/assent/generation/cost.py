"""What requests cost: tokens and money spent, what is reserved for requests in flight, and a budget never passed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from assent.errors import InputError, RunError

PER = 1_000_000
"""Prices are per million tokens."""


class BudgetReached(RunError):
    """The next request could pass the budget, so it was not sent; everything answered so far is kept."""


@dataclass(frozen=True)
class Price:
    """Money per million tokens read and written, in whatever currency the budget is in."""

    prompt: float
    completion: float

    def of(self, usage: Mapping[str, int]) -> float:
        """The money that this many tokens cost."""
        return (self.prompt * usage.get("prompt", 0) + self.completion * usage.get("completion", 0)) / PER


@dataclass
class Ledger:
    """Counts what was spent and reserves what is in flight; safe to use from threads.

    Args:
        price: of the model; None: money is unknown, not 0.
        budget: money that may be spent in all, what the journal already holds included; None: no bound.
        token_budget: the same in tokens.
    """

    price: Price | None = None
    budget: float | None = None
    token_budget: int | None = None
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})
    requests: int = 0
    retries: int = 0
    uncertain: int = 0
    _reserved: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})
    _included: set[Path] = field(default_factory=set, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if self.budget is not None and self.price is None:
            raise InputError(
                "a budget in money needs the model's price",
                field="budget",
                remedy="Give prices per million tokens (--price-prompt, --price-completion), or --token-budget",
            )

    @property
    def money(self) -> float | None:
        """Money spent so far; None where the price is unknown."""
        return None if self.price is None else self.price.of(self.tokens)

    def include(self, journal: Path, totals: Mapping[str, float]) -> None:
        """Adds what a journal says was spent before, once, however many models' answers are kept in it."""
        with self._lock:
            if journal.resolve() not in self._included:
                self._included.add(journal.resolve())
                for kind in self.tokens:
                    self.tokens[kind] += int(totals[kind])

    def reserve(self, bound: Mapping[str, int]) -> bool:
        """Sets aside what a request can cost at most; False: there is no room until others have settled.

        Raises BudgetReached if the request could pass the budget even if nothing else were in flight.
        """
        with self._lock:
            alone = {kind: self.tokens[kind] + bound.get(kind, 0) for kind in self.tokens}
            if reason := self._passed(alone):
                raise BudgetReached(f"{reason} would be passed by the next request; everything answered is kept")
            if self._passed({kind: alone[kind] + self._reserved[kind] for kind in alone}):
                return False
            for kind in self._reserved:
                self._reserved[kind] += bound.get(kind, 0)
            return True

    def _passed(self, tokens: Mapping[str, int]) -> str | None:
        if self.token_budget is not None and sum(tokens.values()) > self.token_budget:
            return f"the token budget of {self.token_budget}"
        if self.budget is not None and self.price is not None and self.price.of(tokens) > self.budget:
            return f"the budget of {self.budget:g}"
        return None

    def settle(self, bound: Mapping[str, int], usage: Mapping[str, int] | None) -> None:
        """Replaces a reservation by what was used; None: the answer was lost, so the bound counts as spent."""
        with self._lock:
            self.uncertain += usage is None
            for kind in self._reserved:
                self._reserved[kind] -= bound.get(kind, 0)
                self.tokens[kind] += (bound if usage is None else usage).get(kind, 0)

    def summary(self) -> dict[str, Any]:
        """The numbers for progress lines and reports."""
        return {
            "requests": self.requests,
            "retries": self.retries,
            "lost_answers": self.uncertain,
            "prompt_tokens": self.tokens["prompt"],
            "completion_tokens": self.tokens["completion"],
            "money": self.money,
        }


def read_price(path: Path, model: str) -> Price | None:
    """The price of a model in a YAML table `{model: {prompt: 2.5, completion: 10}}`; None where it is not listed."""
    try:
        table = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InputError("the price table cannot be read", where=str(path), found=str(error)) from None
    if not isinstance(table, Mapping):
        raise InputError("not a price table", where=str(path), expected="{model: {prompt: 2.5, completion: 10}}")
    row = table.get(model)
    if row is None:
        return None
    try:
        return Price(float(row["prompt"]), float(row["completion"]))
    except (KeyError, TypeError, ValueError):
        raise InputError(
            "a price has two numbers",
            where=str(path),
            field=model,
            found=repr(row),
            expected="{prompt: 2.5, completion: 10} per million tokens",
        ) from None
