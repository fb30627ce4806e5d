"""Community Alignment: candidates that stand for different values, so that a minority can be learned.

Zhang, Milli et al. 2025, arXiv 2507.09650.

1. The same model answers the same prompts twice: K answers drawn independently, and K written at once that are to
   stand for different values.
2. Where a scorer with a score for each value is given, every answer is labelled by it, blind to its sampler.
3. Reported: how often each value is on offer, whether the second sampler improves on every value, how different
   the texts are, and their lengths, which the second sampler tends to shorten.

People's choices among such sets are read by `assent eval plural`, by annotator and by group.

    assent recipe run community_alignment --model chat-model --prompts prompts.jsonl --output plural
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from assent.comparison import Comparison
from assent.evaluation.plural_report import PluralOptions, coverage_compared, plural_report
from assent.generation import Sampling
from assent.generation.best_of_n import rerank
from assent.generation.prompt_files import read_prompts
from assent.generation.varied import Varied
from assent.preference_models.encoders import build_encoder
from assent.preference_models.loading import open_scorer
from assent.preference_models.text import completion_text
from assent.readers import write_jsonl
from assent.recipes.loop_parts import local_decoder
from assent.recipes.preference_parts import written


def main(arguments: Sequence[str]) -> None:
    """Draws both kinds of sets and compares what they offer."""
    parser = argparse.ArgumentParser(prog="assent recipe run community_alignment", description="Varied candidates.")
    parser.add_argument("--model", required=True, help="folder of a chat model")
    parser.add_argument("--prompts", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path, help="folder of the sets and results")
    parser.add_argument("--samples", type=int, default=4, help="candidates of a set")
    parser.add_argument("--max-new-tokens", type=int, default=300, help="of one answer")
    parser.add_argument("--scorer", help="preference model with a score for each value")
    parser.add_argument("--values", nargs="*", default=[], help="names of these scores")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(list(arguments))
    prompts, plain = read_prompts(given.prompts), local_decoder(given.model)
    sampling = Sampling(given.samples, given.max_new_tokens, seed=given.seed)
    sets: dict[str, list[Comparison]] = {}
    for name, decoder in (("independent", plain), ("varied", Varied(plain.generator))):
        drawn = dict(decoder.decode(prompts, sampling))
        sets[name] = [drawn[at] for at in sorted(drawn) if "failed" not in drawn[at].meta]
        print(f"{name}: {len(sets[name])} of {len(prompts)} sets")
        if given.scorer and sets[name]:
            sets[name] = rerank(sets[name], open_scorer(given.scorer))
        given.output.mkdir(parents=True, exist_ok=True)
        write_jsonl(sets[name], given.output / f"{name}.jsonl")
    encoder = build_encoder({"encoder": "hashed_ngrams"})
    encoder.fit([completion_text(one.completion) for part in sets.values() for row in part for one in row.answers])
    options = PluralOptions(tuple(given.values) if given.scorer else (), encode=encoder.encode)
    reports = {name: plural_report(part, options) for name, part in sets.items() if part}
    if options.values and len(reports) == 2:
        reports["compared"] = coverage_compared(reports["varied"], reports["independent"])
    written(given.output / "results.json", reports)
