"""Preference models trained as a run file says, on a backbone and on frozen features."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from assent.comparison import Candidate, Comparison
from assent.config import run_from
from assent.encoding import CausalEncoder
from assent.errors import InputError
from assent.evaluation.accuracy import accuracy
from assent.evaluation.pair_outcomes import pair_outcomes
from assent.preference_models import DataFacts
from assent.preference_models.adapting import adapt_scorer, save_adapted
from assent.preference_models.backbone import BackboneScorer
from assent.preference_models.encoders import FolderEncoder
from assent.preference_models.fit import FitOptions, train_preference_model
from assent.preference_models.loading import open_scorer
from assent.preference_models.reward_folder import build_reward_policy
from assent.training.preference_run import train_on_backbone, train_on_features
from tests.tiny import byte_tokenizer, save_tiny_lm
from tests.unit.test_preference_models_encoders import folder_of, pair_tokenizer


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


@pytest.mark.parametrize("spec", [{"bradley_terry": {}}, {"pal": {"variant": "b"}}])
def test_an_encoder_is_trained_like_a_decoder(tmp_path: Path, spec: Any) -> None:
    base = tmp_path / "base"
    folder_of(base, "bert", pair_tokenizer(types=True), classifier=False)
    said: list[Any] = []
    run = config(tmp_path, spec, base, training={"learning_rate": 3e-3, "num_train_epochs": 3})
    trainer, plan, _ = train_on_backbone(run, said.append, comparisons=records())
    assert trainer is not None
    assert trainer.state.global_step == plan.steps == 18
    assert "both ways" in trainer.policy.route
    assert quality(tmp_path) > 0.9


def test_pal_b_stands_on_a_decoder(tmp_path: Path) -> None:
    base = save_tiny_lm(tmp_path / "base", tokenizer=byte_tokenizer())
    run = config(tmp_path, {"pal": {"variant": "b"}}, base, training={"learning_rate": 3e-3, "num_train_epochs": 3})
    trainer, _, _ = train_on_backbone(run, lambda event: None, comparisons=records())
    assert trainer is not None
    assert quality(tmp_path) > 0.9
    # A completion is read without its prompt: only the ideal point knows the prompt.
    scorer = open_scorer(str(tmp_path / "out" / "model"))
    one, other = (Comparison(p, [Candidate("ab"), Candidate("xyz")]) for p in ("hello", "quite another prompt"))
    policy = scorer.policy  # type: ignore[attr-defined]
    rows = [policy.embed(policy.collate(CausalEncoder(byte_tokenizer()).encode_all([c])[0])) for c in (one, other)]
    torch.testing.assert_close(rows[0].features, rows[1].features)
    assert not torch.allclose(rows[0].prompt_features, rows[1].prompt_features)


def test_a_pal_on_a_backbone_learns_a_newcomer(tmp_path: Path) -> None:
    base = save_tiny_lm(tmp_path / "base", tokenizer=byte_tokenizer())
    torch.manual_seed(0)
    policy = build_reward_policy(base, {"pal": {"variant": "b"}}, DataFacts(annotators=("a0", "a1")))
    scorer = BackboneScorer(policy, CausalEncoder(byte_tokenizer()), batch_tokens=64)
    few = [Comparison(c.prompt, c.candidates, annotator="new") for c in records(6)]
    (newcomer,) = adapt_scorer(scorer, few)
    assert newcomer.comparisons == 6
    assert sum(newcomer.weights) == pytest.approx(1)
    save_adapted(scorer, tmp_path / "saved")
    again = open_scorer(str(tmp_path / "saved"))
    for one, other in zip(scorer.score(few), again.score(few), strict=True):
        assert one.rewards == pytest.approx(other.rewards, abs=1e-5)
    assert "new" in again.policy.head.annotators  # type: ignore[attr-defined]


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


@pytest.mark.parametrize("spec", [{"pal": {}}, {"more": {}}, {"ensemble": {"members": 2}}])
def test_a_killed_training_on_features_ends_with_the_same_weights(tmp_path: Path, spec: Any) -> None:
    features = {"encoder": "hashed_ngrams", "size": 6}
    whole = config(tmp_path / "whole", spec, training={"num_train_epochs": 6})
    train_on_features(whole, features, lambda event: None, comparisons=records())
    killed = config(tmp_path / "killed", spec, training={"num_train_epochs": 6})

    def kill(event: Any) -> None:
        if "epoch 4" in event["text"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_on_features(killed, features, kill, comparisons=records())
    state = tmp_path / "killed" / "out" / "fit.safetensors"
    said: list[str] = []
    # Other data would not give the same weights, and are refused.
    with pytest.raises(InputError, match="other data or settings"):
        train_on_features(killed, features, lambda event: None, comparisons=records(40))
    train_on_features(killed, features, lambda event: said.append(event["text"]), comparisons=records())
    assert any("going on" in text for text in said)
    assert not state.exists()
    names = [tmp_path / name / "out" / "model" / "preference_model.safetensors" for name in ("whole", "killed")]
    first, second = (load_file(name) for name in names)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    lines = [(tmp_path / name / "out" / "metrics.jsonl").read_text() for name in ("whole", "killed")]
    assert lines[0] == lines[1]
    state.write_bytes(b"half a file")
    with pytest.raises(InputError, match="damaged"):
        train_on_features(killed, features, lambda event: None, comparisons=records())


def test_the_best_weights_outlive_a_kill(tmp_path: Path) -> None:
    train, held = records(32), records(16, seed=5)
    spec, features = "bradley_terry", {"encoder": "hashed_ngrams", "size": 4}
    options = FitOptions(epochs=5, batch_size=4, learning_rate=0.5, keep="best")

    def trained(state: Path | None, report: Any = None) -> Any:
        return train_preference_model(train, spec, features, options, held, report=report, state=state)

    def kill(numbers: Any) -> None:
        if numbers["epoch"] == 3:
            raise KeyboardInterrupt

    whole = trained(None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "state", kill)
    again = trained(tmp_path / "state")
    assert again.history == whole.history
    for one, other in zip(whole.model.head.parameters(), again.model.head.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_local_encoder_serves_as_features(tmp_path: Path) -> None:
    base = save_tiny_lm(tmp_path / "base", tokenizer=byte_tokenizer())
    run = config(tmp_path, {"bradley_terry": {}}, training={"num_train_epochs": 30})
    cache = tmp_path / "cache.sqlite"
    features = {"encoder": str(base), "cache": str(cache)}
    train_on_features(run, features, lambda event: None, comparisons=records())
    assert quality(tmp_path) > 0.8
    assert cache.stat().st_size > 0
    # A run over the same texts embeds none of them again, and a run folder keeps a cache of its own.
    again = config(tmp_path / "again", {"bradley_terry": {}}, training={"num_train_epochs": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderEncoder, "_encode", lambda *_: pytest.fail("embedded twice"))
        train_on_features(again, features, lambda event: None, comparisons=records())
    own = config(tmp_path / "own", {"bradley_terry": {}}, training={"num_train_epochs": 1})
    train_on_features(own, {"encoder": str(base)}, lambda event: None, comparisons=records(8))
    assert (tmp_path / "own" / "out" / "features.sqlite").exists()
