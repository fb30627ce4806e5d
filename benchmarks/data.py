"""The benchmark's data: public preference sets as rows of text, a tokenizer trained on them, and token ids."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 8192
END, PAD = "<|end|>", "<|pad|>"

Row = dict[str, Any]
"""`prompt` and `completions`, best first."""


def data_folder() -> Path:
    """The folder of public data sets that ASSENT_DATA names; a sentence of help where it is not set."""
    name = os.environ.get("ASSENT_DATA")
    if not name or not Path(name).is_dir():
        raise SystemExit("the benchmarks read public preference data: set ASSENT_DATA to the folder that holds it")
    return Path(name)


def read(name: str) -> Iterator[Row]:
    """The rows of one file of the data folder."""
    with gzip.open(data_folder() / name, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def hh_pairs() -> list[Row]:
    """Anthropic HH-RLHF harmless-base test: dialogues that share all but the last answer."""
    rows = []
    for row in read("hh_harmless_test.jsonl.gz"):
        prompt, _, chosen = row["chosen"].rpartition("\n\nAssistant:")
        other, _, rejected = row["rejected"].rpartition("\n\nAssistant:")
        if prompt == other and chosen.strip() and rejected.strip() and chosen != rejected:
            rows.append({"prompt": prompt + "\n\nAssistant:", "completions": [chosen, rejected]})
    return rows


def tldr_pairs() -> list[Row]:
    """TL;DR posts: long prompts, short answers (the reference summary against the title)."""
    return [
        {"prompt": row["instruction"] + "\n\nTL;DR:", "completions": [" " + row["gold_response"], " " + row["title"]]}
        for row in read("tldr_posts.jsonl.gz")
        if row["gold_response"].strip() and row["title"].strip() and row["gold_response"] != row["title"]
    ]


def alpaca_lists() -> list[Row]:
    """AlpacaEval: eight systems' answers to one instruction, by the judge's preference."""
    rows = []
    for row in read("alpaca_eval_lists.jsonl.gz"):
        answers = [c for c in row["candidates"] if c.get("preference") is not None and c["completion"].strip()]
        answers.sort(key=lambda answer: -answer["preference"])
        if len(answers) == 8:
            prompt = row["prompt"] + "\n\nAnswer:"
            rows.append({"prompt": prompt, "completions": [" " + answer["completion"] for answer in answers]})
    return rows


def texts(rows: Sequence[Row]) -> Iterator[str]:
    """Every text of some rows, for training the tokenizer."""
    for row in rows:
        yield row["prompt"]
        yield from row["completions"]


def trained_tokenizer(rows: Sequence[Row], vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the rows; deterministic."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        texts(rows),
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[END, PAD],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, pad_token=PAD)


def token_rows(rows: Sequence[Row], tokenizer: PreTrainedTokenizerFast, longest: int) -> list[Row]:
    """The rows with `prompt_ids` and `completion_ids` (end token included), those over `longest` tokens left out.

    A row's own `prompt_tokens` and `completion_tokens` cut it to those lengths.
    """
    found = []
    for row in rows:
        prompt = tokenizer(row["prompt"])["input_ids"][: row.get("prompt_tokens")]
        room = row["completion_tokens"] - 1 if "completion_tokens" in row else None
        completions = [[*tokenizer(text)["input_ids"][:room], tokenizer.eos_token_id] for text in row["completions"]]
        if len(prompt) + max(map(len, completions)) <= longest:
            found.append({**row, "prompt_ids": prompt, "completion_ids": completions})
    return found
