"""Log-probabilities of chosen tokens from hidden states, without ever holding the logits.

The matrix [N, V] of logits is made tile by tile (rows x vocabulary), reduced, and thrown away. The backward makes
each tile again: with p the softmax, y the target and z the logits of a row,

    d log p_y / dz = onehot(y) - p            d KL(q || p) / dz = p - q

so only the log-partition of each row has to be remembered. A few of the tiles (`KEPT_BYTES`) are kept instead where a
tile spans the vocabulary, since reading them back is cheaper than a second matrix product.

The operation returns log-probabilities, not a loss, so that any loss goes on top. Sums run in float32 whatever the
weights' type, in float64 for float64.

Letters: N scored positions, V vocabulary, H hidden size, r rank of an adapter on the head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assent.likelihood.tiles import Projection, Tiles

KEPT_BYTES = 64 * 2**20
"""Logits up to this size are kept for the backward of a call."""


def selected_log_probs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
) -> Tensor:
    """[N] log-probability of each target, in nats, float32 or wider; differentiable in hidden, weight and bias."""
    return project(hidden, Projection(weight, bias, scale, softcap), targets)


def project(hidden: Tensor, head: Projection, targets: Tensor) -> Tensor:
    """[N] log-probability of each target ([N]) from the hidden states ([N, H])."""
    return _apply(hidden, head, targets, None)[0]


def project_with_divergence(
    hidden: Tensor, head: Projection, targets: Tensor, reference: tuple[Tensor, Projection]
) -> tuple[Tensor, Tensor]:
    """[N] log-probability of each target and [N] KL(reference || policy) of each position, both with gradient."""
    return _apply(hidden, head, targets, reference)


def _apply(
    hidden: Tensor, head: Projection, targets: Tensor, reference: tuple[Tensor, Projection] | None
) -> tuple[Tensor, Tensor]:
    up = None if head.low_rank is None else head.low_rank[1]
    log_probs, divergence = _TiledLogProbs.apply(
        hidden,
        head.weight,
        head.bias,
        head.low_hidden(hidden),
        up,
        targets,
        (head.scale, head.softcap),
        reference,
    )
    return log_probs, divergence


class _TiledLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        low_hidden: Tensor | None,
        up: Tensor | None,
        targets: Tensor,
        shaping: tuple[float, float | None],
        reference: tuple[Tensor, Projection] | None,
    ) -> tuple[Tensor, Tensor]:
        tiles = Tiles(hidden, weight, bias, low_hidden, up, shaping)
        against = None if reference is None else Tiles.of(*reference)
        wanted = any(ctx.needs_input_grad)
        with torch.autocast(hidden.device.type, enabled=False):
            plain = against is None and shaping[1] is None and tiles.one_column
            keep = _tiles_to_keep(tiles) if wanted and plain else 0
            log_probs, partition, kept = _forward(tiles, targets, keep)
            against_partition = None if against is None else against.log_partitions()
            divergence = _divergence(tiles, partition, against, against_partition)
            ctx.against_partition = against_partition
        ctx.shaping, ctx.reference = shaping, reference
        ctx.save_for_backward(hidden, weight, bias, low_hidden, up, targets, partition, *kept)
        ctx.set_materialize_grads(False)
        return log_probs, divergence

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, low_hidden, up, targets, partition, *kept = ctx.saved_tensors
        tiles = Tiles(hidden, weight, bias, low_hidden, up, ctx.shaping)
        zeros = torch.zeros(hidden.shape[0], dtype=tiles.dtype, device=hidden.device)
        by_log_prob, by_divergence = (zeros if g is None or not g.numel() else g for g in gradients)
        sums = _Gradients(tiles, ctx.needs_input_grad)
        against = None if ctx.reference is None or gradients[1] is None else Tiles.of(*ctx.reference)
        with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
            for columns in tiles.columns():
                sums.open(columns)
                for index, rows in enumerate(tiles.rows()):
                    logits = None if index < len(kept) else tiles.logits(rows, columns)
                    weights = (by_divergence[rows] - by_log_prob[rows]).unsqueeze(1)
                    if logits is None:
                        gradient = kept[index].exp()
                    else:
                        gradient = (logits - partition[rows].unsqueeze(1)).exp_()
                    gradient *= weights
                    _add_at_targets(gradient, targets[rows], columns, by_log_prob[rows])
                    if against is not None:
                        share = against.logits(rows, columns) - ctx.against_partition[rows].unsqueeze(1)
                        gradient -= share.exp_() * by_divergence[rows].unsqueeze(1)
                    sums.add(rows, columns, tiles.raw_gradient(gradient, logits))
                sums.close(columns)
        return (*sums.results(hidden, weight, bias, low_hidden, up), None, None, None)


class _Gradients:
    """Sums of the gradients over tiles; a weight's gradient is rounded to its own type once, when complete."""

    def __init__(self, tiles: Tiles, needed: tuple[bool, ...]) -> None:
        self.tiles = tiles
        hidden, weight, bias, low_hidden, up = needed[:5]
        self.hidden = torch.zeros_like(tiles.hidden, dtype=tiles.dtype) if hidden else None
        self.weight = torch.empty_like(tiles.weight) if weight else None
        self.bias = None if tiles.bias is None or not bias else torch.zeros_like(tiles.bias, dtype=tiles.dtype)
        self.low_hidden, self.up = None, None
        if tiles.low_hidden is not None and tiles.up is not None:
            self.low_hidden = torch.zeros_like(tiles.low_hidden, dtype=tiles.dtype) if low_hidden else None
            self.up = torch.zeros_like(tiles.up, dtype=tiles.dtype) if up else None
        self.open_weight: Tensor | None = None

    def open(self, columns: slice) -> None:
        """Begins a range of the vocabulary."""
        if self.weight is not None:
            part = self.weight[columns]
            same = part.dtype == self.tiles.dtype
            self.open_weight = part.zero_() if same else torch.zeros_like(part, dtype=self.tiles.dtype)

    def add(self, rows: slice, columns: slice, gradient: Tensor) -> None:
        """Adds what one tile contributes, from the derivative by its raw product ([rows, columns])."""
        tiles = self.tiles
        narrow = gradient.to(tiles.operand)
        if self.hidden is not None:
            _add_product(self.hidden[rows], narrow, tiles.weight[columns].to(tiles.operand))
        if self.open_weight is not None:
            _add_product(self.open_weight, narrow.T, tiles.hidden[rows])
        if self.bias is not None:
            self.bias[columns] += gradient.sum(dim=0)
        if self.low_hidden is not None and tiles.up is not None:
            _add_product(self.low_hidden[rows], narrow, tiles.up.detach()[columns].to(tiles.operand))
        if self.up is not None and tiles.low_hidden is not None:
            _add_product(self.up[columns], narrow.T, tiles.low_hidden[rows])

    def close(self, columns: slice) -> None:
        """Ends a range of the vocabulary."""
        if self.weight is not None and self.open_weight is not None:
            if self.weight.dtype != self.open_weight.dtype:
                self.weight[columns] = self.open_weight
            self.open_weight = None

    def results(self, *inputs: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients in the types of the inputs."""
        sums = (self.hidden, self.weight, self.bias, self.low_hidden, self.up)
        return tuple(
            None if total is None or like is None else total.to(like.dtype)
            for total, like in zip(sums, inputs, strict=True)
        )


def _tiles_to_keep(tiles: Tiles) -> int:
    """How many of the first tiles fit into `KEPT_BYTES` together."""
    numbers, count = 0, 0
    for rows in tiles.rows():
        numbers += (rows.stop - rows.start) * tiles.weight.shape[0]
        if numbers * tiles.dtype.itemsize > KEPT_BYTES:
            break
        count += 1
    return count


def _forward(tiles: Tiles, targets: Tensor, keep: int) -> tuple[Tensor, Tensor, list[Tensor]]:
    """[N] log-probabilities, [N] log-partitions (0 in kept tiles), and the log-softmax of the first `keep` tiles."""
    chosen = torch.zeros(targets.shape[0], dtype=tiles.dtype, device=targets.device)
    partition = torch.full_like(chosen, -torch.inf)
    kept: list[Tensor] = []
    for index, rows in enumerate(tiles.rows()):
        if index < keep:
            kept.append(tiles.logits(rows, slice(0, tiles.weight.shape[0])).log_softmax(dim=1))
            chosen[rows] = kept[-1].gather(1, targets[rows].unsqueeze(1)).squeeze(1)
            partition[rows] = 0.0
            continue
        for columns in tiles.columns():
            logits = tiles.logits(rows, columns)
            inside, local = _local_targets(targets[rows], columns)
            picked = logits.gather(1, local.unsqueeze(1)).squeeze(1)
            chosen[rows] += torch.where(inside, picked, torch.zeros_like(picked))
            partition[rows] = torch.logaddexp(partition[rows], logits.logsumexp(dim=1))
    return chosen - partition, partition, kept


def _divergence(tiles: Tiles, partition: Tensor, against: Tiles | None, against_partition: Tensor | None) -> Tensor:
    """[N] KL(reference || policy); empty without a reference."""
    if against is None or against_partition is None:
        return partition.new_zeros(0)
    total = torch.zeros_like(partition)
    for rows in tiles.rows():
        for columns in tiles.columns():
            ours = tiles.logits(rows, columns) - partition[rows].unsqueeze(1)
            theirs = against.logits(rows, columns) - against_partition[rows].unsqueeze(1)
            total[rows] += (theirs.exp() * (theirs - ours)).sum(dim=1)
    return total


def _add_at_targets(gradient: Tensor, targets: Tensor, columns: slice, values: Tensor) -> None:
    inside, local = _local_targets(targets, columns)
    values = torch.where(inside, values, torch.zeros_like(values)).to(gradient.dtype)
    gradient.scatter_add_(1, local.unsqueeze(1), values.unsqueeze(1))


def _local_targets(targets: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """Which targets lie in a range of the vocabulary, and their index there (0 where they do not)."""
    inside = (targets >= columns.start) & (targets < columns.stop)
    return inside, torch.where(inside, targets - columns.start, torch.zeros_like(targets))


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += torch.mm(left, right, out_dtype=total.dtype)
