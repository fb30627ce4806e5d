"""The search for better instructions: derived traces, identities, and a planted better instruction."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from assent.building.instruction_tree import Tree, best_first, mcts, upper_confidence
from assent.building.p_aligner import (
    AnswerValue,
    GeneratorRewriter,
    Search,
    load_principles,
    path_rows,
    principles_of,
    search,
    step_rows,
)
from assent.comparison import Comparison
from assent.errors import InputError
from assent.generation import Sample, Sampling
from assent.generation.rewriter import marked, read_rewriting, rewriting_prompt
from assent.preference_models import Scored

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "p-aligner.json").read_text())["cases"]
TRACES = [case for case in CASES if case["name"] != "uct_scores"]


def grown(case: dict) -> Tree:
    """The tree of a trace: principles tried in the listed order, values from its table."""
    inputs, hyper = case["inputs"], case["hyper"]
    tree = Tree.of("raw", inputs["principles"])
    for _ in range(hyper["iterations"]):
        place = mcts(tree, hyper["exploration_weight"], random.Random(0))
        name = tree.untried(place)[0]
        path = [*tree.path(place), name]
        tree.add(place, name, "|".join(path), inputs["reward_of_path"]["|".join(path)])
    tree.versions[0].value = inputs["reward_of_path"]["(root)"]
    return tree


@pytest.mark.parametrize("case", TRACES, ids=lambda case: case["name"])
def test_traces_of_the_published_search(case: dict) -> None:
    expected, tree = case["expected"], grown(case)
    assert [tree.path(at) for at in [*range(1, len(tree.versions)), 0]] == expected["simulation_order"]
    for node in expected["nodes"]:
        version = tree.versions[node["index"]]
        found = (tree.path(node["index"]), version.visits, version.value, version.best)
        assert found == (node["path"], node["visits"], node["local_reward"], node["max_reward"])
    order = tree.ranked()
    assert (tree.path(order[0]), tree.value(order[0])) == (expected["chosen_path"], expected["chosen_reward"])
    assert (tree.path(order[-1]), tree.value(order[-1])) == (expected["rejected_path"], expected["rejected_reward"])
    rising = [
        {"parent_index": version.parent, "child_index": at, "action": version.principle}
        for at, version in enumerate(tree.versions)
        if version.parent is not None and version.value > tree.value(version.parent)
    ]
    assert rising == expected["positive_transitions"]
    assert step_rows([tree], {name: name for name in tree.principles}).comparisons.__len__() == len(rising)


def test_upper_confidence_of_derived_numbers() -> None:
    case = next(case for case in CASES if case["name"] == "uct_scores")
    inputs = case["inputs"]
    found = [
        upper_confidence(q, visits, inputs["parent_visits"], case["hyper"]["exploration_weight"])
        for q, visits in zip(inputs["q"], inputs["child_visits"], strict=True)
    ]
    assert found == pytest.approx(case["expected"]["scores"])
    assert found.index(max(found)) == case["expected"]["selected"]


WORDS = {"clear": "add CLEAR", "facts": "add FACTS", "polite": "add POLITE", "noise": "add NOISE"}
WORTH = {"clear": 1.0, "facts": 0.6, "polite": 0.1, "noise": -1.0}


def rewrite(steps: Sequence[tuple[str, str]]) -> list[str | None]:
    return [f"{text} {name}" for text, name in steps]


def value(versions: Sequence[tuple[str, str]]) -> list[float | None]:
    """Each principle is worth something once, and repeating one costs."""
    found: list[float | None] = []
    for original, version in versions:
        names = version.removeprefix(original).split()
        found.append(sum(WORTH[name] for name in set(names)) - 0.3 * (len(names) - len(set(names))))
    return found


def test_the_planted_better_instruction_is_found() -> None:
    trees = [Tree.of(f"question {at}?", list(WORDS)) for at in range(20)]
    search(trees, rewrite, value, Search(20, 0.3, seed=1))
    best = [tree.path(tree.ranked()[0]) for tree in trees]
    assert all({"clear", "facts"} <= set(path) and "noise" not in path for path in best)
    rows = path_rows(trees).comparisons
    assert len(rows) == 20
    assert all(row.candidates[0].score > 1.5 and row.candidates[1].score < -0.5 for row in rows)
    assert rows[0].prompt == rewriting_prompt("question 0?")
    assert read_rewriting("question 0?", str(rows[0].candidates[0].completion)).text.startswith("question 0? ")


def test_identities_of_the_search() -> None:
    tree = Tree.of("q", list(WORDS))
    search([tree], rewrite, lambda versions: [0.5] * len(versions), Search(30, 1.0))
    assert len(tree.versions) == 31
    assert tree.versions[0].visits == 30 == sum(tree.versions[child].visits for child in tree.versions[0].children)
    for at, version in enumerate(tree.versions[1:], start=1):
        assert sum(tree.versions[child].visits for child in version.children) == version.visits - 1, at
    assert [one.parent for one in tree.versions[1:5]] == [0, 0, 0, 0]
    spread = [tree.versions[child].visits for child in tree.versions[0].children]
    assert max(spread) - min(spread) <= 1
    assert tree.ranked()[0] == 0
    chain = Tree.of("q", ["only"])
    search([chain], rewrite, lambda versions: [0.0] * len(versions), Search(5))
    assert chain.path(5) == ["only"] * 5


def test_a_saved_search_goes_on_to_the_same_tree() -> None:
    whole = [Tree.of("one", list(WORDS)), Tree.of("two", list(WORDS))]
    search(whole, rewrite, value, Search(15, 0.3, seed=4))
    half = [Tree.of("one", list(WORDS)), Tree.of("two", list(WORDS))]
    search(half, rewrite, value, Search(6, 0.3, seed=4))
    resumed = [Tree.from_dict(json.loads(json.dumps(tree.to_dict()))) for tree in half]
    search(resumed, rewrite, value, Search(15, 0.3, seed=4))
    assert [tree.to_dict() for tree in resumed] == [tree.to_dict() for tree in whole]


def test_failed_steps_leave_nothing_in_the_tree() -> None:
    tree = Tree.of("q", list(WORDS))
    calls = iter(range(1000))

    def flaky(steps: Sequence[tuple[str, str]]) -> list[str | None]:
        return [None if next(calls) % 3 == 0 else f"{text} {name}" for text, name in steps]

    search([tree], flaky, value, Search(8))
    assert (len(tree.versions), tree.failures > 0) == (9, True)
    dead = Tree.of("q", list(WORDS))
    search([dead], lambda steps: [None] * len(steps), value, Search(8))
    assert (len(dead.versions), dead.failures) == (1, 4)
    assert path_rows([dead]).left_out == {"no two versions of different value": 1}


def test_few_rows_teach_to_leave_a_request_alone() -> None:
    trees = []
    for at in range(40):
        tree = Tree.of(f"q{at}", ["one"])
        tree.versions[0].value = 1.0 if at < 20 else 0.0
        tree.add(0, "one", f"q{at} better", 0.5)
        trees.append(tree)
    built = path_rows(trees, unchanged_share=0.2)
    assert sum(not row.meta["chosen_principles"] for row in built.comparisons) == 5
    assert built.left_out == {"original best, beyond the share": 15}


class Scripted:
    """A model that rewrites by appending and answers with its own prompt."""

    name = "scripted"

    def stream(self, prompts, sampling, keys=None):  # type: ignore[no-untyped-def]
        for index, prompt in enumerate(prompts):
            request = prompt.rpartition("Request:\n")[2]
            rewritten = "Improve" in prompt
            text = marked(f"{request}, please") if rewritten and "{bad}" not in prompt else prompt
            yield index, [Sample(text)] * sampling.samples


class LikesPlease:
    """Rewards politeness in answers and remembers which prompts it saw."""

    name = "likes_please"

    def __init__(self) -> None:
        self.prompts: list[object] = []

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        self.prompts += [one.prompt for one in comparisons]
        return [Scored(tuple(float("please" in str(c.completion)) for c in one.candidates)) for one in comparisons]


def test_models_rewrite_and_answers_are_scored_against_the_original() -> None:
    scorer = LikesPlease()
    rewriter = GeneratorRewriter(Scripted(), {"tone": "make it polite"}, Sampling())
    answers = AnswerValue(Scripted(), scorer, Sampling(samples=3))
    trees = [Tree.of("tell me {braces} now", ["tone"]), Tree.of("never {bad}", ["tone"])]
    search(trees, rewriter, answers, Search(1))
    assert trees[0].versions[1].text == "tell me {braces} now, please"
    assert (trees[0].versions[1].value, trees[0].versions[0].value) == (1.0, 0.0)
    assert set(map(str, scorer.prompts)) == {"tell me {braces} now", "never {bad}"}
    assert trees[1].failures == 4


def test_principles_by_category(tmp_path: Path) -> None:
    table = load_principles()
    assert sum(map(len, table.values())) == 10
    assert list(principles_of("math", table)) == ["clarification", "information", "tone", "hints", "verification"]
    assert list(principles_of("cooking", table)) == list(principles_of(None, table)) == list(table["general"])
    (tmp_path / "bad.yaml").write_text("general: [1, 2]")
    with pytest.raises(InputError, match="principles"):
        load_principles(tmp_path / "bad.yaml")


def test_best_first_expands_the_best_version() -> None:
    tree = Tree.of("q", ["a", "b"])
    tree.add(0, "a", "qa", 0.2)
    tree.add(0, "b", "qb", 0.9)
    assert best_first(tree, 0.0, random.Random(0)) == 2
