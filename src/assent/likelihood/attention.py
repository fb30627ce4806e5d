"""Attention over packed rows: each token sees its own span up to itself, and the spans above it.

A function registered in transformers' attention interface, with a mask function beside it that makes no mask while
a packed row is read: what a token sees is said by `Spans`, which travel as a keyword of the model's `forward` into
every layer. Without that keyword the function is ordinary attention, so the model stays usable for everything else.

Three ways to compute the same numbers:

    parts     CPU: every span against itself (causal) and, for spans with others below, all those against it (full).
              The parts of one query are joined by their log-partitions, o = sum_i exp(l_i - l) o_i with
              l = logsumexp_i l_i; the backward of each part is the flash backward given the joint o and l. No mask.
    explicit  each span against the spans above and itself, with a mask of that size: sliding windows shorter than
              the sequences, soft-capped scores, dropout, devices without the kernels of the others.
    blocks    CUDA: FlexAttention with a block mask made from where each token's visibility ends (not tested on a
              device).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from assent.likelihood.shared_prefix import Span

NAME = "assent_shared_prefix"
"""The attention implementation's name in transformers."""

KEYWORD = "candidate_spans"
"""The keyword of a model's `forward` that carries the spans into every layer."""

_flash: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_flash_backward: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)
_packed: ContextVar[bool] = ContextVar("assent_packed_row", default=False)


@dataclass(eq=False)
class Spans:
    """Who sees whom in a packed row, with what the attention of each layer can use again.

    Args:
        spans: in row order, parents before children.
        seen_with: how often a layer called with which sliding window; read by the check of a new model.
    """

    spans: tuple[Span, ...]
    seen_with: list[int | None] = field(default_factory=list)
    _masks: dict[tuple[int, int | None, str], Tensor] = field(default_factory=dict)
    _block_masks: dict[tuple[int | None, str], Any] = field(default_factory=dict)

    @property
    def longest(self) -> int:
        """Tokens of the longest path."""
        return max(span.position + span.stop - span.start for span in self.spans)

    def path(self, index: int) -> list[Span]:
        """The spans from the root down to the one at an index."""
        path = []
        while index >= 0:
            path.append(self.spans[index])
            index = path[-1].parent
        return path[::-1]

    def mask(self, index: int, window: int | None, device: torch.device) -> Tensor:
        """[own tokens, tokens of the path] which keys the tokens of a span see."""
        key = (index, window, str(device))
        if key not in self._masks:
            span = self.spans[index]
            queries = torch.arange(span.position, span.position + span.stop - span.start, device=device).unsqueeze(1)
            keys = torch.arange(span.position + span.stop - span.start, device=device)
            seen = keys <= queries
            self._masks[key] = seen if window is None else seen & (keys > queries - window)
        return self._masks[key]

    def block_mask(self, window: int | None, device: torch.device) -> Any:
        """FlexAttention's block mask of the row."""
        key = (window, str(device))
        if key not in self._block_masks:
            from torch.nn.attention.flex_attention import create_block_mask

            reach = torch.cat([torch.full((s.stop - s.start,), s.reach, device=device) for s in self.spans])
            position = torch.cat(
                [torch.arange(s.position, s.position + s.stop - s.start, device=device) for s in self.spans]
            )

            def seen(batch: Tensor, head: Tensor, query: Tensor, index: Tensor) -> Tensor:
                visible = (index <= query) & (query < reach[index])
                return visible if window is None else visible & (position[query] - position[index] < window)

            total = self.spans[-1].stop
            self._block_masks[key] = create_block_mask(seen, None, None, total, total, device=str(device))
        return self._block_masks[key]


@contextmanager
def packed_rows() -> Iterator[None]:
    """While a model is called inside, it makes no attention masks: spans say what is seen."""
    token = _packed.set(True)
    try:
        yield
    finally:
        _packed.reset(token)


