"""Per-position numbers of the whole next-token distribution, computed tile by tile when an objective names them.

    log_sum_p2      log sum_v p_v^2 (the log-probability that two draws agree)
    entropy         -sum_v p_v log p_v, in nats
    runner_up       the largest log p_v over the tokens v other than the scored one
    extrapolated    log softmax((1 + l) z - l z_ref)[y], with l = 1/2; `extrapolated:0.25` sets l
    kl_reference    sum_v q_v (log q_v - log p_v), q the reference; the only one with a gradient (see `head`)

p is the policy's softmax, z its logits, y the scored token. All are [N], float32 or wider.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.errors import InputError
from assent.likelihood.head import project, project_with_divergence
from assent.likelihood.tiles import Projection, Tiles

LIVE = ("kl_reference", "extrapolated")
"""Statistics that need the reference's own hidden states, not only its log-probabilities."""

STATISTICS = (*LIVE, "log_sum_p2", "runner_up", "entropy")
DEFAULT_EXTRAPOLATION = 0.5


def project_with_statistics(
    hidden: Tensor,
    head: Projection,
    targets: Tensor,
    statistics: Sequence[str],
    reference: tuple[Tensor, Projection] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """[N] log-probabilities of the targets, and the named statistics ([N] each).

    Raises:
        InputError: an unknown statistic, or one that needs a reference where none is given.
    """
    check_statistics(statistics, reference is not None)
    found: dict[str, Tensor] = {}
    if "kl_reference" in statistics:
        assert reference is not None
        log_probs, found["kl_reference"] = project_with_divergence(hidden, head, targets, reference)
    else:
        log_probs = project(hidden, head, targets)
    others = [name for name in statistics if name != "kl_reference"]
    if others:
        with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
            tiles = Tiles.of(hidden, head)
            for name in others:
                if name.startswith("extrapolated"):
                    assert reference is not None
                    found[name] = _extrapolated(tiles, Tiles.of(*reference), targets, _strength(name))
                else:
                    found[name] = _COMPUTED[name](tiles, targets)
    return log_probs, found


def check_statistics(statistics: Sequence[str], has_reference: bool) -> None:
    """Raises an InputError for a statistic that is unknown or lacks its reference."""
    for name in statistics:
        plain = name.partition(":")[0]
        if plain not in STATISTICS or (plain != "extrapolated" and plain != name):
            raise InputError("unknown statistic", field="statistics", found=name, expected=", ".join(STATISTICS))
        if plain in LIVE and not has_reference:
            raise InputError(
                "a statistic needs the reference's whole distribution",
                field="statistics",
                found=name,
                remedy="Use a live reference (`reference: model` with an adapter, or a second model), not the store",
            )


def _strength(name: str) -> float:
    """The l of `extrapolated:l`."""
    text = name.partition(":")[2]
    try:
        return float(text) if text else DEFAULT_EXTRAPOLATION
    except ValueError:
        raise InputError("not a number", field="statistics", found=name, expected="`extrapolated:0.5`") from None


def _log_sum_p2(tiles: Tiles, targets: Tensor) -> Tensor:
    """[N] logsumexp(2 z) - 2 logsumexp(z)."""
    parts = []
    for rows in tiles.rows():
        double = None
        for columns in tiles.columns():
            part = (2 * tiles.logits(rows, columns)).logsumexp(dim=1)
            double = part if double is None else torch.logaddexp(double, part)
        assert double is not None
        parts.append(double - 2 * tiles.log_partition(rows))
    return _joined(parts, tiles)


def _entropy(tiles: Tiles, targets: Tensor) -> Tensor:
    """[N] minus the mean log-probability under p itself."""
    parts = []
    for rows in tiles.rows():
        partition = tiles.log_partition(rows).unsqueeze(1)
        total = torch.zeros_like(partition.squeeze(1))
        for columns in tiles.columns():
            log_probs = tiles.logits(rows, columns) - partition
            total -= (log_probs.exp() * log_probs).sum(dim=1)
        parts.append(total)
    return _joined(parts, tiles)


def _runner_up(tiles: Tiles, targets: Tensor) -> Tensor:
    """[N] the best log-probability among the other tokens."""
    parts = []
    for rows in tiles.rows():
        best = torch.full((rows.stop - rows.start,), -torch.inf, dtype=tiles.dtype, device=targets.device)
        for columns in tiles.columns():
            logits = tiles.logits(rows, columns)
            own = torch.arange(columns.start, columns.stop, device=targets.device) == targets[rows].unsqueeze(1)
            best = torch.maximum(best, logits.masked_fill_(own, -torch.inf).amax(dim=1))
        parts.append(best - tiles.log_partition(rows))
    return _joined(parts, tiles)


def _extrapolated(tiles: Tiles, reference: Tiles, targets: Tensor, strength: float) -> Tensor:
    """[N] log-probability of the target under the logits moved away from the reference."""
    parts = []
    for rows in tiles.rows():
        chosen = torch.zeros(rows.stop - rows.start, dtype=tiles.dtype, device=targets.device)
        partition = torch.full_like(chosen, -torch.inf)
        for columns in tiles.columns():
            logits = (1 + strength) * tiles.logits(rows, columns) - strength * reference.logits(rows, columns)
            partition = torch.logaddexp(partition, logits.logsumexp(dim=1))
            own = torch.arange(columns.start, columns.stop, device=targets.device) == targets[rows].unsqueeze(1)
            chosen += torch.where(own, logits, torch.zeros_like(logits)).sum(dim=1)
        parts.append(chosen - partition)
    return _joined(parts, tiles)


def _joined(parts: list[Tensor], tiles: Tiles) -> Tensor:
    return torch.cat(parts) if parts else tiles.hidden.new_zeros(0, dtype=tiles.dtype)


_COMPUTED = {"log_sum_p2": _log_sum_p2, "entropy": _entropy, "runner_up": _runner_up}
