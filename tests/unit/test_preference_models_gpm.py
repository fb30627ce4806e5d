"""GPM at its defaults on centred features: what is transitive as Bradley-Terry, what runs in circles far better."""

import pytest
import torch

from assent.preference_models import build_preference_model
from assent.preference_models.fit import FitOptions, fit, pair_accuracy
from assent.preference_models.model import Features
from experiments._planted import planted
from experiments.gpm import _rock_paper_scissors, _transitive


def accuracy(spec: object, draw: object) -> float:
    chosen, rejected = draw(800, torch.Generator().manual_seed(5))  # type: ignore[operator]
    every = torch.cat([chosen, rejected])
    chosen, rejected = ((part - every.mean(0)) / every.std(0) for part in (chosen, rejected))
    torch.manual_seed(0)
    model = build_preference_model(spec, chosen.shape[1])  # type: ignore[arg-type]
    fit(model, *planted(chosen[:500], rejected[:500]), FitOptions(epochs=20, learning_rate=5e-3))
    return pair_accuracy(model, *planted(chosen[500:], rejected[500:]))


def test_transitive_preferences_are_learned_from_centred_features() -> None:
    scalar = accuracy("bradley_terry", _transitive)
    assert scalar > 0.85
    assert accuracy("gpm", _transitive) > scalar - 0.07
    assert accuracy({"gpm": {"bias": False}}, _transitive) == pytest.approx(0.5, abs=0.1)


def test_circles_are_learned_from_centred_features() -> None:
    assert accuracy("gpm", _rock_paper_scissors) > 0.95
    assert accuracy("bradley_terry", _rock_paper_scissors) < 0.65


def test_without_an_offset_the_sign_of_the_features_says_nothing() -> None:
    values = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 3, dtype=torch.bool)
    for bias, same in ((False, True), (True, False)):
        torch.manual_seed(0)
        model = build_preference_model({"gpm": {"bias": bias}}, 6)
        ahead, turned = (model.preference(model.embed(Features(x, mask))) for x in (values, -values))
        assert torch.allclose(ahead, turned) == same
