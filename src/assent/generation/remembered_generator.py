"""A generator that draws nothing twice: its samples are kept in a journal by prompt, sampling and model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from assent.comparison import Prompt, content_key
from assent.generation.prompts import messages_of
from assent.generation.sampling import Generator, Sample, Sampling
from assent.work.journal import Journal

WINDOW = 64


class RememberedGenerator:
    """Draws what the journal lacks.

    Args:
        generator: who draws.
        journal: where samples are kept.
        identity: what besides prompt and sampling decides the text: the model's fingerprint.
    """

    def __init__(self, generator: Generator, journal: Journal, identity: str) -> None:
        self.generator, self.journal, self.identity = generator, journal, identity
        self.name = generator.name

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        """Samples of the journal first, then fresh ones, on disk before they are given out; failures are not kept."""
        asked = [None if keys is None else keys[at] for at in range(len(prompts))]
        entries = [
            content_key(
                ["samples", self.identity, messages_of(prompt), isinstance(prompt, str), asdict(sampling), key]
            )
            for prompt, key in zip(prompts, asked, strict=True)
        ]
        kept = self.journal.get_many(entries)
        missing = [at for at, entry in enumerate(entries) if entry not in kept]
        for at, entry in enumerate(entries):
            if entry in kept:
                yield at, [Sample.from_dict(row) for row in kept[entry]]
        for start in range(0, len(missing), WINDOW):
            part = missing[start : start + WINDOW]
            part_keys = None if keys is None else [keys[at] for at in part]
            for position, samples in self.generator.stream([prompts[at] for at in part], sampling, part_keys):
                at = part[position]
                if all(sample.finish_reason != "error" for sample in samples):
                    self.journal.put(entries[at], [sample.to_dict() for sample in samples])
                yield at, samples
