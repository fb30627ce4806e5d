"""Numbers on a terminal of 80 columns: nothing is cut, and what says nothing takes no room."""

from typing import Any

import pytest

from assent.cli.number_tables import print_numbers, tables_of, without_idle_columns

ESTIMATE = {"estimate": 0.75, "low": 0.7, "high": 0.8}
NUMBERS: dict[str, Any] = {
    "model": "m",
    "benchmark": None,
    "by_annotator": {
        f"a_person_with_a_long_name_{n}": {
            "strict": ESTIMATE,
            "with_ties": ESTIMATE,
            "pairs": 10 + n,
            "ties": 0,
            "correlation": 0.123456,
            "accuracy_against": 0.9876,
        }
        for n in range(2)
    },
    "calibration": {"ece": 0.12345, "temperature": None, "bins": [1, 2]},
    "transitivity": {"triples": 0, "cyclic_share": None},
}


def test_no_number_is_cut_at_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_numbers(NUMBERS)
    said = capsys.readouterr().out
    assert all(len(line.rstrip()) <= 80 for line in said.splitlines())
    assert "…" not in said
    for text in ("0.750 [0.70, 0.80]", "0.1235", "0.9876", "ECE", "not given or nothing to measure: benchmark"):
        assert text in said, text
    # The names of people stay as they are, wherever they are broken.
    assert "a_person_with_a_long_name_0" in "".join(said.split())
    assert "transitivity" in said.splitlines()[-1]


def test_columns_that_repeat_or_say_nothing_are_left_out_on_the_terminal_only() -> None:
    rows = tables_of(NUMBERS)["by annotator"]
    assert {"accuracy", "ties at 1/2", "ties"} <= set(rows[0])
    assert list(without_idle_columns(rows)[0]) == ["name", "accuracy", "pairs", "correlation", "accuracy against"]
