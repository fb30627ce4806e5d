"""What recipes with rounds share: pools of prompts, steps that are done once, a training run per round."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assent.building.built import Built
from assent.building.drawn import draw
from assent.comparison import Comparison, Prompt, from_dict
from assent.config import run_from
from assent.errors import InputError
from assent.generation import LocalGenerator, Sampling
from assent.generation.decoding import Plain
from assent.likelihood.loading import load_causal_lm
from assent.readers import write_jsonl
from assent.training import train
from assent.training.run_folder import MODEL, PROBES

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Loop:
    """Where a loop works and how it trains.

    Args:
        folder: of the whole loop; every step leaves a file there and is not done twice.
        settings: keys of a run file for every training run (`training`, `peft`, `data`).
        tell: is told each step.
    """

    folder: Path
    settings: Mapping[str, Any]
    tell: Tell

    def built(self, name: str, make: Callable[[], Built]) -> list[Comparison]:
        """The comparisons of a step: read where they are there, else made, counted and written whole."""
        path = self.folder / name
        if path.exists():
            self.tell(f"{name} is there already")
            return [from_dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        result = make()
        if not result.comparisons:
            raise InputError("a step gave no comparisons", where=name, found=str(dict(result.left_out)))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(result.comparisons, path)
        self.tell(f"{name}: {json.dumps(result.summary())}")
        return result.comparisons

    def trained(self, name: str, model: str | Path, data: Path, objective: Any, **more: Any) -> Path:
        """The model folder of a training run, gone on with where it was interrupted."""
        folder = self.folder / name
        if (folder / PROBES).exists():
            self.tell(f"{name} is trained already")
            return folder / MODEL
        values = {**self.settings, **more, "model": str(model), "objective": objective}
        values["data"] = {**self.settings.get("data", {}), "train": str(data)}
        values["training"] = {**self.settings.get("training", {}), "output_dir": str(folder)}
        result = train(run_from(values), resume=folder.exists())
        shown = {key: result.metrics[key] for key in ("loss", "rewards/accuracies") if key in result.metrics}
        self.tell(f"{name}: {result.steps} steps {json.dumps(shown)}")
        return result.model_folder

    def note(self, row: Mapping[str, Any]) -> None:
        """Adds a line to `rounds.jsonl`, once for each round."""
        path = self.folder / "rounds.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        rows = [one for one in rows if one["round"] != row["round"]] + [dict(row)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))
        self.tell(json.dumps(row))


def pools(prompts: Sequence[Prompt], rounds: int) -> list[list[Prompt]]:
    """Disjoint pools of prompts, one for each round: a judge must not grade what it was trained on."""
    if len(prompts) < rounds:
        raise InputError("fewer prompts than rounds", field="prompts", found=str(len(prompts)), expected=str(rounds))
    return [list(prompts[number::rounds]) for number in range(rounds)]


def local_decoder(model: str | Path) -> Plain:
    """Plain sampling from a model folder, on the accelerator where there is one."""
    import torch

    loaded, tokenizer = load_causal_lm(str(model))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Plain(LocalGenerator(loaded.to(device), tokenizer, name=str(model)))


def drawn_from(model: str | Path, prompts: Sequence[Prompt], sampling: Sampling) -> Built:
    """Answers of a model folder that differ, by prompt."""
    return draw(prompts, local_decoder(model), sampling)


def settings_of(path: str | Path | None) -> dict[str, Any]:
    """The keys of a YAML file for the training runs; nothing where there is no file."""
    import yaml

    if path is None:
        return {}
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError("the settings cannot be read", where=str(path), found=str(error)) from None
    if not isinstance(found, dict):
        raise InputError("settings are a mapping", where=str(path), found=type(found).__name__)
    taken = sorted(set(found) & {"model", "objective"})
    if taken:
        raise InputError("the recipe sets this itself", where=str(path), field=taken[0])
    return found
