"""Logits in tiles (rows x vocabulary), made one at a time and never remembered.

Letters: N rows, V vocabulary, H hidden size, r rank of an adapter on the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

TILE_NUMBERS = {"cpu": 2**21, "cuda": 2**26}
"""Numbers in a tile: on a CPU what stays near the caches (measured: 8 MB), elsewhere what fills the device."""

TILE_COLUMNS = {"cpu": 2**13, "cuda": 2**15}


@dataclass(frozen=True)
class Projection:
    """The last step of a language model: logits = softcap(scale * (hidden W' + low_rank_hidden L' + bias)).

    Args:
        weight: [V, H].
        bias: [V] or None.
        scale: factor on the logits (Cohere's `logit_scale`, one over Granite's `logits_scaling`).
        softcap: c of c tanh(z / c) (Gemma 2), or None.
        low_rank: the adapter on the head as (down [r, H], up [V, r]), its scaling in `down`; or None.
        dropout: share of the hidden values that the adapter (not the head) loses in training.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    low_rank: tuple[Tensor, Tensor] | None = None
    dropout: float = 0.0

    def low_hidden(self, hidden: Tensor) -> Tensor | None:
        """[N, r] what the adapter's second matrix is applied to."""
        if self.low_rank is None:
            return None
        kept = torch.nn.functional.dropout(hidden, self.dropout) if self.dropout else hidden
        return kept @ self.low_rank[0].T.to(hidden.dtype)


class Tiles:
    """The logits of some rows, one tile at a time; nothing is remembered between tiles.

    Args:
        hidden: [N, H].
        weight: [V, H].
        bias: [V] or None.
        low_hidden: [N, r] or None.
        up: [V, r] or None.
        shaping: (scale, softcap).
    """

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        low_hidden: Tensor | None,
        up: Tensor | None,
        shaping: tuple[float, float | None],
    ) -> None:
        self.dtype = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        self.operand = _operand_type(hidden, weight)
        self.hidden, self.weight, self.bias = hidden.detach().to(self.operand), weight.detach(), bias
        self.low_hidden = None if low_hidden is None else low_hidden.detach().to(self.operand)
        self.up = up
        self.scale, self.softcap = shaping
        kind = hidden.device.type
        self.columns_at_once = min(weight.shape[0], TILE_COLUMNS.get(kind, TILE_COLUMNS["cuda"]))
        self.rows_at_once = max(1, TILE_NUMBERS.get(kind, TILE_NUMBERS["cuda"]) // self.columns_at_once)

    @classmethod
    def of(cls, hidden: Tensor, head: Projection) -> Tiles:
        """The tiles of a projection, without graph."""
        up = None if head.low_rank is None else head.low_rank[1]
        with torch.no_grad():
            low_hidden = head.low_hidden(hidden)
        return cls(hidden, head.weight, head.bias, low_hidden, up, (head.scale, head.softcap))

    def rows(self) -> Iterator[slice]:
        """The row ranges of the tiles."""
        return _ranges(self.hidden.shape[0], self.rows_at_once)

    def columns(self) -> Iterator[slice]:
        """The vocabulary ranges of the tiles."""
        return _ranges(self.weight.shape[0], self.columns_at_once)

    @property
    def one_column(self) -> bool:
        """Whether a tile spans the whole vocabulary."""
        return self.columns_at_once == self.weight.shape[0]

    def logits(self, rows: slice, columns: slice) -> Tensor:
        """[rows, columns] logits in the accumulation type."""
        logits = self.product(self.hidden[rows], self.weight[columns].to(self.operand).T)
        if self.low_hidden is not None and self.up is not None:
            logits += self.product(self.low_hidden[rows], self.up.detach()[columns].to(self.operand).T)
        if self.bias is not None:
            logits += self.bias.detach()[columns]
        if self.scale != 1.0:
            logits *= self.scale
        if self.softcap is not None:
            logits = logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits

    def raw_gradient(self, gradient: Tensor, logits: Tensor | None) -> Tensor:
        """The derivative by the raw product, from that by the shaped logits; works in place."""
        if self.softcap is not None:
            assert logits is not None
            gradient *= 1 - (logits / self.softcap) ** 2
        if self.scale != 1.0:
            gradient *= self.scale
        return gradient

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """The matrix product with its result in the accumulation type."""
        if self.operand == self.dtype:
            return left @ right
        return torch.mm(left, right, out_dtype=self.dtype)

    def log_partitions(self) -> Tensor:
        """[N] log of the sum of exponentials of each row's logits."""
        return torch.cat([self.log_partition(rows) for rows in self.rows()] or [self.hidden.new_zeros(0)])

    def log_partition(self, rows: slice) -> Tensor:
        """[rows] the same for one range of rows."""
        total: Tensor | None = None
        for columns in self.columns():
            part = self.logits(rows, columns).logsumexp(dim=1)
            total = part if total is None else torch.logaddexp(total, part)
        assert total is not None
        return total


def _operand_type(hidden: Tensor, weight: Tensor) -> torch.dtype:
    """What matrix products read: 16-bit numbers on an accelerator that sums them in float32; else wide ones."""
    if torch.float64 in (hidden.dtype, weight.dtype):
        return torch.float64
    kind = hidden.device.type
    if kind != "cuda":
        return torch.float32
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return torch.promote_types(hidden.dtype, weight.dtype)


def _ranges(length: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
