"""The likelihoods of a whole optimizer step from those of its micro-batches, on every rank the same.

Letters: N comparisons of the step, K the widest of them, T scored positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor

from assent.likelihood import Likelihoods


@dataclass
class Part:
    """The numbers of one comparison: per-token arrays, grouped by candidate."""

    tokens: Tensor
    candidate: Tensor
    mask: Tensor
    segment: Tensor | None
    statistics: dict[str, Tensor]


def parts_of(likelihoods: Likelihoods) -> list[Part]:
    """One part for each comparison of a micro-batch, without graph."""
    batch, width = likelihoods.shape
    comparison = likelihoods.owner // width
    counts = torch.bincount(comparison, minlength=batch).tolist()
    tokens = likelihoods.tokens.detach().split(counts)
    candidates = (likelihoods.owner % width).split(counts)
    segments = [None] * batch if likelihoods.segment is None else likelihoods.segment.split(counts)
    statistics = {name: values.detach().split(counts) for name, values in likelihoods.statistics.items()}
    return [
        Part(
            tokens[index],
            candidates[index],
            likelihoods.mask[index],
            segments[index],
            {name: values[index] for name, values in statistics.items()},
        )
        for index in range(batch)
    ]


def joined(parts: Sequence[Part]) -> Likelihoods:
    """The likelihoods of the parts' comparisons together, [N, K]; tokens and statistics are fresh leaves."""
    width = max(len(part.mask) for part in parts)
    mask = torch.stack([torch.nn.functional.pad(part.mask, (0, width - len(part.mask))) for part in parts])
    owner = torch.cat([part.candidate + index * width for index, part in enumerate(parts)])
    segments = [part.segment for part in parts if part.segment is not None]
    statistics = {name: torch.cat([part.statistics[name] for part in parts]) for name in parts[0].statistics}
    return Likelihoods(
        torch.cat([part.tokens for part in parts]),
        owner,
        (len(parts), width),
        mask,
        torch.cat(segments) if len(segments) == len(parts) else None,
        statistics,
    )


def requiring_gradient(likelihoods: Likelihoods) -> Likelihoods:
    """The same numbers as leaves that collect a gradient."""
    return replace(
        likelihoods,
        tokens=likelihoods.tokens.clone().requires_grad_(),
        statistics={name: values.clone().requires_grad_() for name, values in likelihoods.statistics.items()},
    )


def gathered(mine: dict[int, tuple[Part, Part | None]], device: torch.device) -> dict[int, tuple[Part, Part | None]]:
    """The parts of all ranks, by the comparison's place in the step; policy and reference."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return mine
    everyone: list[dict[int, tuple[Part, Part | None]] | None] = [None] * dist.get_world_size()
    # Numpy by pickle: sums of a step are a few hundred kilobytes, and ranks hold different amounts of them.
    dist.all_gather_object(everyone, {place: _moved(pair, torch.device("cpu")) for place, pair in mine.items()})
    return {place: _moved(pair, device) for some in everyone if some for place, pair in some.items()}


def _moved(pair: tuple[Part, Part | None], device: torch.device) -> tuple[Part, Part | None]:
    policy, reference = pair
    return _part_to(policy, device), None if reference is None else _part_to(reference, device)


def _part_to(part: Part, device: torch.device) -> Part:
    return Part(
        part.tokens.to(device),
        part.candidate.to(device),
        part.mask.to(device),
        None if part.segment is None else part.segment.to(device),
        {name: values.to(device) for name, values in part.statistics.items()},
    )
