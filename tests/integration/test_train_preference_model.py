"""Preference models trained as a run file says, on a backbone and on frozen features."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from assent.comparison import Candidate, Comparison
from assent.config import run_from
from assent.errors import InputError
from assent.evaluation.accuracy import accuracy
from assent.evaluation.pair_outcomes import pair_outcomes
from assent.preference_models.loading import open_scorer
from assent.training.preference_run import train_on_backbone, train_on_features
from tests.tiny import byte_tokenizer, save_tiny_lm


def records(count: int = 48, seed: int = 0) -> list[Comparison]:
    draw = random.Random(seed)
    rows = []
    for row in range(count):
        candidates = [
            Candidate("".join(draw.choices("abc", k=draw.randint(2, 6))), score=1.0, scores={"gold": 1.0}),
            Candidate("".join(draw.choices("xyz", k=draw.randint(2, 6))), score=0.0, scores={"gold": 0.0}),
        ]
        draw.shuffle(candidates)
        rows.append(Comparison(f"q{row}", candidates, annotator=f"a{row % 2}", group=f"g{row % 2}"))
    return rows


def config(folder: Path, spec: Any, model: Path | str = "none", **more: Any) -> Any:
    training = {
        "output_dir": str(folder / "out"),
        "use_cpu": True,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-2,
        "num_train_epochs": 2,
        **more.pop("training", {}),
    }
    return run_from(
        {"model": str(model), "preference_model": spec, "data": "given.jsonl", "training": training, **more}
    )


def quality(folder: Path) -> float:
    test = records(40, seed=9)
    scorer = open_scorer(str(folder / "out" / "model"))
    return accuracy(pair_outcomes(test, scorer.score(test))).strict.estimate


@pytest.mark.parametrize(
    ("spec", "peft"),
    [
        ({"bradley_terry": {}}, {"r": 4, "target_modules": "all-linear"}),
        ({"more": {}}, None),
        ({"ensemble": {"member": {"gpm": {"dimensions_per_candidate": 4}}, "members": 2}}, None),
    ],
)
def test_one_trainer_trains_heads_on_a_backbone(tmp_path: Path, spec: Any, peft: Any) -> None:
    base = save_tiny_lm(tmp_path / "base", tokenizer=byte_tokenizer())
    run = config(tmp_path, spec, base, **({} if peft is None else {"peft": peft}))
    said: list[Any] = []
    trainer, plan, _ = train_on_backbone(run, said.append, comparisons=records())
    assert trainer is not None
    assert trainer.state.global_step == plan.steps == 12
    assert quality(tmp_path) > 0.9
    assert (tmp_path / "out" / "metrics.jsonl").exists()


def test_checkpoints_hold_the_head(tmp_path: Path) -> None:
    base = save_tiny_lm(tmp_path / "base", tokenizer=byte_tokenizer())
    whole = config(
        tmp_path / "whole", {"bradley_terry": {}}, base, training={"save_steps": 3, "save_strategy": "steps"}
    )
    trainer, _, _ = train_on_backbone(whole, lambda event: None, comparisons=records(24))
    assert trainer is not None
    for checkpoint in sorted((tmp_path / "whole" / "out").glob("checkpoint-*"))[1:]:
        shutil.rmtree(checkpoint)
    shutil.rmtree(tmp_path / "whole" / "out" / "model")
    resumed, _, _ = train_on_backbone(whole, lambda event: None, resume=True, comparisons=records(24))
    assert resumed is not None
    for (name, first), second in zip(
        trainer.policy.state_dict().items(), resumed.policy.state_dict().values(), strict=True
    ):
        assert torch.equal(first, second), name


def test_frozen_features_need_no_model(tmp_path: Path) -> None:
    run = config(tmp_path, {"pal": {"prototypes": 1}}, training={"num_train_epochs": 15})
    numbers = train_on_features(
        run, {"encoder": "hashed_ngrams", "size": 12}, lambda event: None, comparisons=records()
    )
    assert numbers["epoch"] == 15
    assert quality(tmp_path) > 0.9
    refused = config(tmp_path / "x", {"pal": {}}, training={"warmup_steps": 3})
    with pytest.raises(InputError, match="warmup_steps"):
        train_on_features(refused, {}, lambda event: None, comparisons=records())


def test_a_local_encoder_serves_as_features(tmp_path: Path) -> None:
    base = save_tiny_lm(tmp_path / "base", tokenizer=byte_tokenizer())
    run = config(tmp_path, {"bradley_terry": {}}, training={"num_train_epochs": 30})
    cache = tmp_path / "cache.sqlite"
    features = {"encoder": str(base), "cache": str(cache)}
    train_on_features(run, features, lambda event: None, comparisons=records())
    assert quality(tmp_path) > 0.8
    assert cache.stat().st_size > 0
