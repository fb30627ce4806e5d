"""Sampling from a local causal language model: batched by tokens, each prompt computed once for its K samples.

The prompts of a batch are padded on the left and prefilled together; their key-value cache is then repeated K
times, so a prompt costs the same for one sample as for sixty-four. Rows that have ended leave the batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from assent.comparison import Prompt, content_key
from assent.errors import InputError, RunError
from assent.generation.choosing import Row, choose, new_row
from assent.generation.prompts import prompt_ids, turn_ends
from assent.generation.sampling import FinishReason, Sample, Sampling, SamplingOptions, in_order


class LocalGenerator:
    """Draws completions from a `transformers` causal language model.

    The same record, seed and sample index give the same text whatever else is in the batch, up to ties within
    float rounding.

    Args:
        model: the model, PEFT-wrapped or not; it is put into evaluation mode while sampling.
        tokenizer: its tokenizer; the chat template is used where it has one.
        max_tokens_per_batch: bound on rows x (longest prompt + new tokens), which bounds the cache.
        name: what the samples' `source` says; the model's path by default.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, *, max_tokens_per_batch: int = 32768, name: str | None = None
    ) -> None:
        config: Any = model.config
        if getattr(config, "is_encoder_decoder", False):
            raise InputError(
                "encoder-decoder models cannot be sampled here", field="model", expected="a causal language model"
            )
        self.model = model
        self.tokenizer = tokenizer
        self.max_tokens_per_batch = max_tokens_per_batch
        self.name = name or getattr(config, "_name_or_path", "") or type(model).__name__
        self.end_tokens = _end_tokens(model, tokenizer)
        self._window = getattr(config.get_text_config(), "max_position_embeddings", None)
        self._accepted = _accepted_arguments(model)

    def generate(
        self, prompts: Sequence[Prompt], *, keys: Sequence[str] | None = None, **options: Unpack[SamplingOptions]
    ) -> list[list[Sample]]:
        """The K samples of every prompt, in order; options as in `Sampling`."""
        return in_order(self, prompts, Sampling(**options), keys)  # type: ignore[arg-type]

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        """Pairs (index of the prompt, its K samples), batch by batch, short prompts first."""
        names = [content_key(prompt) for prompt in prompts] if keys is None else list(keys)
        encoded = [self._encode(prompt, index) for index, prompt in enumerate(prompts)]
        # A model that is not told positions would count the padding (or worse), so its prompts are not padded.
        equal = "position_ids" not in self._accepted
        for batch in _batches(encoded, sampling, self.max_tokens_per_batch, equal):
            rows = [
                _Writing(new_row(names[index], sample, sampling), self._room(encoded[index], sampling))
                for index in batch
                for sample in range(sampling.samples)
            ]
            self._write([encoded[index] for index in batch], rows, sampling)
            for at, index in enumerate(batch):
                written = rows[at * sampling.samples : (at + 1) * sampling.samples]
                yield index, [self._sample(row, len(encoded[index]), sampling) for row in written]

    def _encode(self, prompt: Prompt, index: int) -> list[int]:
        ids = prompt_ids(prompt, self.tokenizer)
        if self._window is not None and len(ids) >= self._window:
            raise InputError(
                "a prompt leaves no room for a completion",
                where=f"prompt {index}",
                found=f"{len(ids)} tokens",
                expected=f"fewer than the model's {self._window}",
                remedy="Shorten it or leave it out",
            )
        return ids

    def _room(self, ids: list[int], sampling: Sampling) -> int:
        free = sampling.max_new_tokens if self._window is None else self._window - len(ids)
        return min(sampling.max_new_tokens, free)

    @torch.no_grad()
    def _write(self, prompts: list[list[int]], rows: list[_Writing], sampling: Sampling) -> None:
        """Fills the rows, K for each prompt in order."""
        training = self.model.training
        self.model.eval()
        try:
            state = self._prefill(prompts, sampling.samples)
            active = rows
            while active:
                log_probs = _log_softmax(state.logits)
                tokens = choose(log_probs, [row.row for row in active], sampling)
                taken = log_probs.gather(1, tokens.unsqueeze(1)).squeeze(1).tolist()
                for row, token, log_prob in zip(active, tokens.tolist(), taken, strict=True):
                    if row.finish_reason is None:
                        row.add(token, log_prob)
                        row.finish_reason = self._finish(row, sampling)
                going = [at for at, row in enumerate(active) if row.finish_reason is None]
                if not going:
                    return
                if 2 * len(going) <= len(active):
                    # Copying the cache costs about as much as one step, so rows leave when half have ended.
                    active = [active[at] for at in going]
                    kept = torch.tensor(going, device=tokens.device)
                    state.select(kept)
                    tokens = tokens[kept]
                self._step(state, tokens)
        finally:
            self.model.train(training)

    def _prefill(self, prompts: list[list[int]], samples: int) -> _State:
        """The cache and next-token logits of K rows per prompt."""
        device = next(self.model.parameters()).device
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in prompts], device=device)
        seen = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in prompts], device=device)
        shared = samples > 1 and self._repeatable()
        if samples > 1 and not shared:
            ids, seen = ids.repeat_interleave(samples, dim=0), seen.repeat_interleave(samples, dim=0)
        positions = (seen.cumsum(dim=1) - 1).clamp(min=0)
        logits, cache = self._forward(ids, seen, positions, None)
        if shared:
            cache.batch_repeat_interleave(samples)
            logits, seen = logits.repeat_interleave(samples, dim=0), seen.repeat_interleave(samples, dim=0)
        return _State(cache, logits, seen)

    def _step(self, state: _State, tokens: Tensor) -> None:
        state.seen = torch.cat([state.seen, state.seen.new_ones(len(tokens), 1)], dim=1)
        positions = state.seen.sum(dim=1, keepdim=True) - 1
        state.logits, state.cache = self._forward(tokens.unsqueeze(1), state.seen, positions, state.cache)

    def _forward(self, ids: Tensor, seen: Tensor, positions: Tensor, cache: Any) -> tuple[Tensor, Any]:
        arguments: dict[str, Any] = {"position_ids": positions, "logits_to_keep": 1}
        output = self.model(
            input_ids=ids,
            attention_mask=seen,
            past_key_values=cache,
            use_cache=True,
            **{name: value for name, value in arguments.items() if name in self._accepted},
        )
        return output.logits[:, -1], output.past_key_values

    def _repeatable(self) -> bool:
        """Whether the model keeps keys and values that can be repeated; recurrent states are computed K times."""
        config: Any = self.model.config
        kinds = getattr(config.get_text_config(), "layer_types", None) or ()
        return all("attention" in kind and "linear" not in kind and "mamba" not in kind for kind in kinds) and not (
            getattr(self._base(), "_is_stateful", False)
        )

    def _base(self) -> Any:
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model  # type: ignore[operator]

    def _finish(self, row: _Writing, sampling: Sampling) -> FinishReason | None:
        if row.tokens[-1] in self.end_tokens:
            return "stop"
        if sampling.stop:
            # A stop text of n characters spans at most 4 n byte-level tokens.
            reach = 4 * max(map(len, sampling.stop)) + 4
            tail = self.tokenizer.decode(row.tokens[-reach:], skip_special_tokens=True)
            if any(stop in tail for stop in sampling.stop):
                return "stop"
        return "length" if len(row.tokens) >= row.room else None

    def _sample(self, row: _Writing, prompt_tokens: int, sampling: Sampling) -> Sample:
        text: str = self.tokenizer.decode(row.tokens, skip_special_tokens=True)
        ends = [at for at in (text.find(stop) for stop in sampling.stop) if at >= 0]
        return Sample(
            text=text[: min(ends)] if ends else text,
            token_ids=tuple(row.tokens),
            log_probs=tuple(row.log_probs),
            finish_reason=row.finish_reason or "length",
            usage={"prompt": prompt_tokens, "completion": len(row.tokens)},
        )


