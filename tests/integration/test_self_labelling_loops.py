"""Selfie and OSP end to end on a small model trained on the spot: a planted preference grows, a control's does not.

The planted preference is the letter a: a few seed pairs (Selfie) or a judge (OSP) like answers that hold more of it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from assent.comparison import Candidate, Comparison
from assent.generation import LocalGenerator, Sampling, in_order
from assent.judging import Judge, Verdict
from assent.likelihood.loading import load_causal_lm
from assent.readers import write_jsonl
from assent.recipes import osp, selfie
from assent.recipes.loop_parts import Loop
from tests.tiny import byte_tokenizer, tiny_lm

LETTERS, LENGTH = "abcde", 6
TRAINING: dict[str, Any] = {
    "num_train_epochs": 1,
    "per_device_train_batch_size": 8,
    "lr_scheduler_type": "constant",
    "learning_rate": 3e-3,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
}


@dataclass(frozen=True)
class Bed:
    """A base model that writes random letters, and prompts."""

    model: Path
    prompts: list[str]
    held_out: list[str]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Bed:
    folder = tmp_path_factory.mktemp("base")
    tokenizer, model = byte_tokenizer(), tiny_lm(layers=1)
    draw = random.Random(0)
    prompts = ["".join(draw.choices(LETTERS, k=3)) + ">" for _ in range(90)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        texts = [draw.choice(prompts) + "".join(draw.choices(LETTERS, k=LENGTH)) for _ in range(32)]
        ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts])
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Bed(folder, prompts, ["".join(draw.choices(LETTERS, k=3)) + ">" for _ in range(25)])


def sampling(seed: int, samples: int = 2) -> Sampling:
    return Sampling(samples, LENGTH + 2, seed=seed)


def drawn(model: Path | str, prompts: Sequence[str], seed: int, samples: int = 2) -> list[list[str]]:
    loaded, tokenizer = load_causal_lm(str(model))
    found = in_order(LocalGenerator(loaded, tokenizer, name="bed"), prompts, sampling(seed, samples))
    return [[sample.text for sample in row] for row in found]


def planted(model: Path | str, prompts: Sequence[str]) -> float:
    """Mean number of a's in an answer."""
    rows = drawn(model, prompts, seed=99, samples=4)
    return sum(text.count("a") for row in rows for text in row) / sum(map(len, rows))


class Guess:
    """A judge that knows nothing."""

    name, criterion = "guess", "nothing"

    def __init__(self) -> None:
        self.draw = random.Random(5)

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        for index, comparison in enumerate(comparisons):
            values = tuple(self.draw.random() for _ in comparison.candidates)
            yield index, Verdict("judged", values, confidence=values[0] if len(values) == 2 else None)


class LikesA:
    """A judge that says how strongly it prefers the answer with more a's."""

    name, criterion = "likes_a", "a"

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        for index, comparison in enumerate(comparisons):
            first, second = (str(one.completion).count("a") for one in comparison.answers)
            strength = float(torch.sigmoid(torch.tensor(1.5 * (first - second))))
            yield index, Verdict("judged", (strength, 1 - strength), confidence=strength, consistent=True)


def quiet(text: str) -> None:
    """Nobody reads it."""


def test_selfie_spreads_a_few_judgements_and_a_guessing_judge_does_not(bed: Bed, tmp_path: Path) -> None:
    rows = drawn(bed.model, bed.prompts[:30], seed=1)
    counts = [[text.count("a") for text in row] for row in rows]
    seed_pairs = [
        Comparison(prompt, [Candidate(text, score=float(count)) for text, count in zip(row, number, strict=True)])
        for prompt, row, number in zip(bed.prompts, rows, counts, strict=False)
        if number[0] != number[1]
    ]
    write_jsonl(seed_pairs, tmp_path / "seed.jsonl")
    plan = selfie.Plan(str(bed.model), tmp_path / "seed.jsonl", bed.prompts[30:], 2, sampling(3))
    models = selfie.run(plan, Loop(tmp_path / "self", {"training": TRAINING}, quiet), selfie.log_ratio_judge)
    start, *rounds = (planted(model, bed.held_out) for model in (bed.model, *models))
    assert start < rounds[0] < rounds[1] < rounds[2]

    shutil.copytree(tmp_path / "self" / "round-0", tmp_path / "control" / "round-0")
    control = Loop(tmp_path / "control", {"training": TRAINING}, quiet)
    guessed = selfie.run(plan, control, lambda last, initial: Guess())
    grown, not_grown = rounds[2] - rounds[0], planted(guessed[-1], bed.held_out) - rounds[0]
    print(f"a's: {start:.2f} {rounds}, control {rounds[0] + not_grown:.2f}")
    assert not_grown < 0.5 * grown

    said: list[str] = []
    again = selfie.run(plan, Loop(tmp_path / "self", {"training": TRAINING}, said.append), selfie.log_ratio_judge)
    assert again == models
    assert sum("already" in text for text in said) == 7


@pytest.mark.parametrize("judge", [LikesA(), Guess()], ids=lambda judge: judge.name)
def test_osp_learns_what_its_judge_prefers_and_nothing_from_guesses(bed: Bed, tmp_path: Path, judge: Judge) -> None:
    plan = osp.Plan(str(bed.model), bed.prompts[:60], 2, sampling(7, samples=3))
    models = osp.run(plan, Loop(tmp_path, {"training": TRAINING}, quiet), lambda model: judge)
    start, *rounds = (planted(model, bed.held_out) for model in (bed.model, *models))
    print(f"a's with {judge.name}: {start:.2f} {rounds}")
    if judge.name == "likes_a":
        assert start + 0.2 < rounds[0] < rounds[1]
    else:
        assert rounds[1] < start + 0.5
