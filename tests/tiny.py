"""Shared makers of tiny things: byte-level tokenizers, random models, preference sets. Nothing is downloaded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from assent.comparison import Candidate, Comparison

BOS, EOS, PAD, TURN, END_OF_TURN = "<s>", "</s>", "<pad>", "<|turn|>", "<|end|>"
"""Every tiny tokenizer has these as special tokens; which of them it uses is the maker's choice."""

VOCABULARY = 288
"""Rows of the embedding of the tiny models; enough for the tiny tokenizers without many merges."""

PLAIN_TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
"""ChatML in shape: turns end with their own stop token, followed by a newline."""

BOS_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}[SYS]{{ message['content'] }}[/SYS]"
    "{% elif message['role'] == 'user' %}[INST] {{ message['content'] | trim }} [/INST]"
    "{% else %} {{ message['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
"""Llama-2 and Mistral in shape: writes BOS and EOS itself, trims, needs no generation prompt."""

THINKING_TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
"""Qwen3 in shape: the last assistant turn is rendered with an empty thinking block that earlier ones lack."""

TOOL_TEMPLATE = (
    "{% if tools %}<|turn|>system\nTools: {{ tools | tojson }}<|end|>\n{% endif %}"
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] or '' }}"
    "{% for call in message.tool_calls or [] %}<call>{{ call.function.name }} "
    "{{ call.function.arguments | tojson }}</call>{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
"""A template that knows tools and tool calls."""

TEMPLATES = {"plain": PLAIN_TEMPLATE, "bos": BOS_TEMPLATE, "thinking": THINKING_TEMPLATE, "tools": TOOL_TEMPLATE}


def byte_tokenizer(
    *,
    bos: bool = True,
    eos: bool = True,
    pad: Literal["own", "eos", "none"] = "own",
    add_bos: bool | None = None,
    template: str | None = None,
    merges: Sequence[tuple[str, str]] = (),
    **options: Any,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer.

    Args:
        bos: whether it has a BOS token; likewise `eos`.
        pad: a pad token of its own, the EOS, or none.
        add_bos: whether `tokenizer(text)` puts BOS in front (default: where it has one).
        template: a name in TEMPLATES, or Jinja text.
        merges: BPE merges of byte symbols (a space is written as Ġ), to make tokens that cross a boundary.
        options: further arguments of the tokenizer's class, such as `model_max_length`.
    """
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate(symbols)}
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, special=True) for text in (BOS, EOS, PAD, TURN, END_OF_TURN)])
    if bos if add_bos is None else add_bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, backend.token_to_id(BOS))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS if bos else None,
        eos_token=EOS if eos else None,
        pad_token={"own": PAD, "eos": EOS, "none": None}[pad],
        chat_template=TEMPLATES.get(template, template) if template else None,
        clean_up_tokenization_spaces=False,
        **options,
    )


def tiny_config(
    family: str = "llama", vocab: int = VOCABULARY, layers: int = 2, hidden: int = 32, **more: Any
) -> Any:
    """The configuration of a tiny model of a family, by its name in transformers (`qwen2`, `gpt_neox`, ...)."""
    settings: dict[str, Any] = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": hidden * 2,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": 256,
        "eos_token_id": 257,
        "pad_token_id": 258,
        "use_cache": False,
    }
    if family in _WITH_HEAD_SIZE:
        settings["head_dim"] = hidden // 4
    if family in ("mixtral", "qwen3_moe"):
        settings |= {"num_experts_per_tok": 2, "moe_intermediate_size": hidden}
        settings["num_local_experts" if family == "mixtral" else "num_experts"] = 4
    if family in ("gemma2", "gemma3_text", "mistral"):
        settings["sliding_window"] = 16
    return AutoConfig.for_model(family, **(settings | more))


_WITH_HEAD_SIZE = {"llama", "mistral", "qwen3", "qwen3_moe", "mixtral", "gemma", "gemma2", "gemma3_text"}


def tiny_lm(
    family: str = "llama",
    vocab: int = VOCABULARY,
    layers: int = 2,
    hidden: int = 32,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    **more: Any,
) -> PreTrainedModel:
    """A tiny random causal language model in training mode; same seed, same weights."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    attention = more.pop("attn_implementation", None)
    config = tiny_config(family, vocab, layers, hidden, **more)
    keywords = {} if attention is None else {"attn_implementation": attention}
    model = AutoModelForCausalLM.from_config(config, **keywords)
    torch.set_rng_state(generator_state)
    # Weights of the usual size 0.02 make every prediction nearly uniform, and tests blind.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model.to(dtype).train()


def save_tiny_lm(
    folder: Path, family: str = "llama", tokenizer: PreTrainedTokenizerFast | None = None, **more: Any
) -> Path:
    """A folder with a tiny model and tokenizer that `from_pretrained` reads; returns the folder."""
    tiny_lm(family, **more).save_pretrained(folder)
    (tokenizer or byte_tokenizer(template="plain")).save_pretrained(folder)
    return folder


WORDS = [
    "red",
    "blue",
    "green",
    "small",
    "large",
    "cat",
    "dog",
    "tree",
    "river",
    "stone",
    "runs",
    "sleeps",
    "sings",
    "near",
    "under",
    "over",
    "the",
    "a",
    "and",
]


def tiny_comparisons(count: int = 8, candidates: int = 2, seed: int = 0) -> list[Comparison]:
    """Comparisons of random words of differing lengths, judged best first."""
    draw = random.Random(seed)

    def words(low: int, high: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(low, high)))

    return [
        Comparison(
            words(2, 9) + "?",
            [Candidate(words(1, 7) + ".", score=float(candidates - column)) for column in range(candidates)],
        )
        for _ in range(count)
    ]
