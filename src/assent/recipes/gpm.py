"""GPM: preferences that run in circles have no reward, but each answer can have a vector.

Zhang et al. 2024, arXiv 2410.02197.

1. A Bradley-Terry reward ranks all answers on one line; on a circle it is at chance.
2. GPM compares two vectors by a skew-symmetric product: with dimension two it can be Bradley-Terry, with more it
   can tell circles, and scoring K answers still costs K passes.
3. Held-out accuracy of both, and how many circles GPM says there are.

    assent recipe run gpm --data prefs.jsonl --output gpm
"""

from __future__ import annotations

from collections.abc import Sequence

from assent.preference_models.registry import Spec
from assent.recipes.preference_parts import compared, data_of, options, parsed


def main(arguments: Sequence[str]) -> None:
    """Trains both and compares."""
    parser = options("gpm", "A general preference model.")
    parser.add_argument("--dimensions", type=int, default=4, help="of each answer's vector; even")
    parser.add_argument("--width", type=int, default=64, help="of the hidden layer")
    given = parsed(parser, arguments)
    # Standardised features of opposite answers are opposite, and a linear map keeps them on one line, where the
    # product is 0: one hidden layer lifts them off it.
    gpm = {"dimensions_per_candidate": given.dimensions, "layers": (given.width,)}
    specs: dict[str, Spec] = {"bradley_terry": "bradley_terry", "gpm": {"gpm": gpm}}
    reports = compared(given, data_of(given), specs)
    for name, report in reports.items():
        print(f"{name}: {report['transitivity']}")
