"""Imitating the best of one's own answers gains more reward than ranking random ones, and narrows the policy more

Tabular policies from uniform, 32 prompts with 8 answers, standard normal rewards, 4 answers per prompt and step,
150 steps of Adam 0.05. RAFT draws the answers from the policy of the step and imitates the best of each prompt; RRHF
ranks 4 different random answers and imitates the best. The control draws one answer from the policy and imitates it:
nothing is ranked, so that the reward has no direction, though the policy narrows by chance.

Wang et al. 2023 (arXiv 2307.12966) survey both without experiments of their own; the expected numbers are of an
earlier simulation. It leaves the optimizer open, and how far either gets in 150 steps depends on the rate: in the
world of seed 0 RAFT ends with entropy 1.01 at rate 0.02, 0.54 at 0.03 and 0.25 at 0.05, RRHF with 1.81, 1.66 and
1.48. The order of the two is the same at all three; the expected 0.76 and 1.61 belong to no single one of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assent.building.best_worst import best_only
from assent.comparison import Candidate, Comparison
from assent.objectives import Judged
from experiments._tabular import batch_of, train

PROMPTS, ANSWERS = 32, 8
EXPECTED = {
    "reward_uniform": "0.03",
    "reward_raft": "1.13",
    "reward_rrhf": "0.76",
    "reward_one_sample": "as at the start",
    "ceiling": "1.36",
    "entropy_uniform": "2.08",
    "entropy_raft": "0.76",
    "entropy_rrhf": "1.61",
    "entropy_one_sample": "below 2.08",
}
CLAIMS = {
    "both gain reward": lambda n: min(n["reward_raft"], n["reward_rrhf"]) > n["reward_uniform"] + 0.3,
    "own samples reach further": lambda n: n["reward_rrhf"] < n["reward_raft"] < n["ceiling"],
    "and narrow the policy more": lambda n: n["entropy_raft"] < n["entropy_rrhf"] < n["entropy_uniform"],
    "without ranking there is no gain": lambda n: abs(n["reward_one_sample"] - n["reward_uniform"]) < 0.3,
}
QUICK: dict[str, Any] = {"steps": 5}


def run(seed: int, steps: int = 150) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    reward = torch.randn(PROMPTS, ANSWERS, generator=generator, dtype=torch.float64)

    def imitated(samples: int, table: Tensor) -> Judged:
        drawn = torch.multinomial(table.detach().softmax(dim=1), samples, replacement=True, generator=generator)
        answers = best_of(drawn, reward)
        return batch_of(table, torch.arange(PROMPTS), answers, torch.ones(answers.shape))

    def ranked(table: Tensor) -> Judged:
        drawn = torch.multinomial(torch.ones(PROMPTS, ANSWERS), 4, generator=generator)
        scores, order = reward.gather(1, drawn).sort(dim=1, descending=True)
        return batch_of(table, torch.arange(PROMPTS), drawn.gather(1, order), scores)

    ways: dict[str, tuple[Any, Any]] = {
        "raft": ({"sft": {}}, lambda table: imitated(4, table)),
        "rrhf": ({"rrhf": {}}, ranked),
        "one_sample": ({"sft": {}}, lambda table: imitated(1, table)),
    }
    policies = {"uniform": torch.zeros_like(reward)}
    for name, (spec, make) in ways.items():
        policies[name], _ = train(spec, make, (PROMPTS, ANSWERS), steps, rate=0.05)
    numbers = {"ceiling": float(reward.amax(dim=1).mean())}
    for name, logits in policies.items():
        probabilities = logits.softmax(dim=1)
        numbers[f"reward_{name}"] = float((probabilities * reward).sum(dim=1).mean())
        numbers[f"entropy_{name}"] = float(-(probabilities * logits.log_softmax(dim=1)).sum(dim=1).mean())
    return numbers


def best_of(drawn: Tensor, reward: Tensor) -> Tensor:
    """[P, 1] the best of each prompt's drawn answers [P, K], by the selection that the recipe `raft` makes."""
    records = [
        Comparison(str(prompt), [Candidate(str(one), score=float(reward[prompt, one])) for one in row])
        for prompt, row in enumerate(drawn.tolist())
    ]
    return torch.tensor([[int(str(kept.answers[0].completion))] for kept in best_only(records).comparisons])
