"""PAL: people are mixtures of a few prototypes, and a new person needs a handful of pairs.

Chen et al. 2024, arXiv 2406.08469.

1. One reward for all people: what a homogeneous model can reach.
2. PAL learns prototypes and, for each annotator, how they mix; its accuracy beyond the first is what people's
   differences are worth.

Each comparison names its `annotator`.

    assent recipe run pal --data prefs.jsonl --prototypes 3 --output pal
"""

from __future__ import annotations

from collections.abc import Sequence

from assent.recipes.preference_parts import compared, data_of, options, parsed


def main(arguments: Sequence[str]) -> None:
    """Trains both and compares."""
    parser = options("pal", "Pluralistic alignment by ideal points.")
    parser.add_argument("--prototypes", type=int, default=3)
    parser.add_argument("--variant", choices=["a", "b"], default="b", help="a: ideal points; b: by prompt")
    given = parsed(parser, arguments)
    shared = {"variant": given.variant, "projector_layers": 1}
    specs = {
        "one_prototype": {"pal": {**shared, "prototypes": 1}},
        "prototypes": {"pal": {**shared, "prototypes": given.prototypes}},
    }
    reports = compared(given, data_of(given), specs)
    gain = [reports[name]["accuracy"]["strict"]["estimate"] for name in specs]
    print(f"people's differences are worth {gain[1] - gain[0]:+.3f} of accuracy")
