"""Preference Orchestrator: several objectives, weighed by what each prompt asks for.

Liu et al. 2025, arXiv 2511.10656. With comparisons whose answers have a score for each objective (`assent judge` with
a checklist, `assent score` with a model of several heads) and one of which people, or a judge, preferred:

1. Rewards are standardised over all answers. What the preferred answer of a prompt has more of than usual is the
   weight that its objective should have there.
2. A small adapter learns these weights from the prompt alone; it must beat the constant prediction on held-out
   prompts, or all prompts want the same.
3. In training: every answer is scored by its prompt's own weights, the best and the worst make a pair, and a policy
   is trained on them by DPO.
4. At inference: `assent generate --decode orchestrator --orchestrator FOLDER --scorer MODEL`.

    assent recipe run preference_orchestrator --data scored.jsonl --policy chat-model --output weights

A weight says what preferred answers have, not what the prompt needs: an objective that one likes everywhere grows
everywhere. Give safety a floor (`--floor`), not a learnt weight alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from assent.building.best_worst import best_worst
from assent.building.built import Built
from assent.comparison import Comparison
from assent.errors import InputError
from assent.generation.preference_orchestrator import (
    Normalisation,
    Orchestrator,
    PromptWeights,
    scalarised,
    target_weights,
)
from assent.generation.prompts import text_of
from assent.preference_models.encoders import build_encoder
from assent.readers import read
from assent.recipes.asking_parts import asking, loop_of, trained_in_turn, training_options
from assent.recipes.preference_parts import written


def main(arguments: Sequence[str]) -> None:
    """Learns the weights, scores by them, and trains."""
    parser = asking("preference_orchestrator", "Weights of objectives by prompt.")
    training_options(parser)
    parser.add_argument("--data", required=True, type=Path, help="answers with `scores` by objective")
    parser.add_argument(
        "--objectives", nargs="+", help="names among the scores; default: those that all answers have"
    )
    parser.add_argument("--encoder", default="hashed_ngrams", help="hashed_ngrams, or a local encoder's folder")
    parser.add_argument("--softness", type=float, default=1.0, help="temperature of the targets, in std")
    parser.add_argument("--floor", type=float, default=0.02, help="least weight of an objective")
    given = parser.parse_args(list(arguments))
    loop = loop_of(given)
    rows = [one for one in read(given.data).comparisons if len([c for c in one.answers if c.judged]) > 1]
    names = given.objectives or common_objectives(rows)
    rewards = [rewards_of(one, names) for one in rows]
    normalisation = Normalisation.fit(torch.cat(rewards), limit=3.0)
    preferred = torch.stack(
        [reward[one.answers.index(one.ordered()[0])] for one, reward in zip(rows, rewards, strict=True)]
    )
    targets = target_weights(normalisation(preferred), given.softness)
    encoder = build_encoder({"encoder": given.encoder})
    texts = [text_of(one.prompt) for one in rows]
    encoder.fit(texts)
    torch.manual_seed(given.seed)
    adapter = PromptWeights(encoder.size, names, floor=given.floor)
    held_out, constant = adapter.fit(encoder.encode(texts), targets, seed=given.seed)
    orchestrator = Orchestrator(adapter, normalisation, encoder)
    given.output.mkdir(parents=True, exist_ok=True)
    orchestrator.save(given.output / "orchestrator")
    mean = dict(zip(names, targets.mean(dim=0).tolist(), strict=True))
    print(f"held-out divergence {held_out:.4f} nats, of the constant prediction {constant:.4f}")
    print(f"mean weights: {json.dumps(mean)}")
    written(given.output / "results.json", {"held_out": held_out, "constant": constant, "mean_weights": mean})
    loop.built("pairs.jsonl", partial(_pairs, rows, rewards, orchestrator))
    if given.policy:
        trained_in_turn(loop, given.policy, {"dpo": ("pairs.jsonl", {"dpo": {"beta": 0.1}})})


def common_objectives(rows: Sequence[Comparison]) -> list[str]:
    """The names of scores that every answer has, in the order of the first one."""
    answers = [answer for row in rows for answer in row.answers]
    names = [name for name in (answers[0].scores if answers else {}) if all(name in one.scores for one in answers)]
    if len(names) < 2:
        raise InputError(
            "weights need two objectives or more", field="scores", found=", ".join(names) or "none on every answer"
        )
    return names


def rewards_of(row: Comparison, names: Sequence[str]) -> Tensor:
    """[answers, K] scores by objective; an answer that lacks one is an error that names the record."""
    for answer in row.answers:
        missing = [name for name in names if name not in answer.scores]
        if missing:
            raise InputError("an answer lacks an objective", where=f"record {row.key[:12]}", field=missing[0])
    return torch.tensor([[answer.scores[name] for name in names] for answer in row.answers])


def _pairs(rows: Sequence[Comparison], rewards: Sequence[Tensor], orchestrator: Orchestrator) -> Built:
    weights = orchestrator.weights([one.prompt for one in rows])
    weighed = []
    for row, reward, weight in zip(rows, rewards, weights, strict=True):
        scores = scalarised(weight, orchestrator.normalisation(reward)).tolist()
        candidates = [replace(one, score=score) for one, score in zip(row.answers, scores, strict=True)]
        weighed.append(replace(row, candidates=candidates, confidence=None, annotator="preference_orchestrator"))
    return best_worst(weighed)
