"""Hybrid preferences: which comparisons should people judge, and which a model?

Miranda, Wang et al. 2024, arXiv 2410.19133.

1. Every pair has the model's verdict, some have people's too (two names among the candidates' `scores`).
2. On random mixes of both a small reward model is trained and measured; from the mixes' features one learns to
   predict how good a mix will be.
3. The budget goes to the pairs with the largest predicted gain. Those that nobody has judged come out unjudged,
   marked `label_wanted`.

    assent recipe run hybrid_routing --data pairs.jsonl --test held-out.jsonl --output routed
"""

from __future__ import annotations

from collections.abc import Sequence

from assent.building.route_labels import RoutingJob, route_labels
from assent.readers import read, write_jsonl
from assent.recipes.preference_parts import options, parsed, written


def main(arguments: Sequence[str]) -> None:
    """Routes, and says what the routing is predicted and measured to be worth."""
    parser = options("hybrid_routing", "Routes labels under a budget.")
    parser.add_argument("--budget", type=float, default=0.25, help="share of the pairs that people may judge")
    parser.add_argument("--mixes", type=int, default=200)
    parser.add_argument("--human", default="human", help="name of people's score")
    parser.add_argument("--machine", default="machine", help="name of the model's score")
    given = parsed(parser, arguments)
    if given.test is None:
        parser.error("routing is measured on judged pairs of their own: --test")
    features = {"encoder": given.encoder} | ({"size": given.size} if given.encoder == "hashed_ngrams" else {})
    job = RoutingJob(given.human, given.machine, given.budget, given.mixes, features, given.seed)
    routed = route_labels(read(given.data).comparisons, read(given.test).comparisons, job)
    given.output.mkdir(parents=True, exist_ok=True)
    write_jsonl(routed.comparisons, given.output / "routed.jsonl")
    print(f"accuracy of a reward model: {routed.measured}")
    print(f"{routed.to_judge} pairs wait for people: {given.output / 'routed.jsonl'}")
    numbers = {name: value for name, value in vars(routed).items() if name not in ("comparisons", "gains")}
    written(given.output / "results.json", numbers)
