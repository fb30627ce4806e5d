"""The page of results says which objectives an experiment trains by, and says it truly."""

from pathlib import Path

from assent.objectives import objective_classes
from experiments.coverage import coverage, objectives_of
from experiments.summary import anchor

FOLDER = Path(__file__).parents[2] / "experiments"


def test_objectives_are_found_by_name_alias_and_import() -> None:
    assert objectives_of(FOLDER / "bco.py") == {"bco"}
    assert {"apo", "sppo", "ipo"} <= objectives_of(FOLDER / "direct_losses.py"), "apo_zero and sppo_hard are aliases"
    assert "selfie" in objectives_of(FOLDER / "selfie.py")


def test_a_preference_model_and_a_label_are_no_objectives() -> None:
    assert objectives_of(FOLDER / "gpm.py") == set()
    assert objectives_of(FOLDER / "diffusion_dpo.py") == {"diffusion_dpo", "diffusion_kto", "sft"}


def test_every_objective_has_a_row() -> None:
    found = coverage(FOLDER.glob("*.py"))
    assert found["mapl"] == ["mapl"]
    assert set(found) == set(objective_classes())


def test_links_are_those_of_the_headings() -> None:
    assert anchor("`bco`: Weighting by the prompts' ratio, D^2") == "bco-weighting-by-the-prompts-ratio-d2"
