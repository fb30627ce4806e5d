"""Best of n: draw n answers, serve the one that a scorer likes most; reward-guided reranking of given ones.

Source: Nakano et al. 2021, arXiv 2112.09332; the divergence: Hilton, Gao 2022, and Beirami et al. 2024,
arXiv 2401.01879.

    KL(best-of-n || policy) <= log n - (n - 1) / n,

with equality when no two answers tie and none has noticeable probability. n = 1 is plain sampling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from assent.comparison import Comparison, Prompt
from assent.generation.decoding import best, comparison_of
from assent.generation.sampling import Generator, Sampling
from assent.preference_models import Scored, Scorer


class BestOfN:
    """Draws `sampling.samples` answers for each prompt and ranks them.

    Args:
        generator: the model.
        scorer: any scorer (a preference model, an implicit reward).
    """

    def __init__(self, generator: Generator, scorer: Scorer) -> None:
        self.generator = generator
        self.scorer = scorer

    def decode(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Comparison]]:
        """Scored candidates in the order drawn."""
        for index, samples in self.generator.stream(prompts, sampling, keys):
            drawn = comparison_of(prompts[index], samples, self.generator.name)
            (ranked,) = rerank([drawn], self.scorer)
            note = {"method": "best_of_n", "kl_bound": kl_bound(len(drawn.candidates))}
            yield index, noted(ranked, note)


def rerank(comparisons: Sequence[Comparison], scorer: Scorer) -> list[Comparison]:
    """The comparisons with the scorer's numbers as scores, and the chosen index in `meta.decoding`."""
    return [
        _scored(one, scored, scorer.name) for one, scored in zip(comparisons, scorer.score(comparisons), strict=True)
    ]


def kl_bound(n: int) -> float:
    """Upper bound of the divergence of best-of-n from the policy, in nats."""
    return math.log(n) - (n - 1) / n


def noted(comparison: Comparison, note: dict[str, Any]) -> Comparison:
    """The comparison with more in `meta.decoding`."""
    decoding = {**comparison.meta.get("decoding", {}), **note}
    return replace(comparison, meta={**comparison.meta, "decoding": decoding})


def _scored(comparison: Comparison, scored: Scored, name: str) -> Comparison:
    scores = scored.ranking_scores()
    candidates = [
        replace(
            candidate,
            score=score if math.isfinite(score) else None,
            scores={dimension: row[at] for dimension, row in scored.dimensions.items() if math.isfinite(row[at])},
        )
        for at, (candidate, score) in enumerate(zip(comparison.candidates, scores, strict=True))
    ]
    chosen = best(scores, [str(candidate.completion) for candidate in candidates])
    return noted(replace(comparison, candidates=candidates, annotator=name), {"chosen": chosen})
