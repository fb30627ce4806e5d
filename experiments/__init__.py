"""Experiments with a known outcome: what a paper claims, at a size that a laptop can repeat.

An experiment is one module, named after its method's slug. It states:

    EXPECTED: dict[str, str]      for each number that `run` returns, what the source reports
    CLAIMS: dict[str, callable]   what must hold, each a predicate of one seed's numbers
    SEEDS: tuple[int, ...]        optional, (0, 1, 2) by default
    DATA: tuple[str, ...]         optional, files under the folder that `ASSENT_DATA` names
    QUICK: dict[str, Any]         optional, arguments of `run` for the short version that tests run
    run(seed, **options) -> dict[str, float]

`make experiments` runs what is missing or out of date (`ONLY=slug` for one); every result is written as it ends,
to `docs/results/`, and `docs/results.md` is made from those files. A claim that did not hold is reported as such.
"""
