"""Where rows come from, and what is said when nothing can come from there."""

import bz2
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from assent.comparison import Candidate, Comparison, Media, TokenStreams
from assent.errors import InputError
from assent.readers import (
    read,
    read_parquet,
    to_trl,
    to_trl_unpaired,
    write_jsonl,
    write_parquet,
    write_rows,
)

ROWS = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(5)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def prompts(source: Any, **options: Any) -> list[Any]:
    return [comparison.prompt for comparison in read(source, **options).comparisons]


ALL = [row["prompt"] for row in ROWS]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.bz2", "a.jsonl.zst", "no_suffix", "wrong.gz"])
def test_compression_is_found_by_content(tmp_path: Path, name: str) -> None:
    packed = {".gz": gzip.compress(LINES), ".bz2": bz2.compress(LINES)}.get(Path(name).suffix, LINES)
    if name.endswith(".zst"):
        packed = pyarrow.compress(LINES, "zstd", asbytes=True)
    if name == "wrong.gz":
        packed = LINES
    (tmp_path / name).write_bytes(packed)
    assert prompts(tmp_path / name) == ALL
    assert prompts(str(tmp_path / name), limit=2) == ALL[:2]


def test_parquet_and_csv_and_tsv(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert prompts(tmp_path / "a.parquet") == ALL
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert prompts(tmp_path / "a.parquet.gz") == ALL
    assert read(tmp_path / "a.parquet").origins[1] == f"{tmp_path / 'a.parquet'}:row 2"
    for name, mark in (("a.csv", ","), ("a.tsv", "\t")):
        lines = [mark.join(("prompt", "completion", "label"))]
        lines += [mark.join(('"two\nlines"', "42", "true")), "", mark.join(("q", "no", "0"))]
        (tmp_path / name).write_text("\ufeff" + "\r\n".join(lines), newline="")
        found = read(tmp_path / name)
        assert [(c.prompt, c.candidates[0].completion, c.candidates[0].label) for c in found.comparisons] == [
            ("two\nlines", "42", True),
            ("q", "no", False),
        ]
        assert found.origins == [f"{tmp_path / name}:2", f"{tmp_path / name}:5"]


def test_a_csv_row_with_cells_missing_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,chosen,rejected\na,b,c\na,b\na,b,c\n")
    with pytest.raises(InputError, match=r"a\.csv:3: as many cells as columns .*2 cells.*3 columns"):
        read(tmp_path / "a.csv")
    result = read(tmp_path / "a.csv", on_invalid="quarantine")
    assert (result.rows, len(result.comparisons), result.quarantined) == (3, 2, 1)


def test_data_sets_in_memory_and_on_disk(tmp_path: Path) -> None:
    data_set = datasets.Dataset.from_list(ROWS)
    assert prompts(data_set) == ALL
    data_set.save_to_disk(str(tmp_path / "one"))
    assert prompts(tmp_path / "one") == ALL
    both = datasets.DatasetDict({"train": data_set, "test": data_set.select([0])})
    assert prompts(both, split="test") == ALL[:1]
    both.save_to_disk(str(tmp_path / "both"))
    assert prompts(tmp_path / "both", split="train") == ALL
    with pytest.raises(InputError, match=r"no such split .*field `split`.*train or test"):
        read(tmp_path / "both", split="dev")


def test_nulls_that_a_table_adds_are_no_keys(tmp_path: Path) -> None:
    rows = [{"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": c}], "rejected": [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}]}
        for c in "xy"]  # fmt: skip
    found = read(datasets.Dataset.from_list(rows)).comparisons[0]
    assert found.candidates[0].completion == [{"role": "assistant", "content": "x"}]
    assert found.candidates[1].completion[0]["tool_calls"] == [{"name": "f"}]


def test_a_folder_reads_its_files_in_order_and_splits_by_name(tmp_path: Path) -> None:
    write_rows(ROWS[:2], tmp_path / "train-0.jsonl")
    write_rows(ROWS[2:4], tmp_path / "train-1.jsonl.gz")
    write_rows(ROWS[4:], tmp_path / "test" / "rows.json")
    (tmp_path / "README.md").write_text("# about")
    (tmp_path / "old.quarantine.jsonl").write_text("not rows")
    assert prompts(tmp_path, split="train") == ALL[:4]
    assert prompts(tmp_path, split="test") == ALL[4:]
    assert sorted(prompts(tmp_path)) == ALL
    with pytest.raises(InputError, match=r"no file of the folder .*train-0\.jsonl"):
        read(tmp_path, split="dev")


def test_a_folder_may_hold_several_formats_and_a_bad_file(tmp_path: Path) -> None:
    write_rows(ROWS, tmp_path / "a.jsonl")
    write_rows([{"prompt": "p", "completion": "c", "label": True}], tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match=r"c\.jsonl: the file is empty"):
        read(tmp_path)
    result = read(tmp_path, on_invalid="quarantine", quarantine=tmp_path / "aside")
    assert result.format == "preference + unpaired"
    assert (result.rows, len(result.comparisons), result.quarantined) == (7, 6, 1)


def test_what_is_not_there_gets_the_nearest_name(tmp_path: Path) -> None:
    write_rows(ROWS, tmp_path / "prefs.jsonl")
    with pytest.raises(InputError, match=r"no such file\. Did you mean .*prefs\.jsonl\?"):
        read(tmp_path / "pref.jsonl")
    with pytest.raises(InputError, match=r"The folder .*gone does not exist"):
        read(tmp_path / "gone" / "prefs.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"the folder holds no file of rows \(found nothing"):
        read(tmp_path / "empty")
    for odd in ("", "a\0b", "x" * 5000, 12):
        with pytest.raises(InputError):
            read(odd)


def test_a_hub_name_is_asked_for_by_its_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, configuration: str | None, revision: str | None = None) -> Any:
        asked.append((name, configuration, revision))
        if name != "org/name":
            raise ConnectionError("no network\nand more")
        return datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)})

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = read("org/name", name="small", revision="v1")
    assert asked == [("org/name", "small", "v1")]
    assert found.origins[0] == "org/name[train]:row 1"
    with pytest.raises(InputError, match=r"neither a file here nor a data set .*ConnectionError: no network\)"):
        read("org/other")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.jsonl"
    path.write_bytes(LINES)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InputError, match="may not be read"):
        read(path)


