"""Runs whose data are prompts: read, checked, and given to the trainer that makes its pairs itself (SPO)."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assent.comparison import Candidate, Comparison
from assent.config import RolloutConfig, RunConfig
from assent.encoding.diffusion import prompt_text
from assent.errors import InputError
from assent.generation.prompt_files import read_prompts
from assent.likelihood.denoisers import Conditioning
from assent.likelihood.pipelines import LoadedPipeline, is_pipeline, latent_shape
from assent.likelihood.sampler_steps import SamplerGrid, SamplerStepPolicy
from assent.objectives import Objective
from assent.objectives.step_aware import StepAware
from assent.preference_models.image_text import ImageTextModel, load_image_text
from assent.training.data import Records, fingerprint
from assent.training.diffusion_rollout import Rollout, StepJudge


def check_rollout(config: RunConfig, objective: Objective) -> RolloutConfig | None:
    """`diffusion.rollout` of a run; raises where it and the objective do not belong together."""
    section = None if config.diffusion is None else config.diffusion.rollout
    if isinstance(objective, StepAware) != (section is not None):
        raise InputError(
            "step_aware is what is learned from a policy's own sampler steps, and nothing else is",
            where=config.where("objective"),
            field="diffusion.rollout",
            found="none" if section is None else "with another objective",
            remedy="Give diffusion.rollout a judge" if section is None else "Set `objective: step_aware`",
        )
    if section is None:
        return None
    for field, value in (
        ("diffusion.inversion", config.diffusion and config.diffusion.inversion),
        ("data.eval", config.data.eval),
    ):
        if value:
            raise InputError("not available with rollouts", where=config.where(field), field=field)
    if section.first > section.steps - 2:
        raise InputError(
            "no step of the sampler is left to try candidates at",
            where=config.where("diffusion.rollout"),
            field="diffusion.rollout.first",
            found=f"{section.first} of {section.steps}",
            expected=f"at most {section.steps - 2}",
        )
    if ":" not in section.judge or Path(section.judge).exists():
        return section
    step_function(section.judge)
    return section


def prompt_records(config: RunConfig, given: Sequence[Comparison] | None = None) -> Records:
    """The distinct prompts of a run's data, each as a comparison of one blank candidate."""
    if given is not None:
        read = [[comparison.prompt for comparison in given]]
        facts: list[dict[str, Any]] = [{"path": "given in Python", "records": len(given)}]
    else:
        if not config.data.train:
            raise InputError("no prompts to train on", where=config.where("data"), field="data.train")
        paths = [Path(source.path) for source in config.data.train]
        read = [read_prompts(path) for path in paths]
        facts = [{"path": str(path), "records": len(some)} for path, some in zip(paths, read, strict=True)]
    texts = dict.fromkeys(prompt_text(prompt, "prompt") for some in read for prompt in some)
    train = [[Comparison(text, (Candidate(""),)) for text in texts]]
    return Records(train, facts={"sources": facts, "fingerprint": fingerprint(train)})


def step_policy(loaded: LoadedPipeline, section: RolloutConfig, without: Conditioning | None) -> SamplerStepPolicy:
    """The policy over steps of the pipeline's sampler; guidance where the pipeline knows an empty prompt."""
    grid = SamplerGrid.from_scheduler(loaded.pipeline.scheduler, section.steps, section.eta)
    guidance = section.guidance if without is not None else 1.0
    return SamplerStepPolicy(loaded.network, loaded.noising, grid, guidance, without)


def build_rollout(loaded: LoadedPipeline, section: RolloutConfig, device: torch.device, at_once: int) -> Rollout:
    """How the run makes its pairs, the judge loaded."""
    return Rollout(
        judge=_judge(loaded, section.judge, device),
        shape=latent_shape(loaded),
        candidates=section.candidates,
        first=section.first,
        threshold=section.threshold,
        at_once=at_once,
    )


def step_function(path: str) -> Any:
    """The function named by `package.module:function`; the working folder is searched too."""
    module, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"cannot import `{path}`",
            field="diffusion.rollout.judge",
            found=str(error),
            expected="a folder, or package.module:function",
        ) from error
    if not callable(found):
        raise InputError(f"`{path}` is no function", field="diffusion.rollout.judge", found=type(found).__name__)
    return found


def _judge(loaded: LoadedPipeline, spec: str, device: torch.device) -> StepJudge:
    score: Any
    if ":" in spec and not Path(spec).exists():
        score = step_function(spec)
    elif is_pipeline(spec):
        raise InputError("a pipeline judges nothing", field="diffusion.rollout.judge", found=spec)
    else:
        score = _told(load_image_text(spec).to(device).requires_grad_(False))

    def judge(latents: Tensor, texts: Sequence[str], timesteps: Tensor) -> Tensor:
        return torch.as_tensor(score(loaded.images.pixels(latents), texts, timesteps)).to(latents.device)

    return judge


def _told(model: ImageTextModel) -> StepJudge:
    def score(pixels: Tensor, texts: Sequence[str], timesteps: Tensor) -> Tensor:
        found: Tensor = model(pixels, texts, timesteps if model.times is not None else None)
        return found

    return score
