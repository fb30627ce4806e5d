"""Where a head's training on frozen features stands, in one file, so that a killed run goes on to the same weights.

Weights, the optimizer's moments and the order's generator are tensors and stand in safetensors; counts and the
numbers of past epochs in its header. Written beside itself and renamed: a kill leaves the last whole file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from assent.errors import InputError

Best = tuple[float, dict[str, Tensor]]
"""The best held-out accuracy so far, and the weights that had it."""


@dataclass
class Standing:
    """What has been done: the numbers of each epoch, and the best one where the best is kept."""

    history: list[dict[str, float]] = field(default_factory=list)
    best: Best | None = None


@dataclass(frozen=True)
class FitState:
    """The file of one training.

    Args:
        path: of the file.
        key: what decides the numbers besides how many epochs; another key's file is refused.
    """

    path: Path
    key: str

    def write(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator, standing: Standing
    ) -> None:
        """Keeps everything that the next epoch depends on."""
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        counts: dict[str, float] = {}
        for index, moments in optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{name}"] = value
                else:
                    counts[f"{index}.{name}"] = value
        tensors["generator"] = generator.get_state()
        if standing.best is not None:
            tensors |= {f"best.{name}": value for name, value in standing.best[1].items()}
        told = {
            "key": self.key,
            "history": standing.history,
            "best": None if standing.best is None else standing.best[0],
            "counts": counts,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        whole = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
        save_file(whole, partial, metadata={"fit": json.dumps(told)})
        partial.replace(self.path)

    def read(self, model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> Standing:
        """Puts everything back and says where it stands; a fresh standing where there is no file.

        Raises:
            InputError: the file is damaged, or of another training.
        """
        if not self.path.exists():
            return Standing()
        try:
            with safe_open(self.path, framework="pt") as file:
                told = json.loads(file.metadata()["fit"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                "the state of an unfinished training is damaged",
                where=str(self.path),
                found=str(error)[:120],
                remedy="Remove the file; the training begins again",
            ) from None
        if told["key"] != self.key:
            raise InputError(
                "an unfinished training with other data or settings",
                where=str(self.path),
                remedy="Give the settings it was begun with, or another output_dir",
            )
        model.load_state_dict(_under(tensors, "model."))
        optimizer.load_state_dict({**optimizer.state_dict(), "state": _moments(tensors, told["counts"])})
        generator.set_state(tensors["generator"])
        best = None if told["best"] is None else (float(told["best"]), _under(tensors, "best."))
        return Standing(told["history"], best)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _moments(tensors: dict[str, Tensor], counts: dict[str, float]) -> dict[int, dict[str, Tensor | float]]:
    found: dict[int, dict[str, Tensor | float]] = {}
    every: dict[str, Tensor | float] = {**_under(tensors, "optimizer."), **counts}
    for place, value in every.items():
        index, _, name = place.partition(".")
        found.setdefault(int(index), {})[name] = value
    return found
