"""Comparisons for encoders that see both ways: prompt and completion as the two texts of a tokenizer's pair.

    [CLS] prompt [SEP] completion [SEP]     (the special tokens are the tokenizer's own)

That is the form of cross-encoders and of published reward models on encoders. Every candidate is a row of its own:
what a token becomes depends on what follows it, so no prefix can be shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assent.comparison import Comparison
from assent.encoding import COMPLETION, UNSCORED, CausalEncoder, EncodedCandidate, EncodedComparison, EncodingReport
from assent.encoding.rendering import Rendered
from assent.errors import InputError
from assent.preference_models.text import completion_text, prompt_text

TYPES = "token_type_ids"
UNBOUNDED = 10**6
"""A tokenizer that knows no bound says so with a huge number."""


class PairText:
    """Renders prompt and completion as two plain texts; several turns of a prompt stand one after the other."""

    def render(self, prompt: Any, completion: Any, tools: Sequence[Any] | None = None) -> Rendered:
        """The two texts; the tokenizer closes them."""
        text = completion_text(completion)
        return Rendered(prompt_text(prompt), text, ((0, len(text)),), closed=True, templated=False)


@dataclass(frozen=True)
class PairForm:
    """What a tokenizer puts around two texts, found on an example.

    Args:
        first: ids in front of the first text; `between` the two; `last` behind the second.
        types: token types of the first text with what closes it, and of the second; None: it has none.
    """

    first: tuple[int, ...]
    between: tuple[int, ...]
    last: tuple[int, ...]
    types: tuple[int, int] | None

    @classmethod
    def of(cls, tokenizer: Any) -> PairForm:
        """The form of a fast tokenizer; raises where it cannot say which token belongs to which text."""
        found = tokenizer("a", "a")
        try:
            owners = found.sequence_ids(0)
        except ValueError as error:
            raise InputError("the tokenizer cannot tell two texts apart", found=str(error)[:200]) from None
        ids, start, end = found["input_ids"], owners.index(0), len(owners) - 1 - owners[::-1].index(1)
        stop, begin = len(owners) - 1 - owners[::-1].index(0), owners.index(1)
        types = found.get(TYPES)
        return cls(
            tuple(ids[:start]),
            tuple(ids[stop + 1 : begin]),
            tuple(ids[end + 1 :]),
            None if types is None else (types[start], types[end]),
        )


@dataclass
class TextPairEncoder(CausalEncoder):
    """Encodes comparisons for an encoder; arguments as for decoders, of which templates and turns mean nothing here.

    Without `max_length` the tokenizer's own bound holds.
    """

    form: PairForm = field(init=False)

    def __post_init__(self) -> None:
        if self.chat_template or self.template_options:
            raise InputError(
                "an encoder reads prompt and completion as two texts, without a chat template",
                field="chat_template",
                remedy="Leave it out, or use a decoder",
            )
        super().__post_init__()
        self.renderer: Any = PairText()
        self.form = PairForm.of(self.tokenizer)
        given = self.max_length or UNBOUNDED
        # What closes the pair is put on after a cut, so that no cut takes it away.
        bound = min(given, int(self.tokenizer.model_max_length)) - len(self.form.last)
        self.max_length = None if bound > UNBOUNDED // 2 else bound

    def _encode(self, text: Rendered, report: EncodingReport) -> EncodedCandidate:
        prompt = (*self.form.first, *self._ids(text.prompt), *self.form.between)
        completion = self._ids(text.completion)
        segments = (*(UNSCORED,) * len(prompt), *(COMPLETION,) * len(completion))
        return EncodedCandidate(prompt + completion, segments, len(prompt))

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _first(self, candidates: tuple[EncodedCandidate, ...]) -> int:
        return len(self.form.first)

    def _with_verdict(
        self, comparison: Comparison, candidates: tuple[EncodedCandidate, ...], report: EncodingReport
    ) -> EncodedComparison:
        closed = tuple(self._closed(candidate) for candidate in candidates)
        return super()._with_verdict(comparison, closed, report)

    def _closed(self, candidate: EncodedCandidate) -> EncodedCandidate:
        ids = candidate.ids + self.form.last
        segments = candidate.segments + (UNSCORED,) * len(self.form.last)
        first, second = self.form.types or (0, 0)
        rest = len(ids) - candidate.prompt_length
        media = {} if self.form.types is None else {TYPES: (first,) * candidate.prompt_length + (second,) * rest}
        return replace(candidate, ids=ids, segments=segments, media=media)
