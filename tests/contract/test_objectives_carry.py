"""From records to gradients: the contract carries methods of every kind on a tiny model.

Joint prompts, several score dimensions, the answer under another image (a text stands in for the image), state per
annotator, mismatched answers, whole distributions of the reference, and one answer under several prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from assent.comparison import Candidate, Comparison
from assent.encoding import EncodedComparison
from assent.encoding.causal import CausalEncoder
from assent.likelihood.build_policy import build_policy
from assent.objectives import Judged, build_objective
from tests.tiny import byte_tokenizer, tiny_lm

SEEN, UNSEEN = "[image: a cat] What is it?", "[image: blank] What is it?"


def pair(better: Candidate, worse: Candidate, *helpers: Candidate, **fields: Any) -> Comparison:
    return Comparison(SEEN, [better, worse, *helpers], **fields)


CAT, DOG = Candidate("A cat sits.", score=1.0), Candidate("A dog runs.", score=0.0)
RECORDS: dict[str, tuple[Any, list[Comparison]]] = {
    "dove": (
        "dove",
        [
            pair(
                Candidate("A cat.", prompt="Name a pet.", score=1.0),
                Candidate("A stone.", prompt="A food?", score=0.0),
            ),
            pair(CAT, DOG),
        ],
    ),
    "raco": (
        {"raco": {"dimensions": ["quality", "brevity"]}},
        [
            pair(
                Candidate("A cat sits there.", scores={"quality": 2.0, "brevity": 0.0}),
                Candidate("Cat.", scores={"quality": 1.0, "brevity": 3.0}),
            ),
            pair(Candidate("A.", scores={"quality": 1.0, "brevity": 1.0}), Candidate("B.", scores={"quality": 1.0})),
        ],
    ),
    "mdpo": (
        "mdpo",
        [
            pair(CAT, DOG, Candidate("A cat sits.", prompt=UNSEEN, role="corrupted_image")),
            pair(DOG, Candidate("No.", score=-1.0), Candidate("A dog runs.", prompt=UNSEEN, role="corrupted_image")),
        ],
    ),
    "lcpo": (
        {"lcpo": {"base": {"simpo": {"beta": 2.0}}}},
        [pair(CAT, DOG, annotator="ann"), pair(CAT, Candidate("No.", score=0.5), annotator="bob")],
    ),
    "kto": (
        "kto",
        [
            Comparison(SEEN, [Candidate("A cat.", label=True), Candidate("Green.", role="mismatched")]),
            Comparison("A colour?", [Candidate("Seven.", label=False), Candidate("A cat.", role="mismatched")]),
            Comparison("A number?", [Candidate("Eight."), Candidate("Seven.", role="mismatched")]),
        ],
    ),
    "token_dpo": ("token_dpo", [pair(CAT, DOG), pair(CAT, Candidate("No.", score=0.2))]),
    "mapl": (
        "mapl",
        [
            pair(CAT, DOG),
            Comparison(
                "unused",
                [
                    Candidate("Cats.", prompt="One word: which pets?", score=1.0),
                    Candidate("Cats.", prompt="Ten words: which pets?", score=0.0),
                ],
                group="intra",
            ),
            Comparison(
                "Which pets? One word.",
                [
                    Candidate("Cats.", score=1.0),
                    Candidate("Cats and dogs.", score=0.0),
                    Candidate("Cats.", prompt="Which pets?", role="base_prompt"),
                    Candidate("Cats and dogs.", prompt="Which pets?", role="base_prompt"),
                ],
            ),
        ],
    ),
}


def encoded(records: Sequence[Comparison], joint: bool) -> list[EncodedComparison]:
    encoder = CausalEncoder(byte_tokenizer(), score_prompts=joint)
    rows, report = encoder.encode_all(records)
    assert len(rows) == len(records), report
    return rows


def step(
    name: str, objective: Any, model: nn.Module, seed: int = 1
) -> tuple[Tensor, list[Tensor], list[EncodedComparison]]:
    """One step's loss and the gradient of every parameter."""
    rows = encoded(RECORDS[name][1], objective.needs.joint_prompts)
    policy, other = build_policy(model), build_policy(tiny_lm(seed=1).eval())
    policy.compare_with(other)
    likelihoods = policy(policy.collate(rows), objective.needs.statistics)
    known = None
    if objective.needs.reference:
        with torch.no_grad():
            known = other(other.collate(rows))
    loss = objective(Judged.of(rows, likelihoods, known, torch.Generator().manual_seed(0)))
    model.zero_grad()
    loss.sum().backward()
    return loss.detach(), [p.grad for p in model.parameters() if p.grad is not None], rows


@pytest.mark.parametrize("name", RECORDS)
def test_records_become_gradients(name: str) -> None:
    objective = build_objective(RECORDS[name][0])
    model = tiny_lm(seed=0)
    loss, gradients, rows = step(name, objective, model)
    terms = getattr(objective, "terms", None)
    assert loss.shape == ((len(rows), len(terms)) if terms else (len(rows),))
    assert bool(loss.isfinite().all())
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 1e-5


def test_a_tie_in_one_dimension_costs_log_two_and_pulls_nowhere() -> None:
    loss, _, _ = step("raco", build_objective(RECORDS["raco"][0]), tiny_lm(seed=0))
    torch.testing.assert_close(loss[1], torch.full((2,), 2.0).log())


def test_an_unlabelled_answer_counts_nowhere() -> None:
    objective = build_objective("kto")
    loss, _, _ = step("kto", objective, tiny_lm(seed=0))
    assert float(loss[2]) == 0.0
    assert float(loss[:2].min()) > 0.0


def test_each_annotator_is_trusted_apart() -> None:
    objective: Any = build_objective(RECORDS["lcpo"][0])
    _, _, rows = step("lcpo", objective, tiny_lm(seed=0))
    assert set(objective.reliabilities) == {"ann", "bob"}
    assert {name for name, _ in objective.suspicious()} == {row.id for row in rows}


def test_levels_keep_to_their_columns() -> None:
    loss, _, _ = step("mapl", build_objective("mapl"), tiny_lm(seed=0))
    assert (loss != 0).tolist() == [[True, False, False], [False, True, False], [False, False, True]]


def test_joint_preferences_train_the_prompt_too() -> None:
    """Where the answers are the same, only the prompts can earn the margin; DPO cannot tell the two apart by them."""
    model = tiny_lm(seed=0)
    prompts = (Candidate("Yes.", prompt="A?", score=1.0), Candidate("Yes.", prompt="Bee?", score=0.0))
    rows = encoded([Comparison("x", prompts)], joint=True)
    policy = build_policy(model)
    likelihoods = policy(policy.collate(rows))
    assert float((likelihoods.joint - likelihoods.sum).detach().abs().min()) > 0
    loss = build_objective("dove")(Judged.of(rows, likelihoods, None))
    margin = 0.1 * (likelihoods.joint[0, 0] - likelihoods.joint[0, 1])
    torch.testing.assert_close(loss[0], -torch.nn.functional.logsigmoid(margin))
