"""The demo: from nothing to an aligned language model and a report, offline, in a few minutes on two cores.

The story, as every alignment project goes. A model learns language (here: the documentation that ships with
Python). It writes; a judge compares what it wrote (here: a rule that anybody can check by eye). The comparisons are
stored as records, three objectives learn from them through the same call a user makes, and the result is measured
on openings that nothing has seen: wins against the start with an interval, distance from the start, length, ranking
accuracy. A control learns from labels of which a random half is turned round; it must not gain.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from assent.comparison import Comparison, to_dict
from assent.errors import InputError, RunError
from assent.recipes.demo_parts.language_model import ModelSize, new_model, pretrain, train_tokenizer
from assent.recipes.demo_parts.measure import Measured, Yardstick, draw, judge
from assent.recipes.demo_parts.page import Story, demo_report
from assent.recipes.demo_parts.rule import PlainWordRule
from assent.recipes.demo_parts.terminal import Teller
from assent.recipes.demo_parts.text import Text, read_text

MARK = "demo.json"
"""Says that a folder was written by the demo, which may then write it anew."""

CONTROL = "dpo, shuffled labels"


@dataclass(frozen=True)
class Method:
    """An objective as a run file names it, and its learning rate."""

    objective: Mapping[str, Any]
    learning_rate: float


METHODS: Mapping[str, Method] = {
    "dpo": Method({"dpo": {"beta": 0.2}}, 2e-4),
    "kto": Method({"kto": {"beta": 0.2}}, 2e-4),
    "simpo": Method({"simpo": {"beta": 2.0, "gamma": 1.0}}, 1e-4),
}


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults fill a few minutes of two cores.

    Args:
        model: the language model.
        sentences: of the text that are used; None: all.
        practice: openings whose continuations are compared, with `practice_samples` of each.
        held_out: openings for measuring, with `held_out_samples` of each.
        new_tokens: bound on a continuation.
        steps: optimizer steps of each alignment.
        batch: comparisons of a step.
    """

    model: ModelSize = field(default_factory=ModelSize)
    sentences: int | None = None
    practice: int = 1000
    practice_samples: int = 6
    held_out: int = 400
    held_out_samples: int = 4
    new_tokens: int = 48
    steps: int = 60
    batch: int = 16


