"""What one run did to a policy, by measures that do not know its objective: the same for every run of a comparison.

On held-out comparisons: ranking accuracy, and how far chosen and rejected texts moved from the start. On samples of
the policy: divergence from the start, lengths, repetition, and the win rate against the start under a judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from assent.comparison import Candidate, Comparison, Prompt, content_key
from assent.encoding import EncodedComparison
from assent.errors import InputError
from assent.evaluation.intervals import Interval, bootstrap_interval
from assent.evaluation.policy_change import head_to_head, kl_to_start, repetition
from assent.evaluation.ranking_accuracy import ranking_accuracy
from assent.evaluation.scoring import completion_log_probs, sampled
from assent.generation import LocalGenerator, Sample
from assent.generation.prompts import prompt_ids, text_of
from assent.judging import Judge
from assent.likelihood.policy import Policy


@dataclass(frozen=True)
class HeldOut:
    """What every run is measured on.

    Args:
        comparisons: encoded, with scores.
        prompts: that are answered; each once.
        dimensions: names of the score dimensions whose ranking is measured beside the verdicts'.
    """

    comparisons: Sequence[EncodedComparison]
    prompts: Sequence[Prompt]
    dimensions: Sequence[str] = ()


@dataclass(frozen=True)
class Drawing:
    """How answers are drawn. KL is unbiased only at temperature 1 without truncation of the distribution.

    Args:
        samples: answers to each prompt.
        max_new_tokens: longest answer.
        seed: of the samples; the same for every run.
    """

    samples: int = 1
    max_new_tokens: int = 128
    seed: int = 0


@dataclass(frozen=True)
class Snapshot:
    """A policy's numbers, which others are compared with.

    Args:
        log_probs: for each held-out comparison [K], nats.
        samples: N prompts of S samples.
    """

    log_probs: Sequence[Tensor]
    samples: Sequence[Sequence[Sample]]


@dataclass(frozen=True)
class Profile:
    """The measures of one policy; intervals over comparisons or prompts, 95%.

    Those over pairs are None where the records have scores by dimension and no verdict.

    Args:
        by_log_ratio: pairs ranked right by log-ratio to the start; `by_policy` by log-probability, `by_mean` by
            log-probability per token.
        chosen: change of the log-probability of the best judged answer, nats; likewise `rejected` of the worst.
        kl: KL(policy || start) of an answer in nats; `kl_token` per token, all answers together.
        length: tokens of an answer; `length_median`, `length_high` (95th percentile).
        cut: share of answers that reached the longest length.
        repeated: mean share of three-word sequences that occurred before in the answer.
        win_rate: against the start's answers under the judge; None without one.
        wins: likewise losses, ties, unjudged.
        dimensions: pairs ranked right by log-ratio, by score dimension.
    """

    by_log_ratio: Interval | None
    by_policy: Interval | None
    by_mean: Interval | None
    chosen: Interval | None
    rejected: Interval | None
    kl: Interval
    kl_token: float
    length: Interval
    length_median: float
    length_high: float
    cut: float
    repeated: float
    win_rate: Interval | None = None
    wins: int = 0
    losses: int = 0
    ties: int = 0
    unjudged: int = 0
    dimensions: Mapping[str, Interval] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-like data."""
        return asdict(self)


def profile_from(data: Mapping[str, Any]) -> Profile:
    """The profile of `to_dict`."""
    values: dict[str, Any] = {
        name: Interval(**value) if _is_interval(value) else value for name, value in data.items()
    }
    if data.get("dimensions"):
        values["dimensions"] = {name: Interval(**value) for name, value in data["dimensions"].items()}
    return Profile(**values)


def held_out_of(
    comparisons: Sequence[Comparison], encoder: Any, count: int, dimensions: Sequence[str] = ()
) -> HeldOut:
    """What is measured on: every comparison that can be ranked, and at most `count` of the prompts, in order."""
    encoded, _ = encoder.encode_all([one for one in comparisons if len(one.candidates) > 1])
    rankable = [one for one in encoded if len({score for score in one.scores if score == score}) > 1]
    if dimensions:
        rankable = [one for one in encoded if any(name in one.dimensions for name in dimensions)]
    if not rankable:
        raise InputError(
            "no held-out comparison can be ranked",
            field="data.eval",
            found=f"{len(comparisons)} records",
            expected="answers with scores that differ",
        )
    prompts = {content_key(comparison.prompt): comparison.prompt for comparison in comparisons}
    return HeldOut(rankable, list(prompts.values())[:count], tuple(dimensions))


def snapshot(policy: Policy, tokenizer: Any, held_out: HeldOut, drawing: Drawing) -> Snapshot:
    """What a policy gives to the held-out comparisons, and answers to the prompts."""
    generator = LocalGenerator(policy.model, tokenizer)
    samples = generator.generate(
        held_out.prompts, samples=drawing.samples, max_new_tokens=drawing.max_new_tokens, seed=drawing.seed
    )
    return Snapshot(completion_log_probs(policy, held_out.comparisons), samples)


