"""Captions that no longer fit their picture: preferences between prompts, without any pair of pictures (TPO).

Source: Xian et al. 2025, arXiv 2509.25771: an editor changes one meaning of a caption, by one of four rules
(content, attribute, spatial, contextual); the picture is to be explained better under its own caption than under the
edited one.

The rule editor swaps one word for another of its class, or, where no class has a word, the last word that means
something for that of another caption. Edits are refused that change nothing, that reword only, that change more than
half of the words, that are captions of the same picture, or that the text encoder does not see. The checks
(`caption_checks`) and the lexicons are ours.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from assent.building.built import Built, counted
from assent.building.caption_checks import STOP_WORDS, WORD, CaptionChecks, rejection, words
from assent.comparison import Candidate, Comparison, Media, content_key
from assent.encoding.diffusion import prompt_text
from assent.generation import Generator, Sampling

Form = Literal["pairs", "labels"]
RULES = ("content", "attribute", "spatial", "contextual")

LEXICONS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "content": (
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
        ("zero", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
        ("man", "woman", "boy", "girl", "child"),
        ("dog", "cat", "horse", "bird", "cow", "sheep", "elephant", "bear", "fox", "rabbit"),
        ("car", "bus", "truck", "train", "boat", "bicycle", "motorcycle", "airplane"),
        ("house", "castle", "tower", "church", "bridge", "barn"),
        ("apple", "banana", "orange", "pizza", "cake", "bread"),
        ("tree", "flower", "bush", "cactus"),
    ),
    "attribute": (
        ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey"),
        ("wooden", "metal", "glass", "plastic", "stone", "paper"),
        ("large", "small", "tiny", "huge"),
        ("thin", "thick", "medium"),
        ("old", "young", "new"),
        ("photograph", "painting", "sketch", "cartoon"),
    ),
    "spatial": (
        ("left", "right"),
        ("above", "below"),
        ("inside", "outside"),
        ("in", "beside"),
        ("on", "under"),
        ("behind", "before"),
        ("standing", "sitting", "running", "lying", "sleeping", "jumping"),
    ),
    "contextual": (
        ("sunny", "rainy", "cloudy", "snowy", "foggy", "stormy"),
        ("morning", "noon", "evening", "night", "dawn", "dusk"),
        ("summer", "winter", "autumn", "spring"),
        ("beach", "forest", "desert", "city", "mountain", "kitchen", "street"),
    ),
}
"""Classes of words by rule; a word is swapped for another of its class."""


@dataclass(frozen=True)
class Edit:
    """An edited caption and the rule it was edited by."""

    caption: str
    rule: str


class Editor(Protocol):
    """Who edits captions."""

    name: str

    def __call__(self, captions: Sequence[str]) -> list[list[Edit]]:
        """Some edits of each caption, unchecked."""


@dataclass(frozen=True)
class RuleEditor:
    """One edit by each rule that finds a word, drawn by (seed, caption).

    Args:
        seed: of the draws.
        lexicons: classes of words by rule.
    """

    seed: int = 0
    lexicons: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=lambda: LEXICONS)
    name = "rules"

    def __call__(self, captions: Sequence[str]) -> list[list[Edit]]:
        """Edits of each caption; other captions lend their nouns where no class has a word."""
        lent = sorted({word.lower() for caption in captions for word in [_last_word(caption)] if word})
        return [self._edits(caption, lent) for caption in captions]

    def _edits(self, caption: str, lent: Sequence[str]) -> list[Edit]:
        draw = random.Random(content_key(["caption edit", self.seed, caption]))
        found = []
        for rule, classes in self.lexicons.items():
            swapped = _swapped(caption, classes, draw)
            if swapped is not None:
                found.append(Edit(swapped, rule))
        last = _last_word(caption)
        others = [word for word in lent if last is not None and word != last.lower()]
        if not found and last is not None and others:
            found.append(Edit(_replaced(caption, last, draw.choice(others)), "content"))
        return found


class ModelEditor:
    """A language model that edits captions, asked for JSON; what is none is no edit.

    Args:
        generator: the model.
        edits: wanted of each caption.
        sampling: how it answers.
    """

    def __init__(
        self, generator: Generator, edits: int = 4, sampling: Sampling = Sampling(max_new_tokens=600)
    ) -> None:
        self.generator, self.edits, self.sampling = generator, edits, sampling
        self.name = generator.name

    def __call__(self, captions: Sequence[str]) -> list[list[Edit]]:
        """The model's edits of each caption."""
        found: list[list[Edit]] = [[] for _ in captions]
        prompts = [instruction(caption, self.edits) for caption in captions]
        for index, samples in self.generator.stream(prompts, self.sampling):
            found[index] = parsed_edits(samples[0].text) if samples else []
        return found


def instruction(caption: str, edits: int) -> str:
    """What an editor is asked."""
    return (
        "Below is the caption of a picture, as JSON text. Write captions that are clearly false for that picture.\n"
        f"Give {edits}, each by another of these rules where possible:\n"
        "content: add, remove, replace or recount things\n"
        "attribute: another colour, material, texture, size or style\n"
        "spatial: another place, relation, motion or pose\n"
        "contextual: another background, weather, light, time or setting\n"
        "Change one meaning only and as few words as you can; keep length and style.\n"
        'Answer with JSON alone: [{"rule": "content", "caption": "..."}, ...]\n\n'
        f"{json.dumps(caption, ensure_ascii=False)}"
    )


