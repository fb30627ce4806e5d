"""`assent data inspect` and `convert`, as one types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from assent.cli.main import main
from assent.readers import read, write_rows
from tests.tiny import byte_tokenizer

PAIRS = [{"prompt": f"Question {i}?", "chosen": f"yes {'and ' * i}", "rejected": "no"} for i in range(6)]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_rows(PAIRS, tmp_path / "pairs.jsonl")
    return tmp_path / "pairs.jsonl"


def run(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_inspect_says_what_it_saw_and_why(
    pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("data", "inspect", pairs) == 0
    shown = capsys.readouterr().out
    assert "format  preference" in shown
    assert "columns prompt, chosen and rejected (standard, explicit prompt)" in shown
    assert "6 rows, 6 comparisons" in shown
    assert "100.0% [56.6, 100.0] (95%)" in shown  # five pairs of unequal length
    assert max(map(len, shown.splitlines())) <= 80


def test_inspect_as_json_with_a_tokenizer(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    byte_tokenizer().save_pretrained(str(tmp_path / "tokenizer"))
    assert run("data", "inspect", pairs, "--json", "--tokenizer", tmp_path / "tokenizer") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["source"]["format"] == "preference"
    assert found["unit"] == "tokens"
    assert found["counts"]["comparisons"] == 6
    assert found["lengths"]["rejected"]["longest"] == len("no")
    assert found["defects"]["ties"] == 0


def test_inspect_writes_a_report_in_which_the_data_is_only_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "<script>alert(1)</script>\x1b[2J $\\frac{$"
    row = {"prompt": hostile, "chosen": hostile, "rejected": "b", "annotator": hostile}
    write_rows([row], tmp_path / "rows.jsonl")
    assert run("data", "inspect", tmp_path / "rows.jsonl", "--html", tmp_path / "report.html") == 0
    shown = capsys.readouterr().out
    assert "\x1b[2J" not in shown
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_bad_row_ends_with_exit_code_2_and_a_way_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows([*PAIRS, {"prompt": "p", "chosen": 3, "rejected": "\x1b[31m"}], path)
    assert run("data", "inspect", path) == 2
    message = capsys.readouterr().err
    assert f"{path}:7: neither text nor messages (field `chosen`; found 3; expected a string or messages)" in message
    assert "--on-invalid quarantine" in message
    assert "Traceback" not in message
    assert run("data", "inspect", path, "--on-invalid", "quarantine") == 0
    told = capsys.readouterr()
    assert "1 of 7 rows could not be read" in told.err
    assert "7 rows, 6 comparisons, 1 bad rows set aside" in told.out
    entry = json.loads((tmp_path / "rows.jsonl.quarantine.jsonl").read_text())
    assert (entry["line"], entry["field"]) == (7, "chosen")


@pytest.mark.parametrize(
    ("to", "out", "format_name"),
    [
        ("canonical", "out.jsonl", "canonical"),
        ("canonical", "out.jsonl.gz", "canonical"),
        ("parquet", "out.parquet", "canonical_table"),
        ("trl", "out.jsonl", "preference"),
        ("trl-unpaired", "out.jsonl", "unpaired"),
    ],
)
def test_convert_and_read_again(to: str, out: str, format_name: str, pairs: Path, tmp_path: Path) -> None:
    assert run("data", "convert", pairs, tmp_path / out, "--to", to) == 0
    found = read(tmp_path / out)
    assert found.format == format_name
    if to == "trl-unpaired":
        assert [candidate.label for c in found.comparisons for candidate in c.candidates] == [True, False] * 6
    else:
        assert [c.key for c in found.comparisons] == [c.key for c in read(pairs).comparisons]


def test_convert_never_writes_over_a_file_and_counts_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": "p", "completions": ["a", "b"], "scores": [1, 1]},
        {"prompt": "p", "completions": ["a", "b"], "scores": [1, 2]},
    ]
    write_rows(rows, tmp_path / "lists.jsonl")
    assert run("data", "convert", tmp_path / "lists.jsonl", tmp_path / "lists.jsonl") == 2
    assert "the file is there already" in capsys.readouterr().err
    assert run("data", "convert", tmp_path / "lists.jsonl", tmp_path / "pairs.jsonl", "--to", "trl") == 0
    told = capsys.readouterr().err
    assert "1 rows of 2 comparisons" in told
    assert "left out 1: nothing is preferred" in told


def test_a_column_option_that_is_no_mapping(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "inspect", pairs, "--column", "prompt") == 2
    assert "OURS=THEIRS" in capsys.readouterr().err


def test_audit_names_records_by_line_and_writes_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = PAIRS[1], PAIRS[2]
    reverse = {**second, "chosen": second["rejected"], "rejected": second["chosen"]}
    same = {"prompt": "p", "chosen": "a", "rejected": "a"}
    empty = {"prompt": "q", "chosen": "a", "rejected": " "}
    path = tmp_path / "rows.jsonl"
    write_rows([first, second, {**first, "id": 9}, reverse, same, empty], path)
    clean = tmp_path / "clean.jsonl"
    assert run("data", "audit", path, "--json", "--near", 0, "--clean", clean) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["records"], found["label_noise"]) == (6, None)
    assert [(row["where"], row["kind"], row["of"]) for row in found["findings"]] == [
        (f"{path}:3", "exact duplicate", f"{path}:1"),
        (f"{path}:4", "contradiction", f"{path}:2"),
        (f"{path}:5", "identical candidates", None),
        (f"{path}:6", "empty completion", None),
    ]
    assert "2 of 6 records" in told.err
    assert [c.key for c in read(clean).comparisons] == [c.key for c in read(path, limit=2).comparisons]
    assert run("data", "audit", path, "--near", 0) == 0
    assert f"{path}:4 of {path}:2" in capsys.readouterr().out
    assert run("data", "audit", path, "--keep", "nonsense") == 2
    assert "no such kind of finding" in capsys.readouterr().err