@dataclass(frozen=True)
class DemoResult:
    """Where the report is, and what was measured: the start against itself, the methods, the control."""

    report: Path
    rows: tuple[Measured, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the demo from the command line."""
    parser = argparse.ArgumentParser(prog="assent demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo-report"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    run_demo(options.output, options.seed)


def run_demo(output: Path, seed: int = 0, sizes: Sizes | None = None, teller: Teller | None = None) -> DemoResult:
    """Runs the demo into a folder and returns what was measured.

    Raises:
        InputError: the folder holds something else.
    """
    sizes, teller, began = sizes or Sizes(), teller or Teller(), time.monotonic()
    _claim(output, sizes, seed)
    teller.title(f"Assent demo: a small language model learns to write plain words (seed {seed})")

    # 1. Language, from nothing.
    text = read_text(sizes.practice, sizes.held_out, seed, sizes.sentences)
    teller.say("text", f"{len(text.training):,} sentences of this Python's documentation")
    rule = PlainWordRule(text.training)
    start, tokenizer, curve = _learn_language(text, sizes.model, seed, teller)
    start.save_pretrained(output / "start")
    tokenizer.save_pretrained(output / "start")

    # 2. It writes, the judge compares, the records are kept.
    with teller.progress("sample", 2) as advance:
        written = draw(start, tokenizer, text.practice, sizes.practice_samples, sizes.new_tokens, seed + 1)
        advance()
        on_held_out = draw(start, tokenizer, text.held_out, sizes.held_out_samples, sizes.new_tokens, seed + 2)
        advance()
    comparisons = [c for c in judge(text.practice, written, rule, "start") if _decided(c)]
    data = _write(output / "comparisons.jsonl", comparisons)
    shuffled = _write(output / "comparisons-shuffled.jsonl", shuffle_labels(comparisons, seed))
    teller.say("judge", f"{len(comparisons):,} judged lists of {sizes.practice_samples} -> {data}")

    # 3. Three objectives learn from the records, and a control from shuffled ones.
    runs = {name: _align(output, name, method, data, sizes, seed, teller) for name, method in METHODS.items()}
    runs[CONTROL] = _align(output, CONTROL, METHODS["dpo"], shuffled, sizes, seed, teller)

    # 4. Everything is measured on openings that nothing has seen.
    yardstick = Yardstick.of(text.held_out, rule, start, tokenizer, on_held_out, seed)
    models = {"start, sampled again": start, **{name: _load(folder / "model") for name, folder in runs.items()}}
    rows, samples = [], {}
    with teller.progress("measure", len(models)) as advance:
        for index, (name, model) in enumerate(models.items()):
            samples[name] = draw(
                model, tokenizer, text.held_out, sizes.held_out_samples, sizes.new_tokens, seed + 10 + index
            )
            rows.append(yardstick.measure(name, model, samples[name]))
            advance()
    teller.results(rows)

    # 5. The report.
    facts = _facts(text, sizes, seed, start, time.monotonic() - began)
    story = Story(
        facts=facts,
        rows=rows,
        control=CONTROL,
        curve=curve,
        runs=runs,
        comparisons=comparisons,
        openings=text.held_out,
        before=on_held_out,
        after=samples["dpo"],
        after_name="dpo",
        rule=rule,
    )
    report = demo_report(story).write(output / "report.html")
    teller.verdict(rows, CONTROL)
    teller.end(report, time.monotonic() - began)
    return DemoResult(report, tuple(rows))


def shuffle_labels(comparisons: Sequence[Comparison], seed: int) -> list[Comparison]:
    """The comparisons with the order turned round in a random half of them.

    Exactly half, so that right and wrong labels are equally many: with labels drawn one by one, a small majority of
    right ones is likely, and a model does learn from a small majority.
    """
    turned = set(random.Random(seed).sample(range(len(comparisons)), len(comparisons) // 2))
    return [_turned(one) if index in turned else one for index, one in enumerate(comparisons)]


def _turned(comparison: Comparison) -> Comparison:
    scores = [candidate.score for candidate in comparison.candidates if candidate.score is not None]
    total = max(scores) + min(scores)
    candidates = [
        candidate if candidate.score is None else replace(candidate, score=total - candidate.score)
        for candidate in comparison.candidates
    ]
    return replace(comparison, candidates=candidates)


def _decided(comparison: Comparison) -> bool:
    return len({candidate.score for candidate in comparison.candidates}) > 1


def _learn_language(
    text: Text, size: ModelSize, seed: int, teller: Teller
) -> tuple[Any, Any, tuple[list[float], list[float]]]:
    """The starting model, its tokenizer, and its learning curve in steps and nats per token."""
    tokenizer = train_tokenizer(text.training, size.vocabulary)
    model = new_model(size, tokenizer, seed)
    steps: list[float] = []
    losses: list[float] = []
    with teller.progress("learn", size.steps) as advance:

        def on_step(step: int, loss: float) -> None:
            steps.append(step)
            losses.append(loss)
            advance(f"{loss:.2f} nats per token")

        pretrain(model, tokenizer, text.training, size, seed, on_step)
    return model, tokenizer, (steps, losses)


def _align(output: Path, name: str, method: Method, data: Path, sizes: Sizes, seed: int, teller: Teller) -> Path:
    """Aligns the start with stored records, as a user would, and returns the run folder."""
    from assent.objectives import build_objective
    from assent.training import align

    folder = output / "runs" / name.replace(", ", "-").replace(" ", "-")
    with teller.progress(name, sizes.steps) as advance:

        def on_event(event: Mapping[str, Any]) -> None:
            if event["event"] == "step":
                advance()
            elif event["event"] == "log" and "loss" in event.get("logs", {}):
                advance(f"loss {event['logs']['loss']:.3f}", 0)

        settings: dict[str, Any] = {
            "training": {
                "per_device_train_batch_size": sizes.batch,
                "max_steps": sizes.steps,
                "learning_rate": method.learning_rate,
                "warmup_steps": max(1, sizes.steps // 10),
                "logging_steps": max(1, sizes.steps // 20),
                "save_strategy": "no",
                "seed": seed,
                "report_to": "none",
                "disable_tqdm": True,
                "use_cpu": True,
            }
        }
        if build_objective(method.objective).needs.reference:
            # The user's cache is left alone: whoever deletes the demo's folder has deleted all of it.
            settings["reference"] = {"store": str(output / "reference")}
        align(str(output / "start"), str(data), dict(method.objective), folder, on_event=on_event, **settings)
    return folder


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def _write(path: Path, comparisons: Sequence[Comparison]) -> Path:
    path.write_text("".join(json.dumps(to_dict(one)) + "\n" for one in comparisons), encoding="utf-8")
    return path


def _claim(output: Path, sizes: Sizes, seed: int) -> None:
    """Makes the folder, or empties what an earlier demo wrote into it."""
    if output.exists() and not output.is_dir():
        raise InputError("the output is a file", where=str(output), remedy="Choose a folder with --output")
    if output.is_dir() and any(output.iterdir()):
        if not (output / MARK).is_file():
            raise InputError(
                "the output folder holds something else",
                where=str(output),
                remedy="Choose an empty or new folder with --output",
            )
        for name in ("runs", "start", "reference"):
            shutil.rmtree(output / name, ignore_errors=True)
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / MARK).write_text(json.dumps({"seed": seed, "sizes": asdict(sizes)}, indent=1), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{output}: cannot be written: {error.strerror}") from error


def _facts(text: Text, sizes: Sizes, seed: int, start: Any, seconds: float) -> dict[str, Any]:
    import torch

    return {
        "Training text": f"{len(text.training):,} sentences, {text.characters:,} characters",
        "Source of the text": "pydoc_data.topics and the docstrings of the standard library",
        "Parameters": sum(parameter.numel() for parameter in start.parameters()),
        "Tokens of the vocabulary": sizes.model.vocabulary,
        "Steps of language training": sizes.model.steps,
        "Openings for practice": f"{sizes.practice:,} with {sizes.practice_samples} samples each",
        "Openings for measuring": f"{sizes.held_out:,} with {sizes.held_out_samples} samples each",
        "Steps of alignment": f"{sizes.steps} of {sizes.batch} comparisons",
        **{
            f"Objective {name}": f"{json.dumps(method.objective[name])}, learning rate {method.learning_rate:g}"
            for name, method in METHODS.items()
        },
        "Seed": seed,
        "Threads": torch.get_num_threads(),
        "Duration": f"{seconds:.0f} s",
    }
