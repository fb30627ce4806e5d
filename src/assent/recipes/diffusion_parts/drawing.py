"""Pictures drawn by plain diffusers, with and without what was trained, and what is measured of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assent.encoding.diffusion import prompt_text
from assent.evaluation.picture_scores import score_pictures, tones_of
from assent.evaluation.pictures import read_picture_folder
from assent.generation.prompt_files import read_prompts
from assent.likelihood.pipelines import left_out
from assent.preference_models.clip_score import ClipScorer
from assent.preference_models.image_text import load_image_text

LORA = "pytorch_lora_weights.safetensors"
DONE = "metadata.jsonl"
"""Written last: a folder that has it is complete."""


@dataclass(frozen=True)
class Sampler:
    """How pictures are drawn.

    Args:
        size: pixels of a side.
        guidance: classifier-free guidance.
        steps: of the pipeline's own sampler.
        samples: pictures of each prompt.
        seed: of the first; the others count on.
    """

    size: int
    guidance: float
    steps: int
    samples: int = 1
    seed: int = 0


def draw_folder(
    base: str, trained: Path | None, prompts: Path, folder: Path, how: Sampler, tell: Callable[[str], None]
) -> None:
    """Draws every prompt from the base pipeline, or from what was trained on it; done once.

    A trained adapter is loaded by the base pipeline's own `load_lora_weights`, a whole pipeline as it is: what is
    measured is what anybody gets who has diffusers and not us.
    """
    if (folder / DONE).is_file():
        tell(f"{folder.name}: drawn already")
        return
    import torch
    from diffusers import DiffusionPipeline

    adapter = trained is not None and (trained / LORA).is_file()
    path = base if trained is None or adapter else str(trained)
    pipeline: Any = DiffusionPipeline.from_pretrained(path, use_safetensors=True, **left_out(path))
    if adapter:
        pipeline.load_lora_weights(str(trained))
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    pipeline.set_progress_bar_config(disable=True)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    texts = [prompt_text(prompt, str(prompts)) for prompt in read_prompts(prompts)]
    for number, text in enumerate(texts):
        for sample in range(how.samples):
            generator = torch.Generator().manual_seed(how.seed + number * how.samples + sample)
            picture = pipeline(
                text,
                num_inference_steps=how.steps,
                guidance_scale=how.guidance,
                height=how.size,
                width=how.size,
                generator=generator,
            ).images[0]
            name = f"{number:05d}-{sample}.png"
            picture.save(folder / name)
            rows.append({"file_name": name, "prompt": text})
        tell(f"{folder.name}: {number + 1} of {len(texts)} prompts drawn")
    (folder / DONE).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def judged(scorer: str | None, before: Path, after: Path) -> dict[str, Any]:
    """Rewards before and after with paired intervals, and how much the tones vary (less is a sign of collapse)."""
    first, second = read_picture_folder(before), read_picture_folder(after)
    found: dict[str, Any] = {
        "pictures": len(second),
        "tonal_variety": {"before": tones_of(first), "after": tones_of(second)},
    }
    if scorer is None:
        return found
    result = score_pictures(ClipScorer(load_image_text(scorer)), second, first)
    assert result.gain is not None
    assert result.wins is not None
    return {**found, "reward_gain": asdict(result.gain), "share_of_wins": asdict(result.wins)}
