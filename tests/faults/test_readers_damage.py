"""Damaged data never ends in a traceback or a silent drop.

Every kind of damage is done to rows of every format it can be done to, and read in both ways: as an error, which
must name the file and the line, and with quarantine, where the counts must add up, the side file must name the same
line with the reason, and every good row must be read as if nothing had happened.
"""

import bz2
import copy
import gzip
import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from assent.comparison import Comparison
from assent.errors import InputError
from assent.readers import FORMATS, read
from assent.readers import json_rows as json_rows_module

ROWS = 6
TALK = {
    "prompt": [{"role": "user", "content": "Name a colour."}],
    "chosen": [{"role": "assistant", "content": "Blue."}],
    "rejected": [{"role": "assistant", "content": "Seven."}],
}
EXAMPLES: dict[str, dict[str, Any]] = {f.name: dict(f.example) for f in FORMATS if f.name != "canonical_table"} | {
    "conversational": TALK
}
NAMES = ("model", "generator_1", "generator_2", "persona", "source", "role")
JUDGEMENTS = ("score", "scores", "preference", "confidence", "score_chosen", "helpfulness", "overall_score")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Every place in a row, the row itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [((*path, key), item) for key, item in items]
    return found + [inner for place, item in found for inner in leaves(item, place)]


def texts(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [path for path, item in leaves(row) if isinstance(item, str) and path[-1] not in (*NAMES, "Rating")]


def numbers(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        path
        for path, item in leaves(row)
        if isinstance(item, float | int) and not isinstance(item, bool) and set(path) & set(JUDGEMENTS)
    ]


def lists(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [path for path, item in leaves(row) if isinstance(item, list)]


def lists_of_no_talk(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Where messages may stand, text may stand."""
    return [path for path, item in leaves(row) if isinstance(item, list) and not _message(item[0])]


def _message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value


def turns(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [path for path, item in leaves(row) if isinstance(item, dict) and "role" in item]


def put(row: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    row = copy.deepcopy(row)
    place: Any = row
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return row


Places = Callable[[dict[str, Any]], list[tuple[Any, ...]]]
VALUES: dict[str, tuple[Places, Any]] = {
    "a number for text": (texts, 7),
    "null for text": (texts, None),
    "true for text": (texts, True),
    "an object for text": (texts, {"a": 1}),
    "a list of numbers for text": (texts, [1, 2]),
    "an empty list for text": (texts, []),
    "a list of texts for text": (texts, ["a", "b"]),
    "a message of an unknown role for text": (texts, [{"role": "robot", "content": "x"}]),
    "a lone surrogate": (texts, "cut \ud83d off"),
    "NaN for a score": (numbers, float("nan")),
    "infinity for a score": (numbers, float("inf")),
    "minus infinity for a score": (numbers, float("-inf")),
    "an integer beyond floats for a score": (numbers, 10**400),
    "text for a score": (numbers, "good"),
    "true for a score": (numbers, True),
    "an object for a score": (numbers, {"value": 1}),
    "a list for a score": (numbers, [1.0]),
    "an empty list": (lists, []),
    "text for a list": (lists_of_no_talk, ""),
    "a number for a list": (lists, 3),
    "a list of null for a list": (lists, [None]),
    "a list of lists for a list": (lists, [[1]]),
    "a null message": (turns, None),
    "a text for a message": (turns, "hello"),
    "a message without a role": (turns, {"content": "hello"}),
    "a message without content": (turns, {"role": "assistant"}),
    "a message of an unknown role": (turns, {"role": "robot", "content": "hello"}),
    "a message whose role is a number": (turns, {"role": 3, "content": "hello"}),
    "a message whose content is a number": (turns, {"role": "assistant", "content": 5}),
    "a message whose content is null": (turns, {"role": "assistant", "content": None}),
    "a message with a part without a type": (turns, {"role": "assistant", "content": [{"text": "x"}]}),
    "a message with a text part without text": (turns, {"role": "assistant", "content": [{"type": "text"}]}),
    "a message of half a character": (turns, {"role": "assistant", "content": "\udc00"}),
}
ROW_VALUES: dict[str, Any] = {
    "a row that is a list": ["prompt", "chosen"],
    "a row that is a text": "prompt",
    "a row that is null": None,
    "a row that is a number": 12,
    "a row that is true": True,
    "an empty object": {},
    "a row of unknown columns": {"foo": 1, "bar": "x"},
}
LINES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "half a line": lambda line, rng: line[: rng.randrange(1, len(line) - 1)],
    "the second half of a line": lambda line, rng: line[rng.randrange(1, len(line) - 1) :],
    "text after the row": lambda line, rng: line + b" and more",
    "two rows on a line": lambda line, rng: line + line,
    "a comma at the end": lambda line, rng: line[:-1] + b",}",
    "single quotes": lambda line, rng: b"{'prompt': 'a', 'chosen': 'b', 'rejected': 'c'}",
    "no quotes around a name": lambda line, rng: line.replace(b'"', b"", 2),
    "a zero byte": lambda line, rng: line[: (k := line.index(b'"') + 1)] + b"\0" + line[k:],
    "a byte that is not UTF-8": lambda line, rng: line[: (k := line.index(b'"') + 1)] + b"\xe9" + line[k:],
    "a control character": lambda line, rng: line[: (k := line.index(b'"') + 1)] + b"\x1b[2J" + line[k:],
    "a tab inside text": lambda line, rng: line[: (k := line.index(b'"') + 1)] + b"\t" + line[k:],
    "a broken escape": lambda line, rng: line[: (k := line.index(b'"') + 1)] + b"\\x" + line[k:],
    "a key that stands twice": lambda line, rng: line[:-1] + b"," + line[1:],
    "nesting without end": lambda line, rng: line[:-1] + b',"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of 5000 digits": lambda line, rng: line[:-1] + b',"long":' + b"9" * 5000 + b"}",
    "a line too long": lambda line, rng: line[:-1] + b',"pad":"' + b"x" * (1 << 20) + b'"}',
    "Python for JSON": lambda line, rng: b"{'label': True}",
    "HTML": lambda line, rng: b"<html><body>404 Not Found</body></html>",
    "a merge conflict": lambda line, rng: b"<<<<<<< HEAD",
    "an old line end inside": lambda line, rng: line + b"\r" + line,
}
WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "an empty file": lambda content: b"",
    "only blank lines": lambda content: b"\n  \n\r\n\n",
    "UTF-16 with a mark": lambda content: content.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda content: content.decode().encode("utf-16-le"),
    "UTF-16 the other way": lambda content: content.decode().encode("utf-16-be"),
    "UTF-32": lambda content: content.decode().encode("utf-32"),
    "a zip archive": lambda content: zipped(content),
    "a pickle": lambda content: pickle.dumps({"rows": [1]}, protocol=4),
    "an SQLite database": lambda content: b"SQLite format 3\0" + bytes(100),
    "xz": lambda content: b"\xfd7zXZ\x00" + bytes(50),
    "a Parquet file that lost its end": lambda content: b"PAR1" + bytes(100),
    "gzip of nothing": lambda content: gzip.compress(b""),
    "a page of HTML": lambda content: b"<!DOCTYPE html>\n<html>\n<body>404</body>\n</html>\n",
}
HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "a mark and CRLF": lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"),
    "blank lines between": lambda content: content.replace(b"\n", b"\n\n  \n"),
    "no line end at the end": lambda content: content.rstrip(b"\n"),
    "gzip": gzip.compress,
    "gzip in two parts": lambda content: gzip.compress(content[:50]) + gzip.compress(content[50:]),
    "bz2": bz2.compress,
    "one array": lambda content: b"[" + b",\n".join(content.splitlines()) + b"]",
    "an array, indented": lambda content: json.dumps(
        [json.loads(line) for line in content.splitlines()], indent=2
    ).encode(),
    "objects, indented": lambda content: b"\n".join(
        json.dumps(json.loads(line), indent=2).encode() for line in content.splitlines()
    ),
    "an object around an array": lambda content: b'{\n"data": [' + b",\n".join(content.splitlines()) + b"]}",
    "escaped characters": lambda content: b"\n".join(
        json.dumps(json.loads(line), ensure_ascii=True).encode() for line in content.splitlines()
    ),
}  # fmt: skip


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("rows.jsonl", content)
    return stream.getvalue()


def rows_of(name: str) -> list[dict[str, Any]]:
    """Rows that differ, so that one taken for another is noticed; an odd character keeps encodings honest."""
    return [number(EXAMPLES[name], index) for index in range(ROWS)]


def number(value: Any, index: int) -> Any:
    if isinstance(value, str):
        return value + f" \u2028é{index}" if value.endswith(".") else value
    if isinstance(value, dict):
        return {key: number(item, index) for key, item in value.items()}
    return [number(item, index) for item in value] if isinstance(value, list) else value


def encoded(rows: list[Any]) -> list[bytes]:
    # Surrogates stand escaped, as they do in real files; everything else as it is.
    return [json.dumps(row, ensure_ascii="\\ud" in json.dumps(row)).encode() for row in rows]


def content_of(lines: list[bytes]) -> bytes:
    return b"\n".join(lines) + b"\n"


def check_bad_row(path: Path, lines: list[bytes], good: list[Comparison], bad: int) -> str:
    """Both ways of reading a file with one bad row; returns the message."""
    path.write_bytes(content_of(lines))
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{bad + 1}: "), message
    assert "quarantine" in message or "." in message
    aside = path.with_suffix(".aside")
    result = read(path, on_invalid="quarantine", quarantine=aside)
    assert result.rows == ROWS == len(result.comparisons) + result.quarantined
    assert result.quarantined == 1
    assert result.quarantine == aside
    assert result.comparisons == [*good[:bad], *good[bad + 1 :]]
    assert result.origins == [f"{path}:{line + 1}" for line in range(ROWS) if line != bad]
    entries = [json.loads(line) for line in aside.read_text().splitlines()]
    assert [(entry["file"], entry["line"]) for entry in entries] == [(str(path), bad + 1)]
    assert entries[0]["reason"]
    return message


def good_comparisons(path: Path, name: str) -> list[Comparison]:
    path.write_bytes(content_of(encoded(rows_of(name))))
    result = read(path)
    assert result.rows == len(result.comparisons) == ROWS
    return result.comparisons


def test_there_are_kinds_enough() -> None:
    assert len(VALUES) + len(ROW_VALUES) + len(LINES) + len(WHOLE) >= 40


BESIDE = {
    "personas": ("statement",),
    "community_alignment": ("conversation_id", "annotator_age", "annotator_id", "annotator_country", "assigned_lang",
                            "first_turn_feedback", "first_turn_preferred_response"),
    "arena": ("judge",),
    "shp": ("domain",),
}  # fmt: skip
"""Columns that stand beside the verdict: kept as they are, or null where nothing is known."""


@pytest.mark.parametrize("kind", VALUES)
def test_a_wrong_value_is_an_error_with_its_line_and_field(kind: str, tmp_path: Path) -> None:
    places, value = VALUES[kind]
    done = 0
    for name in EXAMPLES:
        rows = rows_of(name)
        for path in places(rows[0]):
            if kept_as_it_is(name, path):
                continue
            bad = done % ROWS
            good = good_comparisons(tmp_path / f"{name}.jsonl", name)
            damaged = [*rows[:bad], put(rows[bad], path, value), *rows[bad + 1 :]]
            message = check_bad_row(tmp_path / f"{name}.jsonl", encoded(damaged), good, bad)
            assert "field `" in message, (name, path, message)
            done += 1
    assert done > 0


def kept_as_it_is(name: str, path: tuple[Any, ...]) -> bool:
    """Columns that a format does not use, or that may be null, hold whatever they hold."""
    return path[0] in ("source", "dataset", "annotator") or path[0] in BESIDE.get(name, ())


@pytest.mark.parametrize("kind", ROW_VALUES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_row_that_is_no_row_is_an_error_with_its_line(name: str, kind: str, tmp_path: Path) -> None:
    good = good_comparisons(tmp_path / "rows.jsonl", name)
    rows: list[Any] = rows_of(name)
    rows[3] = ROW_VALUES[kind]
    check_bad_row(tmp_path / "rows.jsonl", encoded(rows), good, 3)


@pytest.mark.parametrize("kind", LINES)
@given(name=st.sampled_from(sorted(EXAMPLES)), bad=st.integers(0, ROWS - 1), seed=st.integers(0, 99))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_broken_line_is_one_bad_row(
    kind: str, name: str, bad: int, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows_module, "LONGEST_LINE", 1 << 19)
    good = good_comparisons(tmp_path / "rows.jsonl", name)
    lines = encoded(rows_of(name))
    lines[bad] = LINES[kind](lines[bad], random.Random(seed))
    assume(lines[bad].strip() not in (b"", b"{", b"["))
    check_bad_row(tmp_path / "rows.jsonl", lines, good, bad)


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("policy", ["error", "quarantine"])
def test_a_file_that_is_no_data_is_an_error_that_names_it(kind: str, policy: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(WHOLE[kind](content_of(encoded(rows_of("preference")))))
    with pytest.raises(InputError) as caught:
        read(path, on_invalid=policy, quarantine=tmp_path / "aside")
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("kind", HARMLESS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_no_damage_changes_nothing(kind: str, name: str, tmp_path: Path) -> None:
    good = good_comparisons(tmp_path / "rows.jsonl", name)
    (tmp_path / "other.jsonl").write_bytes(HARMLESS[kind](content_of(encoded(rows_of(name)))))
    assert read(tmp_path / "other.jsonl").comparisons == good


@given(data=st.data(), name=st.sampled_from(sorted(EXAMPLES)))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_anywhere_are_accounted_for(data: st.DataObject, name: str, tmp_path: Path) -> None:
    content = bytearray(content_of(encoded(rows_of(name))))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 30)))
        content[start:end] = data.draw(
            st.binary(max_size=8) | st.sampled_from([b"{", b"]", b'"', b"\n", b"null", b","])
        )
    packed = data.draw(st.booleans())
    path = tmp_path / "rows.jsonl"
    path.write_bytes(gzip.compress(bytes(content)) if packed else bytes(content))
    accounted(path, tmp_path / "aside")


@given(cut=st.integers(1, 200), flip=st.integers(0, 200), name=st.sampled_from(sorted(EXAMPLES)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_compression_is_accounted_for(cut: int, flip: int, name: str, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(content_of(encoded(rows_of(name)))))
    packed[min(flip, len(packed) - 1)] ^= 0x55
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(bytes(packed[:-cut]) if cut < len(packed) else bytes(packed))
    accounted(path, tmp_path / "aside")


def accounted(path: Path, aside: Path) -> None:
    """Whatever the file holds: a clear error, or every row read or set aside."""
    aside.unlink(missing_ok=True)
    try:
        result = read(path, on_invalid="quarantine", quarantine=aside)
    except InputError as error:
        message = str(error)
    else:
        message = None
    if message is not None:
        assert message.startswith(str(path))
        return
    entries = aside.read_text().splitlines() if aside.exists() else []
    assert result.rows == len(result.comparisons) + result.quarantined
    assert result.quarantined == len(entries)
    assert (result.quarantine is None) == (not entries)


def test_a_gzip_file_cut_short_keeps_the_rows_before_the_cut(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [{"prompt": str(rng.random()), "chosen": str(rng.random()), "rejected": "x"} for _ in range(5000)]
    path = tmp_path / "rows.jsonl.gz"
    packed = gzip.compress(content_of(encoded(rows)))
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"rows\.jsonl\.gz:\d+: the compressed file is cut short or damaged"):
        read(path)
    result = read(path, on_invalid="quarantine", quarantine=tmp_path / "aside")
    assert result.quarantined == 1
    assert 1000 < len(result.comparisons) < 4000
    assert [c.prompt for c in result.comparisons] == [row["prompt"] for row in rows[: len(result.comparisons)]]


def test_a_line_of_50_megabytes_is_one_bad_row(tmp_path: Path) -> None:
    good = good_comparisons(tmp_path / "rows.jsonl", "preference")
    lines = encoded(rows_of("preference"))
    lines[2] = b'{"prompt": "' + b"x" * 50_000_000 + b'"}'
    message = check_bad_row(tmp_path / "rows.jsonl", lines, good, 2)
    assert "50 MB" in message
    assert (tmp_path / "rows.aside").stat().st_size < 10_000


def test_an_array_that_breaks_keeps_the_rows_before(tmp_path: Path) -> None:
    lines = encoded(rows_of("preference"))
    path = tmp_path / "rows.json"
    path.write_bytes(b"[\n" + b",\n".join(lines)[:-20])
    with pytest.raises(InputError, match=rf"rows\.json:{ROWS + 1}: broken JSON"):
        read(path)
    result = read(path, on_invalid="quarantine", quarantine=tmp_path / "aside")
    assert (result.rows, len(result.comparisons), result.quarantined) == (ROWS, ROWS - 1, 1)


def test_the_end_of_an_array_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"[\n" + b",\n".join(encoded(rows_of("preference"))))
    with pytest.raises(InputError, match="the array has no end"):
        read(path)
