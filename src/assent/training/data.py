"""The run file's data: read, held out, matched with the objective, encoded; nothing disappears without a count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from assent.comparison import Comparison, content_key
from assent.config import DataConfig, EvalConfig, LabelThreshold, RunConfig, SourceConfig
from assent.encoding import CausalEncoder, EncodedComparison, EncodingReport
from assent.errors import InputError
from assent.objectives import Needs
from assent.training.matching import Derivations, Matched, match


@dataclass
class Records:
    """Comparisons as they were read.

    Args:
        train: those of each source, in the order of the run file.
        evaluation: what is held out, by name.
        weights: of the sources, or None.
        facts: for the run folder: where from, format, counts, quarantine.
    """

    train: list[list[Comparison]]
    evaluation: dict[str, list[Comparison]] = field(default_factory=dict)
    weights: tuple[float, ...] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Encoded:
    """Comparisons ready for a policy.

    Args:
        train: of all sources, one after the other; `sizes` says how many each has.
        evaluation: by name.
        matched: what the objective's needs did to the data, by set.
        reports: what encoding did to it, by set.
    """

    train: list[EncodedComparison]
    sizes: tuple[int, ...]
    weights: tuple[float, ...] | None
    evaluation: dict[str, list[EncodedComparison]]
    matched: dict[str, Matched]
    reports: dict[str, EncodingReport]

    def facts(self) -> dict[str, Any]:
        """For the run folder."""
        return {
            name: {"matched": self.matched[name].to_dict(), "encoding": self.reports[name].to_dict()}
            for name in self.matched
        }

    def lines(self) -> list[str]:
        """What happened to the data, in sentences."""
        said = []
        for name, matched in self.matched.items():
            said += [f"{name}: {line}" for line in (*matched.lines(), *self.reports[name].lines())]
        return said


def read_records(config: RunConfig, given: Sequence[Comparison] | None = None) -> Records:
    """The comparisons of a run file, or those given in its place, with what is held out taken away."""
    data = config.data
    if given is not None:
        records = Records([list(given)], facts={"sources": [{"path": "given in Python", "records": len(given)}]})
    else:
        if not data.train:
            raise InputError("no data to train on", where=config.where("data"), field="data.train")
        read = [_read(source, data, config) for source in data.train]
        records = Records([comparisons for comparisons, _ in read], facts={"sources": [facts for _, facts in read]})
        records.weights = _weights(data.train, [len(comparisons) for comparisons in records.train])
    if data.eval is not None:
        _hold_out(records, data.eval, config)
    records.facts["fingerprint"] = fingerprint(records.train)
    return records


def _weights(sources: Sequence[SourceConfig], sizes: Sequence[int]) -> tuple[float, ...] | None:
    """Shares of the mixture; a source without a weight counts by its size. None: no source has one."""
    if all(source.weight is None for source in sources):
        return None
    total = sum(sizes) or 1
    return tuple(
        size / total if source.weight is None else source.weight for source, size in zip(sources, sizes, strict=True)
    )


def _read(source: SourceConfig, data: DataConfig, config: RunConfig) -> tuple[list[Comparison], dict[str, Any]]:
    from assent.readers import read

    found = read(
        source.path,
        split=source.split,
        columns=source.columns or data.columns,
        format=source.format or data.format,
        on_invalid=data.on_invalid,
        limit=source.limit,
        name=source.name,
        revision=source.revision,
    )
    if not found.comparisons:
        raise InputError("no records", where=source.path, field="data.train")
    return found.comparisons, {
        "path": source.path,
        "format": found.format,
        "reason": found.reason,
        "records": len(found.comparisons),
        "rows": found.rows,
        "quarantined": found.quarantined,
        "quarantine": None if found.quarantine is None else str(found.quarantine),
        "fingerprint": found.fingerprint,
    }


def _hold_out(records: Records, held_out: EvalConfig, config: RunConfig) -> None:
    if held_out.sources is not None:
        for source in held_out.sources:
            comparisons, facts = _read(source, config.data, config)
            name = "eval" if len(held_out.sources) == 1 else source.path.rsplit("/", 1)[-1]
            records.evaluation[name] = comparisons
            records.facts.setdefault("evaluation", []).append(facts)
        return
    assert held_out.split is not None
    prompts = {_prompt_key(comparison) for source in records.train for comparison in source}
    taken = held_out_prompts(prompts, held_out.split, config.seed)
    if len(taken) == len(prompts):
        raise InputError(
            "nothing is left to train on",
            where=config.where("data.eval"),
            field="data.eval.split",
            found=f"{len(prompts)} prompts",
            remedy="Hold out less, or give more data",
        )
    records.evaluation["eval"] = [c for source in records.train for c in source if _prompt_key(c) in taken]
    records.train = [[c for c in source if _prompt_key(c) not in taken] for source in records.train]
    records.facts["held_out"] = {"prompts": len(taken), "records": len(records.evaluation["eval"])}


def held_out_prompts(prompts: set[str], share: float, seed: int) -> set[str]:
    """A share of the prompts, at least one, by hash: more data leaves most of the choice as it was.

    Whole prompts are held out, so that no prompt is both learned from and measured on.
    """
    count = max(1, math.floor(len(prompts) * share + 0.5))
    return set(sorted(prompts, key=lambda prompt: content_key([seed, prompt]))[:count])


def _prompt_key(comparison: Comparison) -> str:
    prompt = comparison.prompt
    return content_key(prompt if isinstance(prompt, str) else [dict(message) for message in prompt])


def fingerprint(sources: Sequence[Sequence[Comparison]]) -> str:
    """One hash of all records in their order."""
    return content_key([[comparison.key for comparison in source] for source in sources])


def derivations_of(data: DataConfig) -> Derivations:
    """What `data.pairs` and `data.labels` say."""
    labels = data.labels.threshold if isinstance(data.labels, LabelThreshold) else data.labels
    return Derivations(data.pairs, labels)


def encoder_of(
    config: RunConfig, tokenizer: Any, needs: Needs, kind: type[CausalEncoder] = CausalEncoder
) -> CausalEncoder:
    """The encoder that a run file asks for, of the kind that the model family needs."""
    data = config.data
    return kind(
        tokenizer,
        max_length=data.max_length,
        truncate=data.truncate,
        score_turns=data.score_turns,
        score_prompts=needs.joint_prompts,
        on_invalid="drop" if data.on_invalid == "quarantine" else "raise",
        chat_template=data.chat_template,
        template_options=data.template_options,
    )


def encode_records(
    records: Records,
    config: RunConfig,
    needs: Needs,
    tokenizer: Any,
    objective: str,
    kind: type[CausalEncoder] = CausalEncoder,
) -> Encoded:
    """Everything the run trains and measures on, in tokens."""
    derivations = derivations_of(config.data)
    encoder = encoder_of(config, tokenizer, needs, kind)
    whole = Matched()
    train: list[EncodedComparison] = []
    sizes, report = [], EncodingReport(config.data.truncate, config.data.max_length)
    # Sources are matched one by one, so that the mixture keeps its shares, but only an empty whole is an error.
    fitting = match([c for source in records.train for c in source], needs, derivations, objective)
    for source in records.train:
        part = match(source, needs, derivations, objective) if len(records.train) > 1 else fitting
        encoded, said = encoder.encode_all(part.comparisons)
        train += encoded
        sizes.append(len(encoded))
        report.add(said)
        whole = fitting
    if not train:
        raise InputError(
            "no record is left after encoding",
            where=config.where("data.max_length"),
            field="data.max_length",
            found=", ".join(f"{count:,} {reason}" for reason, count in report.reasons.items()),
            remedy="Raise data.max_length, or set data.truncate to prompt_left or completion_right",
        )
    result = Encoded(train, tuple(sizes), records.weights, {}, {"train": whole}, {"train": report})
    for name, comparisons in records.evaluation.items():
        part = match(comparisons, needs, derivations, objective)
        result.evaluation[name], result.reports[name] = encoder.encode_all(part.comparisons)
        result.matched[name] = part
    return result
