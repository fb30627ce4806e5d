"""A head on a backbone: the same features whatever the layout, the same scores as plain transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from assent.comparison import Candidate, Comparison
from assent.encoding import CausalEncoder
from assent.objectives import Judged
from assent.preference_models import DataFacts, build_preference_model
from assent.preference_models.backbone import BackboneScorer, ImplicitScorer
from assent.preference_models.loading import ScorerOptions, open_scorer
from assent.preference_models.reward_folder import build_reward_policy, load_reward_policy, save_reward_policy
from assent.preference_models.reward_policy import PreferenceObjective, RewardPolicy, reward_policy
from tests.tiny import byte_tokenizer, save_tiny_lm, tiny_comparisons, tiny_config, tiny_lm

TEXTS = [
    ("a red cat", ["it sleeps", "a small dog runs over the river and under the tree", "no"]),
    ("hi", ["x", "yes yes"]),
    ("a long question about the stone near the river? " * 3, ["the stone is blue", "green"]),
]


def comparisons() -> list[Comparison]:
    return [
        Comparison(prompt, [Candidate(text, score=float(-column)) for column, text in enumerate(answers)])
        for prompt, answers in TEXTS
    ]


def backbone(family: str = "llama", **more: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModel.from_config(tiny_config(family, **more))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model.eval()


def classifier(folder: Path, tokenizer: Any, labels: int = 1, family: str = "llama") -> Any:
    torch.manual_seed(1)
    config = tiny_config(family, num_labels=labels, pad_token_id=tokenizer.pad_token_id)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def plain_scores(model: Any, tokenizer: Any, rows: list[list[int]], side: str) -> torch.Tensor:
    """What transformers itself says of rows of ids, padded on a side."""
    width = max(map(len, rows))
    pad = tokenizer.pad_token_id
    ids, mask = [], []
    for row in rows:
        fill = [pad] * (width - len(row))
        ids.append(row + fill if side == "right" else fill + row)
        ones = [1] * len(row)
        zeros = [0] * len(fill)
        mask.append(ones + zeros if side == "right" else zeros + ones)
    attention = torch.tensor(mask)
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits: torch.Tensor = model(
            input_ids=torch.tensor(ids), attention_mask=attention, position_ids=positions
        ).logits
    return logits


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2"])
def test_packed_rows_give_the_features_of_padded_ones(family: str) -> None:
    encoded, _ = CausalEncoder(byte_tokenizer()).encode_all(comparisons())
    head = build_preference_model({"gpm": {"prompt_gate": True, "dimensions_per_candidate": 4}}, 32)
    model = backbone(family)
    padded = RewardPolicy(model, head, shared=False)
    truth = padded.features(padded.collate(encoded))
    packed = reward_policy(model, head)
    assert packed.shared
    found = packed.features(packed.collate(encoded))
    torch.testing.assert_close(found.candidates, truth.candidates, atol=1e-4, rtol=1e-4)
    assert found.prompt is not None
    assert truth.prompt is not None
    torch.testing.assert_close(found.prompt, truth.prompt, atol=1e-4, rtol=1e-4)
    # The truth itself: each candidate alone in its row, its last token.
    for row, comparison in enumerate(encoded):
        for column, candidate in enumerate(comparison.candidates):
            with torch.no_grad():
                hidden = model(input_ids=torch.tensor([list(candidate.ids)]))[0][0]
            torch.testing.assert_close(truth.candidates[row, column], hidden[-1], atol=1e-4, rtol=1e-4)
        with torch.no_grad():
            hidden = model(input_ids=torch.tensor([list(comparison.candidates[0].ids)]))[0][0]
        at = comparison.candidates[0].prompt_length - 1
        torch.testing.assert_close(truth.prompt[row], hidden[at], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pad", ["own", "eos", "none"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_score_does_not_depend_on_the_batch(pad: Any, shared: bool) -> None:
    head = build_preference_model("bradley_terry", 32)
    policy = reward_policy(backbone(), head, shared_prefixes=shared)
    assert policy.shared == shared
    tokenizer = byte_tokenizer(pad=pad)
    tokenizer.padding_side = "left" if shared else "right"
    encoder = CausalEncoder(tokenizer)
    together = BackboneScorer(policy, encoder).score(comparisons())
    singles = [Comparison(one.prompt, [Candidate(c.completion)]) for one in comparisons() for c in one.candidates]
    alone = BackboneScorer(policy, encoder, batch_tokens=1).score(singles)
    flat = [reward for one in together for reward in one.rewards or ()]
    assert flat == pytest.approx([one.rewards[0] for one in alone], abs=1e-5)  # type: ignore[index]
    assert len({round(value, 6) for value in flat}) == len(flat), "one score for all"


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pad", ["own", "eos"])
def test_heads_of_others_score_here_as_in_transformers(tmp_path: Path, pad: Any, side: str) -> None:
    tokenizer = byte_tokenizer(pad=pad)
    tokenizer.padding_side = side
    model = classifier(tmp_path, tokenizer)
    records = comparisons()
    encoded, _ = CausalEncoder(tokenizer).encode_all(records)
    rows = [list(candidate.ids) for one in encoded for candidate in one.candidates]
    expected = plain_scores(model, tokenizer, rows, side)[:, 0].tolist()
    padded = BackboneScorer(load_reward_policy(tmp_path, shared_prefixes=False), CausalEncoder(tokenizer))
    assert [r for one in padded.score(records) for r in one.rewards or ()] == pytest.approx(
        expected, abs=1e-6, rel=1e-6
    )
    packed = open_scorer(str(tmp_path)).score(records)
    assert [r for one in packed for r in one.rewards or ()] == pytest.approx(expected, abs=1e-5, rel=1e-5)


def test_two_labels_are_read_as_their_difference(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    model = classifier(tmp_path, tokenizer, labels=2)
    records = comparisons()[:1]
    encoded, _ = CausalEncoder(tokenizer).encode_all(records)
    logits = plain_scores(model, tokenizer, [list(c.ids) for c in encoded[0].candidates], "right")
    (scored,) = open_scorer(str(tmp_path)).score(records)
    assert scored.rewards == pytest.approx((logits[:, 1] - logits[:, 0]).tolist(), abs=1e-6)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("pad", ["own", "eos"])
def test_what_is_trained_here_scores_the_same_in_transformers(tmp_path: Path, lora: bool, pad: Any) -> None:
    from peft import LoraConfig

    torch.manual_seed(0)
    source = save_tiny_lm(tmp_path / "base", tokenizer=byte_tokenizer(pad=pad))
    adapter = LoraConfig(r=2, target_modules="all-linear") if lora else None
    policy = build_reward_policy(source, "bradley_terry", peft=adapter)
    tokenizer = byte_tokenizer(pad=pad)
    encoder = CausalEncoder(tokenizer)
    _train(policy, encoder, tiny_comparisons(8), steps=4)
    records = comparisons()
    here = BackboneScorer(policy, encoder).score(records)
    save_reward_policy(policy, tmp_path / "saved", tokenizer)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tmp_path / "saved")
    encoded, _ = CausalEncoder(loaded).encode_all(records)
    rows = [list(candidate.ids) for one in encoded for candidate in one.candidates]
    for side in ("left", "right"):
        plain = plain_scores(model, loaded, rows, side)[:, 0].tolist()
        assert plain == pytest.approx([r for one in here for r in one.rewards or ()], abs=1e-5, rel=1e-5)
    # In rows of their own the numbers are transformers'; packed rows round differently.
    padded = BackboneScorer(load_reward_policy(tmp_path / "saved", shared_prefixes=False), CausalEncoder(loaded))
    assert [r for one in padded.score(records) for r in one.rewards or ()] == pytest.approx(plain, abs=1e-6, rel=1e-6)
    packed = open_scorer(str(tmp_path / "saved")).score(records)
    assert [r for one in packed for r in one.rewards or ()] == pytest.approx(plain, abs=1e-5, rel=1e-5)
    # The tokenizer and the weights in training were left as they were.
    assert policy.backbone.get_input_embeddings().weight.shape[0] == 288


@pytest.mark.parametrize(
    "spec",
    [
        {"gpm": {"dimensions_per_candidate": 4, "prompt_gate": True}},
        {"pairwise": {"width": 8}},
        {"pal": {"annotators": ["ann", "bob"]}},
        {"bradley_terry": {"layers": [8]}},
        {"ensemble": {"members": 2}},
    ],
)
def test_other_models_come_back_from_disk(tmp_path: Path, spec: dict[str, Any]) -> None:
    torch.manual_seed(0)
    policy = build_reward_policy(save_tiny_lm(tmp_path / "base"), spec)
    tokenizer = byte_tokenizer()
    save_reward_policy(policy, tmp_path / "saved", tokenizer)
    before = BackboneScorer(policy, CausalEncoder(tokenizer)).score(comparisons())
    after = BackboneScorer(load_reward_policy(tmp_path / "saved"), CausalEncoder(tokenizer)).score(comparisons())
    for first, second in zip(before, after, strict=True):
        assert first.preference is not None
        assert second.preference is not None
        for one, other in zip(first.preference, second.preference, strict=True):
            assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize(
    "spec", ["bradley_terry", {"gpm": {"dimensions_per_candidate": 4}}, {"pal": {"prototypes": 2}}, "more", "process"]
)
def test_every_model_learns_through_the_policy(tmp_path: Path, spec: Any) -> None:
    torch.manual_seed(0)
    records = [
        Comparison(
            one.prompt,
            [Candidate(c.completion, score=c.score, label=c.score == 2) for c in one.candidates],
            annotator=f"a{row % 2}",
            group=f"g{row % 2}",
        )
        for row, one in enumerate(tiny_comparisons(8))
    ]
    policy = build_reward_policy(save_tiny_lm(tmp_path), spec, DataFacts.of(records))
    first, last = _train(policy, CausalEncoder(byte_tokenizer()), records, steps=12)
    assert last < 0.8 * first


def test_a_models_loss_is_the_same_through_likelihoods() -> None:
    """The objective that reads values back from the policy's likelihoods loses nothing."""
    torch.manual_seed(0)
    encoded, _ = CausalEncoder(byte_tokenizer()).encode_all(comparisons())
    for spec in ("bradley_terry", "gpm", {"pairwise": {"width": 4}}, {"ensemble": {"members": 2}}):
        head = build_preference_model(spec, 32)
        policy = reward_policy(backbone(), head)
        batch = policy.collate(encoded)
        likelihoods = policy(batch)
        judged = Judged.of(encoded, likelihoods)
        direct = head.loss(policy.embed(batch), judged)
        torch.testing.assert_close(PreferenceObjective((head,))(judged), direct)
    # A Bradley-Terry model's reward is what objectives call a log-probability.
    policy = reward_policy(backbone(), build_preference_model("bradley_terry", 32))
    likelihoods = policy(policy.collate(encoded))
    torch.testing.assert_close(likelihoods.sum, policy.head.reward(policy.embed(policy.collate(encoded))))


