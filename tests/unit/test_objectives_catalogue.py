"""Names, descriptions and the list of methods."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assent.cli.main import build_app
from assent.errors import InputError
from assent.objectives import build_objective, objective_classes
from assent.objectives.catalogue import catalogue, markdown, resolve, short_citation
from assent.objectives.describe import documented_arguments
from assent.objectives.names import ALIASES, AMBIGUOUS
from experiments.results import experiments
from experiments.summary import outcomes


@pytest.mark.parametrize("name", ALIASES)
def test_every_alias_leads_to_a_method_with_these_options(name: str) -> None:
    target, preset = ALIASES[name]
    assert name not in objective_classes(), "an alias may not hide a method"
    needed = getattr(objective_classes()[target], "example", {})
    objective = build_objective({name: needed})
    assert type(objective) is objective_classes()[target]
    for key, value in preset.items():
        assert getattr(objective, key) == value


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_ambiguous_name_is_refused_with_choices_that_exist(name: str) -> None:
    with pytest.raises(InputError, match="means several methods") as caught:
        build_objective(name)
    assert len(AMBIGUOUS[name]) > 1
    assert str(caught.value).count("(") >= 1
    for choice in AMBIGUOUS[name]:
        known = {*objective_classes(), "step_aware"}
        assert choice.split(" ")[0] in known, f"{choice} names no method"


def test_options_given_win_over_the_alias() -> None:
    assert build_objective({"cdpo": {"label_smoothing": 0.3}}).label_smoothing == 0.3  # type: ignore[attr-defined]


def test_names_of_other_tools_and_dashes_are_understood() -> None:
    assert resolve("sigmoid_norm") == ("ln_dpo", {})
    assert resolve("robust-dpo") == ("robust_dpo", {})
    with pytest.raises(InputError, match="Did you mean `simpo`"):
        resolve("simmpo")


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    assert build_objective({"dpo": {"beta": "1e-2"}}).beta == 0.01  # type: ignore[attr-defined]
    for wrong in (True, "much", None, [0.1], float("nan")):
        with pytest.raises(InputError, match="beta"):
            build_objective({"dpo": {"beta": wrong}})


def test_a_beta_far_outside_its_range_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="assent"):
        build_objective({"dpo": {"beta": 0.1}})
        assert not caplog.records
        build_objective({"ln_dpo": {"beta": 0.05}})
    assert "values in use are 1 to 5" in caplog.text


def test_a_sum_takes_numbers_and_ramps_as_weights() -> None:
    total = build_objective([{"dpo": {}}, {"sft": {"weight": {"from": 1.0, "to": 0.2, "until": 0.5}}}])
    ramp = total.weights[1]  # type: ignore[attr-defined]
    assert [ramp.at(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    for wrong in ("heavy", {"from": 1.0}, {"from": 1, "to": 0, "until": 2}, {"frm": 1, "to": 0}, True):
        with pytest.raises(InputError, match="weight"):
            build_objective([{"dpo": {}}, {"sft": {"weight": wrong}}])


def test_citations_are_short() -> None:
    assert short_citation("Rafailov et al. 2023, arXiv 2305.18290, eq. 7; more") == "Rafailov et al. 2023, 2305.18290"
    assert short_citation("") == ""


def test_arguments_are_read_over_several_lines() -> None:
    text = "First line.\n\n    Args:\n        beta: inverse\n            temperature.\n        gamma: margin.\n"
    assert documented_arguments(text.replace("\n    ", "\n")) == {"beta": "inverse temperature.", "gamma": "margin."}


def run(*arguments: str) -> str:
    result = CliRunner().invoke(build_app("methods"), ["methods", *arguments], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_fits_80_columns_and_lists_all() -> None:
    output = run()
    assert max(map(len, output.splitlines())) <= 80
    for slug in objective_classes():
        assert f"\n{slug}" in "\n" + output


def test_one_method_is_explained_with_its_options() -> None:
    output = run("sigmoid_norm")
    for said in ("`sigmoid_norm` is ln_dpo", "2407.15229", "tokens per nat", "Needs: pairs, reference", "beta: 2.0"):
        assert said in " ".join(output.split())


def test_json_and_markdown_hold_every_method() -> None:
    listed = json.loads(run("--json"))
    assert {row["slug"] for row in listed} == set(objective_classes())
    assert all(row["options"] or row["slug"] == "simper" for row in listed)
    page = run("--markdown")
    assert page == markdown(catalogue())
    assert all(f"## {slug}\n" in page for slug in objective_classes())


def test_the_page_in_the_docs_is_the_one_that_is_made() -> None:
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
    assert page == markdown(catalogue(), outcomes(experiments([]))), "run `make docs`"


def test_a_class_outside_the_package_is_built_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_losses.py").write_text(
        "from dataclasses import dataclass\n"
        "from assent.objectives import Needs\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Plain:\n"
        "    needs = Needs(pairs=True)\n"
        "    scale: float = 1.0\n\n"
        "    def __call__(self, batch):\n"
        "        return -self.scale * batch.margin()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    total = build_objective([{"outside_losses:Plain": {"scale": "2"}}, {"lcpo": {"base": "dpo"}}])
    assert total.terms == ("outside_losses", "lcpo")  # type: ignore[attr-defined]
    assert total.needs.batch
    assert total.needs.pairs
    twice = build_objective([{"dpo": {}}, {"dpo": {"beta": 0.5}}, "mdpo"])
    assert twice.terms == ("dpo", "dpo#2", "mdpo.text", "mdpo.image", "mdpo.anchor")  # type: ignore[attr-defined]
    for path in ("outside_losses:Missing", "no_such_module:X"):
        with pytest.raises(InputError, match="cannot import"):
            build_objective(path)
