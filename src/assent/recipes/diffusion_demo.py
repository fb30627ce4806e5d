"""The diffusion demo: pictures as completions, on real handwritten digits, offline, in minutes on two cores.

A small class-conditional diffusion model learns scikit-learn's 1,797 digits. The stated preference is one that
anybody can see: of two digits of a class, the one with more ink is better. Diffusion-DPO and MaPO learn it from
pairs of real digits, through the trainer of language models; a control learns from labels of which a random
half is turned round, and must hardly move. Then a reward with a planted bias for ink is climbed twice: by plain
reward gradients, which thicken every stroke and lose variety, and by D^2-Align, which takes the bias out first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from assent.encoding import EncodedComparison
from assent.errors import InputError
from assent.evaluation.intervals import Interval, bootstrap_interval, paired_bootstrap
from assent.recipes.demo_parts.terminal import Teller
from assent.recipes.digits.align import Plan, align, climb, train_biased_reward
from assent.recipes.digits.data import CLASSES, TRAINING, Digits, digits, ink, ink_pairs
from assent.recipes.digits.measure import Measured, measure
from assent.recipes.digits.model import DigitDenoiser, train_classifier, train_denoiser
from assent.report import Report

MARK = "diffusion-demo.json"
"""Says that a folder was written by this demo, which may then write it anew."""
CONTROL = "DPO, shuffled labels"
PLANS = {
    "Diffusion-DPO": Plan({"diffusion_dpo": {"beta": 1000}}, 100),
    "MaPO": Plan({"mapo": {"beta": 0.05}}, 200),
    CONTROL: Plan({"diffusion_dpo": {"beta": 1000}}, 100),
}
PLAIN, REMEDY = "plain reward gradient", "D^2-Align"


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Args:
        base_steps: of training the base model.
        pairs: real pairs.
        share: of each plan's steps.
        reward_steps: of climbing the reward.
        per_class: samples of each class that are measured.
    """

    base_steps: int = 5000
    pairs: int = 2000
    share: float = 1.0
    reward_steps: int = 60
    per_class: int = 60


@dataclass(frozen=True)
class Result:
    """One model's numbers beside the base's."""

    name: str
    measured: Measured
    gain: Interval


def run_diffusion_demo(output: Path, seed: int = 0, sizes: Sizes | None = None, teller: Teller | None = None) -> Path:
    """Runs the demo and returns the report's path; everything is seeded.

    Raises:
        InputError: the folder holds something else.
    """
    sizes, teller = sizes or Sizes(), teller or Teller()
    _prepare(output)
    torch.set_num_threads(1)
    teller.title("Assent diffusion demo: align pictures of digits to a preference one can see")
    data = digits(seed)
    base = _base(data, seed, sizes, teller)
    classifier = train_classifier(data, seed)
    start = measure(base, classifier, data, sizes.per_class, seed)
    teller.say("base model", _line(start))
    pairs = ink_pairs(data, sizes.pairs, seed)
    results = [Result("base model", start, bootstrap_interval(np.zeros(1)))]
    for name, plan in PLANS.items():
        chosen = shuffled(pairs, seed) if name == CONTROL else pairs
        model = _aligned(base, chosen, replace(plan, steps=max(2, int(plan.steps * sizes.share))), seed, name, teller)
        results.append(_result(name, measure(model, classifier, data, sizes.per_class, seed), start))
        teller.say(name, _line(results[-1].measured))
    reward = train_biased_reward(data, seed)
    for name, guided in ((PLAIN, False), (REMEDY, True)):
        model = climb(base, reward, sizes.reward_steps, guided, seed).model
        results.append(_result(name, measure(model, classifier, data, sizes.per_class, seed), start))
        teller.say(name, _line(results[-1].measured))
    report = diffusion_report(results, data).write(output / "report.html")
    (output / MARK).write_text(json.dumps({"seed": seed, "results": [_row(result) for result in results]}, indent=1))
    teller.say("report", str(report))
    return report


def shuffled(pairs: Sequence[EncodedComparison], seed: int) -> list[EncodedComparison]:
    """The pairs with a random half of the verdicts turned round."""
    coins = np.random.default_rng([seed, 4]).random(len(pairs)) < 0.5
    return [
        replace(pair, candidates=pair.candidates[::-1]) if coin else pair
        for pair, coin in zip(pairs, coins, strict=True)
    ]


