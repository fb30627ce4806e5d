"""Preference models on frozen features: what a text encoder says of each candidate, and a small head on top."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.preference_models.context_aware import ContextAware, with_context
from assent.preference_models.encoders import Progress, TextEncoder, load_encoder
from assent.preference_models.model import Features, NoReward, PreferenceModel
from assent.preference_models.registry import build_preference_model, saved_spec
from assent.preference_models.scoring import Scored
from assent.preference_models.text import completion_text, prompt_text

FORMAT = "assent-preference-model"


@dataclass(frozen=True)
class Reading:
    """How candidates become vectors.

    Args:
        candidate: which text is embedded for a candidate.
        interaction: whether the product of prompt and completion vectors stands beside the candidate's own; a
            linear head on a joint text could not make an answer good for one prompt and bad for another.
        standardize: whether each feature has mean 0 and spread 1 over the training data.
    """

    candidate: Literal["prompt_and_completion", "completion"] = "completion"
    interaction: bool = False
    standardize: bool = True


class FrozenPreferenceModel:
    """An encoder, how it is read, and a head; scores comparisons and saves itself.

    Args:
        encoder: texts to vectors.
        head: the preference model.
        reading: how candidates become vectors.
        location: [H] and [P] mean of the features over the training data.
        spread: the same for their standard deviation.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        head: PreferenceModel,
        reading: Reading,
        location: tuple[Tensor, Tensor],
        spread: tuple[Tensor, Tensor],
        name: str = "preference_model",
    ) -> None:
        self.encoder, self.head, self.reading, self.name = encoder, head, reading, name
        self.location, self.spread = location, spread

    def features(
        self, comparisons: Sequence[Comparison], ordered: bool = False, progress: Progress | None = None
    ) -> Features:
        """Standardised features of the candidates, in the record's order or in column order."""
        template = self.head.template if isinstance(self.head, ContextAware) else None
        raw = read_features(comparisons, self.encoder, self.reading, template, ordered, progress)
        return self.standardized(raw)

    def standardized(self, raw: Features) -> Features:
        """The features on the scale that the head was trained on."""
        candidates = (raw.candidates - self.location[0]) / self.spread[0]
        prompt = None if raw.prompt is None else (raw.prompt - self.location[1]) / self.spread[1]
        return Features(candidates, raw.mask, prompt)

    @torch.no_grad()
    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """One result for each comparison; a known annotator's own preference, else the population's."""
        if not comparisons:
            return []
        self.head.eval()
        embedded = self.head.embed(self.features(comparisons))
        known = set(getattr(self.head, "annotators", ()))
        annotators = [c.annotator if c.annotator in known else None for c in comparisons]
        return scored_rows(self.head, embedded, annotators, [len(c.candidates) for c in comparisons])

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes the head in safetensors, its options and the encoder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"head.{name}": value.contiguous() for name, value in self.head.state_dict().items()}
        for name, (candidate, prompt) in (("location", self.location), ("spread", self.spread)):
            tensors |= {f"{name}.candidate": candidate.contiguous(), f"{name}.prompt": prompt.contiguous()}
        save_file(tensors, folder / "preference_model.safetensors")
        self.encoder.save(folder / "encoder")
        description = {"format": FORMAT, "kind": "frozen", **saved_spec(self.head), "reading": asdict(self.reading)}
        (folder / "preference_model.json").write_text(json.dumps(description, indent=1) + "\n")

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> FrozenPreferenceModel:
        """The model that `save_pretrained` wrote."""
        folder = Path(folder)
        description = read_description(folder)
        if description.get("kind") != "frozen":
            raise InputError("not a model on frozen features", where=str(folder), found=str(description.get("kind")))
        head = build_preference_model(description["model"], description["hidden_size"])
        tensors = load_file(folder / "preference_model.safetensors")
        head.load_state_dict({n.removeprefix("head."): v for n, v in tensors.items() if n.startswith("head.")})
        moments = [(tensors[f"{n}.candidate"], tensors[f"{n}.prompt"]) for n in ("location", "spread")]
        reading = Reading(**description["reading"])
        return cls(load_encoder(folder / "encoder"), head, reading, moments[0], moments[1], name=folder.name)


def read_description(folder: Path) -> Mapping[str, Any]:
    """The JSON beside a saved preference model's weights."""
    path = folder / "preference_model.json"
    try:
        description = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError("not a saved preference model", where=str(folder), found=str(error)) from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise InputError("not a saved preference model", where=str(path))
    return description


def read_features(
    comparisons: Sequence[Comparison],
    encoder: TextEncoder,
    reading: Reading,
    template: str | None = None,
    ordered: bool = False,
    progress: Progress | None = None,
) -> Features:
    """Raw features of comparisons; every distinct text is embedded once."""
    told = [c if template is None else with_context(c, template) for c in comparisons]
    lists = [list(c.ordered() if ordered else c.candidates) for c in told]
    prompts = [prompt_text(c.prompt) for c in told]
    texts = [[_text(c, candidate, reading) for candidate in row] for c, row in zip(told, lists, strict=True)]
    distinct = {text: index for index, text in enumerate(sorted({*prompts, *(t for row in texts for t in row)}))}
    vectors = encoder.encode(list(distinct), progress)
    width = max(map(len, texts))
    candidates = torch.zeros(len(told), width, vectors.shape[1])
    mask = torch.zeros(len(told), width, dtype=torch.bool)
    for row, names in enumerate(texts):
        candidates[row, : len(names)] = vectors[[distinct[name] for name in names]]
        mask[row, : len(names)] = True
    prompt = vectors[[distinct[name] for name in prompts]]
    if reading.interaction:
        candidates = torch.cat([candidates, candidates * prompt.unsqueeze(1)], dim=-1)
    return Features(candidates, mask, prompt)


def texts_of(comparisons: Sequence[Comparison], reading: Reading, template: str | None = None) -> list[str]:
    """Every text that `read_features` would embed, to fit an encoder on."""
    told = [c if template is None else with_context(c, template) for c in comparisons]
    return [prompt_text(c.prompt) for c in told] + [_text(c, x, reading) for c in told for x in c.candidates]


def _text(comparison: Comparison, candidate: Candidate, reading: Reading) -> str:
    completion = completion_text(candidate.completion)
    if reading.candidate == "completion" and candidate.prompt is None:
        return completion
    return f"{prompt_text(comparison.prompt_of(candidate))}\n\n{completion}"


def scored_rows(
    head: PreferenceModel, embedded: Any, annotators: Sequence[str | None], counts: Sequence[int]
) -> list[Scored]:
    """What a head says of embedded comparisons, padding cut off."""
    preference = head.preference(embedded, annotators).tolist()
    try:
        rewards = head.reward(embedded, annotators).tolist()
    except NoReward:
        rewards = None
    dimensions = {name: value.tolist() for name, value in head.dimensions(embedded).items()}
    uncertainty = head.uncertainty(embedded, annotators)
    unsure = None if uncertainty is None else uncertainty.tolist()
    return [
        Scored(
            rewards=None if rewards is None else tuple(rewards[row][:count]),
            preference=tuple(tuple(line[:count]) for line in preference[row][:count]),
            dimensions={name: tuple(value[row][:count]) for name, value in dimensions.items()},
            uncertainty=None if unsure is None else tuple(unsure[row][:count]),
        )
        for row, count in enumerate(counts)
    ]
