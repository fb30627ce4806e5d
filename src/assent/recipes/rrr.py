"""R^3: preference pairs without a person, a judge or a reward model.

Kim and Seo 2024, arXiv 2402.03469.

1. Answers to each prompt are given, as `assent generate --samples 8` writes them.
2. Each is scored: relevance to the prompt by a frozen encoder, times its length, times how little it repeats. For
   questions with one right answer (`meta.query_type: CONSTRAINED`) the reference (`meta.reference`) stands in for
   the prompt, and length does not pay.
3. The best and the worst of each prompt make a pair for any pairwise loss.

    assent recipe run rrr --data drawn.jsonl --encoder ./contriever --output rrr
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from assent.building.best_worst import best_worst
from assent.generation.best_of_n import rerank
from assent.preference_models.encoders import build_encoder
from assent.preference_models.rrr import RelevanceReward, RelevanceScorer
from assent.readers import read, write_jsonl


def main(arguments: Sequence[str]) -> None:
    """Scores answers and pairs them."""
    parser = argparse.ArgumentParser(prog="assent recipe run rrr", description="Pairs by regularised relevance.")
    parser.add_argument("--data", required=True, type=Path, help="several answers to each prompt")
    parser.add_argument("--encoder", required=True, help="folder of a trained text encoder")
    parser.add_argument("--output", required=True, type=Path, help="folder of scores and pairs")
    parser.add_argument("--max-tokens", type=int, default=512, help="longest answer that could be sampled")
    parser.add_argument("--smallest-gap", type=float, default=0.0, help="reward between best and worst")
    given = parser.parse_args(list(arguments))
    reward = RelevanceReward(max_tokens=given.max_tokens, clamp=True)
    scorer = RelevanceScorer(build_encoder({"encoder": given.encoder}).encode, reward)
    scored = rerank(list(read(given.data).comparisons), scorer)
    pairs = best_worst(scored, given.smallest_gap)
    given.output.mkdir(parents=True, exist_ok=True)
    write_jsonl(scored, given.output / "scored.jsonl")
    write_jsonl(pairs.comparisons, given.output / "pairs.jsonl")
    print(f"{pairs.summary()}: {given.output / 'pairs.jsonl'}")
