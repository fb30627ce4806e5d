"""How much K samples of a prompt cost together, against K separate calls, and what the journal costs.

    python benchmarks/generation.py [--samples 8] [--prompts 8] [--prompt-tokens 512] [--new-tokens 32]

Prints one JSON line per measurement.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from assent.generation import LocalGenerator
from tests.tiny import WORDS, byte_tokenizer


def model_of(hidden: int, layers: int) -> torch.nn.Module:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=288,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=hidden // 8,
        max_position_embeddings=8192,
        eos_token_id=257,
    )
    return AutoModelForCausalLM.from_config(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("samples", 8), ("prompts", 4), ("prompt-tokens", 512), ("new-tokens", 32)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    tokenizer = byte_tokenizer()
    generator = LocalGenerator(model_of(options.hidden, options.layers), tokenizer)
    generator.end_tokens = frozenset()  # every completion has its full length: equal work on both sides
    text = " ".join(WORDS * (options.prompt_tokens // 60 + 1))
    prompts = [f"{index} {text}"[: options.prompt_tokens - 1] for index in range(options.prompts)]
    together, apart = [], []
    for _ in range(options.repeats):
        start = time.perf_counter()
        generator.generate(prompts, samples=options.samples, max_new_tokens=options.new_tokens)
        together.append(time.perf_counter() - start)
        start = time.perf_counter()
        for seed in range(options.samples):
            generator.generate(prompts, samples=1, max_new_tokens=options.new_tokens, seed=seed)
        apart.append(time.perf_counter() - start)
    result = {
        "measure": "k_samples",
        **vars(options),
        "together_s": round(min(together), 3),
        "separate_calls_s": round(min(apart), 3),
        "speedup": round(min(apart) / min(together), 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
