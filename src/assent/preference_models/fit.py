"""Trains a head on frozen features: minutes on one core, the same numbers for the same seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from assent.comparison import Comparison, content_key
from assent.errors import InputError, RunError
from assent.objectives import Judged
from assent.preference_models.context_aware import ContextAware
from assent.preference_models.encoders import build_encoder
from assent.preference_models.ensemble import Ensemble
from assent.preference_models.fit_state import FitState, Standing
from assent.preference_models.frozen import FrozenPreferenceModel, Reading, read_features, texts_of
from assent.preference_models.losses import wins_of
from assent.preference_models.model import Features, PreferenceModel
from assent.preference_models.registry import DataFacts, Spec, build_preference_model, saved_spec
from assent.preference_models.verdicts import select_verdicts, verdicts_of

Report = Callable[[Mapping[str, float]], None]
"""Called with the numbers of each epoch."""


@dataclass(frozen=True)
class FitOptions:
    """How a head is trained.

    Args:
        epochs: passes over the data.
        batch_size: comparisons in a step; 0 for all of them.
        learning_rate: of the head; a model may move some of its parameters faster.
        weight_decay: of AdamW.
        seed: of the start and of the order.
        draw: `uniform`, or `by_group`: as many comparisons from each group in every step, the smaller groups again
            and again.
        keep: the weights of the last epoch, or of the one with the best held-out accuracy.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    seed: int = 0
    draw: Literal["uniform", "by_group"] = "uniform"
    keep: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 0 or self.learning_rate <= 0 or self.weight_decay < 0:
            raise InputError("epochs, batch_size, learning_rate and weight_decay are not negative", field="training")
        if self.draw not in ("uniform", "by_group") or self.keep not in ("last", "best"):
            raise InputError("draw is uniform or by_group, keep is last or best", field="training")


