"""Questions of several turns: each later turn is asked after the answers that the model gave itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from assent.comparison import Comparison, Prompt
from assent.generation.decoding import Decoder, served
from assent.generation.prompt_files import PromptRow
from assent.generation.prompts import messages_of
from assent.generation.sampling import Sampling


def answer_turns(
    decoder: Decoder, rows: Sequence[PromptRow], sampling: Sampling
) -> Iterator[tuple[int, int, Comparison]]:
    """(row, turn from 1, its answers as a comparison), turn by turn, in any order within one.

    The answer that goes on into the next turn is the only one, or the one that the decoder chose. A turn without an
    answer ends its dialogue.
    """
    open_rows: list[tuple[int, Prompt]] = [(index, row.prompt) for index, row in enumerate(rows)]
    turn = 0
    while open_rows:
        turn += 1
        going: list[tuple[int, Prompt]] = []
        for at, comparison in decoder.decode([prompt for _, prompt in open_rows], sampling):
            index, prompt = open_rows[at]
            yield index, turn, _labelled(comparison, rows[index], turn)
            if "failed" not in comparison.meta and len(rows[index].later) >= turn:
                answer = {"role": "assistant", "content": served(comparison).completion}
                asked = {"role": "user", "content": rows[index].later[turn - 1]}
                going.append((index, [*messages_of(prompt), answer, asked]))
        open_rows = sorted(going, key=lambda one: one[0])


def expected_prompts(rows: Sequence[PromptRow], sampling: Sampling) -> list[Prompt]:
    """The prompts of all turns with answers of full length in place of those to come; for estimates of cost."""
    prompts: list[Prompt] = []
    for row in rows:
        prompt = row.prompt
        prompts.append(prompt)
        for text in row.later:
            answer = {"role": "assistant", "content": "x" * sampling.max_new_tokens}
            prompt = [*messages_of(prompt), answer, {"role": "user", "content": text}]
            prompts.append(prompt)
    return prompts


def _labelled(comparison: Comparison, row: PromptRow, turn: int) -> Comparison:
    notes: dict[str, Any] = {"turn": turn} if row.later else {}
    if len(row.references) >= turn:
        notes |= {"reference": row.references[turn - 1]}
    return replace(comparison, group=row.category or comparison.group, meta={**comparison.meta, **notes})
