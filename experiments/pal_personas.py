"""People of different personas are told apart, on frozen n-gram features of public statements

Statements written for personas (Perez et al. 2022, Anthropic model-written evaluations, through `ASSENT_DATA`). A
person belongs to one of K personas; asked about a statement of their own persona they prefer the matching answer
(Yes or No), about another's that answer or the other one by a fixed random table of (own persona, statement's
persona), drawn so that no two personas agree on everything. The published recipe of the pairs is not known; this is
ours. Features: hashed word and character n-grams reduced by truncated SVD. PAL-B (Chen et al. 2024) with one
prototype is the homogeneous reward model. A persona may be a mixture of prototypes, so groups are found by k-means on
people's weights; the largest weight alone is reported too. Held out: statements (seen people), and people (a few
pairs each).
"""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from assent.comparison import Candidate, Comparison
from assent.preference_models import PAL
from assent.preference_models.fit import FitOptions, pair_accuracy, train_preference_model
from assent.preference_models.verdicts import verdicts_of

DATA = ("personas.jsonl.gz",)
EXPECTED = {
    "accuracy_k1": "plateau of one reward for all",
    "accuracy_k": "clearly above K = 1 (no number published for this form)",
    "adjusted_rand_index": "1.0 where groups are recovered",
    "new_person_after_10": "above K = 1",
}
CLAIMS = {
    "several prototypes beat one": lambda n: n["accuracy_k"] > n["accuracy_k1"] + 0.05,
    "people of a persona are found together": lambda n: n["adjusted_rand_index"] > 0.6,
    "ten pairs serve a new person better than one reward for all": lambda n: (
        n["new_person_after_10"] > n["new_person_homogeneous"] + 0.02
    ),
}
QUICK: dict[str, Any] = {"personas": 2, "people": 4, "questions": 20, "epochs": 2, "size": 16, "newcomers": 1}


def run(
    seed: int,
    personas: int = 3,
    people: int = 10,
    questions: int = 120,
    epochs: int = 20,
    size: int = 128,
    newcomers: int = 12,
) -> dict[str, float]:
    draw = random.Random(seed)
    statements = _statements(draw, personas)
    train_set, test_set = statements[: int(0.8 * len(statements))], statements[int(0.8 * len(statements)) :]
    table = _table(personas, draw)
    known = [f"p{persona}-{index}" for persona in range(personas) for index in range(people)]
    train = [row for name in known for row in _asked(name, train_set, questions, table, draw)]
    test = [row for name in known for row in _asked(name, test_set, 40, table, draw)]
    numbers: dict[str, float] = {}
    models = {}
    for count in (1, personas):
        spec = {"pal": {"variant": "b", "prototypes": count, "latent_size": 32, "projector_layers": 1}}
        options = FitOptions(epochs=epochs, batch_size=256, learning_rate=1e-3, seed=seed)
        trained = train_preference_model(train, spec, {"encoder": "hashed_ngrams", "size": size}, options)
        model = models[count] = trained.model
        features = model.features(test, ordered=True)
        numbers["accuracy_k1" if count == 1 else "accuracy_k"] = pair_accuracy(
            model.head, features, verdicts_of(test)
        )
    head = models[personas].head
    assert isinstance(head, PAL)
    groups = [int(name[1:].split("-")[0]) for name in head.annotators]
    weights = head.user_logits.detach().softmax(dim=1)
    found = KMeans(personas, n_init=10, random_state=seed).fit_predict(weights.double().numpy())
    numbers["adjusted_rand_index"] = adjusted_rand_score(groups, found)
    numbers["adjusted_rand_index_argmax"] = adjusted_rand_score(groups, weights.argmax(dim=1).tolist())
    return numbers | _newcomers(models, table, train_set, test_set, newcomers, draw)


def _statements(draw: random.Random, personas: int) -> list[tuple[int, str, str]]:
    """(persona, question, matching answer) of the first personas by name of the file's order, shuffled."""
    path = Path(os.environ["ASSENT_DATA"]) / DATA[0]
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file]
    names = draw.sample(sorted({row["persona"] for row in rows}), personas)
    kept = [
        (names.index(row["persona"]), row["question"], row["matching"]) for row in rows if row["persona"] in names
    ]
    draw.shuffle(kept)
    return kept


def _table(personas: int, draw: random.Random) -> list[list[bool]]:
    """Whether each persona (row) gives the matching answer to each persona's statements (column)."""
    while True:
        table = [[own == other or draw.random() < 0.5 for other in range(personas)] for own in range(personas)]
        if len({tuple(row) for row in table}) == personas:
            return table


def _asked(
    name: str, statements: list[tuple[int, str, str]], count: int, table: list[list[bool]], draw: random.Random
) -> list[Comparison]:
    own = int(name[1:].split("-")[0])
    rows = []
    for persona, question, matching in draw.sample(statements, min(count, len(statements))):
        answer = matching if table[own][persona] else {"Yes": "No", "No": "Yes"}[matching]
        candidates = [Candidate(text, score=float(text == answer)) for text in ("Yes", "No")]
        rows.append(Comparison(question, candidates, annotator=name))
    return rows


def _newcomers(
    models: Any, table: list[list[bool]], train: Any, test: Any, people: int, draw: random.Random
) -> dict[str, float]:
    """Accuracy on held-out statements of people nobody knew, after ten pairs of theirs."""
    personas = len(table)
    accuracies: dict[int, list[float]] = {count: [] for count in models}
    for index in range(people):
        name = f"p{index % personas}-new{index}"
        few, rest = _asked(name, train, 10, table, draw), _asked(name, test, 60, table, draw)
        for count, model in models.items():
            logits = model.head.adapt(model.features(few, ordered=True), verdicts_of(few))
            with torch.no_grad():
                embedded = model.head.embed(model.features(rest, ordered=True))
                reward = model.head.mixture_reward(embedded, logits.softmax(0).expand(len(rest), -1))
            accuracies[count].append(float((reward[:, 0] > reward[:, 1]).double().mean()))
    means = {count: sum(values) / len(values) for count, values in accuracies.items()}
    return {"new_person_after_10": means[personas], "new_person_homogeneous": means[1]}
