"""What aligning a diffusion pipeline is checked for before any weight is loaded: settings, data, every picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assent.comparison import Comparison, Media
from assent.config import DiffusionConfig, LatentsConfig, RunConfig
from assent.encoding.diffusion import prompt_text
from assent.encoding.images import load_image
from assent.errors import InputError
from assent.objectives import Objective
from assent.training.arguments import training_arguments
from assent.training.data import Records, derivations_of, read_records
from assent.training.diffusion_plan import DiffusionPlan, plan_diffusion
from assent.training.diffusion_prompts import check_rollout, prompt_records
from assent.training.matching import Matched, match
from assent.training.references import check_reference

Tell = Callable[[Mapping[str, Any]], None]


@dataclass
class DiffusionSetting:
    """A run that has been checked; no weights are loaded.

    Args:
        train: comparisons of each source; `evaluation` held-out ones by name.
        matched: what the objective's needs did to the data, by set.
    """

    config: RunConfig
    objective: Objective
    name: str
    records: Records
    train: list[list[Comparison]]
    evaluation: dict[str, list[Comparison]]
    matched: dict[str, Matched]
    plan: DiffusionPlan

    @property
    def section(self) -> DiffusionConfig:
        """`diffusion:` of the run file, or its defaults."""
        return self.config.diffusion or DiffusionConfig()

    def lines(self) -> list[str]:
        """What happened to the data, in sentences."""
        return [f"{name}: {line}" for name, matched in self.matched.items() for line in matched.lines()]


def prepare_diffusion(
    config: RunConfig, objective: Objective, name: str, tell: Tell, given: Sequence[Comparison] | None = None
) -> DiffusionSetting:
    """Everything that can be checked before weights are loaded: settings, data, every picture."""
    check_reference(config, objective.needs, name)
    _refuse(config)
    arguments = training_arguments(config)
    tell({"event": "stage", "text": "reading"})
    if check_rollout(config, objective) is not None:
        records = prompt_records(config, given)
        whole = Matched(records.train[0], len(records.train[0]))
        plan = plan_diffusion(config, arguments, records.train, 0, None, objective.needs)
        return DiffusionSetting(config, objective, name, records, records.train, {}, {"train": whole}, plan)
    records = read_records(config, given)
    tell({"event": "stage", "text": "checking pictures"})
    _check_all(records, config.data.on_invalid == "quarantine", tell)
    derivations = derivations_of(config.data)
    whole = match([c for source in records.train for c in source], objective.needs, derivations, name)
    train = [whole.comparisons]
    if len(records.train) > 1:
        train = [match(source, objective.needs, derivations, name).comparisons for source in records.train]
    matched, evaluation = {"train": whole}, {}
    for part, comparisons in records.evaluation.items():
        matched[part] = match(comparisons, objective.needs, derivations, name)
        evaluation[part] = matched[part].comparisons
    held_out = sum(map(len, evaluation.values()))
    plan = plan_diffusion(config, arguments, train, held_out, records.weights, objective.needs)
    return DiffusionSetting(config, objective, name, records, train, evaluation, matched, plan)


def _check_all(records: Records, quarantine: bool, tell: Tell) -> None:
    """Opens every picture; one that cannot be read is an error, or its record is left out and counted."""
    refused: Counter[str] = Counter()
    examples: dict[str, str] = {}

    def sound(comparison: Comparison) -> bool:
        try:
            _check(comparison)
        except InputError as error:
            if not quarantine:
                raise
            refused[error.message] += 1
            examples.setdefault(error.message, comparison.key[:12])
            return False
        return True

    total = sum(map(len, [*records.train, *records.evaluation.values()]))
    records.train = [[one for one in source if sound(one)] for source in records.train]
    records.evaluation = {name: [one for one in part if sound(one)] for name, part in records.evaluation.items()}
    if not refused:
        return
    reasons = ", ".join(f"{count:,} {reason} (as in {examples[reason]})" for reason, count in refused.items())
    tell({"event": "stage", "text": f"{refused.total():,} of {total:,} records left out: {reasons}"})
    records.facts["pictures"] = {"records": total, "left_out": dict(refused), "examples": examples}
    if not any(records.train):
        raise InputError("no record is left to train on", field="data", found=reasons)


def _check(comparison: Comparison) -> None:
    """Raises for a record that is no comparison of pictures, or a picture that cannot be read."""
    where = comparison.key[:12]
    for candidate in comparison.candidates:
        if not isinstance(candidate.completion, Media):
            raise InputError(
                "a diffusion model is aligned on pictures", where=where, field="completion", expected="an image"
            )
        load_image(candidate.completion, where)
        prompt_text(comparison.prompt_of(candidate), where)


def _refuse(config: RunConfig) -> None:
    for field, value in (
        ("quantization", config.quantization),
        ("model.adapter", config.model.adapter),
        ("reference.adapter", config.reference.adapter if config.reference else None),
    ):
        if value not in (None, "none"):
            raise InputError(
                "not available for diffusion pipelines", where=config.where(field), field=field, remedy="Leave it out"
            )
    section = config.diffusion or DiffusionConfig()
    store = config.reference.store if config.reference else None
    if store not in (None, "none") and section.noise == "fresh":
        raise InputError(
            "fresh noise gives a reference no number that could be kept",
            where=config.where("reference.store"),
            field="reference.store",
            remedy="Set diffusion.noise to {fixed: 4}, or leave it out",
        )
    if isinstance(section.latents, LatentsConfig) and section.latents.cache > 1 and section.noise != "fresh":
        raise InputError(
            "fixed noise belongs to one cut of a picture",
            where=config.where("diffusion.latents"),
            field="diffusion.latents.cache",
            found=str(section.latents.cache),
            remedy="Set diffusion.noise to fresh, or the cache to 1",
        )
