"""References: the same numbers as the model they name, whatever is being trained beside them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from assent.comparison import Candidate, Comparison
from assent.encoding import CausalEncoder, EncodedComparison
from assent.errors import RunError
from assent.likelihood import Likelihoods
from assent.likelihood.adapters import START, TRAINED, add_adapter, only_adapters
from assent.likelihood.build_policy import build_policy
from assent.likelihood.causal_lm import PaddedCausalPolicy
from assent.likelihood.identity import ModelIdentity, identity_of_folder, identity_of_model
from assent.likelihood.loading import load_causal_lm
from assent.likelihood.policy import Batch, Policy
from assent.likelihood.reference import (
    AdapterOffReference,
    FollowingReference,
    FrozenReference,
    agree,
    largest_margin_at_start,
)
from assent.likelihood.stored_reference import ReferenceStore, StoredReference, score_missing, verify
from tests.tiny import byte_tokenizer, save_tiny_lm, tiny_comparisons, tiny_lm

LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"]}


def encoded(count: int = 6, candidates: int = 2, seed: int = 0) -> list[EncodedComparison]:
    encoder = CausalEncoder(byte_tokenizer(template="plain"))
    return encoder.encode_all(tiny_comparisons(count, candidates, seed))[0]


def train(policy: Policy, comparisons: Sequence[EncodedComparison], steps: int = 3) -> None:
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.05)
    batch = policy.collate(comparisons)
    for _ in range(steps):
        optimizer.zero_grad()
        policy(batch).sum[:, 0].mean().neg().backward()
        optimizer.step()


def tokens(policy: PaddedCausalPolicy, comparisons: Sequence[EncodedComparison]) -> Tensor:
    with torch.no_grad():
        return policy(policy.collate(comparisons)).tokens


class Counting:
    """A reference that counts what it is asked for."""

    def __init__(self, inner: FrozenReference | AdapterOffReference) -> None:
        self.inner, self.asked = inner, 0

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Likelihoods:
        self.asked += len(comparisons)
        return self.inner(comparisons, batch)


# -- live references


def test_the_reference_stays_while_the_adapter_is_trained() -> None:
    records = encoded()
    policy = PaddedCausalPolicy(add_adapter(tiny_lm(), LoraConfig(**LORA, lora_dropout=0.0)))
    reference = AdapterOffReference(policy)
    start = tokens(policy, records)
    assert agree(largest_margin_at_start(policy, reference, records), torch.float32)
    train(policy, records)
    assert (tokens(policy, records) - start).abs().max() > 0.1
    answer = reference(records, policy.collate(records))
    torch.testing.assert_close(answer.tokens, start, rtol=0, atol=0)
    assert not answer.tokens.requires_grad
    assert policy.training
    assert not agree(largest_margin_at_start(policy, reference, records), torch.float32)


def test_the_reference_of_a_stacked_adapter_is_the_fine_tuned_model(tmp_path: Path) -> None:
    """Not the base model, which is what switching all adapters off would give."""
    torch.manual_seed(0)
    base = save_tiny_lm(tmp_path / "base")
    model, _ = load_causal_lm(base)
    add_adapter(model, LoraConfig(**LORA, init_lora_weights=False)).save_pretrained(tmp_path / "sft")
    tuned, _ = load_causal_lm(tmp_path / "sft")
    records = encoded()
    fine_tuned = tokens(PaddedCausalPolicy(tuned), records)
    policy = PaddedCausalPolicy(add_adapter(tuned, LoraConfig(**LORA)))
    reference = AdapterOffReference(policy)
    assert reference.keep == (START,)
    train(policy, records)
    flags = {name: parameter.requires_grad for name, parameter in policy.named_parameters()}
    torch.testing.assert_close(reference(records, policy.collate(records)).tokens, fine_tuned, rtol=0, atol=0)
    assert (fine_tuned - tokens(PaddedCausalPolicy(load_causal_lm(base)[0]), records)).abs().max() > 0.1
    assert {name: parameter.requires_grad for name, parameter in policy.named_parameters()} == flags
    assert policy.model.active_adapters == [START, TRAINED]


def test_live_statistics_of_a_stacked_adapter_are_against_the_fine_tuned_model() -> None:
    records = encoded()
    torch.manual_seed(0)
    tuned = add_adapter(tiny_lm(), LoraConfig(**LORA, init_lora_weights=False))
    state = {name.replace(f".{TRAINED}.", f".{START}."): value for name, value in tuned.state_dict().items()}
    model = get_peft_model(tiny_lm(), LoraConfig(**LORA), adapter_name=START)
    model.load_state_dict(state)
    policy = build_policy(add_adapter(model, LoraConfig(**LORA)))
    batch = policy.collate(records)
    flags = [parameter.requires_grad for parameter in policy.parameters()]
    at_start = policy(batch, ("kl_reference",)).statistic("kl_reference")
    assert at_start.abs().max() < 1e-5  # a fresh adapter changes nothing
    train(policy, records)
    assert policy(batch, ("kl_reference",)).statistic("kl_reference").mean() > 1e-3
    assert [parameter.requires_grad for parameter in policy.parameters()] == flags


def test_switching_adapters_between_forward_and_backward_changes_no_gradient() -> None:
    records = encoded()
    policy = PaddedCausalPolicy(add_adapter(tiny_lm(), LoraConfig(**LORA, init_lora_weights=False)))
    reference, batch = AdapterOffReference(policy), policy.collate(records)
    gradients = []
    for ask in (False, True):
        policy.zero_grad()
        loss = policy(batch).sum.sum()
        if ask:
            reference(records, batch)
        loss.backward()
        gradients.append([p.grad.clone() for p in policy.parameters() if p.grad is not None])
    for plain, asked in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, asked, rtol=0, atol=0)


def test_a_reference_drops_nothing_where_the_policy_does() -> None:
    records = encoded()
    policy = PaddedCausalPolicy(add_adapter(tiny_lm(attention_dropout=0.5), LoraConfig(**LORA, lora_dropout=0.5)))
    reference, batch = AdapterOffReference(policy), policy.collate(records)
    assert not torch.equal(policy(batch).tokens, policy(batch).tokens)
    assert torch.equal(reference(records, batch).tokens, reference(records, batch).tokens)
    assert torch.equal(reference(records, batch).tokens, tokens(PaddedCausalPolicy(tiny_lm()), records))


def test_modules_that_are_trained_whole_are_switched_too() -> None:
    records = encoded()
    config = LoraConfig(**LORA, modules_to_save=["lm_head"])
    policy = PaddedCausalPolicy(add_adapter(tiny_lm(), config))
    start = tokens(policy, records)
    train(policy, records)
    torch.testing.assert_close(AdapterOffReference(policy)(records, policy.collate(records)).tokens, start)


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("mix", [1.0, 0.25])
def test_a_following_reference_moves_by_its_share_when_it_is_time(adapter: bool, mix: float) -> None:
    records = encoded()
    model = add_adapter(tiny_lm(), LoraConfig(**LORA, init_lora_weights=False)) if adapter else tiny_lm()
    policy = PaddedCausalPolicy(model)
    size = sum(parameter.numel() for parameter in policy.parameters())
    reference, batch = FollowingReference(policy, every=2, mix=mix), policy.collate(records)
    if adapter:  # no second copy of the model
        assert sum(parameter.numel() for parameter in policy.parameters()) < 1.2 * size
    start = tokens(policy, records)
    torch.testing.assert_close(reference(records, batch).tokens, start, rtol=0, atol=0)
    before = {name: p.detach().clone() for name, p in policy.named_parameters() if p.requires_grad}
    train(policy, records)
    assert not reference.update(1)
    torch.testing.assert_close(reference(records, batch).tokens, start, rtol=0, atol=0)
    assert reference.update(2)
    twin = copy.deepcopy(policy)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if name in before:
                parameter.copy_(before[name].lerp(parameter, mix))
    torch.testing.assert_close(reference(records, batch).tokens, tokens(twin, records), rtol=1e-5, atol=1e-5)
    state = reference.state_dict()
    train(policy, records)
    reference.update(4)
    reference.load_state_dict(state)
    torch.testing.assert_close(reference(records, batch).tokens, tokens(twin, records), rtol=1e-5, atol=1e-5)


# -- batch invariance


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_stored_numbers_are_in_the_shared_prefix_layout_too(tmp_path: Path, family: str) -> None:
    """What the padded policy scored serves the one that reads prompts once, joint preferences included."""
    comparisons = [
        *tiny_comparisons(3, 3),
        Comparison("one?", [Candidate("two", score=1.0), Candidate("three", prompt="other?", score=0.0)]),
    ]
    records, _ = CausalEncoder(byte_tokenizer(template="plain"), score_prompts=True).encode_all(comparisons)
    padded = PaddedCausalPolicy(tiny_lm(family))
    store = stored(tmp_path, padded)
    score_missing(store, FrozenReference(padded), padded, records)
    shared = build_policy(tiny_lm(family))
    batch = shared.collate(records)
    with torch.no_grad():
        truth = shared(batch)
    answer = StoredReference(store)(records, batch)
    torch.testing.assert_close(answer.tokens, truth.tokens, rtol=0, atol=1e-4)
    assert truth.segment is not None
    assert answer.segment is not None
    assert torch.equal(answer.owner, truth.owner)
    assert torch.equal(answer.segment.long(), truth.segment.long())


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma2"])
def test_a_record_alone_in_a_batch_and_padded_scores_the_same(family: str) -> None:
    records = encoded(5, 3)
    policy = PaddedCausalPolicy(tiny_lm(family))
    together = policy(policy.collate(records))
    for index, record in enumerate(records):
        alone = policy(policy.collate([record]))
        torch.testing.assert_close(alone.sum[0], together.sum[index], rtol=0, atol=1e-4)
        torch.testing.assert_close(alone.length[0], together.length[index])


# -- the store


def stored(folder: Path, policy: PaddedCausalPolicy) -> ReferenceStore:
    return ReferenceStore(folder, identity_of_model(policy.model))


def test_a_sweep_over_settings_of_training_scores_the_reference_once(tmp_path: Path) -> None:
    """Eight runs of different learning rate, beta and loss, each with a store of its own over one folder."""
    records = encoded(20)
    asked = 0
    for run in range(8):
        policy = PaddedCausalPolicy(tiny_lm())
        live = Counting(FrozenReference(PaddedCausalPolicy(tiny_lm())))
        reference = StoredReference(stored(tmp_path, policy), live)
        optimizer = torch.optim.SGD(policy.parameters(), lr=0.01 * (run + 1))
        order = np.random.default_rng(run).permutation(len(records))
        for start in range(0, len(records), 3 + run % 3):
            batch = [records[index] for index in order[start : start + 3 + run % 3]]
            inputs = policy.collate(batch)
            ratio = policy(inputs).sum - reference(batch, inputs).sum
            margin = ratio[:, 0] - ratio[:, 1]
            loss = (margin - 1).square() if run % 2 else -torch.nn.functional.logsigmoid(0.1 * run * margin)
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
        reference.store.arrays.close()
        asked += live.asked
    assert asked == len(records)


def test_stored_numbers_are_those_of_the_reference_in_every_batch(tmp_path: Path) -> None:
    ragged = encoded(4, 2) + encoded(3, 4, seed=1) + encoded(2, 1, seed=2)
    policy = PaddedCausalPolicy(tiny_lm())
    live = FrozenReference(PaddedCausalPolicy(tiny_lm()))
    store = stored(tmp_path, policy)
    done = score_missing(store, live, policy, ragged, budget=300)
    assert (done.found, done.scored) == (0, 9)
    for batch in (ragged, ragged[::-1], ragged[4:6]):
        inputs = policy.collate(batch)
        answer, truth = StoredReference(store)(batch, inputs), live(batch, inputs)
        torch.testing.assert_close(answer.tokens, truth.tokens, rtol=0, atol=1e-5)
        for name in ("owner", "mask", "segment"):
            assert torch.equal(getattr(answer, name), getattr(truth, name))
        assert answer.shape == truth.shape
    assert verify(store, live, policy, ragged) == 8


def test_half_precision_is_compared_within_its_own_bounds(tmp_path: Path) -> None:
    """Stored from padded rows, asked for by shared prefixes: other sums of the same bfloat16 numbers."""
    records = encoded(12, 3)
    padded, shared = (PaddedCausalPolicy(tiny_lm(dtype=torch.bfloat16)), build_policy(tiny_lm(dtype=torch.bfloat16)))
    store = stored(tmp_path, padded)
    score_missing(store, FrozenReference(padded), padded, records)
    assert verify(store, FrozenReference(shared), shared, records) == 8
    with torch.no_grad():
        for parameter in shared.parameters():
            parameter.mul_(1.1)
    with pytest.raises(RunError, match="not those of the reference"):
        verify(store, FrozenReference(shared), shared, records)


def test_ten_per_cent_more_rows_cost_ten_per_cent_more_work(tmp_path: Path) -> None:
    records = encoded(22)
    policy = PaddedCausalPolicy(tiny_lm())
    counts = []
    for upto in (20, 20, 22):
        live = Counting(FrozenReference(PaddedCausalPolicy(tiny_lm())))
        store = stored(tmp_path, policy)
        done = score_missing(store, live, policy, records[:upto])
        assert done.scored == live.asked
        counts.append(live.asked)
        store.arrays.close()
    assert counts == [20, 0, 2]


def test_the_same_record_twice_is_scored_once(tmp_path: Path) -> None:
    records = encoded(3) * 2
    policy = PaddedCausalPolicy(tiny_lm())
    live = Counting(FrozenReference(PaddedCausalPolicy(tiny_lm())))
    score_missing(stored(tmp_path, policy), live, policy, records)
    assert live.asked == 3


def keys_of(comparison: Comparison, **options: object) -> set[str]:
    tokenizer = byte_tokenizer(template=str(options.pop("template", "plain")))
    records, _ = CausalEncoder(tokenizer, **options).encode_all([comparison])  # type: ignore[arg-type]
    return {candidate.key for candidate in records[0].candidates}


def test_whatever_changes_a_number_changes_the_key() -> None:
    pair = Comparison("why?", [Candidate("because", score=1.0), Candidate("no", score=0.0)])
    plain = keys_of(pair)
    assert plain == keys_of(Comparison("why?", pair.candidates[::-1], annotator="ann", weight=3.0))
    assert len(plain & keys_of(Comparison("why?", [pair.candidates[0], Candidate("yes")]))) == 1
    for changed in (
        keys_of(Comparison("Why?", pair.candidates)),
        keys_of(pair, template="bos"),
        keys_of(pair, score_prompts=True),
    ):
        assert not plain & changed


def test_whatever_changes_the_model_changes_its_identity(tmp_path: Path) -> None:
    """Weights, adapters, quantisation, type and what the configuration computes; not names, places or dropout."""
    folder = save_tiny_lm(tmp_path / "a")

    def identity(name: str = "a", dtype: str = "float32", **more: object) -> ModelIdentity:
        return identity_of_folder(tmp_path / name, dtype=dtype, **more)  # type: ignore[arg-type]

    model, _ = load_causal_lm(folder)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    assert identity("sharded").key == identity().key
    model.config.attention_dropout = 0.4
    model.save_pretrained(tmp_path / "renamed")
    assert identity("renamed").key == identity().key

    keys = [identity().key, identity(dtype="bfloat16").key, identity(quantization={"load_in_4bit": True}).key]
    with torch.no_grad():
        model.get_input_embeddings().weight[3, 3] += 1e-3
    model.save_pretrained(tmp_path / "touched")
    keys.append(identity("touched").key)
    model, _ = load_causal_lm(folder)
    model.config.rms_norm_eps = 1e-3
    model.save_pretrained(tmp_path / "other eps")
    keys.append(identity("other eps").key)
    for seed in (1, 2):
        torch.manual_seed(seed)
        adapted = add_adapter(load_causal_lm(folder)[0], LoraConfig(**LORA, init_lora_weights=False))
        adapted.save_pretrained(tmp_path / f"adapter{seed}")
        keys.append(identity(adapters=[tmp_path / f"adapter{seed}"]).key)
    keys.append(identity(adapters=[tmp_path / "adapter1", tmp_path / "adapter2"]).key)
    assert len(set(keys)) == len(keys)


def test_remembered_hashes_notice_a_changed_file(tmp_path: Path) -> None:
    folder, cache = save_tiny_lm(tmp_path / "a"), tmp_path / "cache"
    first = identity_of_folder(folder, dtype="float32", cache=cache)
    assert identity_of_folder(folder, dtype="float32", cache=cache) == first
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert identity_of_folder(folder, dtype="float32", cache=cache) != first


def test_a_model_in_memory_is_its_base_with_or_without_adapters() -> None:
    torch.manual_seed(0)
    base = identity_of_model(tiny_lm())
    adapted = add_adapter(tiny_lm(), LoraConfig(**LORA, init_lora_weights=False))
    assert identity_of_model(adapted).weights == base.weights
    with_adapter = identity_of_model(adapted, [TRAINED])
    assert with_adapter.key != identity_of_model(adapted).key
    assert identity_of_model(tiny_lm(seed=1)).key != base.key
    assert identity_of_model(tiny_lm(dtype=torch.bfloat16)).key != base.key


def test_numbers_of_another_model_stop_the_run(tmp_path: Path) -> None:
    records = encoded()
    policy = PaddedCausalPolicy(tiny_lm())
    store = stored(tmp_path, policy)
    score_missing(store, FrozenReference(PaddedCausalPolicy(tiny_lm())), policy, records)
    moved = PaddedCausalPolicy(tiny_lm())
    with torch.no_grad():
        moved.model.lm_head.weight[5] += 0.01  # type: ignore[index, operator, union-attr]
    with pytest.raises(RunError, match="not those of the reference"):
        verify(store, FrozenReference(moved), policy, records)


def test_a_damaged_record_is_scored_again(tmp_path: Path) -> None:
    records = encoded()
    policy = PaddedCausalPolicy(tiny_lm())
    live = Counting(FrozenReference(PaddedCausalPolicy(tiny_lm())))
    store = stored(tmp_path, policy)
    score_missing(store, live, policy, records)
    store.arrays.close()
    shard = next(tmp_path.rglob("shard-*.data"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 255
    shard.write_bytes(content)
    again = stored(tmp_path, policy)
    assert score_missing(again, live, policy, records).scored == 1
    assert again.arrays.damaged
    assert score_missing(again, live, policy, records).scored == 0


def test_a_missing_record_without_a_reference_says_what_to_do(tmp_path: Path) -> None:
    policy = PaddedCausalPolicy(tiny_lm())
    records = encoded(1)
    with pytest.raises(RunError, match="assent data precompute"):
        StoredReference(stored(tmp_path, policy))(records, policy.collate(records))


def test_adapters_come_back_after_an_error() -> None:
    model = add_adapter(tiny_lm(), LoraConfig(**LORA, init_lora_weights=False))
    ids = torch.arange(9)[None]
    before = model(ids).logits
    with pytest.raises(ZeroDivisionError), only_adapters(model):
        raise ZeroDivisionError
    torch.testing.assert_close(model(ids).logits, before)
