"""Writes comparisons: Assent's own form as JSONL or Parquet, and the rows that TRL reads.

Files are written under a temporary name and renamed when complete, so that a killed run leaves no half file that
looks whole.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from assent.comparison import Candidate, Comparison, Media, Message, Prompt, TokenStreams, to_dict
from assent.errors import InputError
from assent.readers.formats.canonical import to_table
from assent.readers.reading import read

PARQUET_ROWS = 4096
Pairs = Literal["best_worst", "all", "adjacent"]


def write_jsonl(comparisons: Iterable[Comparison], path: Path | str) -> int:
    """The number of comparisons written in canonical form, one a line; compressed if the name ends in .gz."""
    return write_rows((to_dict(comparison) for comparison in comparisons), path)


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path | str) -> int:
    """The number of rows written as JSONL."""
    count = 0
    with _replacing(Path(path)) as partial, _opened(partial, str(path).endswith(".gz")) as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n")
            count += 1
    return count


def write_parquet(comparisons: Iterable[Comparison], path: Path | str) -> int:
    """The number of comparisons written in the canonical table."""
    import pyarrow
    import pyarrow.parquet

    rows, count = iter(comparisons), 0
    with (
        _replacing(Path(path)) as partial,
        pyarrow.parquet.ParquetWriter(partial, table_schema(), compression="zstd") as writer,
    ):
        while batch := [to_table(comparison) for comparison in itertools.islice(rows, PARQUET_ROWS)]:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=table_schema()))
            count += len(batch)
    return count


def read_parquet(path: Path | str) -> list[Comparison]:
    """The comparisons of a Parquet file of any known format."""
    return read(path).comparisons


def table_schema() -> Any:
    """The Arrow schema of the canonical table."""
    import pyarrow

    text, number = pyarrow.string(), pyarrow.float64()
    score = pyarrow.struct([("dimension", text), ("score", number)])
    candidate = pyarrow.struct(
        [
            ("completion_json", text),
            ("prompt_json", text),
            ("score", number),
            ("label", pyarrow.bool_()),
            ("scores", pyarrow.list_(score)),
            ("role", text),
            ("source", text),
        ]
    )
    columns = [
        ("prompt_json", text),
        ("candidates", pyarrow.list_(candidate)),
        ("annotator", text),
        ("group", text),
        ("context", text),
        ("confidence", number),
        ("weight", number),
        ("meta_json", text),
    ]
    return pyarrow.schema(columns, metadata={"assent": "canonical/1"})


def to_trl(comparison: Comparison, pairs: Pairs = "best_worst") -> list[dict[str, Any]]:
    """The rows prompt, chosen, rejected of a comparison's pairs; none where nothing is preferred to anything.

    Raises:
        InputError: the two answers have different prompts, or are no text, which that form cannot say.
    """
    return [_pair_row(comparison, chosen, rejected) for chosen, rejected in _pairs(comparison, pairs)]


def to_trl_unpaired(comparison: Comparison) -> list[dict[str, Any]]:
    """The rows prompt, completion, label: labelled candidates, else the best as true and the worst as false.

    Raises:
        InputError: an answer is no text.
    """
    labelled = [(candidate, candidate.label) for candidate in comparison.answers if candidate.label is not None]
    if not labelled:
        labelled = [
            (candidate, place == 0)
            for pair in _pairs(comparison, "best_worst")
            for place, candidate in enumerate(pair)
        ]
    rows = []
    for candidate, label in labelled:
        prompt, (completion,) = _alike(comparison.prompt_of(candidate), [candidate])
        rows.append({"prompt": prompt, "completion": completion, "label": label})
    return rows


def _pairs(comparison: Comparison, pairs: Pairs) -> list[tuple[Candidate, Candidate]]:
    judged = [candidate for candidate in comparison.ordered() if candidate.judged]
    if pairs == "best_worst":
        chosen = [(judged[0], judged[-1])] if judged else []
    elif pairs == "adjacent":
        chosen = list(itertools.pairwise(judged))
    else:
        chosen = list(itertools.combinations(judged, 2))
    return [(one, other) for one, other in chosen if one.score != other.score]


def _pair_row(comparison: Comparison, chosen: Candidate, rejected: Candidate) -> dict[str, Any]:
    prompt = comparison.prompt_of(chosen)
    if comparison.prompt_of(rejected) != prompt:
        raise InputError(
            "the two answers have different prompts, and TRL's rows have one",
            field="candidates.prompt",
            remedy="Keep the canonical form, or convert to trl-unpaired, where each answer has its own prompt",
        )
    prompt, (better, worse) = _alike(prompt, [chosen, rejected])
    return {"prompt": prompt, "chosen": better, "rejected": worse}


def _alike(prompt: Prompt, candidates: list[Candidate]) -> tuple[Any, list[Any]]:
    """Prompt and completions all as text, or all as messages if one of them is."""
    completions = [candidate.completion for candidate in candidates]
    if any(isinstance(completion, Media | TokenStreams) for completion in completions):
        raise InputError(
            "an answer that is no text has no place in TRL's rows",
            field="candidates.completion",
            remedy="Keep the canonical form",
        )
    if all(isinstance(value, str) for value in (prompt, *completions)):
        return prompt, completions
    return _messages(prompt, "user"), [_messages(completion, "assistant") for completion in completions]


def _messages(value: Any, role: str) -> list[Message]:
    return [{"role": role, "content": value}] if isinstance(value, str) else [dict(message) for message in value]


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside the path that takes its place when the block ends well."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise InputError("the file cannot be written", where=str(path), found=error.strerror or str(error)) from None
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, compressed: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as stream:
        if not compressed:
            yield stream
            return
        # No name and no time in the header: equal data give equal files.
        with gzip.GzipFile(filename="", fileobj=stream, mode="wb", mtime=0) as packed:
            yield packed  # type: ignore[misc]
