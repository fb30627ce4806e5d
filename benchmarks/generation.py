"""How much K samples of a prompt cost together, against K separate calls, and what the journal costs.

    PYTHONPATH=. python benchmarks/generation.py samples [--samples 8] [--prompts 4] [--prompt-tokens 512]
    PYTHONPATH=. python benchmarks/generation.py journal [--requests 3000]

Prints one JSON line per measurement.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from assent.generation import Endpoint, EndpointClient, LocalGenerator, Request
from assent.work.journal import Journal
from tests.fault_proxy import FaultProxy
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


def k_samples(options: argparse.Namespace) -> dict[str, Any]:
    """Wall time of K samples in one call and in K calls."""
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
    return {
        "together_s": round(min(together), 3),
        "separate_calls_s": round(min(apart), 3),
        "speedup": round(min(apart) / min(together), 2),
    }


def journal_cost(options: argparse.Namespace) -> dict[str, Any]:
    """Wall time of a stub run (20 ms an answer, 64 at once) with and without the journal, alternating."""
    requests = [
        Request([{"role": "user", "content": f"question {index}"}], max_tokens=16)
        for index in range(options.requests)
    ]
    plain: list[tuple[float, float]] = []
    kept: list[tuple[float, float]] = []
    for _ in range(options.repeats):
        for times, journalled in ((plain, False), (kept, True)):
            with FaultProxy(delay=0.02) as proxy, tempfile.TemporaryDirectory() as folder:
                journal = Journal(Path(folder) / "journal") if journalled else None
                endpoint = Endpoint(proxy.url, "stub", concurrency=64)
                wall, processor = time.perf_counter(), time.process_time()
                assert len(dict(EndpointClient(endpoint, journal).answers(requests))) == options.requests
                times.append((time.perf_counter() - wall, time.process_time() - processor))
                if journal is not None:
                    journal.close()
    found: dict[str, Any] = {}
    for at, name in enumerate(("wall", "processor")):
        without, with_journal = (statistics.median(row[at] for row in rows) for rows in (plain, kept))
        found[f"without_{name}_s"], found[f"with_{name}_s"] = round(without, 3), round(with_journal, 3)
        found[f"journal_share_{name}"] = round((with_journal - without) / with_journal, 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure", choices=["samples", "journal"])
    for name, value in (
        ("samples", 8),
        ("prompts", 4),
        ("prompt-tokens", 512),
        ("new-tokens", 32),
        ("hidden", 256),
        ("layers", 4),
        ("repeats", 3),
        ("requests", 3000),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    measure = k_samples if options.measure == "samples" else journal_cost
    print(json.dumps({**vars(options), **measure(options)}))


if __name__ == "__main__":
    main()
