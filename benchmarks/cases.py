"""What is compared: the cases, the sides of each, and the model they share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.data import Row, alpaca_lists, hh_pairs, tldr_pairs


@dataclass(frozen=True)
class Side:
    """One program in a comparison.

    Args:
        name: how tables call it.
        worker: the module that runs it.
        options: what the worker is told besides the case.
        bar: how many times slower than the first side it has to be, or None.
    """

    name: str
    worker: str
    options: dict[str, Any]
    bar: float | None = None


@dataclass(frozen=True)
class Case:
    """One comparison of programs on the same model, data and order.

    Args:
        name: what `python -m benchmarks NAME` calls it.
        title: what the table says.
        rows: makes the rows of text.
        per_step: comparisons of an optimizer step.
        sides: the programs; the first is the one whose speed is claimed.
        longest: tokens of a prompt with its longest completion, above which a row is left out.
        objective: the loss, on its defaults.
        shape: the model's, where it is not the usual one.
        by_default: whether it runs unless another is named.

    """

    name: str
    title: str
    rows: Callable[[], list[Row]]
    per_step: int
    sides: tuple[Side, ...]
    longest: int = 1024
    objective: str = "dpo"
    shape: dict[str, int] = field(default_factory=dict)
    by_default: bool = True


OURS = Side("Assent, reference from the store", "ours_trainer", {"layout": "shared", "reference": "store"})
OURS_LIVE = Side("Assent, live reference", "ours_trainer", {"layout": "shared", "reference": "live"})
BARE = Side("the same micro-batches in a bare loop", "ours", {"layout": "shared", "reference": "store"}, 0.91)
"""Its bar: the trainer costs less than 10% more."""


def trl_sides(against_default: float, against_fastest: float) -> tuple[Side, ...]:
    """TRL with its defaults, and each setting among which the fastest counts."""
    fast = [
        Side(
            f"TRL, precomputed, sorted by length, {size} per device",
            "trl_dpo",
            {"per_device": size, "precompute": True, "sort": True, "fastest_of": "precomputed"},
            against_fastest,
        )
        for size in (1, 2, 4, 8)
    ]
    return (Side("TRL defaults, 8 per device", "trl_dpo", {"per_device": 8}, against_default), *fast)


def reward_sides(against_default: float, against_fastest: float) -> tuple[Side, ...]:
    """Assent's reward model, and TRL's with its defaults and at the settings among which the fastest counts."""
    fast = [
        Side(
            f"TRL, sorted by length, {size} per device",
            "trl_reward",
            {"per_device": size, "sort": True, "fastest_of": "sorted"},
            against_fastest,
        )
        for size in (1, 2, 4, 8)
    ]
    default = Side("TRL defaults, 8 per device", "trl_reward", {"per_device": 8}, against_default)
    return (Side("Assent", "ours_reward", {}), default, *fast)


def long_lists() -> list[Row]:
    """Eight 50-token answers on 1,000-token prompts: TL;DR posts joined, cut to length after tokenising."""
    posts = tldr_pairs()
    joined = ["\n\n".join(post["prompt"] for post in posts[start : start + 8]) for start in range(0, 400, 8)]
    endings = itertools.cycle(posts[400:])
    return [
        {
            "prompt": text,
            "completions": ["".join(next(endings)["prompt"][:600]) for _ in range(8)],
            "prompt_tokens": 1000,
            "completion_tokens": 50,
        }
        for text in joined
    ]


UNSHARED = (
    Side(
        "Assent, unshared, one list per micro-batch",
        "ours",
        {"layout": "unshared", "budget": 1, "reference": "store"},
    ),
    Side(
        "plain padded rows, all logits, one list per micro-batch",
        "ours",
        {"layout": "padded", "budget": 1, "reference": "store"},
    ),
)


def with_bar(sides: Sequence[Side], bar: float) -> tuple[Side, ...]:
    """The same sides with a bar."""
    return tuple(Side(side.name, side.worker, side.options, bar) for side in sides)


def labelled_answers() -> list[Row]:
    """Single answers of HH, good and bad in turn, each with its label."""
    return [
        {"prompt": row["prompt"], "completions": [row["completions"][number % 2]], "labels": [1 - number % 2]}
        for number, row in enumerate(hh_pairs())
    ]


COUPLED = (
    Side("KTO over the whole step, in two phases", "ours_coupled", {"layout": "shared", "reference": "store"}),
    Side(
        "the same micro-batches in one phase, each with a reference point of its own (another loss)",
        "ours_coupled",
        {"layout": "shared", "reference": "store", "one_phase": True},
        round(1 / 1.4, 2),
    ),
    Side(
        "the whole step as one micro-batch, in one phase",
        "ours_coupled",
        {"layout": "shared", "reference": "store", "budget": 10**9},
        round(1 / 1.4, 2),
    ),
)


def tiny_pairs() -> list[Row]:
    """A few made-up pairs, so that the whole harness can be tried in seconds without any data."""
    return [
        {
            "prompt": f"A longer request that both answers share: what of {number} and {number * 7}?\n\nAnswer:",
            "completions": [f" {number} follows {number - 1}, and it is fine.", f" No. {number}"],
        }
        for number in range(1, 60)
    ]


def tiny_answers() -> list[Row]:
    """The same with one labelled answer each."""
    return [
        {"prompt": row["prompt"], "completions": [row["completions"][number % 2]], "labels": [1 - number % 2]}
        for number, row in enumerate(tiny_pairs())
    ]


TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}

CASES = (
    Case("hh", "DPO on HH, 32 pairs a step", hh_pairs, 32, (OURS, OURS_LIVE, BARE, *trl_sides(5, 2))),
    Case("tldr", "DPO on TL;DR posts, 32 pairs a step", tldr_pairs, 32, (OURS, OURS_LIVE, BARE, *trl_sides(4, 2))),
    Case("reward", "reward model on HH, 32 pairs a step", hh_pairs, 32, reward_sides(3, 1.5)),
    Case(
        "lists",
        "lists of 8 answers from AlpacaEval, 2 lists a step",
        alpaca_lists,
        2,
        (OURS, *with_bar(UNSHARED, 1.8)),
        objective="list_mle",
    ),
    Case(
        "long",
        "lists of 8 answers of 50 tokens on prompts of 1,000, 2 lists a step",
        long_lists,
        2,
        (OURS, *with_bar(UNSHARED, 5)),
        longest=2000,
        objective="list_mle",
    ),
    Case(
        "coupled",
        "a loss that couples comparisons: KTO with mismatched answers, 32 labelled answers a step",
        labelled_answers,
        32,
        COUPLED,
        objective="kto",
    ),
    Case(
        "tiny",
        "the harness itself, on made-up pairs",
        tiny_pairs,
        8,
        (
            OURS,
            OURS_LIVE,
            BARE,
            Side("plain padded rows", "ours", {"layout": "padded", "reference": "live"}),
            *trl_sides(0, 0),
        ),
        shape=TINY,
        by_default=False,
    ),
    Case(
        "tiny-coupled",
        "the harness itself, on a loss that couples comparisons",
        tiny_answers,
        8,
        tuple(replace(side, options={**side.options, "budget": side.options.get("budget", 200)}) for side in COUPLED),
        objective="kto",
        shape=TINY,
        by_default=False,
    ),
    Case(
        "tiny-reward",
        "the harness itself, on a reward model",
        tiny_pairs,
        8,
        reward_sides(0, 0),
        shape=TINY,
        by_default=False,
    ),
)
