"""A small language model, trained from scratch in about a minute: a tokenizer, a Llama of two million parameters."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BOS, EOS, PAD = "<s>", "</s>", "<pad>"


@dataclass(frozen=True)
class ModelSize:
    """How large the model is and how long it learns.

    Args:
        vocabulary: tokens of the byte-level BPE.
        hidden: width, a multiple of 32.
        layers: depth.
        steps: optimizer steps of `rows` rows of `row_tokens` tokens.
    """

    vocabulary: int = 2048
    hidden: int = 192
    layers: int = 4
    steps: int = 320
    rows: int = 16
    row_tokens: int = 128


def train_tokenizer(sentences: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the sentences; it puts BOS in front."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    backend.train_from_iterator(sentences, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, backend.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )


def new_model(size: ModelSize, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A Llama with random weights."""
    torch.manual_seed(seed)
    heads = size.hidden // 32
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size.vocabulary,
            hidden_size=size.hidden,
            intermediate_size=size.hidden * 8 // 3,
            num_hidden_layers=size.layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    sentences: Sequence[str],
    size: ModelSize,
    seed: int,
    on_step: Callable[[int, float], None],
) -> None:
    """Trains the model on the sentences, packed into rows; `on_step` gets the step and its loss in nats per token."""
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.dim() != 2 or "embed" in name]
    # Muon reaches in 320 steps a loss for which AdamW alone would need well over 1,000.
    optimizers = [
        torch.optim.Muon(matrices, lr=2e-2, weight_decay=0.01),
        torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, _schedule(size.steps)) for one in optimizers]
    tokens = _endless_tokens(tokenizer, sentences, seed)
    model.train()
    for step in range(size.steps):
        rows = torch.tensor(list(islice(tokens, size.rows * size.row_tokens))).view(size.rows, size.row_tokens)
        loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        on_step(step + 1, float(loss.detach()))


def _schedule(steps: int) -> Callable[[int], float]:
    """Warm-up over a twentieth of the steps, then a straight line down to a twentieth of the rate."""
    warm_up = max(1, steps // 20)
    return lambda step: min((step + 1) / warm_up, max(0.05, (steps - step) / max(1, steps - warm_up)))


def _endless_tokens(tokenizer: Any, sentences: Sequence[str], seed: int) -> Iterator[int]:
    """The sentences' tokens, each between BOS and EOS, in a new order every time round."""
    encoded = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(list(sentences))["input_ids"]]
    order = random.Random(seed)
    while True:
        order.shuffle(encoded)
        for ids in encoded:
            yield from ids
