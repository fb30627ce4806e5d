"""What every preference model promises."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from assent import preference_models as room
from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.preference_models import (
    DataFacts,
    Features,
    NoReward,
    PreferenceModel,
    build_preference_model,
    mean_preference,
    preference_model_classes,
    slug_of,
)
from assent.preference_models.registry import ALIASES, saved_spec
from assent.preference_models.verdicts import select_verdicts, verdicts_of

SIZE, K = 6, 3
FACTS = DataFacts(annotators=("ann", "bob"), groups=("x", "y"), attributes=("clear", "true"))
SPECS: dict[str, Any] = {slug: slug for slug in preference_model_classes()} | {
    "bradley_terry rich": {"bradley_terry": {"layers": [5], "margin": 0.3, "center_rewards_coefficient": 0.1}},
    "bradley_terry ranking": {"bradley_terry": {"lists": "plackett_luce"}},
    "gpm gated": {"gpm": {"dimensions_per_candidate": 4, "prompt_gate": True}},
    "pal b": {"pal": {"variant": "b", "prototypes": 3}},
    "multi_attribute gated": {"multi_attribute": {"gate_layers": [4]}},
    "ordinal cumulative": {"ordinal": {"target": "cumulative", "levels": [0, 1, 2]}},
    "ordinal difference": {"ordinal": {"target": "difference"}},
    "more uniform": {"more": {"group_weights": "uniform"}},
    "ensemble gpm": {"ensemble": {"member": "gpm", "members": 2}},
}


def records(count: int = 6) -> list[Comparison]:
    return [
        Comparison(
            f"p{row}",
            [
                Candidate(
                    f"c{column}",
                    score=float(K - 1 - column),
                    label=column == 0,
                    scores={"clear": float(column), "true": 1.0},
                )
                for column in range(K)
            ],
            annotator=("ann", "bob")[row % 2],
            group=("x", "y")[row % 2],
        )
        for row in range(count)
    ]


def made(spec: Any) -> PreferenceModel:
    torch.manual_seed(0)
    return build_preference_model(spec, SIZE, SIZE, FACTS).double()


def features(count: int = 6, seed: int = 1) -> Features:
    generator = torch.Generator().manual_seed(seed)
    candidates = torch.randn(count, K, SIZE, generator=generator, dtype=torch.float64)
    prompt = torch.randn(count, SIZE, generator=generator, dtype=torch.float64)
    return Features(candidates, torch.ones(count, K, dtype=torch.bool), prompt)


def names(count: int = 6) -> list[str]:
    return [("ann", "bob")[row % 2] for row in range(count)]


def test_every_model_is_exported_and_found_by_its_slug() -> None:
    files = {path.stem for path in Path(room.__file__).parent.glob("*.py")}
    for slug, cls in preference_model_classes().items():
        assert slug in files
        assert issubclass(cls, PreferenceModel)
        assert slug_of(made(slug)) == slug
    assert {target for target, _ in ALIASES.values()} <= set(preference_model_classes())
    for alias in ALIASES:
        made(alias)


@pytest.mark.parametrize("name", SPECS)
def test_preference_is_antisymmetric_and_follows_the_candidates(name: str) -> None:
    model = made(SPECS[name]).eval()
    batch = features()
    preference = model.preference(model.embed(batch), names())
    assert preference.shape == (6, K, K)
    torch.testing.assert_close(preference, -preference.transpose(1, 2), atol=1e-12, rtol=0)
    order = torch.tensor([2, 0, 1])
    moved = Features(batch.candidates[:, order], batch.mask[:, order], batch.prompt)
    torch.testing.assert_close(model.preference(model.embed(moved), names()), preference[:, order][:, :, order])
    try:
        reward = model.reward(model.embed(batch), names())
    except NoReward:
        assert mean_preference(preference, batch.mask).shape == (6, K)
    else:
        assert reward.shape == (6, K)


@pytest.mark.parametrize("name", SPECS)
def test_a_batch_is_its_comparisons_one_by_one(name: str) -> None:
    model = made(SPECS[name]).eval()
    batch, judged = features(), verdicts_of(records())
    together = model.loss(model.embed(batch), judged)
    if model.needs.batch:
        assert together.dim() == 0
        return
    assert together.shape == (6,)
    for row in range(6):
        one = torch.tensor([row])
        alone = model.loss(model.embed(batch.rows(one)), select_verdicts(judged, one))
        torch.testing.assert_close(alone[0], together[row])


@pytest.mark.parametrize("name", SPECS)
def test_padding_changes_nothing(name: str) -> None:
    model = made(SPECS[name]).eval()
    batch, short = features(), records()
    pairs = [
        Comparison(r.prompt, r.candidates[: 2 if i % 2 else 3], annotator=r.annotator, group=r.group)
        for i, r in enumerate(short)
    ]
    judged = verdicts_of(pairs)
    clean = Features(batch.candidates, judged.mask, batch.prompt)
    dirt = torch.where(judged.mask.unsqueeze(-1), batch.candidates, torch.full_like(batch.candidates, 1e3))
    dirty = Features(dirt, judged.mask, batch.prompt)
    torch.testing.assert_close(model.loss(model.embed(clean), judged), model.loss(model.embed(dirty), judged))
    gradients = torch.autograd.grad(
        model.loss(model.embed(dirty), judged).sum(), list(model.parameters()), allow_unused=True
    )
    for found in gradients:
        assert found is None or found.isfinite().all()


@pytest.mark.parametrize("name", SPECS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    model = made(SPECS[name]).eval()
    judged, batch = verdicts_of(records(3)), features(3)

    def loss(candidates: Tensor) -> Tensor:
        moved = Features(candidates, batch.mask, batch.prompt)
        return model.loss(model.embed(moved), judged).sum()

    if model.needs.batch:
        pytest.skip("the weights of the groups are constants of the loss, but depend on the features")
    if name == "multi_attribute gated":
        pytest.skip("the gate's loss stops at the attributes by design")
    values = batch.candidates.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (values,), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_extreme_features_stay_finite(name: str) -> None:
    for scale in (0.0, 1e4):
        model = made(SPECS[name]).eval()
        batch = features()
        extreme = Features(batch.candidates * scale, batch.mask, batch.prompt)
        loss = model.loss(model.embed(extreme), verdicts_of(records()))
        assert loss.isfinite().all()
        gradients = torch.autograd.grad(loss.sum(), list(model.parameters()), allow_unused=True)
        assert all(found is None or found.isfinite().all() for found in gradients)


@pytest.mark.parametrize("name", SPECS)
def test_options_and_weights_make_the_same_model_again(name: str) -> None:
    model = made(SPECS[name])
    description = saved_spec(model)
    again = build_preference_model(description["model"], description["hidden_size"]).double()
    again.load_state_dict(model.state_dict())
    batch = features()
    torch.testing.assert_close(
        again.eval().preference(again.embed(batch), names()), model.eval().preference(model.embed(batch), names())
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bradley_tery", "bradley_terry"),
        ({"gpm": {"temperatur": 1}}, "temperature"),
        ({"gpm": {"dimensions_per_candidate": 3}}, "even"),
        ({"gpm": {}, "pal": {}}, "one name"),
        ({"pal": {"variant": "c"}}, "variant"),
        ({"nobody.here:Model": {}}, "cannot import"),
    ],
)
def test_mistakes_are_named(spec: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_preference_model(spec, SIZE, SIZE, FACTS)


def test_names_that_the_data_lacks_are_asked_for() -> None:
    for slug, message in (("pal", "annotator"), ("more", "group"), ("multi_attribute", "attributes")):
        with pytest.raises(InputError, match=message):
            build_preference_model(slug, SIZE, SIZE, DataFacts())


def test_a_constant_changes_no_preference_and_two_dimensions_hold_bradley_terry() -> None:
    """With vectors (r, 1) the antisymmetric score is r_i - r_j: value and gradient."""
    from assent.preference_models.gpm import antisymmetric_scores

    reward = torch.randn(4, K, dtype=torch.float64, requires_grad=True)
    vectors = torch.stack([reward, torch.ones_like(reward)], dim=-1)
    scores = antisymmetric_scores(vectors)
    expected = reward.unsqueeze(-1) - reward.unsqueeze(-2)
    torch.testing.assert_close(scores, expected, atol=1e-12, rtol=0)
    weights = torch.randn_like(scores)
    (found,) = torch.autograd.grad((scores * weights).sum(), reward, retain_graph=True)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), reward)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


def test_one_prototype_makes_everybody_equal() -> None:
    model = made({"pal": {"prototypes": 1}}).eval()
    embedded = model.embed(features())
    first = model.reward(embedded, ["ann"] * 6)
    torch.testing.assert_close(first, model.reward(embedded, ["bob"] * 6))
    torch.testing.assert_close(first, model.reward(embedded))
    with pytest.raises(InputError, match="does not know"):
        model.reward(embedded, ["eve"] * 6)


def test_prototypes_and_weights_may_be_permuted_together() -> None:
    model = made({"pal": {"prototypes": 3}}).eval()
    batch = features()
    before = model.reward(model.embed(batch), names())
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        model.user_logits.copy_(model.user_logits[:, order] + 5.0)
        model.points.copy_(model.points[order])
    torch.testing.assert_close(model.reward(model.embed(batch), names()), before)


def test_uniform_more_is_the_multi_task_loss_and_members_are_weighed_by_need() -> None:
    uniform = made({"more": {"group_weights": "uniform"}})
    judged, batch = verdicts_of(records()), features()
    embedded = uniform.embed(batch)
    each = build_preference_model("bradley_terry", SIZE).double().loss(uniform_reward(uniform, embedded), judged)
    groups = [each[[0, 2, 4]].mean(), each[[1, 3, 5]].mean()]
    torch.testing.assert_close(uniform.loss(embedded, judged), (groups[0] + groups[1]) / 2)
    exact = made("more")
    exact.loss(exact.embed(batch), judged)
    assert exact.last_weights.sum() == pytest.approx(1)


def uniform_reward(model: Any, embedded: Any) -> Any:
    from assent.preference_models import Embedded

    return Embedded(embedded.values[..., :1], embedded.features, None, embedded.mask)
