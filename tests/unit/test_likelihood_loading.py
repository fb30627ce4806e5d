"""Models from disk: adapters in stacks, dropout off, and clear words for what cannot be loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from assent.errors import InputError
from assent.likelihood.adapters import add_adapter
from assent.likelihood.loading import load_causal_lm
from tests.tiny import byte_tokenizer, save_tiny_lm, tiny_lm

LORA = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
IDS = torch.arange(20)[None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    model, _ = load_causal_lm(base)
    get_peft_model(model, LORA).save_pretrained(folder)
    return folder


def test_a_saved_model_comes_back(base: Path) -> None:
    model, tokenizer = load_causal_lm(base)
    torch.testing.assert_close(model(IDS).logits, tiny_lm()(IDS).logits)
    assert model.training
    assert tokenizer.chat_template
    half, _ = load_causal_lm(base, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16


def test_an_adapter_folder_is_a_model(base: Path, adapter: Path) -> None:
    plain, _ = load_causal_lm(base)
    tuned, _ = load_causal_lm(adapter)
    same, _ = load_causal_lm(base, adapter=adapter)
    assert (tuned(IDS).logits - plain(IDS).logits).abs().max() > 0.01
    torch.testing.assert_close(tuned(IDS).logits, same(IDS).logits)
    assert not any(parameter.requires_grad for name, parameter in tuned.named_parameters() if "lora" in name)


def test_a_new_adapter_goes_on_top_of_a_trained_one(adapter: Path) -> None:
    """Preference training on an SFT adapter, without merging it first."""
    tuned, _ = load_causal_lm(adapter)
    before = tuned(IDS).logits
    stacked = add_adapter(tuned, LoraConfig(r=2, target_modules="all-linear"))
    torch.testing.assert_close(stacked(IDS).logits, before)
    trainable = [name for name, parameter in stacked.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all(".default." in name for name in trainable)
    stacked(IDS).logits.sum().backward()
    assert all(p.grad is None for n, p in stacked.named_parameters() if ".sft." in n)


def test_two_saved_adapters_stack(base: Path, adapter: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    model, _ = load_causal_lm(base)
    get_peft_model(model, LORA).save_pretrained(tmp_path)
    once, _ = load_causal_lm(adapter)
    twice, _ = load_causal_lm(adapter, adapter=tmp_path)
    assert (once(IDS).logits - twice(IDS).logits).abs().max() > 0.01


def test_dropout_is_off_unless_asked_for(tmp_path: Path) -> None:
    folder = save_tiny_lm(tmp_path, "gpt_neox", attention_dropout=0.3, hidden_dropout=0.3)
    model, _ = load_causal_lm(folder)
    assert model.training
    torch.testing.assert_close(model(IDS).logits, model(IDS).logits, rtol=0, atol=0)
    assert all(module.p == 0 for module in model.modules() if isinstance(module, nn.Dropout))
    kept, _ = load_causal_lm(folder, dropout=True)
    assert (kept(IDS).logits - kept(IDS).logits).abs().max() > 0


def broken(base: Path, folder: Path, damage: str) -> Path:
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    if damage == "pickled":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif damage == "no weights":
        (folder / "model.safetensors").unlink()
    elif damage == "no config":
        (folder / "config.json").unlink()
    elif damage == "no tokenizer":
        for path in folder.glob("tokenizer*"):
            path.unlink()
    elif damage == "classifier":
        (folder / "config.json").write_text(
            json.dumps(config | {"architectures": ["LlamaForSequenceClassification"]})
        )
    elif damage == "unknown family":
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "nobody"}))
    elif damage == "not JSON":
        (folder / "config.json").write_text("{")
    elif damage == "cut short":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    elif damage == "too many tokens":
        byte_tokenizer(merges=[("a", chr(letter)) for letter in range(98, 123)] * 2).save_pretrained(folder)
        tokenizer = byte_tokenizer()
        tokenizer.add_tokens([f"<{number}>" for number in range(60)])
        tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("pickled", "safetensors.*pytorch_model.bin.*save the model again"),
        ("no weights", "no weights at all"),
        ("no config", "holds no model"),
        ("no tokenizer", "cannot load the tokenizer"),
        ("classifier", "not a causal language model"),
        ("unknown family", "cannot load the model"),
        ("not JSON", "not JSON"),
        ("cut short", "cannot load the model"),
        ("too many tokens", "more tokens than the model"),
    ],
)
def test_what_cannot_be_loaded_is_said(base: Path, tmp_path: Path, damage: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_causal_lm(broken(base, tmp_path / "model", damage))


def test_a_missing_model_or_adapter_is_said(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="no such model folder"):
        load_causal_lm(tmp_path / "none")
    with pytest.raises(InputError, match="cannot load the model"):
        load_causal_lm("nobody/nothing")
    with pytest.raises(InputError, match="holds no adapter"):
        load_causal_lm(base, adapter=tmp_path)


def test_an_adapter_of_another_model_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = save_tiny_lm(tmp_path, hidden=64)
    with pytest.raises(InputError, match="does not fit"):
        load_causal_lm(other, adapter=adapter)