@dataclass
class _Writing:
    """One sample while it is written."""

    row: Row
    room: int
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    def add(self, token: int, log_prob: float) -> None:
        self.tokens.append(token)
        self.log_probs.append(log_prob)


@dataclass
class _State:
    """The model's memory of R rows: cache, logits [R, V] of the next token, attention mask [R, T]."""

    cache: Any
    logits: Tensor
    seen: Tensor

    def select(self, rows: Tensor) -> None:
        """Keeps only the given rows."""
        self.cache.batch_select_indices(rows)
        self.seen = self.seen[rows]


def _log_softmax(logits: Tensor) -> Tensor:
    wide = logits if logits.dtype == torch.float64 else logits.float()
    log_probs = wide.log_softmax(dim=-1)
    if log_probs.isnan().any():
        raise RunError("the model's logits are not finite; a sample of them would mean nothing")
    return log_probs


def _batches(encoded: list[list[int]], sampling: Sampling, limit: int, equal: bool) -> Iterator[list[int]]:
    """Indices of prompts in batches of similar (or equal) length, under the token bound; at least one each."""
    batch: list[int] = []
    for index in sorted(range(len(encoded)), key=lambda index: len(encoded[index])):
        rows = (len(batch) + 1) * sampling.samples
        length = len(encoded[index])
        full = rows * (length + sampling.max_new_tokens) > limit
        if batch and (full or (equal and length != len(encoded[batch[0]]))):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    ends: set[int] = set()
    for value in (getattr(getattr(model, "generation_config", None), "eos_token_id", None), tokenizer.eos_token_id):
        if isinstance(value, int):
            ends.add(value)
        elif value is not None:
            ends.update(value)
    return frozenset(ends | turn_ends(tokenizer))


def _accepted_arguments(model: Any) -> frozenset[str]:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return frozenset(inspect.signature(base.forward).parameters)
