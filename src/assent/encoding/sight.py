"""What the model sees: the tokens of a few records, and which of them a loss reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from assent.encoding.encoded import UNSCORED, EncodedCandidate, EncodedComparison


def describe(candidate: EncodedCandidate, tokenizer: Any) -> list[tuple[str, bool]]:
    """(text of the token, whether it is scored), for every id of a candidate, special tokens by their names."""
    return [
        (tokenizer.decode([token], skip_special_tokens=False), segment != UNSCORED)
        for token, segment in zip(candidate.ids, candidate.segments, strict=True)
    ]


def what_the_model_sees(
    encoded: Sequence[EncodedComparison], tokenizer: Any, records: int = 3
) -> list[dict[str, Any]]:
    """JSON-like data for reports: id, and for each candidate its role, score and described tokens."""
    return [
        {
            "id": comparison.id,
            "candidates": [
                {"role": role, "score": None if score != score else score, "tokens": describe(candidate, tokenizer)}
                for candidate, role, score in zip(
                    comparison.candidates, comparison.roles, comparison.scores, strict=True
                )
            ],
        }
        for comparison in encoded[:records]
    ]


def painted(candidate: EncodedCandidate, tokenizer: Any) -> Text:
    """A candidate for the terminal: scored tokens bold green, the others dim; control characters escaped."""
    text = Text()
    for token, scored in describe(candidate, tokenizer):
        safe = "".join(ch if ch.isprintable() or ch == "\n" else repr(ch)[1:-1] for ch in token)
        text.append(safe, style="bold green" if scored else "dim")
    return text
