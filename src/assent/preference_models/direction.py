"""A reward in an embedding space with its own favourite direction taken out (D^2-Align, stage 1).

Source: Chen et al. 2025, arXiv 2512.24146. For an image embedding v, a text embedding e (both of length 1), a learned
vector b shared by all prompts, and omega >= 1,

    e+ = (e + b) / |e + b|,   e- = (e - b) / |e - b|,   e~ = omega e+ - (omega - 1) e-
    reward = cos(v, e~)       (or v . e~ with `normalise=False`)

b = 0 is the plain reward cos(v, e). Stage 1 minimises minus the reward over b alone on the untuned generator's own
images: b moves the text towards where those images are, which cancels the constant offset that the reward favours,
so that what is left to gain in stage 2 depends on the prompt. b belongs to one reward model; `Direction` keeps its
name and refuses another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from assent.errors import InputError


def guided_text(text: Tensor, direction: Tensor, omega: float = 1.5) -> Tensor:
    """e~ of each text embedding, [N, D] (not normalised).

    Args:
        text: [N, D], length 1.
        direction: b, [D].
        omega: strength; 1 is e+ alone.
    """
    if omega < 1:
        raise InputError("omega below 1 points away from the text", field="omega", found=str(omega), expected=">= 1")
    towards, away = normalize(text + direction, dim=-1), normalize(text - direction, dim=-1)
    return omega * towards - (omega - 1) * away


def guided_reward(
    image: Tensor, text: Tensor, direction: Tensor, omega: float = 1.5, normalise: bool = True
) -> Tensor:
    """[N] reward of each image under its text with the direction taken out.

    Args:
        image: [N, D], of any length.
        text: [N, D], length 1.
        direction: b, [D].
        omega: strength.
        normalise: whether e~ is normalised (cosine) or used as it is (dot product).
    """
    guided = guided_text(text, direction, omega)
    if normalise:
        guided = normalize(guided, dim=-1)
    return (normalize(image, dim=-1) * guided).sum(dim=-1)


@dataclass(frozen=True)
class Direction:
    """A learned direction and what it belongs to.

    Args:
        vector: b, [D].
        omega: with which it was learned.
        reward_model: content hash or name of the reward model it was learned in.
    """

    vector: Tensor
    omega: float
    reward_model: str

    def check(self, reward_model: str) -> None:
        """Raises unless it was learned in this reward model."""
        if reward_model != self.reward_model:
            raise InputError(
                "a direction belongs to the reward model it was learned in",
                found=reward_model,
                expected=self.reward_model,
                remedy="Learn it again in this one",
            )

    def save(self, path: Path) -> None:
        """Writes it as safetensors; what it belongs to stands in the file's metadata."""
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"omega": repr(self.omega), "reward_model": self.reward_model}
        save_file({"direction": self.vector.contiguous()}, path, metadata=facts)

    @classmethod
    def load(cls, path: Path) -> Direction:
        """What `save` wrote.

        Raises:
            InputError: not such a file.
        """
        try:
            with safe_open(path, framework="pt") as file:
                facts, vector = file.metadata() or {}, file.get_tensor("direction")
            return cls(vector, float(facts["omega"]), facts["reward_model"])
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise InputError("not a learned direction", where=str(path), found=str(error)[:120]) from None


def learn_direction(
    batches: Iterable[tuple[Tensor, Tensor]],
    size: int,
    omega: float = 1.5,
    learning_rate: float = 1e-2,
    progress: Callable[[int, float, float], None] | None = None,
) -> Tensor:
    """b after one Adam step for each batch of (image, text) embeddings of the untuned generator, [size].

    The start is b = 0, where the gradient is 2 omega - 1 times that of the embedding: it trains.

    Args:
        batches: embeddings [N, D] each, as many as steps are wanted.
        size: D.
        omega: strength.
        learning_rate: of Adam, for embeddings of length 1.
        progress: called with (step, loss, length of b).
    """
    direction = torch.zeros(size, requires_grad=True)
    optimizer = torch.optim.Adam([direction], lr=learning_rate)
    for step, (image, text) in enumerate(batches):
        loss = -guided_reward(image.detach(), text.detach(), direction, omega).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress:
            progress(step, float(loss.detach()), float(direction.detach().norm()))
    return direction.detach()