def fit(
    model: PreferenceModel,
    features: Features,
    judged: Judged,
    options: FitOptions = FitOptions(),
    held_out: tuple[Features, Judged] | None = None,
    report: Report | None = None,
    state: FitState | None = None,
) -> list[dict[str, float]]:
    """Trains a model in place and returns the numbers of each epoch: loss, and held-out accuracy where there is any.

    With `state` it goes on where a killed training stopped, to the same weights, and keeps its own standing there.
    Raises `RunError` where the loss is not finite.
    """
    generator = torch.Generator().manual_seed(options.seed)
    optimizer = torch.optim.AdamW(
        model.parameter_groups(options.learning_rate), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    standing = Standing() if state is None else state.read(model, optimizer, generator)
    if report is not None:
        for numbers in standing.history:
            report(numbers)
    for epoch in range(len(standing.history), options.epochs):
        model.train()
        total, seen = 0.0, 0
        steps = _steps(judged, options, generator)
        for rows in steps:
            loss = _loss(model, features.rows(rows), select_verdicts(judged, rows))
            if not loss.isfinite():
                names = ", ".join(judged.ids[row][:12] for row in rows.tolist()[:5])
                raise RunError(f"the loss is {float(loss)} in epoch {epoch} (comparisons {names} ...)")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, seen = total + float(loss.detach()) * len(rows), seen + len(rows)
        done = standing.history[-1]["step"] if standing.history else 0.0
        numbers = {"epoch": float(epoch + 1), "step": done + len(steps), "loss": total / seen}
        if held_out is not None:
            numbers["eval_accuracy"] = pair_accuracy(model, *held_out)
            if options.keep == "best" and (standing.best is None or numbers["eval_accuracy"] > standing.best[0]):
                standing.best = (numbers["eval_accuracy"], {n: v.clone() for n, v in model.state_dict().items()})
        standing.history.append(numbers)
        if state is not None:
            state.write(model, optimizer, generator, standing)
        if report is not None:
            report(numbers)
    if standing.best is not None:
        model.load_state_dict(standing.best[1])
    model.eval()
    if isinstance(model, Ensemble):
        with torch.no_grad():
            model.standardize(model.embed(features))
    return standing.history


def _loss(model: PreferenceModel, features: Features, judged: Judged) -> Tensor:
    losses = model.loss(model.embed(features), judged)
    return losses if losses.dim() == 0 else (losses * judged.weight).sum() / len(judged.weight)


def _steps(judged: Judged, options: FitOptions, generator: torch.Generator) -> list[Tensor]:
    """Row indices of each step of an epoch."""
    count = len(judged.weight)
    size = options.batch_size or count
    if options.draw == "uniform":
        return list(torch.randperm(count, generator=generator).split(size))
    groups: dict[str | None, list[int]] = {}
    for row, name in enumerate(judged.group or (None,) * count):
        groups.setdefault(name, []).append(row)
    share = max(1, size // len(groups))
    longest = max(map(len, groups.values()))
    columns = []
    for name in sorted(groups, key=str):
        rows = torch.tensor(groups[name])
        rounds = math.ceil(longest / len(rows))
        drawn = torch.cat([rows[torch.randperm(len(rows), generator=generator)] for _ in range(rounds)])
        columns.append(drawn[:longest])
    return [torch.cat([column[start : start + share] for column in columns]) for start in range(0, longest, share)]


@torch.no_grad()
def pair_accuracy(model: PreferenceModel, features: Features, judged: Judged) -> float:
    """Share of verdicts that the model gives too, each annotator asked for themselves; a tie is wrong."""
    model.eval()
    known = set(getattr(model, "annotators", ()))
    names = None
    if known and judged.annotator is not None:
        names = [name if name in known else None for name in judged.annotator]
    if not model.needs.lists and model.needs.labels:
        right = (model.reward(model.embed(features)) > 0) == (judged.labels == 1)
        counted = (judged.labels >= 0) & judged.mask
    else:
        right, counted = model.preference(model.embed(features), names) > 0, wins_of(judged)
    if not counted.any():
        raise InputError("nothing to measure accuracy on", expected="two candidates with different scores")
    return float(right[counted].double().mean())


def usable(comparisons: Sequence[Comparison], model: PreferenceModel) -> tuple[list[Comparison], dict[str, int]]:
    """The comparisons a model can learn from, and how many were left out for which reason."""
    kept, left = [], {"tied or unjudged": 0, "no label": 0, "no marks": 0, "no annotator": 0}
    needs = model.needs
    attributes = set(getattr(model, "attributes", ()))
    for comparison in comparisons:
        scores = {c.score for c in comparison.candidates if c.judged}
        if needs.labels and all(c.label is None for c in comparison.candidates):
            left["no label"] += 1
        elif needs.lists and not needs.dimensions and len(scores) < 2:
            left["tied or unjudged"] += 1
        elif needs.dimensions and len(scores) < 2 and not any(attributes & set(c.scores) for c in comparison.answers):
            left["no marks"] += 1
        elif not (needs.labels or needs.lists or needs.dimensions or scores):
            left["tied or unjudged"] += 1
        elif hasattr(model, "annotators") and comparison.annotator is None:
            left["no annotator"] += 1
        else:
            kept.append(comparison)
    return kept, {reason: count for reason, count in left.items() if count}


@dataclass(frozen=True)
class Trained:
    """A trained model and the numbers of its training."""

    model: FrozenPreferenceModel
    history: list[dict[str, float]]
    used: int
    left_out: dict[str, int]


def train_preference_model(
    comparisons: Sequence[Comparison],
    spec: Spec,
    features: Mapping[str, Any],
    options: FitOptions = FitOptions(),
    held_out: Sequence[Comparison] = (),
    output_dir: Path | str | None = None,
    report: Report | None = None,
    state: Path | None = None,
) -> Trained:
    """A preference model on frozen features, from comparisons to a saved folder.

    Args:
        comparisons: what is learned from.
        spec: the `preference_model:` of a run file.
        features: its `features:`: `encoder` and the encoder's options, and the fields of `Reading`.
        options: how the head is trained.
        held_out: comparisons to measure accuracy on after each epoch.
        output_dir: where the model is saved, if anywhere.
        report: called after each epoch, for the epochs of an earlier run too.
        state: a file that keeps where the training stands; a run that was killed goes on from it.
    """
    reading, encoder_options = _split(features)
    facts = DataFacts.of(comparisons)
    # A model of size 1 tells what it needs before anything is embedded.
    shape = build_preference_model(spec, 1, 1, facts)
    if shape.completion_only:
        reading = replace(reading, candidate="completion", interaction=False)
    kept, left_out = usable(comparisons, shape)
    if not kept:
        raise InputError("nothing to learn from", field="data", found=str(left_out or "no comparisons"))
    template = shape.template if isinstance(shape, ContextAware) else None
    encoder = build_encoder(encoder_options)
    encoder.fit(texts_of(kept, reading, template))
    raw = read_features(kept, encoder, reading, template, ordered=True)
    location, spread = _moments(raw, reading.standardize)
    assert raw.prompt is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        head = build_preference_model(spec, raw.candidates.shape[-1], raw.prompt.shape[-1], facts)
    model = FrozenPreferenceModel(encoder, head, reading, location, spread)
    checked = usable(held_out, shape)[0]
    evaluation = (model.features(checked, ordered=True), verdicts_of(checked)) if checked else None
    kept_in = None if state is None else FitState(state, _key(kept, head, options, raw))
    history = fit(head, model.standardized(raw), verdicts_of(kept), options, evaluation, report, kept_in)
    if output_dir is not None:
        model.save_pretrained(output_dir)
    return Trained(model, history, len(kept), left_out)


def _key(comparisons: Sequence[Comparison], head: PreferenceModel, options: FitOptions, raw: Features) -> str:
    """What a training's numbers depend on, besides how many epochs it has."""
    settings = {name: value for name, value in asdict(options).items() if name != "epochs"}
    vectors = hashlib.sha256(raw.candidates.numpy().tobytes()).hexdigest()
    return content_key([saved_spec(head), settings, [comparison.key for comparison in comparisons], vectors])


def _split(features: Mapping[str, Any]) -> tuple[Reading, dict[str, Any]]:
    own = {name: value for name, value in features.items() if name in ("candidate", "interaction", "standardize")}
    if own.get("candidate", "completion") not in ("completion", "prompt_and_completion"):
        raise InputError(
            "unknown text of a candidate",
            field="features.candidate",
            found=repr(own["candidate"]),
            expected="completion or prompt_and_completion",
        )
    return Reading(**own), {name: value for name, value in features.items() if name not in own}


def _moments(raw: Features, standardize: bool) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Mean and spread of the candidates' and the prompts' features."""
    assert raw.prompt is not None
    location, spread = [], []
    for values in (raw.candidates[raw.mask], raw.prompt):
        mean, deviation = values.mean(dim=0), values.std(dim=0, correction=0)
        # A feature that never changes is left alone instead of being blown up.
        deviation = torch.where(deviation > 1e-8, deviation, torch.ones_like(deviation))
        location.append(mean if standardize else torch.zeros_like(mean))
        spread.append(deviation if standardize else torch.ones_like(deviation))
    return (location[0], location[1]), (spread[0], spread[1])