def test_a_policy_is_a_preference_model_too(tmp_path: Path) -> None:
    save_tiny_lm(tmp_path / "policy", seed=1, tokenizer=byte_tokenizer())
    save_tiny_lm(tmp_path / "reference", seed=2, tokenizer=byte_tokenizer())
    records = comparisons()
    options = ScorerOptions(reference=str(tmp_path / "reference"), beta=0.5)
    scorer = open_scorer(str(tmp_path / "policy"), options)
    assert isinstance(scorer, ImplicitScorer)
    encoded, _ = CausalEncoder(byte_tokenizer()).encode_all(records)
    from assent.likelihood.causal_lm import PaddedCausalPolicy

    sums = []
    for seed in (1, 2):
        plain = PaddedCausalPolicy(tiny_lm(seed=seed).eval())
        with torch.no_grad():
            sums.append(plain(plain.collate(encoded)).sum)
    expected = 0.5 * (sums[0] - sums[1])
    for row, scored in enumerate(scorer.score(records)):
        count = len(records[row].candidates)
        assert scored.rewards == pytest.approx(expected[row, :count].tolist(), abs=1e-3)
    free = open_scorer(str(tmp_path / "policy")).score(records)
    assert free[0].rewards is not None
    assert free[0].rewards[0] == pytest.approx(
        free[0].dimensions["log_probability"][0] / free[0].dimensions["tokens"][0], rel=1e-5
    )


def test_scores_stand_in_the_records_own_order() -> None:
    policy = reward_policy(backbone(), build_preference_model("bradley_terry", 32))
    scorer = BackboneScorer(policy, CausalEncoder(byte_tokenizer()))
    one = comparisons()[0]
    worst_first = Comparison(one.prompt, list(reversed(one.candidates)))
    best, worst = scorer.score([one])[0].rewards, scorer.score([worst_first])[0].rewards
    assert best is not None
    assert worst is not None
    assert best == pytest.approx(tuple(reversed(worst)), abs=1e-6)


def _train(
    policy: RewardPolicy, encoder: CausalEncoder, records: list[Comparison], steps: int
) -> tuple[float, float]:
    encoded, _ = encoder.encode_all(records)
    batch, objective = policy.collate(encoded), PreferenceObjective((policy.head,))
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    policy.train()
    losses = []
    for _ in range(steps):
        loss = objective(Judged.of(encoded, policy(batch))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[0], losses[-1]