def test_quarantine_goes_beside_the_file_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data" / "rows.jsonl"
    write_rows([*ROWS, {"prompt": 1}], path)
    assert read(path, on_invalid="quarantine").quarantine == path.with_name("rows.jsonl.quarantine.jsonl")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    result = read(path, on_invalid="quarantine")
    assert result.quarantine == Path("rows.jsonl.quarantine.jsonl")
    assert (tmp_path / "rows.jsonl.quarantine.jsonl").exists()


def test_nothing_but_bad_rows_is_an_error_that_says_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "p", "chosen": 1, "rejected": 2}\n')
    with pytest.raises(InputError, match=r"not one row could be read .*1 bad rows.*quarantine\.jsonl"):
        read(path, on_invalid="quarantine")


def test_the_fingerprint_is_of_the_content_and_of_how_it_was_read(tmp_path: Path) -> None:
    write_rows(ROWS, tmp_path / "a.jsonl")
    write_rows(ROWS, tmp_path / "b.jsonl.gz")
    write_rows(ROWS[1:], tmp_path / "c.jsonl")
    first = read(tmp_path / "a.jsonl").fingerprint
    assert read(tmp_path / "b.jsonl.gz").fingerprint == first
    assert read(tmp_path / "c.jsonl").fingerprint != first
    swapped = {"chosen": "rejected", "rejected": "chosen"}
    assert read(tmp_path / "a.jsonl", columns=swapped).fingerprint != first


RICH = Comparison(
    prompt=[{"role": "user", "content": [{"type": "text", "text": 'é "q" \u2028'}]}],
    candidates=[
        Candidate([{"role": "assistant", "content": "a"}], score=1.0, scores={"wit": 0.5, "tact": -1.0}, source="m"),
        Candidate("", prompt='"json"', label=True),
        Candidate(Media("image", data=b"\0\1")),
        Candidate(TokenStreams(((1, 2), (3, 4)))),
        Candidate("x", role="mismatched"),
    ],
    annotator="ann",
    group="g",
    context="be kind",
    weight=0.25,
    meta={"n": [1, None, {"a": 2.5}]},
)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_the_canonical_forms_keep_everything(tmp_path: Path, name: str) -> None:
    plain = Comparison("p", [Candidate("a", score=1.0), Candidate("b", score=0.0)], confidence=0.75)
    given = [RICH, plain]
    write = write_parquet if name.endswith("parquet") else write_jsonl
    assert write(given, tmp_path / name) == 2
    found = read(tmp_path / name).comparisons
    assert [c.key for c in found] == [c.key for c in given]
    assert found[1] == plain
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name.endswith("parquet"):
        # The same rows through another library, which drops the file's own metadata.
        assert [c.key for c in read(datasets.Dataset.from_parquet(str(tmp_path / name))).comparisons] == [
            c.key for c in given
        ]
        assert len(read_parquet(tmp_path / name)) == 2


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    def broken() -> Any:
        yield RICH
        raise KeyboardInterrupt

    for write, name in ((write_jsonl, "a.jsonl"), (write_parquet, "a.parquet")):
        with pytest.raises(KeyboardInterrupt):
            write(broken(), tmp_path / name)
        assert list(tmp_path.iterdir()) == []


def test_trl_rows_are_read_back_as_the_same_pairs() -> None:
    ranked = Comparison("p", [Candidate("b", score=2.0), Candidate("c", score=1.0), Candidate("a", score=3.0)])
    assert to_trl(ranked) == [{"prompt": "p", "chosen": "a", "rejected": "c"}]
    assert [(r["chosen"], r["rejected"]) for r in to_trl(ranked, "adjacent")] == [("a", "b"), ("b", "c")]
    assert [(r["chosen"], r["rejected"]) for r in to_trl(ranked, "all")] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert to_trl_unpaired(ranked) == [
        {"prompt": "p", "completion": "a", "label": True},
        {"prompt": "p", "completion": "c", "label": False},
    ]
    assert to_trl(Comparison("p", [Candidate("a", score=1.0), Candidate("b", score=1.0)])) == []
    assert to_trl(Comparison("p", [Candidate("a")])) == []
    talk = Comparison([{"role": "user", "content": "p"}], [Candidate("a", score=1.0), Candidate("b", score=0.0)])
    assert to_trl(talk)[0]["chosen"] == [{"role": "assistant", "content": "a"}]
    with pytest.raises(InputError, match="different prompts"):
        to_trl(Comparison("p", [Candidate("a", score=1.0), Candidate("b", prompt="q", score=0.0)]))
    with pytest.raises(InputError, match="no text"):
        to_trl(Comparison("p", [Candidate(Media("image", path="x"), score=1.0), Candidate("b", score=0.0)]))


def test_reading_takes_linear_time(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        write_rows(({**ROWS[0], "prompt": str(i)} for i in range(count)), tmp_path / "a.jsonl")
        start = time.process_time()
        read(tmp_path / "a.jsonl")
        return time.process_time() - start

    seconds(1000)
    small, large = min(seconds(2000) for _ in range(3)), min(seconds(16000) for _ in range(2))
    assert large < 8 * small * 2.5
