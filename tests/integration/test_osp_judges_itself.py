"""OSP with the model as its own judge, by the probabilities of two letters: what it can tell, it comes to prefer."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from assent.building.osp import judge_report
from assent.comparison import Candidate, Comparison
from assent.generation import LocalGenerator, Sampling, in_order
from assent.judging.asking import ask
from assent.judging.rubric import Rubric, load_rubric
from assent.likelihood.loading import load_causal_lm
from assent.recipes import osp
from assent.recipes.loop_parts import Loop
from tests.tiny import byte_tokenizer, tiny_lm

LETTERS, LIKED = "vwxyz", "z"
RUBRIC = "name: liked\ntitle: z\nsource: planted\ncriterion: z\n"
TRAINING: dict[str, Any] = {
    "num_train_epochs": 2,
    "per_device_train_batch_size": 8,
    "lr_scheduler_type": "constant",
    "learning_rate": 3e-3,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
}


def question(draw: random.Random, rubric: Rubric) -> tuple[str, float]:
    """What a judge is asked of two letters, and how sure it is to be of A."""
    first, second = draw.sample(LETTERS, 2)
    comparison = Comparison(prompt_of(draw), [Candidate(first), Candidate(second)])
    sure = 3.0 * ((first == LIKED) - (second == LIKED))
    text = ask(comparison, (0, 1), rubric, "pairwise", "pairwise_label").text
    return text, float(torch.sigmoid(torch.tensor(sure)))


def prompt_of(draw: random.Random) -> str:
    return "".join(draw.choices(LETTERS, k=3)) + ">"


def merges_of(rubric: Rubric) -> list[tuple[str, str]]:
    """Merges that make the question's fixed words short, learnt from questions without their letters."""
    draw = random.Random(1)
    texts = [question(draw, rubric)[0].translate({ord(letter): None for letter in LETTERS}) for _ in range(40)]
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learnt.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False, min_frequency=40),
    )
    return [tuple(pair) for pair in json.loads(learnt.to_str())["model"]["merges"]]


def trained(folder: Path, rubric: Rubric, steps: int) -> None:
    """A model that answers with any letter, and can tell which of two letters is the liked one."""
    tokenizer = byte_tokenizer(merges=merges_of(rubric))
    model = tiny_lm(vocab=len(tokenizer), layers=2)
    draw = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    a, b = (tokenizer.encode(letter, add_special_tokens=False)[0] for letter in "AB")
    for step in range(steps):
        asked = [question(draw, rubric) for _ in range(16)]
        ids = [tokenizer(text)["input_ids"] for text, _ in asked]
        longest = max(map(len, ids))
        last = model(input_ids=torch.tensor([row + [0] * (longest - len(row)) for row in ids])).logits
        last = last[torch.arange(len(ids)), torch.tensor([len(row) - 1 for row in ids])].log_softmax(-1)
        sure = torch.tensor([strength for _, strength in asked])
        judging = -(sure * last[:, a] + (1 - sure) * last[:, b]).mean()
        texts = [prompt_of(draw) + draw.choice(LETTERS) for _ in range(32)]
        short = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts])
        # Judging takes longer to learn; answering is learnt at the end, beside it.
        answering = model(input_ids=short, labels=short).loss if step > 0.8 * steps else 0.0
        (judging + 0.3 * answering).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def liked(model: Path | str, prompts: Sequence[str]) -> float:
    """Share of the answers that begin with the liked letter."""
    loaded, tokenizer = load_causal_lm(str(model))
    found = in_order(LocalGenerator(loaded, tokenizer, name="bed"), prompts, Sampling(8, 2, seed=99))
    texts = [sample.text for row in found for sample in row]
    return sum(text.startswith(LIKED) for text in texts) / len(texts)


def test_a_model_that_can_tell_comes_to_prefer_it(tmp_path: Path) -> None:
    (tmp_path / "rubric.yaml").write_text(RUBRIC)
    rubric = load_rubric(str(tmp_path / "rubric.yaml"))
    trained(tmp_path / "base", rubric, 340)
    draw = random.Random(2)
    prompts, held_out = ([prompt_of(draw) for _ in range(count)] for count in (60, 30))
    known = [
        Comparison(prompt, [Candidate(LIKED, score=1.0), Candidate(other, score=0.0)])
        for prompt, other in zip(held_out, LETTERS[:4] * 8, strict=False)
    ]
    judge_of = osp.letter_judge(str(tmp_path / "rubric.yaml"))
    report = judge_report(known, judge_of(tmp_path / "base"))
    plan = osp.Plan(str(tmp_path / "base"), prompts, 1, Sampling(4, 2, seed=5), known)
    (model,) = osp.run(plan, Loop(tmp_path / "loop", {"training": TRAINING}, print), judge_of)
    before, after = liked(tmp_path / "base", held_out), liked(model, held_out)
    print(f"judge {report}; liked {before:.3f} -> {after:.3f}")
    assert (report.accuracy or 0) > 0.9
    assert after > before + 0.1
