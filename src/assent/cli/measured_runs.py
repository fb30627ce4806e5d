"""What `assent train --compare` and `--sweep-weights` measure on the runs that ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assent.errors import InputError


@dataclass(frozen=True)
class Measuring:
    """How the runs are measured, as the options of the command say.

    Args:
        judge: `package.module:function`, or a folder of a preference model.
        prompts: held-out prompts that are answered.
        samples: answers to each.
        max_new_tokens: longest answer.
        near_best: share of the best score that a run may fall short and still count as near it.
    """

    judge: str | None = None
    prompts: int = 64
    samples: int = 1
    max_new_tokens: int = 128
    near_best: float = 0.05


def measured(
    config: Any,
    ended: Sequence[Any],
    measuring: Measuring,
    judge: Any,
    tell: Callable[[Mapping[str, Any]], None],
    dimensions: Sequence[str] = (),
) -> dict[str, Any]:
    """The profile of every run that did not fail, by name; one that was measured alike before is read."""
    from assent.comparison import content_key
    from assent.evaluation.policy_profile import Drawing, held_out_of, profile, profile_from, snapshot
    from assent.likelihood.loading import load_tokenizer
    from assent.objectives import Needs
    from assent.training.compare import MEASURED, policy_of_run, start_policy
    from assent.training.data import encoder_of, read_records

    records = read_records(config)
    tokenizer = load_tokenizer(
        config.model.path,
        trust_remote_code=config.model.trust_remote_code,
        revision=config.model.revision,
        tokenizer=config.model.tokenizer,
    )
    everything = [one for part in records.evaluation.values() for one in part]
    held_out = held_out_of(everything, encoder_of(config, tokenizer, Needs()), measuring.prompts, dimensions)
    drawing = Drawing(measuring.samples, measuring.max_new_tokens, config.seed)
    how = content_key([asdict(measuring), list(dimensions), [one.key for one in everything]])
    found: dict[str, Any] = {}
    missing = []
    for one in ended:
        place = one.arm.folder / MEASURED
        facts = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
        if facts.get("key") == content_key([how, one.arm.key]):
            found[one.arm.name] = profile_from(facts["measures"])
        elif one.error is None:
            missing.append(one)
    if missing:
        tell(
            {"event": "stage", "text": f"measuring {len(missing)} runs on {len(held_out.comparisons):,} comparisons"}
        )
        start = start_policy(config)
        before = snapshot(start, tokenizer, held_out, drawing)
    for one in missing:
        policy = policy_of_run(one.arm)
        measures, _ = profile(policy, start, tokenizer, held_out, before, drawing, judge)
        found[one.arm.name] = measures
        write_numbers(
            one.arm.folder / MEASURED,
            {"key": content_key([how, one.arm.key]), "measures": measures.to_dict()},
        )
        del policy
        tell({"event": "stage", "text": f"measured {one.arm.name}: KL {measures.kl} nats"})
    return {one.arm.name: found[one.arm.name] for one in ended if one.arm.name in found}


def judge_of(name: str | None) -> Any:
    """The judge that an option names: a function as `package.module:function`, or a folder with a scorer."""
    if name is None:
        return None
    if Path(name).is_dir():
        from assent.cli.score import opened, scorer_options
        from assent.judging.scorers import ScorerJudge

        return ScorerJudge(opened(name, scorer_options(beta=1.0)))
    if ":" not in name:
        raise InputError(
            "no such judge",
            field="--judge",
            found=name,
            expected="package.module:function, or the folder of a preference model",
        )
    from assent.judging.rule import rule_judge

    return rule_judge(name)


def shared_facts(config: Any, steps: int, measuring: Measuring) -> dict[str, Any]:
    """What all runs have in common, for reports."""
    return {
        "start": config.model.path,
        "optimizer steps of each run": steps,
        "seed": config.seed,
        "judge": measuring.judge or "none",
        "prompts answered": measuring.prompts,
        "longest answer, tokens": measuring.max_new_tokens,
    }


def write_numbers(path: Path, values: Mapping[str, Any]) -> None:
    """Writes JSON that any reader takes: what is not a finite number is null."""
    from assent.training.checkpoints import write_json

    write_json(path, _finite(values))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not -float("inf") < value < float("inf") else value
