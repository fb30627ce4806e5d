"""Random numbers that depend on what is drawn, not on when or beside what: a counter hashed, no generator state.

R rows, V vocabulary. A row's stream is fixed by (seed, record, sample, position), so the same record gives the
same text in any batch, on any device and after a restart.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

_ONE_BELOW = 1 - 2.0**-24
"""The largest float32 below 1."""


def stream_key(seed: int, record: str, sample: int, position: int) -> int:
    """64 bits that name one draw."""
    text = f"{seed}\0{record}\0{sample}\0{position}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def gumbel(keys: list[int], vocabulary: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard Gumbel noise [R, V] in float32, row r from `keys[r]`.

    Written -log(-log1p(-u)): u keeps its relative precision near 0, which is where large noise comes from, so
    rare tokens are drawn at their rate down to about 1e-9.
    """
    low = torch.tensor([_signed(key & 0xFFFFFFFF) for key in keys], dtype=torch.int32, device=device)
    high = torch.tensor([_signed(key >> 32) for key in keys], dtype=torch.int32, device=device)
    counter = torch.arange(vocabulary, dtype=torch.int32, device=device)
    bits = _mix(_mix(counter.unsqueeze(0) ^ low.unsqueeze(1)) + high.unsqueeze(1))
    uniform = ((bits & 0x7FFFFFFF).float() + 0.5).mul_(2.0**-31).clamp_(max=_ONE_BELOW)
    return uniform.neg_().log1p_().neg_().log_().neg_()


def uniform(key: int) -> float:
    """A number in (0, 1) with 53 bits."""
    return ((key >> 11) + 0.5) * 2.0**-53


def _mix(bits: Tensor) -> Tensor:
    """A bijection of 32 bits that spreads every input bit over all output bits (Wellons' `lowbias32` constants)."""
    bits = (bits ^ ((bits >> 16) & 0xFFFF)) * _signed(0x7FEB352D)
    bits = (bits ^ ((bits >> 15) & 0x1FFFF)) * _signed(0x846CA68B)
    return bits ^ ((bits >> 16) & 0xFFFF)


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value