def parsed_edits(text: str) -> list[Edit]:
    """The edits in a model's answer, fences and talk around it left aside; [] if there are none to be read."""
    start, end = text.find("["), text.rfind("]")
    try:
        items = json.loads(text[start : end + 1]) if 0 <= start < end else []
    except (ValueError, RecursionError):
        return []
    return [
        Edit(" ".join(item["caption"].split()), item["rule"])
        for item in items
        if isinstance(item, dict) and isinstance(item.get("caption"), str) and item.get("rule") in RULES
    ]


def edit_captions(
    comparisons: Sequence[Comparison],
    editor: Editor,
    form: Form = "pairs",
    checks: CaptionChecks = CaptionChecks(),
) -> Built:
    """Comparisons of a picture's caption with each accepted edit of it.

    Args:
        comparisons: the best picture of each is taken, with its prompt as the caption.
        editor: who edits.
        form: `pairs`: one picture under two prompts (TDPO); `labels`: the picture under its caption, labelled good,
            and under each edit, labelled bad (TKTO).
        checks: what a text encoder has to say of the edits.
    """
    reasons: Counter[str] = Counter()
    pictures = [found for comparison in comparisons if (found := _captioned(comparison, reasons)) is not None]
    known = known_captions(comparisons) if checks.known is None else checks.known
    edits = editor([caption for _, caption in pictures]) if pictures else []
    accepted: list[list[Edit]] = []
    for (image, caption), proposed in zip(pictures, edits, strict=True):
        distinct = list({one.caption: one for one in proposed}.values())
        reasons["repeated edits"] += len(proposed) - len(distinct)
        why = [
            rejection(caption, edit.caption, checks.seen)
            or ("a caption of the same picture" if tuple(words(edit.caption)) in known.get(image, ()) else None)
            for edit in distinct
        ]
        accepted.append(_kept(distinct, why, reasons))
    _by_distance(pictures, accepted, checks, reasons)
    made: list[Comparison] = []
    for (image, caption), own in zip(pictures, accepted, strict=True):
        if own:
            made += _records(image, caption, own, editor.name, form)
        else:
            reasons["captions without an edit"] += 1
    return Built(made, counted(reasons))


def known_captions(comparisons: Sequence[Comparison]) -> dict[Media, set[tuple[str, ...]]]:
    """The words of every caption that each picture has in the data."""
    known: dict[Media, set[tuple[str, ...]]] = {}
    for comparison in comparisons:
        found = _captioned(comparison, Counter())
        if found is not None:
            known.setdefault(found[0], set()).add(tuple(words(found[1])))
    return known


def _by_distance(
    pictures: Sequence[tuple[Media, str]],
    accepted: list[list[Edit]],
    checks: CaptionChecks,
    reasons: Counter[str],
) -> None:
    """Takes out the edits that the text encoder refuses, all asked at once."""
    captions = [caption for (_, caption), own in zip(pictures, accepted, strict=True) for _ in own]
    why = iter(checks.by_distance(captions, [edit.caption for own in accepted for edit in own]))
    for place, own in enumerate(accepted):
        accepted[place] = _kept(own, [next(why) for _ in own], reasons)


def _kept(edits: Sequence[Edit], why: Sequence[str | None], reasons: Counter[str]) -> list[Edit]:
    for edit, reason in zip(edits, why, strict=True):
        if reason is not None:
            reasons[f"edits refused ({edit.rule}): {reason}"] += 1
    return [edit for edit, reason in zip(edits, why, strict=True) if reason is None]


def _records(image: Media, caption: str, edits: Sequence[Edit], editor: str, form: Form) -> list[Comparison]:
    metas = [{"edit_type": edit.rule, "editor": editor} for edit in edits]
    if form == "pairs":
        return [
            Comparison(
                caption, (Candidate(image, score=1.0), Candidate(image, prompt=edit.caption, score=0.0)), meta=meta
            )
            for edit, meta in zip(edits, metas, strict=True)
        ]
    labelled = [Comparison(caption, (Candidate(image, label=True),), meta={"editor": editor})]
    return labelled + [
        Comparison(edit.caption, (Candidate(image, label=False),), meta=meta)
        for edit, meta in zip(edits, metas, strict=True)
    ]


def _captioned(comparison: Comparison, reasons: Counter[str]) -> tuple[Media, str] | None:
    best = comparison.ordered()[0]
    if not isinstance(best.completion, Media) or best.completion.kind != "image":
        reasons["records without a picture"] += 1
        return None
    return best.completion, prompt_text(comparison.prompt_of(best), comparison.key[:12])


def _swapped(caption: str, classes: Sequence[Sequence[str]], draw: random.Random) -> str | None:
    """The caption with one word swapped for another of its class; None if no word is of any class."""
    hits = [(match, words) for match in WORD.finditer(caption) for words in classes if match.group().lower() in words]
    if not hits:
        return None
    match, words = draw.choice(hits)
    other = draw.choice([word for word in words if word != match.group().lower()])
    if match.group()[0].isupper():
        other = other.capitalize()
    return caption[: match.start()] + other + caption[match.end() :]


def _last_word(caption: str) -> str | None:
    known = {word for classes in LEXICONS.values() for words in classes for word in words}
    words = [word for word in WORD.findall(caption) if word.lower() not in STOP_WORDS | known]
    return words[-1] if words else None


def _replaced(caption: str, word: str, other: str) -> str:
    return re.sub(rf"\b{re.escape(word)}\b(?!.*\b{re.escape(word)}\b)", lambda _: other, caption, flags=re.DOTALL)
