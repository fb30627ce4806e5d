"""Encoders that see both ways: the same scores as plain transformers, in both directions, whatever the batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.objectives import Judged
from assent.preference_models import DataFacts
from assent.preference_models.backbone import BackboneScorer
from assent.preference_models.loading import ScorerOptions, open_scorer
from assent.preference_models.reward_folder import build_reward_policy, load_reward_policy, save_reward_policy
from assent.preference_models.reward_policy import PreferenceObjective
from assent.preference_models.text_pairs import TextPairEncoder
from assent.preference_models.whole_rows import WholeRowPolicy
from tests.tiny import tiny_config

SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]
FAMILIES = ["bert", "roberta", "distilbert", "deberta-v2", "electra", "modernbert", "xlm-roberta", "albert"]


def pair_tokenizer(types: bool, pad: str = "[PAD]", side: str = "right") -> Any:
    """A byte-level tokenizer that puts its special tokens around one text or two."""
    symbols = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(symbols)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.add_special_tokens(SPECIAL)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=pad,
        cls_token="[CLS]",
        sep_token="[SEP]",
        eos_token="[SEP]",
        mask_token="[MASK]",
        padding_side=side,
        model_input_names=inputs,
        model_max_length=120,
    )


def small(family: str, **more: Any) -> Any:
    sizes = {"num_hidden_layers": 2, "max_position_embeddings": 130, "pad_token_id": 0}
    special: dict[str, Any] = {
        "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4},
        "deberta-v2": {"relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]},
        "electra": {"embedding_size": 16},
        "albert": {"embedding_size": 16},
        "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 16, "classifier_pooling": "mean"},
    }
    extra = special.get(family, {})
    return tiny_config(family, **{**sizes, **extra, "type_vocab_size": 2, **more})


def folder_of(path: Path, family: str, tokenizer: Any, labels: int = 1, classifier: bool = True) -> Any:
    torch.manual_seed(3)
    maker = AutoModelForSequenceClassification if classifier else AutoModel
    model = maker.from_config(small(family, **({"num_labels": labels} if classifier else {}))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
            elif parameter.abs().sum() == 0:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return model


def records() -> list[Comparison]:
    texts = [
        ("a red cat", ["it sleeps", "a small dog runs over the river", "no"]),
        ("hi", ["x", "yes yes"]),
        ("a long question about the stone near the river?", ["the stone is blue", "green"]),
    ]
    return [Comparison(p, [Candidate(t, score=-float(n)) for n, t in enumerate(answers)]) for p, answers in texts]


@torch.no_grad()
def plain(model: Any, tokenizer: Any, comparisons: list[Comparison]) -> list[float]:
    """What transformers itself says, each pair of texts in a row of its own."""
    model.eval()
    found = []
    for one in comparisons:
        for candidate in one.candidates:
            row = tokenizer(one.prompt, candidate.completion, return_tensors="pt")
            found.append(float(model(**row).logits[0, 0]))
    return found


def flat(scorer: Any, comparisons: list[Comparison]) -> list[float]:
    return [reward for one in scorer.score(comparisons) for reward in one.rewards or ()]


def alone(folder: Path) -> list[float]:
    """The scores of a folder with every candidate in a batch of its own: nothing is padded, as in `plain`."""
    singles = [Comparison(c.prompt, [a]) for c in records() for a in c.candidates]
    return flat(open_scorer(str(folder), ScorerOptions(batch_tokens=1)), singles)


@pytest.mark.parametrize("family", FAMILIES)
def test_encoders_of_others_score_here_as_in_transformers(tmp_path: Path, family: str) -> None:
    tokenizer = pair_tokenizer(types=family in ("bert", "electra", "albert"))
    model = folder_of(tmp_path, family, tokenizer)
    expected = plain(model, tokenizer, records())
    assert alone(tmp_path) == pytest.approx(expected, abs=1e-6, rel=1e-6)
    assert flat(open_scorer(str(tmp_path)), records()) == pytest.approx(expected, abs=1e-5, rel=1e-5)
    assert len({round(value, 4) for value in expected}) == len(expected), "one score for all"


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
@pytest.mark.parametrize("lora", [False, True])
def test_what_is_trained_here_scores_the_same_in_transformers(tmp_path: Path, family: str, lora: bool) -> None:
    from peft import LoraConfig

    tokenizer = pair_tokenizer(types=family == "bert")
    folder_of(tmp_path / "base", family, tokenizer, classifier=False)
    adapter = LoraConfig(r=2, target_modules="all-linear") if lora else None
    torch.manual_seed(0)
    policy = build_reward_policy(tmp_path / "base", "bradley_terry", peft=adapter)
    first, last = train(policy, tokenizer, steps=12)
    assert last < 0.8 * first
    here = flat(BackboneScorer(policy, TextPairEncoder(tokenizer)), records())
    save_reward_policy(policy, tmp_path / "saved", tokenizer)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert model.config.num_labels == 1
    expected = plain(model, loaded, records())
    assert alone(tmp_path / "saved") == pytest.approx(expected, abs=1e-6, rel=1e-6)
    assert here == pytest.approx(expected, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pad", ["[PAD]", "[SEP]"])
def test_a_score_does_not_depend_on_the_batch(tmp_path: Path, family: str, side: str, pad: str) -> None:
    tokenizer = pair_tokenizer(types=family == "bert", pad=pad, side=side)
    folder_of(tmp_path, family, tokenizer)
    together = flat(open_scorer(str(tmp_path)), records())
    apart = [reward for one in records() for reward in flat(open_scorer(str(tmp_path)), [one])]
    assert together == pytest.approx(apart, abs=1e-5)
    assert together == pytest.approx(alone(tmp_path), abs=1e-5)


@pytest.mark.parametrize(
    "spec", [{"gpm": {"prompt_gate": True}}, {"pal": {"variant": "b"}}, {"bradley_terry": {"layers": [8]}}]
)
def test_other_heads_stand_on_encoders_and_come_back(tmp_path: Path, spec: Any) -> None:
    tokenizer = pair_tokenizer(types=True)
    folder_of(tmp_path / "base", "bert", tokenizer, classifier=False)
    torch.manual_seed(0)
    policy = build_reward_policy(tmp_path / "base", spec, DataFacts(annotators=("ann", "bob")))
    train(policy, tokenizer, steps=3)
    save_reward_policy(policy, tmp_path / "saved", tokenizer)
    before = BackboneScorer(policy, TextPairEncoder(tokenizer)).score(records())
    after = open_scorer(str(tmp_path / "saved")).score(records())
    for first, second in zip(before, after, strict=True):
        assert first.preference is not None
        assert second.preference is not None
        for one, other in zip(first.preference, second.preference, strict=True):
            assert one == pytest.approx(other, abs=1e-5)


def test_labels_are_read_with_their_offset(tmp_path: Path) -> None:
    tokenizer = pair_tokenizer(types=True)
    model = folder_of(tmp_path, "bert", tokenizer, labels=2)
    one = records()[0]
    rows = [tokenizer(one.prompt, c.completion, return_tensors="pt") for c in one.candidates]
    with torch.no_grad():
        logits = [model(**row).logits[0] for row in rows]
    assert flat(open_scorer(str(tmp_path)), [one]) == pytest.approx([float(x[1] - x[0]) for x in logits], abs=1e-6)


def test_a_long_text_is_cut_where_the_run_says_and_stays_closed(tmp_path: Path) -> None:
    tokenizer = pair_tokenizer(types=True)
    long = [Comparison("why " * 100, [Candidate("because", score=1.0), Candidate("no", score=0.0)])]
    cut, _ = TextPairEncoder(tokenizer, max_length=40, truncate="prompt_left").encode_all(long)
    for candidate in cut[0].candidates:
        assert len(candidate.ids) <= 40
        assert candidate.ids[0] == 1
        assert candidate.ids[-1] == 2
        assert len(candidate.media["token_type_ids"]) == len(candidate.ids)
    # The tokenizer's bound holds where none is given.
    assert TextPairEncoder(tokenizer).encode_all(long)[1].dropped
    ends, _ = TextPairEncoder(tokenizer, max_length=30, truncate="completion_right").encode_all(
        [Comparison("hi", [Candidate("so " * 50, score=1.0), Candidate("no", score=0.0)])]
    )
    assert [c.ids[-1] for c in ends[0].candidates] == [2, 2]
    assert len(ends[0].candidates[0].ids) == 30
    with pytest.raises(InputError, match="two texts"):
        TextPairEncoder(tokenizer, chat_template="transcript")


def test_what_cannot_be_a_backbone_is_refused(tmp_path: Path) -> None:
    tokenizer = pair_tokenizer(types=False)
    shape = tiny_config("t5", d_model=32, d_ff=64, d_kv=8, num_heads=4, num_layers=2)
    AutoModelForSequenceClassification.from_config(shape).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    with pytest.raises(InputError, match="encoder-decoder"):
        open_scorer(str(tmp_path / "t5"))
    with pytest.raises(InputError, match="encoder-decoder"):
        build_reward_policy(tmp_path / "t5", "bradley_terry")
    model = folder_of(tmp_path / "base", "bert", tokenizer, classifier=False)
    model.config.architectures = ["BertForSequenceClassification"]
    model.save_pretrained(tmp_path / "base")
    model.config.save_pretrained(tmp_path / "base")
    with pytest.raises(InputError, match="does not hold all weights"):
        load_reward_policy(tmp_path / "base")


def train(policy: Any, tokenizer: Any, steps: int) -> tuple[float, float]:
    assert isinstance(policy, WholeRowPolicy)
    comparisons = [
        Comparison(c.prompt, c.candidates, annotator=("ann", "bob")[row % 2]) for row, c in enumerate(records())
    ]
    encoded, _ = TextPairEncoder(tokenizer).encode_all(comparisons)
    batch, objective = policy.collate(encoded), PreferenceObjective((policy.head,))
    optimizer = torch.optim.Adam([p for p in policy.parameters() if p.requires_grad], lr=5e-3)
    policy.train()
    found = []
    for _ in range(steps):
        loss = objective(Judged.of(encoded, policy(batch))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found[0], found[-1]
