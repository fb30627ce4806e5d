"""Losses as formulas: fixtures of the paper's definitions, the order of the lattice, and training from a text."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from assent.cli.main import build_app
from assent.errors import InputError
from assent.objectives import build_objective, objective_classes
from assent.objectives.logic import PLAIN, REFERENCED, Part, Structure
from assent.objectives.logic.counting import log_count, reduced, rho
from assent.objectives.logic.formula import assignments, parse
from assent.objectives.logic.printing import score, shortest
from assent.objectives.logic.probing import compiled_difference, curve
from assent.objectives.logic.structure import MARKS, NAMES, lattice, member, without_reference
from assent.objectives.names import ALIASES
from tests.batches import columns, judged

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "dpa-logic.json").read_text())
CASES = {case["name"]: case for case in FIXTURE["cases"]}


def logs(probabilities: dict[str, float]) -> dict[str, Tensor]:
    return {
        name: torch.tensor([value], dtype=torch.float64).log().requires_grad_()
        for name, value in probabilities.items()
    }


def test_the_sixteen_losses_equal_the_fixture() -> None:
    case = CASES["two_variable_lattice"]
    seen = set()
    for row in case["expected"]["structures"]:
        marks = (row["mark_w_l"], row["mark_notw_notl"])
        seen.add(marks)
        structure = member(*marks)
        assert structure.equals(Structure(row["P"], row["P_C"], row["P_A"]))
        assert structure.equals(Structure.from_sides(row["top"], row["bottom"]))
        log_probs = logs(case["inputs"]["prob"])
        assert float(rho(structure, log_probs).detach()) == pytest.approx(row["rho"], rel=1e-9)
        for link, shift, key in (
            ("log", 0.0, "loss_log"),
            ("squared", 0.0, "loss_squared"),
            ("margin", 1.0, "loss_margin"),
        ):
            loss = Part(structure, link, shift=shift).loss(log_probs)  # type: ignore[arg-type]
            assert float(loss.detach()) == pytest.approx(row[key], rel=1e-9, abs=1e-12)
        Part(structure).loss(log_probs).sum().backward()
        for name, expected in row["grad_wrt_log_p"].items():
            gradient = log_probs[name].grad
            found = 0.0 if gradient is None else float(gradient)
            assert found == pytest.approx(expected, rel=1e-8, abs=1e-12)
    assert seen == {(both, neither) for both in MARKS for neither in MARKS}


def test_the_order_of_the_lattice_equals_the_fixture() -> None:
    expected = {tuple(map(tuple, pair)) for pair in CASES["entailment_order"]["expected"]["entails"]}
    found = {
        ((a, b), (c, d))
        for a in MARKS
        for b in MARKS
        for c in MARKS
        for d in MARKS
        if (a, b) != (c, d) and member(a, b).entails(member(c, d))
    }
    assert found == expected
    assert len(found) == CASES["entailment_order"]["expected"]["n_pairs"] == 65


def test_what_entails_is_never_the_smaller_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    log_probs = {name: torch.rand(200, generator=generator, dtype=torch.float64).log() for name in ("w", "l")}
    structures = list(lattice().values())
    for first in structures:
        for second in structures:
            if first.entails(second):
                difference = Part(first).loss(log_probs) - Part(second).loss(log_probs)
                assert float(difference.min()) >= -1e-9


def test_reference_versions_equal_the_fixture() -> None:
    case = CASES["reference_losses"]
    for row in case["expected"]["losses"]:
        log_probs = logs(case["inputs"]["prob"])
        structure = Structure.from_sides(row["top"], row["bottom"])
        assert float(rho(structure, log_probs).detach()) == pytest.approx(row["rho"], rel=1e-9)
        assert float(Part(structure).loss(log_probs).detach()) == pytest.approx(row["loss_log_beta1"], rel=1e-9)
        loss = Part(structure, scale=0.1).loss(log_probs)
        assert float(loss.detach()) == pytest.approx(row["loss_log_beta0_1"], rel=1e-9)
    table = case["expected"]["dpo_truth_table"]
    dpo_rows = [
        tuple(parse(text).holds(row) for row in assignments(tuple(table["variables"])))
        for text in (REFERENCED.core, REFERENCED.condition, REFERENCED.additive)
    ]
    top = [(p or a) and c for p, c, a in zip(*dpo_rows, strict=True)]
    expected = [(p or a) and c for p, c, a in zip(table["P"], table["P_C"], table["P_A"], strict=True)]
    assert top == expected
    assert PLAIN.with_reference().equals(REFERENCED)
    found = without_reference(REFERENCED)
    assert found is not None
    assert found[0] == NAMES["both", "none"]


def test_compiled_structures_and_counts_equal_the_fixture() -> None:
    case = CASES["compile_structures"]
    for row in case["expected"]["results"]:
        structure = Structure(row["P"], row["P_C"], row["P_A"])
        log_probs = logs(case["inputs"]["prob"])
        assert float(rho(structure, log_probs).detach()) == pytest.approx(row["rho"], rel=1e-9)
        assert float(Part(structure).loss(log_probs).detach()) == pytest.approx(row["loss_log"], rel=1e-9)
    case = CASES["weighted_model_count"]
    for row in case["expected"]["counts"]:
        log_probs = logs(case["inputs"]["prob"])
        formula = parse(row["formula"])
        table = tuple(formula.holds(assignment) for assignment in assignments(formula.variables))
        assert float(log_count(reduced(formula.variables, table), log_probs).exp().detach()) == pytest.approx(
            row["wmc"], rel=1e-9
        )


def test_tiny_probabilities_stay_exact_in_log_space() -> None:
    case = CASES["tiny_probabilities_log_space"]
    log_probs = {
        name: torch.tensor([value], dtype=torch.float64) for name, value in case["inputs"]["log_prob"].items()
    }
    expected = case["expected"]["rho"]
    for name, marks in (("CPO", ("both", "none")), ("ORPO", ("none", "none")), ("cCPO", ("top", "none"))):
        assert float(rho(member(*marks), log_probs)) == pytest.approx(expected[name], rel=1e-12)
    assert float(rho(member("top", "bottom"), log_probs)) == pytest.approx(expected["CE"], rel=1e-12)


@pytest.mark.parametrize("slug", sorted(objective_classes()))
def test_every_stated_formula_compiles_back_to_its_loss(slug: str) -> None:
    objective = build_objective({slug: getattr(objective_classes()[slug], "example", {})})
    parts = getattr(objective, "logic", None)
    if not parts:
        pytest.skip("no logical form known")
    assert compiled_difference(objective, parts) < 1e-6


def test_a_wrong_formula_is_found_out() -> None:
    assert compiled_difference(build_objective("dpo"), (Part(PLAIN, scale=0.1),)) > 0.01
    assert compiled_difference(build_objective("dpo"), (Part(REFERENCED, scale=0.2),)) > 0.01
    assert compiled_difference(build_objective("simpo"), (Part(PLAIN, scale=2.5, per_token=True),)) > 0.01


TURNING = {"cal_dpo", "discopop", "gpm", "ipo", "knowpat", "lcpo", "raco", "reward_aware_rpo", "sppo"}
"""Losses that rise again by intention: they aim at a margin, smooth labels, or look at opposed dimensions."""


@pytest.mark.parametrize("slug", sorted(objective_classes()))
def test_every_objective_has_a_finite_curve(slug: str) -> None:
    objective = build_objective({slug: getattr(objective_classes()[slug], "example", {})})
    values = curve(objective, [-40.0, -5.0, 0.0, 5.0, 40.0])
    assert torch.tensor(values).isfinite().all()
    if slug not in TURNING:
        assert all(first >= second - 1e-9 for first, second in pairwise(values)), "wrong pairs cost more"


def random_formula(depth: int, source: random.Random) -> str:
    if depth == 0:
        return source.choice(["w", "l", "rw", "rl"])
    name = source.choice(["Not", "And", "Or", "Implies", "Xor", "Iff"])
    count = {"Not": 1, "Implies": 2, "Iff": 2}.get(name, source.choice([2, 3]))
    return f"{name}({', '.join(random_formula(depth - 1, source) for _ in range(count))})"


def test_simplified_formulas_mean_the_same() -> None:
    source = random.Random(0)
    for _ in range(8):
        text = random_formula(2, source)
        assert Structure(text).equals(Structure(shortest(text)))


def test_decompiling_what_was_compiled_is_the_identity() -> None:
    source = random.Random(1)
    for _ in range(30):
        structure = Structure(*(random_formula(2, source) for _ in range(3)))
        top, bottom = structure.tables(("l", "rl", "rw", "w"))
        again = Structure.from_sides(
            f"And(Or({structure.core}, {structure.additive}), {structure.condition})",
            f"And(Or(Not({structure.core}), {structure.additive}), {structure.condition})",
        )
        assert again.tables(("l", "rl", "rw", "w")) == (top, bottom)


def test_operators_and_names_of_connectives_agree() -> None:
    assert Structure("l >> w").equals(Structure("Implies(l, w)"))
    assert Structure("~l | w").equals(Structure("Implies(l, w)"))
    assert score(PLAIN) == "p_w/p_l"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "w +",
        "w and l",
        "__import__('os')",
        "w.real",
        "Not(w, l)",
        "Implies(w)",
        "And()",
        "w if l else w",
        "f(w)",
        "3",
    ],
)
def test_what_is_no_formula_is_refused_and_never_run(text: str) -> None:
    with pytest.raises(InputError, match="formula"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("w & (l", r"character 5 .*never closed"),
        ("w & & l", r"character 5"),
        ("(" * 150 + "w" + ")" * 150 + ")", r"unmatched|nested"),
        ("~" * 900 + "w", "nested too deeply"),
        (" & ".join(["w"] * 400), "nested too deeply"),
        ("Not(" * 300 + "w" + ")" * 300, "nested too deeply"),
        ("w" * 100_000, "100,000 characters"),
    ],
)
def test_a_malformed_formula_is_explained(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as found:
        parse(text)
    assert len(str(found.value)) < 500


def test_the_deepest_formula_that_is_read_can_be_used() -> None:
    text = "~" * 58 + "w"
    assert build_objective({"formula": {"expression": text}}) is not None
    assert Structure(text).equals(Structure("w"))


def test_a_formula_trains_from_yaml_and_equals_the_loss_it_describes() -> None:
    formula = {"expression": "Implies(l, w)", "condition": "Or(w, l)", "additive": "And(w, l)", "beta": 2.5}
    policy = columns([-3.0, -9.0, -2.0], [-5.0, -4.0, -2.5]).requires_grad_()
    lengths = columns([3, 6, 2], [4, 3, 5]).long()
    mine = build_objective({"formula": formula})(judged(policy, lengths=lengths))
    theirs = build_objective({"simpo": {"beta": 2.5, "gamma": 0.0}})(judged(policy, lengths=lengths))
    torch.testing.assert_close(mine, theirs)
    assert build_objective({"formula": {"additive": False}}).needs.reference is False
    assert build_objective({"formula": {"expression": "Implies(And(rw, l), And(w, rl))"}}).needs.reference


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"expression": "w", "condition": "Not(w)"}, "never hold"),
        ({"expression": "winner"}, "unknown variable"),
        ({"expression": "w l"}, "cannot be read"),
    ],
)
def test_impossible_formulas_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build_objective({"formula": options})


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build_app("explain"), ["explain", *arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("simpo", "rho = log p_w/p_l"),
        ("orpo", "odds ratio (ORPO)"),
        ("sigmoid", "the reference version of: probability ratio"),
        ("kto", "No logical form known"),
    ],
)
def test_explain_says_what_a_loss_means_and_draws_it(name: str, said: str, tmp_path: Path) -> None:
    target = tmp_path / "curve.png"
    code, output = run(name, "--plot", str(target))
    assert code == 0, output
    assert said in output
    assert "DISAGREES" not in output
    assert target.read_bytes().startswith(b"\x89PNG")
    drawn = [line for line in output.splitlines() if "|" in line and "*" in line]
    assert len(drawn) > 3, "the curve stands in the terminal too"
    assert all(len(line) < 80 for line in drawn)


@pytest.mark.parametrize("name", [*sorted(objective_classes()), *ALIASES])
def test_every_name_can_be_explained(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the drawn file, which takes most of the time."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
    code, output = run(name, "--plot", str(tmp_path / "curve.png"))
    assert code == 0, output
    assert "DISAGREES" not in output


def test_explain_compiles_a_loss_of_ones_own(tmp_path: Path) -> None:
    code, output = run("--formula", "l >> w", "--condition", "w | l", "--plot", str(tmp_path / "mine.svg"))
    assert code == 0
    assert "conditioned CPO (cCPO)" in output
    assert "expression: l >> w" in output


def test_explain_needs_one_thing_to_explain() -> None:
    with pytest.raises(InputError, match="one of them"):
        CliRunner().invoke(build_app("explain"), ["explain"], catch_exceptions=False)
