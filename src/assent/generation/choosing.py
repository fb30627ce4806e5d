"""From a row of log-probabilities to a token: temperature, top-k, top-p, then Gumbel noise or an arithmetic code.

R rows, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from assent.generation.noise import gumbel, stream_key, uniform
from assent.generation.sampling import Sampling

_USED_UP = 2.0**-40
"""Below this width an arithmetic code in float64 has no bits left that came from its seed."""


@dataclass
class Row:
    """One sample that is being written: whose it is, and how much of its arithmetic code is spent.

    Args:
        record: the record's key.
        sample: which of the record's K samples.
        code: where in [0, 1) its text lies; only for arithmetic coupling.
        width: how much of the unit interval the text so far covers.
    """

    record: str
    sample: int
    code: float = 0.0
    width: float = 1.0
    position: int = field(default=0)


def new_row(record: str, sample: int, sampling: Sampling) -> Row:
    """A row at its start; the K arithmetic codes of a record are a random shift of k / K."""
    shift = uniform(stream_key(sampling.seed, record, -1, 0))
    return Row(record, sample, code=(shift + sample / sampling.samples) % 1.0)


def choose(log_probs: Tensor, rows: list[Row], sampling: Sampling) -> Tensor:
    """The next token of each row, [R], from log-probabilities [R, V]; rows move on by one position."""
    if sampling.temperature == 0:
        chosen = log_probs.argmax(dim=-1)
    else:
        logits = restricted(log_probs / sampling.temperature, sampling.top_k, sampling.top_p)
        chosen = _arithmetic(logits, rows, sampling) if _coupled(sampling) else _gumbel(logits, rows, sampling)
    for row in rows:
        row.position += 1
    return chosen


def restricted(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """The logits [R, V] with everything outside the k most likely, then outside the nucleus, at -inf."""
    if 0 < top_k < logits.shape[-1]:
        # By rank, not by value: with ties a threshold would keep more than k.
        kept = logits.topk(top_k, dim=-1).indices
        logits = torch.full_like(logits, -torch.inf).scatter(-1, kept, logits.gather(-1, kept))
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        probabilities = ordered.softmax(dim=-1)
        # A token stays if those before it have not reached top_p: the first always does.
        outside = probabilities.cumsum(dim=-1) - probabilities >= top_p
        logits = torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(outside, -torch.inf))
    return logits


def _coupled(sampling: Sampling) -> bool:
    return sampling.coupling == "arithmetic" and sampling.samples > 1


def _gumbel(logits: Tensor, rows: list[Row], sampling: Sampling) -> Tensor:
    keys = [stream_key(sampling.seed, row.record, row.sample, row.position) for row in rows]
    return (logits + gumbel(keys, logits.shape[-1], logits.device)).argmax(dim=-1)


def _arithmetic(logits: Tensor, rows: list[Row], sampling: Sampling) -> Tensor:
    """Decodes each row's code: the token whose interval holds it; the code is then stretched to that interval."""
    upper = logits.double().softmax(dim=-1).cumsum(dim=-1)
    upper = upper / upper[:, -1:]
    codes = torch.tensor([row.code for row in rows], dtype=torch.float64, device=logits.device).unsqueeze(1)
    chosen = torch.searchsorted(upper, codes, right=True).clamp(max=logits.shape[-1] - 1)
    above = upper.gather(1, chosen)
    below = torch.where(chosen > 0, upper.gather(1, (chosen - 1).clamp(min=0)), torch.zeros_like(above))
    for row, low, width in zip(rows, below[:, 0].tolist(), (above - below)[:, 0].tolist(), strict=True):
        row.code = min(max((row.code - low) / max(width, 2.0**-60), 0.0), 1 - 2.0**-53)
        row.width *= width
        if row.width < _USED_UP:
            # The samples have long parted; a fresh code keeps the law exact.
            row.code = uniform(stream_key(sampling.seed, row.record, row.sample, row.position + 1))
            row.width = 1.0
    return chosen[:, 0]