def register() -> None:
    """Makes the attention known to transformers; doing it again changes nothing."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, mask)


def mask(*arguments: Any, **options: Any) -> Tensor | None:
    """No mask for a packed row; else the usual one."""
    return None if _packed.get() else sdpa_mask(*arguments, **options)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """[1, row, heads, head size] what each token reads, from query, key and value [1, heads, row, head size]."""
    spans: Spans | None = options.pop(KEYWORD, None)
    if spans is None:
        return _ordinary(module, query, key, value, attention_mask, dropout, scaling, softcap, options)
    unknown = [name for name in ("s_aux", "sinks", "position_bias") if options.get(name) is not None]
    if unknown:
        raise NotImplementedError(f"attention with {unknown[0]} is not known to packed rows")
    spans.seen_with.append(sliding_window)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key = query.to(value.dtype), key.to(value.dtype)
    window = None if sliding_window is None or sliding_window >= spans.longest else sliding_window
    if query.is_cuda and not dropout:
        attended = _blocks(query, key, value, spans, scale, window, softcap)
    else:
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        plain = window is None and softcap is None and not dropout and query.shape[-1] == value.shape[-1]
        if plain and query.device.type == "cpu" and _flash is not None:
            attended = _Parts.apply(query, key, value, spans.spans, scale)
        else:
            attended = _explicit(query, key, value, spans, _Scores(scale, softcap, dropout, window))
    return attended.transpose(1, 2).contiguous(), None


class _Parts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, spans: tuple[Span, ...], scale: float) -> Tensor:
        attended, partition = torch.empty_like(query), None
        for span in spans:
            own = slice(span.start, span.stop)
            part, log_sum = _flash(query[:, :, own], key[:, :, own], value[:, :, own], 0.0, True, scale=scale)
            if partition is None:
                partition = log_sum.new_empty(query.shape[:3])
            attended[:, :, own], partition[:, :, own] = part, log_sum
        assert partition is not None
        for span in spans:
            if span.reach == span.stop:
                continue
            below, own = slice(span.stop, span.reach), slice(span.start, span.stop)
            part, log_sum = _flash(query[:, :, below], key[:, :, own], value[:, :, own], 0.0, False, scale=scale)
            before = partition[:, :, below]
            together = torch.logaddexp(before, log_sum)
            keep = (before - together).exp_().unsqueeze(-1).to(query.dtype)
            attended[:, :, below].mul_(keep).add_(part * (log_sum - together).exp_().unsqueeze(-1).to(query.dtype))
            partition[:, :, below] = together
        ctx.spans, ctx.scale = spans, scale
        ctx.save_for_backward(query, key, value, attended, partition)
        return attended

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # Read once: checkpointing recomputes them at the first reading.
        sums = tuple(torch.empty_like(tensor) for tensor in saved[:3])
        for span in ctx.spans:
            own = slice(span.start, span.stop)
            _part_backward(gradients[0], saved, own, own, ctx.scale, sums)
        for span in ctx.spans:
            if span.reach > span.stop:
                below, own = slice(span.stop, span.reach), slice(span.start, span.stop)
                _part_backward(gradients[0], saved, below, own, ctx.scale, sums)
        return (*sums, None, None)


def _part_backward(
    gradient: Tensor, saved: tuple[Tensor, ...], seeing: slice, seen: slice, scale: float, sums: tuple[Tensor, ...]
) -> None:
    """Writes (a span against itself) or adds (others against a span) the gradients of one part."""
    query, key, value, attended, partition = saved
    parts = _flash_backward(
        gradient[:, :, seeing],
        query[:, :, seeing],
        key[:, :, seen],
        value[:, :, seen],
        attended[:, :, seeing],
        partition[:, :, seeing],
        0.0,
        seeing == seen,
        scale=scale,
    )
    for total, part, rows in zip(sums, parts, (seeing, seen, seen), strict=True):
        if seeing == seen:
            total[:, :, rows] = part
        else:
            total[:, :, rows] += part


@dataclass(frozen=True)
class _Scores:
    """How scores are shaped before they become weights."""

    scale: float
    softcap: float | None
    dropout: float
    window: int | None


def _explicit(query: Tensor, key: Tensor, value: Tensor, spans: Spans, scores: _Scores) -> Tensor:
    """Each span against its path."""
    attended = []
    for index, span in enumerate(spans.spans):
        path = spans.path(index)
        seen = spans.mask(index, scores.window, query.device)
        own = query[:, :, span.start : span.stop]
        keys = torch.cat([key[:, :, part.start : part.stop] for part in path], dim=2)
        values = torch.cat([value[:, :, part.start : part.stop] for part in path], dim=2)
        if scores.softcap is None:
            attended.append(
                nn.functional.scaled_dot_product_attention(
                    own, keys, values, attn_mask=seen, dropout_p=scores.dropout, scale=scores.scale
                )
            )
        else:
            attended.append(_capped(own, keys, values, seen, scores))
    return torch.cat(attended, dim=2)


def _capped(query: Tensor, key: Tensor, value: Tensor, seen: Tensor, scores: _Scores) -> Tensor:
    """Attention with scores c tanh(s / c), which no CPU kernel has."""
    assert scores.softcap is not None
    weights = torch.tanh(query @ key.transpose(2, 3) * (scores.scale / scores.softcap)) * scores.softcap
    wide = torch.promote_types(query.dtype, torch.float32)
    # The smallest number, not -inf: a padded row sees nothing, and its softmax must not be NaN.
    weights = weights.to(wide).masked_fill(~seen, torch.finfo(wide).min).softmax(dim=-1).to(query.dtype)
    return nn.functional.dropout(weights, scores.dropout) @ value


def _blocks(
    query: Tensor, key: Tensor, value: Tensor, spans: Spans, scale: float, window: int | None, softcap: float | None
) -> Tensor:
    """FlexAttention over the row. Not tested on a device."""

    def capped(score: Tensor, *_: Tensor) -> Tensor:
        assert softcap is not None
        return softcap * torch.tanh(score / softcap)

    return _compiled_flex()(
        query,
        key,
        value,
        score_mod=None if softcap is None else capped,
        block_mask=spans.block_mask(window, query.device),
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


_compiled: list[Callable[..., Tensor]] = []


def _compiled_flex() -> Callable[..., Tensor]:
    if not _compiled:
        from torch.nn.attention.flex_attention import flex_attention

        _compiled.append(torch.compile(flex_attention, dynamic=True))
    return _compiled[0]


def _ordinary(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float,
    scaling: float | None,
    softcap: float | None,
    options: dict[str, Any],
) -> tuple[Tensor, None]:
    """Attention of rows that are not packed: the usual kernel, or the explicit one for soft-capped scores."""
    if softcap is None:
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    length, width = query.shape[2], key.shape[2]
    seen = torch.ones(length, width, dtype=torch.bool, device=query.device).tril(width - length)
    if attention_mask is not None:
        seen = attention_mask if attention_mask.dtype == torch.bool else attention_mask == 0
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended = _capped(query, key, value, seen, _Scores(scale, softcap, dropout, None))
    return attended.transpose(1, 2).contiguous(), None
