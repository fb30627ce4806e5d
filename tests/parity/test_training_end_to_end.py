"""Training end to end against a loop of plain PyTorch that shares nothing with the engine but the model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.comparison import Comparison
from assent.config import run_from
from assent.training import Given, train
from assent.training.order import StepOrder
from tests.tiny import byte_tokenizer, save_tiny_lm, tiny_comparisons, tiny_lm

BETA = 0.1


def log_probabilities(model: torch.nn.Module, tokenizer: object, prompt: str, answer: str) -> Tensor:
    """[T] of the answer's tokens and the end token, one row, by hand."""
    chat = [{"role": "user", "content": prompt}]
    start = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)  # type: ignore[attr-defined]
    before = tokenizer(start, add_special_tokens=False).input_ids  # type: ignore[operator]
    after = tokenizer(answer + "<|end|>", add_special_tokens=False).input_ids  # type: ignore[operator]
    ids = torch.tensor([before + after])
    logits = model(input_ids=ids).logits[0, len(before) - 1 : -1]
    return logits.log_softmax(-1).gather(1, ids[0, len(before) :, None])[:, 0]


def dpo(chosen: Tensor, rejected: Tensor, other_chosen: Tensor, other_rejected: Tensor) -> Tensor:
    return -logsigmoid(BETA * ((chosen.sum() - other_chosen.sum()) - (rejected.sum() - other_rejected.sum())))


def ipo(chosen: Tensor, rejected: Tensor, other_chosen: Tensor, other_rejected: Tensor) -> Tensor:
    margin = (chosen - other_chosen).mean() - (rejected - other_rejected).mean()
    return (margin - 1 / (2 * BETA)) ** 2


def simpo(chosen: Tensor, rejected: Tensor, *_: Tensor) -> Tensor:
    return -logsigmoid(2.5 * (chosen.mean() - rejected.mean()) - 1.375)


def orpo(chosen: Tensor, rejected: Tensor, *_: Tensor) -> Tensor:
    def odds(mean: Tensor) -> Tensor:
        return mean - torch.log1p(-mean.exp())

    return -chosen.mean() - 0.1 * logsigmoid(odds(chosen.mean()) - odds(rejected.mean()))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-9)])
@pytest.mark.parametrize("loss", [dpo, ipo, simpo, orpo], ids=lambda loss: loss.__name__)
def test_training_is_the_plain_loop(
    tmp_path: Path, loss: Callable[..., Tensor], dtype: str, tolerance: float
) -> None:
    kind = getattr(torch, dtype)
    data = tiny_comparisons(6)
    save_tiny_lm(tmp_path / "model", layers=1, hidden=16, dtype=kind)
    result = train(
        run_from(
            {
                "model": {"path": str(tmp_path / "model"), "dtype": dtype, "layout": "padded"},
                "objective": loss.__name__,
                "training": {
                    "output_dir": str(tmp_path / "out"),
                    "max_steps": 3,
                    "per_device_train_batch_size": 2,
                    "gradient_accumulation_steps": 2,
                    "learning_rate": 1e-2,
                    "lr_scheduler_type": "constant",
                    "optim": "sgd",
                    "max_grad_norm": 0,
                    "logging_steps": 1,
                    "use_cpu": True,
                    "save_strategy": "no",
                },
                **({} if loss in (simpo, orpo) else {"reference": {"store": str(tmp_path / "store")}}),
            }
        ),
        given=Given(data),
    )
    model = tiny_lm(layers=1, hidden=16, dtype=kind)
    expected = plain_loop(model, data, loss)
    for name, parameter in model.named_parameters():
        found = result.model.get_parameter(name)
        assert (found - parameter).abs().max() < tolerance, name
    assert result.metrics["loss"] == pytest.approx(expected[-1], abs=1e-4 if dtype == "float32" else 1e-6)


def plain_loop(model: torch.nn.Module, data: list[Comparison], loss: Callable[..., Tensor]) -> list[float]:
    tokenizer = byte_tokenizer(template="plain")
    reference = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    order, seen = StepOrder((len(data),), 4, 42), []
    for number in range(3):
        chosen = [data[at] for at in order.step(*divmod(number, len(order)))]
        total = torch.zeros(())
        for pair in chosen:
            scored = [
                log_probabilities(which, tokenizer, str(pair.prompt), str(candidate.completion))
                for which in (model, reference)
                for candidate in pair.candidates
            ]
            total = total + loss(*scored) / len(chosen)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        seen.append(float(total.detach()))
    return seen