def diffusion_report(results: Sequence[Result], data: Digits) -> Report:
    """What came out: the claim, the grids, the numbers, the collapse and its remedy."""
    named = {result.name: result for result in results}
    report = Report(
        "Pictures aligned to a preference",
        "A small diffusion model of handwritten digits; of two digits of a class, the one with more ink is better.",
    )
    report.headlines(
        [
            {"label": f"ink gained by {name}", "value": f"{named[name].gain.estimate:+.3f}",
             "detail": f"95% interval {named[name].gain.low:+.3f} to {named[name].gain.high:+.3f}"}
            for name in PLANS
        ]
    )  # fmt: skip
    report.section("The same pictures before and after")
    report.text(
        "A picture starts from the same noise as the one in its place in the other grids; only the weights differ. "
        "Darker is more ink."
    )
    shown = ["base model", *PLANS]
    report.photographs(
        grid({name: named[name].measured for name in shown}), "Five samples of each class, same seeds."
    )
    report.section("What was measured")
    report.table(
        [_row(result) for result in results],
        f"Samples of every class on the same seeds. Ink of the {TRAINING} real training digits: "
        f"{float(ink(data.images).mean()):.3f}. Accuracy: a classifier reads the class that was asked for. Coverage: "
        "distinct real digits that are nearest to some sample.",
    )
    report.callout(f"What it costs: {cost(results)}.")
    report.text(
        "The control learns from the same pairs with a random half of the verdicts turned round. What it moves is "
        "what training moves by itself; the gain of the others beyond that comes from the preference."
    )
    report.section("When a reward is climbed: collapse and its remedy")
    report.text(
        "A reward model that names the digit also favours thick strokes: a bias planted on purpose. Its plain "
        "gradient thickens every picture and covers fewer of the real ones. D^2-Align first learns, with the model "
        "frozen, the one direction of the reward's space that the model's own pictures are missing, takes it out, "
        "and then climbs what is left."
    )
    report.photographs(grid({name: named[name].measured for name in ("base model", PLAIN, REMEDY)}), "Same seeds.")
    report.section("How it was made")
    report.key_values(
        {name: str(plan.objective) + f", {plan.steps} steps of 64 pairs" for name, plan in PLANS.items()}
    )
    return report


def cost(results: Sequence[Result]) -> str:
    """What every model lost of class accuracy and coverage against the base, which stands first."""
    base = results[0].measured
    return "; ".join(
        f"{one.name} {100 * (one.measured.accuracy - base.accuracy):+.1f} points of class accuracy and "
        f"{one.measured.coverage - base.coverage:+d} of {base.coverage} real digits covered"
        for one in results[1:]
        if one.name != CONTROL
    )


def grid(rows: dict[str, Measured], per_class: int = 5) -> Figure:
    """A figure with one band of pictures for each model: classes side by side, samples below each other."""
    figure = Figure(figsize=(7.2, 0.42 * per_class * len(rows) + 0.4))
    for place, (name, measured) in enumerate(rows.items()):
        axes = figure.add_subplot(len(rows), 1, place + 1)
        axes.imshow(_mosaic(measured.images, measured.labels, per_class), cmap="gray_r", vmin=-1, vmax=1)
        axes.set_title(name, fontsize=9, loc="left")
        axes.axis("off")
    figure.tight_layout()
    return figure


def _mosaic(images: Tensor, labels: Tensor, per_class: int) -> Any:
    """Pictures of each class in a column, parted by paper."""
    framed = functional.pad(images[:, 0], (1, 1, 1, 1), value=-1.0)
    columns = [torch.cat(list(framed[labels == c][:per_class]), dim=0) for c in range(CLASSES)]
    return torch.cat(columns, dim=1).numpy()


def _base(data: Digits, seed: int, sizes: Sizes, teller: Teller) -> DigitDenoiser:
    with teller.progress("train the base model", sizes.base_steps) as advance:
        return train_denoiser(data, sizes.base_steps, seed, _relay(advance))


def _aligned(
    base: DigitDenoiser, pairs: Sequence[EncodedComparison], plan: Plan, seed: int, name: str, teller: Teller
) -> DigitDenoiser:
    with teller.progress(name[:20], plan.steps) as advance:
        return align(base, pairs, plan, seed, _relay(advance)).model


def _relay(advance: Callable[..., None]) -> Callable[[int, int], None]:
    """Turns (done, total) into steps of a bar."""
    before = 0

    def relay(done: int, _: int) -> None:
        nonlocal before
        advance(steps=done - before)
        before = done

    return relay


def _result(name: str, measured: Measured, start: Measured) -> Result:
    return Result(name, measured, paired_bootstrap(measured.inks.numpy(), start.inks.numpy()))


def _row(result: Result) -> dict[str, Any]:
    measured = result.measured
    gained = result.name != "base model"
    return {
        "model": result.name,
        "ink": round(measured.ink, 3),
        "gain": f"{result.gain.estimate:+.3f} [{result.gain.low:+.3f}, {result.gain.high:+.3f}]" if gained else "",
        "class accuracy": round(measured.accuracy, 3),
        "diversity": round(measured.diversity, 2),
        "coverage": measured.coverage,
    }


def _line(measured: Measured) -> str:
    return (
        f"ink {measured.ink:.3f}  class {100 * measured.accuracy:.1f}%  "
        f"diversity {measured.diversity:.2f}  coverage {measured.coverage}"
    )


def _prepare(output: Path) -> None:
    if output.is_dir() and any(output.iterdir()) and not (output / MARK).exists():
        raise InputError(
            "the folder holds something that this demo did not write", where=str(output), remedy="Choose another"
        )
    output.mkdir(parents=True, exist_ok=True)
    (output / MARK).write_text("{}")


def main(arguments: Sequence[str]) -> None:
    """`assent recipe run diffusion_demo [--output FOLDER] [--seed N]`."""
    parser = argparse.ArgumentParser(prog="assent recipe run diffusion_demo")
    parser.add_argument("--output", type=Path, default=Path("diffusion-demo-report"))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(list(arguments))
    run_diffusion_demo(chosen.output, chosen.seed)
