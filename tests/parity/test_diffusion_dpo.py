"""Diffusion-DPO on given noise: the loss and gradients of a policy against the arithmetic of the public example."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, mse_loss

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.likelihood.diffusion import LATENTS, DiffusionPolicy
from assent.likelihood.noising import Noising
from assent.objectives import Judged, build_objective

CASES = {
    case["name"]: case
    for case in json.loads((Path(__file__).parents[1] / "fixtures" / "diffusion-dpo.json").read_text())["cases"]
}


class Given(nn.Module):
    """Predicts what it is given, and keeps what it was shown."""

    def __init__(self, prediction: Tensor) -> None:
        super().__init__()
        self.prediction = nn.Parameter(prediction)
        self.shown: Tensor | None = None

    @staticmethod
    def assent_denoiser(model: Any, noisy: Tensor, timesteps: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        model.shown = noisy
        return model.prediction  # type: ignore[no-any-return]


def the_example(predicted: Tensor, reference: Tensor, target: Tensor, beta: float) -> Tensor:
    """The arithmetic of the public example: winners first, losers after them, the errors' means, beta halved."""
    target = torch.cat([target, target]) if len(target) < len(predicted) else target
    mine = mse_loss(predicted, target, reduction="none").flatten(1).mean(1)
    theirs = mse_loss(reference, target, reduction="none").flatten(1).mean(1)
    winner, loser = mine.chunk(2)
    reference_winner, reference_loser = theirs.chunk(2)
    inside = (winner - loser) - (reference_winner - reference_loser)
    return -logsigmoid(-0.5 * beta * inside).mean()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow_matching"])
def test_loss_and_gradients_equal_those_of_the_example_and_the_recorded_ones(kind: str) -> None:
    case = CASES[f"raw_{kind}"]
    values = {name: torch.tensor(value, dtype=torch.float64) for name, value in case["inputs"].items()}
    if kind == "flow_matching":
        levels = Noising(kind, 1 - values["sigmas"], values["sigmas"], torch.arange(2))
    else:
        alphas = values["alphas_cumprod_t"]
        levels = Noising(kind, alphas.sqrt(), (1 - alphas).sqrt(), torch.arange(2))  # type: ignore[arg-type]

    def rows(name: str) -> Tensor:
        """Winner and loser of each pair side by side, as a policy lays them out."""
        return torch.stack([values[f"{name}_chosen"], values[f"{name}_rejected"]], dim=1).flatten(0, 1)

    pairs = [
        EncodedComparison(
            f"r{row}",
            tuple(EncodedCandidate((), (), 0, {LATENTS: clean}) for clean in rows("x0")[2 * row : 2 * row + 2]),
            (1.0, 0.0),
            (-1, -1),
            (None, None),
        )
        for row in range(2)
    ]
    policy = DiffusionPolicy(Given(rows("policy_pred")), levels)
    reference = policy.around(Given(rows("ref_pred")))
    # The noise of the case in place of what is drawn; one for both pictures of a pair.
    batch = {
        **policy.collate(pairs),
        "noise": values["noise"].repeat_interleave(2, dim=0),
        "index": torch.tensor([0, 0, 1, 1]),
    }
    found = policy(batch)
    with torch.no_grad():
        frozen = reference(batch)
    beta = case["hyper"]["beta"]
    loss = build_objective({"diffusion_dpo": {"beta": beta}})(Judged.of(pairs, found, frozen)).mean()
    loss.backward()
    assert policy.model.shown is not None
    shown = policy.model.shown.view(2, 2, *policy.model.shown.shape[1:])
    for column, side in enumerate(("chosen", "rejected")):
        expected = torch.tensor(case["expected"][f"noisy_{side}"], dtype=torch.float64)
        torch.testing.assert_close(shown[:, column], expected, atol=1e-6, rtol=1e-6)

    predicted = torch.cat([values["policy_pred_chosen"], values["policy_pred_rejected"]]).requires_grad_()
    ref = torch.cat([values["ref_pred_chosen"], values["ref_pred_rejected"]])
    target = torch.cat(
        [torch.tensor(case["expected"][f"target_{side}"], dtype=torch.float64) for side in ("chosen", "rejected")]
    )
    example = the_example(predicted, ref, target, beta)
    example.backward()
    assert loss.item() == pytest.approx(example.item(), abs=1e-6)
    assert loss.item() == pytest.approx(case["expected"]["loss"], abs=1e-6)
    gradient = policy.model.prediction.grad.view(2, 2, *predicted.shape[1:])
    theirs = predicted.grad.view(2, 2, *predicted.shape[1:])
    for column, side in enumerate(("chosen", "rejected")):
        torch.testing.assert_close(gradient[:, column], theirs[column], atol=1e-6, rtol=1e-6)
        recorded = torch.tensor(case["expected"][f"grad_wrt_policy_pred_{side}"], dtype=torch.float64)
        torch.testing.assert_close(gradient[:, column], recorded, atol=1e-6, rtol=1e-6)
