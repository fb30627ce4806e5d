"""A decoder that keeps what it has decoded in a journal, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from assent.comparison import Comparison, Prompt, content_key, from_dict, to_dict
from assent.generation.decoding import Decoder
from assent.generation.sampling import Sampling
from assent.work.journal import Journal


class RememberedDecoder:
    """Asks another decoder for what the journal does not hold; failed records are not kept, so they are tried again.

    Args:
        decoder: who decodes.
        journal: where results are kept.
        identity: what besides prompt and sampling decides the result: the model's fingerprint, the method.
    """

    def __init__(self, decoder: Decoder, journal: Journal, identity: str) -> None:
        self.decoder, self.journal, self.identity = decoder, journal, identity

    def decode(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Comparison]]:
        """Kept results first, then new ones as they are finished."""
        names = [content_key(prompt) for prompt in prompts] if keys is None else list(keys)
        entries = [
            content_key([self.identity, asdict(sampling), name, prompt])
            for name, prompt in zip(names, prompts, strict=True)
        ]
        kept = self.journal.get_many(entries)
        missing = []
        for index, entry in enumerate(entries):
            if entry in kept:
                yield index, from_dict(kept[entry])
            else:
                missing.append(index)
        if not missing:
            return
        fresh = self.decoder.decode([prompts[at] for at in missing], sampling, [names[at] for at in missing])
        for at, comparison in fresh:
            index = missing[at]
            if "failed" not in comparison.meta:
                self.journal.put(entries[index], to_dict(comparison))
            yield index, comparison
