"""Only all three factors of the relevance reward pick the answer

Instructions and the baseline's answers of AlpacaEval 2 (Dubois et al., through `ASSENT_DATA`): 300 answers of more
than forty tokens to instructions of at most thirty. Four candidates each: the answer, the instruction copied, the
instruction repeated to about twice the answer's length, two answers to other instructions one after the other. The
relevance is the cosine of tf-idf vectors, in place of a trained retriever (Kim and Seo 2024; their rows came from
another set). Counted: which candidate each reward likes best.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from assent.comparison import Candidate, Comparison
from assent.preference_models.rrr import RelevanceReward, RelevanceScorer, tokens_of

DATA = ("alpaca_eval_lists.jsonl.gz",)
NAMES = ("answer", "copied", "repeated", "foreign")
REWARDS = {
    "relevance": RelevanceReward(length=False, repetition=False),
    "length": RelevanceReward(relevance=False, repetition=False),
    "relevance_length": RelevanceReward(repetition=False),
    "all": RelevanceReward(),
}
EXPECTED = {
    "all_answer": "0.81 (242 of 300)",
    "relevance_copied": "0.86 (258 of 300)",
    "length_foreign": "0.55 (164 of 300)",
    "relevance_length_repeated": "1.0",
}
CLAIMS = {
    "three factors pick the answer": lambda n: n["all_answer"] >= 0.75,
    "fewer do not": lambda n: (
        max(n["relevance_answer"], n["length_answer"], n["relevance_length_answer"]) < n["all_answer"] / 4
    ),
    "relevance alone is hacked by a copy": lambda n: n["relevance_copied"] + n["relevance_repeated"] > 0.9,
    "with length, by repetition": lambda n: n["relevance_length_repeated"] > 0.9,
}
QUICK: dict[str, Any] = {"rows": 12}


def run(seed: int, rows: int = 300) -> dict[str, float]:
    draw = random.Random(seed)
    pairs = _pairs()
    draw.shuffle(pairs)
    pairs = pairs[:rows]
    vectors = TfidfVectorizer().fit([text for pair in pairs for text in pair])

    def encode(texts: Any) -> torch.Tensor:
        return torch.from_numpy(np.asarray(vectors.transform(texts).todense()))

    comparisons = [_comparison(query, answer, pairs, draw) for query, answer in pairs]
    numbers: dict[str, float] = {"rows": len(comparisons)}
    for name, reward in REWARDS.items():
        scored = RelevanceScorer(encode, reward).score(comparisons)
        best = [int(np.argmax(one.ranking_scores())) for one in scored]
        numbers |= {f"{name}_{NAMES[at]}": best.count(at) / len(best) for at in range(4)}
    return numbers


def _pairs() -> list[tuple[str, str]]:
    with gzip.open(Path(os.environ["ASSENT_DATA"]) / DATA[0], "rt") as file:
        rows = [json.loads(line) for line in file]
    found = {_text(row["prompt"]): row["baseline"]["completion"] for row in rows}
    return [(q, a) for q, a in found.items() if len(tokens_of(a)) > 40 and 3 < len(tokens_of(q)) <= 30]


def _text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(turn["content"] for turn in prompt)


def _comparison(query: str, answer: str, pairs: list[tuple[str, str]], draw: random.Random) -> Comparison:
    times = max(2, round(2 * len(tokens_of(answer)) / len(tokens_of(query))))
    foreign = draw.sample([other for question, other in pairs if question != query], 2)
    texts = (answer, query, " ".join([query] * times), " ".join(foreign))
    return Comparison(query, [Candidate(text, source=name) for name, text in zip(NAMES, texts, strict=True)])