def profile(
    policy: Policy,
    start: Policy,
    tokenizer: Any,
    held_out: HeldOut,
    before: Snapshot,
    drawing: Drawing,
    judge: Judge | None = None,
) -> tuple[Profile, Snapshot]:
    """The measures of a policy against its start, and what they were taken from."""
    after = snapshot(policy, tokenizer, held_out, drawing)
    encoded = [
        sampled(prompt_ids(prompt, tokenizer), [sample.token_ids for sample in samples])
        for prompt, samples in zip(held_out.prompts, after.samples, strict=True)
    ]
    ours, theirs = completion_log_probs(policy, encoded), completion_log_probs(start, encoded)
    tokens = [len(sample.token_ids) for samples in after.samples for sample in samples]
    texts = [sample.text for samples in after.samples for sample in samples]
    cut = [sample.finish_reason == "length" for samples in after.samples for sample in samples]
    groups = [index for index, samples in enumerate(after.samples) for _ in samples]
    ratio = sum(float((one - other).sum()) for one, other in zip(ours, theirs, strict=True))
    chosen, rejected = movements(held_out.comparisons, after.log_probs, before.log_probs)
    accuracies = _accuracies(held_out, after, before)
    found = Profile(
        **accuracies,
        chosen=chosen,
        rejected=rejected,
        kl=kl_to_start([row.tolist() for row in ours], [row.tolist() for row in theirs]),
        kl_token=ratio / max(1, sum(tokens)),
        length=bootstrap_interval(tokens, groups),
        length_median=float(np.median(tokens)),
        length_high=float(np.quantile(tokens, 0.95)),
        cut=float(np.mean(cut)),
        repeated=float(np.mean([repetition(text) for text in texts])),
    )
    return (found if judge is None else judged_against(found, judge, held_out.prompts, after, before)), after


def movements(
    comparisons: Sequence[EncodedComparison], after: Sequence[Tensor], before: Sequence[Tensor]
) -> tuple[Interval | None, Interval | None]:
    """Change of the log-probability of the best and of the worst judged answer, nats, means over comparisons."""
    chosen, rejected = [], []
    for comparison, new, old in zip(comparisons, after, before, strict=True):
        judged = [column for column, score in enumerate(comparison.scores) if score == score]
        if len(judged) < 2:
            continue
        change = (new - old).tolist()
        chosen.append(change[max(judged, key=lambda column: comparison.scores[column])])
        rejected.append(change[min(judged, key=lambda column: comparison.scores[column])])
    return (bootstrap_interval(chosen), bootstrap_interval(rejected)) if chosen else (None, None)


def judged_against(
    found: Profile, judge: Judge, prompts: Sequence[Prompt], after: Snapshot, before: Snapshot
) -> Profile:
    """The profile with its win rate: sample s of each prompt against sample s of the start."""
    texts = [text_of(prompt) for prompt in prompts]
    ours = [[sample.text for sample in samples] for samples in after.samples]
    theirs = [[sample.text for sample in samples] for samples in before.samples]
    wanted = {
        (text, *pair): Comparison(prompt, [Candidate(pair[0]), Candidate(pair[1])])
        for prompt, text, mine, other in zip(prompts, texts, ours, theirs, strict=True)
        for one, two in zip(mine, other, strict=True)
        for pair in ((one, two), (two, one))
        if one.strip() and two.strip()
    }
    keys, verdicts = list(wanted), {}
    for at, verdict in judge.judge(list(wanted.values())):
        if verdict.status == "judged" and None not in verdict.scores:
            first, second = (float(score) for score in verdict.scores if score is not None)
            verdicts[keys[at]] = 0.5 if first == second else float(first > second)

    def prefers(prompt: str, first: str, second: str) -> float:
        # An empty answer is never shown to a judge: it loses against any other.
        if not (first.strip() and second.strip()):
            return 0.5 if not (first.strip() or second.strip()) else float(bool(first.strip()))
        return verdicts.get((prompt, first, second), float("nan"))

    result = head_to_head(texts, ours, theirs, prefers)
    return replace(
        found,
        win_rate=result.rate,
        wins=result.wins,
        losses=result.losses,
        ties=result.ties,
        unjudged=result.unjudged,
    )


def _accuracies(held_out: HeldOut, after: Snapshot, before: Snapshot) -> dict[str, Any]:
    """Ranking accuracy under the verdicts, and under each dimension's scores where they are asked for."""
    by_dimension: dict[str, Interval] = {}
    for name in held_out.dimensions:
        rows = [at for at, one in enumerate(held_out.comparisons) if name in one.dimensions]
        by_name = [replace(held_out.comparisons[at], scores=held_out.comparisons[at].dimensions[name]) for at in rows]
        new, old = [after.log_probs[at] for at in rows], [before.log_probs[at] for at in rows]
        ranked = ranking_accuracy(by_name, new, old).by_log_ratio
        assert ranked is not None
        by_dimension[name] = ranked
    judged = any(len({score for score in one.scores if score == score}) > 1 for one in held_out.comparisons)
    if not judged and by_dimension:
        return {"by_log_ratio": None, "by_policy": None, "by_mean": None, "dimensions": by_dimension}
    accuracy = ranking_accuracy(held_out.comparisons, after.log_probs, before.log_probs)
    assert accuracy.by_log_ratio is not None
    return {
        "by_log_ratio": accuracy.by_log_ratio,
        "by_policy": accuracy.by_policy,
        "by_mean": accuracy.by_mean,
        "dimensions": by_dimension or None,
    }


def _is_interval(value: Any) -> bool:
    return isinstance(value, Mapping) and "estimate" in value
