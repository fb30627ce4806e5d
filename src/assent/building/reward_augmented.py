"""Relabelled, goal-conditioned pairs: every scored pair becomes two, each asking for one answer's own score.

Source: Zhang et al. 2024, arXiv 2410.08067, section 3. With the goal-conditioned reward R(x, y, g) = -(g - r(x, y))^2
and scores r_w > r_l,

    goal r_w: y_w is preferred;    goal r_l: y_l is preferred, the order is reversed

so that an objective over pairs learns what each score looks like instead of unlearning a good rejected answer. At
inference one asks for the highest score. Pairs of equal score would carry one goal with both orders and cancel:
they stay out and are counted. A policy that cannot read the goal can learn nothing from the two rows together:
their DPO losses sum to at least 2 log 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from assent.comparison import Candidate, Comparison, Prompt
from assent.errors import InputError

GOAL_TEXT = (
    "Answer so that your reply would earn the score given here on a scale from {low} to {high}. "
    "Do not mention the score.\nOverall score: {goal}"
)


@dataclass(frozen=True)
class GoalScale:
    """The range of the scores and the wording of the goal; kept with the data, since inference must use the same.

    Args:
        low: lowest score.
        high: highest score, the goal at inference.
        resolution: goals are rounded to multiples of it; what a judge cannot tell apart should read the same.
        template: text with {low}, {high} and {goal}.
        system_role: whether the goal is a system message; else it goes before the first user message.
    """

    low: float = 1.0
    high: float = 10.0
    resolution: float = 0.5
    template: str = GOAL_TEXT
    system_role: bool = True

    def text(self, goal: float) -> str:
        """The goal's wording; a goal outside the range is clamped, integers have no decimals."""
        steps = round(min(max(goal, self.low), self.high) / self.resolution)
        low, high, value = (_number(number) for number in (self.low, self.high, steps * self.resolution))
        return self.template.format(low=low, high=high, goal=value)

    def condition(self, prompt: Prompt, goal: float) -> list[dict[str, object]]:
        """The prompt as messages that ask for the goal."""
        messages = [
            dict(message)
            for message in ([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt)
        ]
        text = self.text(goal)
        if self.system_role:
            if messages and messages[0]["role"] == "system":
                messages[0]["content"] = _before(text, messages[0]["content"])
                return messages
            return [{"role": "system", "content": text}, *messages]
        for message in messages:
            if message["role"] == "user":
                message["content"] = _before(text, message["content"])
                return messages
        raise InputError("a prompt without a user message cannot carry a goal", field="prompt")


@dataclass(frozen=True)
class Relabelled:
    """The new pairs, the chosen goals first, and how many comparisons had no two different scores."""

    comparisons: list[Comparison]
    left_out: int


def relabel(comparisons: Sequence[Comparison], scale: GoalScale | None = None) -> Relabelled:
    """Two goal-conditioned pairs for the best and the worst answer of each comparison.

    Each carries `meta.parent`, the key of the comparison it came from: split training and held-out data by it.
    """
    scale = GoalScale() if scale is None else scale
    kept, reversed_order = [], []
    for comparison in comparisons:
        judged = [candidate for candidate in comparison.ordered() if candidate.judged]
        if len(judged) < 2 or judged[0].score == judged[-1].score:
            continue
        best, worst = judged[0], judged[-1]
        kept.append(_goal_pair(comparison, best, worst, scale))
        reversed_order.append(_goal_pair(comparison, worst, best, scale))
    return Relabelled([*kept, *reversed_order], len(comparisons) - len(kept))


def implicit_scores(rewards: Sequence[Sequence[float]], scale: GoalScale | None = None) -> list[list[float]]:
    """Rewards of a policy mapped affinely onto the scale, the lowest to its low end, the highest to its high."""
    scale = GoalScale() if scale is None else scale
    everything = [value for row in rewards for value in row]
    low, high = min(everything), max(everything)
    if low == high:
        raise InputError("all implicit rewards are equal, so that no goal can be told", found=str(low))
    span = (scale.high - scale.low) / (high - low)
    return [[scale.low + (value - low) * span for value in row] for row in rewards]


def goal_reward(goal: float, score: float) -> float:
    """R(x, y, g) = -(g - r)^2, with which a goal orders answers."""
    return -((goal - score) ** 2)


def closest(goal: Mapping[str, float], candidates: Sequence[Mapping[str, float]]) -> int:
    """The index of the answer whose scores by dimension are nearest to a vector of goals."""
    distances = [sum((goal[name] - scores[name]) ** 2 for name in goal) for scores in candidates]
    return distances.index(min(distances))


def _goal_pair(comparison: Comparison, preferred: Candidate, other: Candidate, scale: GoalScale) -> Comparison:
    assert preferred.score is not None
    prompts = [comparison.prompt_of(candidate) for candidate in (preferred, other)]
    if prompts[0] != prompts[1]:
        raise InputError(
            "a goal belongs to one prompt, and the two answers have different ones",
            field="candidates.prompt",
            where=comparison.key[:12],
        )
    return replace(
        comparison,
        prompt=scale.condition(prompts[0], preferred.score),
        candidates=[replace(preferred, prompt=None, score=1.0), replace(other, prompt=None, score=0.0)],
        confidence=None,
        meta={**comparison.meta, "goal": preferred.score, "parent": comparison.key},
    )


def _before(text: str, content: object) -> object:
    if isinstance(content, str):
        return f"{text}\n\n{content}"
    assert isinstance(content, Sequence)
    return [{"type": "text", "text": f"{text}\n\n"}, *content]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"
