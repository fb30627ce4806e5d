"""Comparisons for causal language models: rendered once, tokenised once, scored where the answer is.

The rule at the boundary: the prompt's tokens are those of the prompt alone, which is what a model is given when it
answers, and the same for all candidates; the completion's are the rest of the whole text's tokens. Where a
tokenizer would merge across the boundary, the completion is tokenised apart (counted as `boundary_merges`).
BOS stands once, in front, where the template or the tokenizer puts it; the end token once, where an answer is
complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

from assent.comparison import Candidate, Comparison, Media, TokenStreams
from assent.encoding.encoded import COMPLETION, PROMPT, UNSCORED, EncodedCandidate, EncodedComparison
from assent.encoding.rendering import Rendered, renderer_of
from assent.encoding.report import Dropped, EncodingReport, TruncationLoss, merged
from assent.encoding.tokenising import TextTokens
from assent.encoding.truncation import POLICIES, CannotCut, Truncate, tokens_of
from assent.errors import InputError

CHUNK = 1024
"""Comparisons tokenised in one call: enough for the fast tokenizer's threads, small beside the data."""


@dataclass
class CausalEncoder:
    """Encodes comparisons for a causal language model.

    Args:
        tokenizer: a transformers tokenizer.
        max_length: the longest candidate, in tokens; None: no bound.
        truncate: what happens to longer ones: `drop` the record, cut the prompt's start (`prompt_left`) or the
            completion's end (`completion_right`). A completion is never left without a scored token.
        score_turns: in completions of several turns, score the `last` assistant turn, or all assistant turns
            from the first message on in which the candidates differ (`all_differing`).
        score_prompts: score the prompt's tokens too, in a segment of their own (joint preferences).
        on_invalid: `raise` an InputError at a record that cannot be rendered, or `drop` it (named and counted).
        chat_template: Jinja text or `transcript`, in place of the tokenizer's own template.
        template_options: further variables of the template, such as `enable_thinking`.
    """

    tokenizer: Any
    max_length: int | None = None
    truncate: Truncate = "drop"
    score_turns: Literal["last", "all_differing"] = "last"
    score_prompts: bool = False
    on_invalid: Literal["raise", "drop"] = "raise"
    chat_template: str | None = None
    template_options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.truncate not in POLICIES:
            raise InputError("unknown truncation policy", found=repr(self.truncate), expected=", ".join(POLICIES))
        if self.score_turns not in ("last", "all_differing"):
            raise InputError("unknown choice of turns", found=repr(self.score_turns), expected="last, all_differing")
        if self.max_length is not None and self.max_length < 2:
            raise InputError("max_length leaves no room for an answer", found=str(self.max_length))
        self.renderer = renderer_of(self.tokenizer, self.chat_template, self.template_options)
        self.tokens = TextTokens(self.tokenizer)

    def encode_all(
        self, comparisons: Sequence[Comparison], progress: Callable[[int], None] = lambda done: None
    ) -> tuple[list[EncodedComparison], EncodingReport]:
        """The encoded comparisons, in order, and what was cut or left out; `progress` is told the records done."""
        encoded: list[EncodedComparison] = []
        reports = []
        for start in range(0, len(comparisons), CHUNK):
            part, report = self.encode_chunk(comparisons[start : start + CHUNK])
            encoded += part
            reports.append(report)
            progress(min(start + CHUNK, len(comparisons)))
        return encoded, merged(reports, self.truncate, self.max_length)

    def encode_chunk(self, comparisons: Sequence[Comparison]) -> tuple[list[EncodedComparison], EncodingReport]:
        """The same for a few comparisons, tokenised together."""
        report = EncodingReport(self.truncate, self.max_length, records=len(comparisons))
        rendered = list(self._rendered(comparisons, report))
        self.tokens.prepare([one for _, candidates in rendered for one in candidates])
        encoded = []
        for comparison, texts in rendered:
            candidates = tuple(self._encode(text, report) for text in texts)
            kept = self._within_bound(comparison.key, candidates, report)
            if kept is not None:
                encoded.append(self._with_verdict(comparison, kept, report))
        self.tokens.forget()
        report.encoded = len(encoded)
        report.tokens = sum(one.tokens for one in encoded)
        report.scored_tokens = sum(candidate.scored for one in encoded for candidate in one.candidates)
        report.alike = sum(_alike(one) for one in encoded)
        report.longest = max((len(c.ids) for one in encoded for c in one.candidates), default=0)
        return encoded, report

    # -- text

    def _rendered(
        self, comparisons: Sequence[Comparison], report: EncodingReport
    ) -> Iterator[tuple[Comparison, list[Rendered]]]:
        for comparison in comparisons:
            try:
                tools = self._tools(comparison)
                texts = [self._render(comparison, candidate, tools) for candidate in comparison.ordered()]
            except InputError as error:
                if self.on_invalid == "raise":
                    raise _at(error, comparison) from error
                report.dropped.append(Dropped(comparison.key, str(error)))
                continue
            if self.score_turns == "all_differing":
                texts = [replace(text, turns=self._differing(comparison, text)) for text in texts]
            else:
                texts = [replace(text, turns=text.turns[-1:]) for text in texts]
            report.prompts_unlike_serving += sum(not text.served for text in texts)
            report.control_tokens += any(self.tokens.control(t) for t in _own_texts(comparison))
            yield comparison, texts

    def _render(self, comparison: Comparison, candidate: Candidate, tools: Any) -> Rendered:
        if isinstance(candidate.completion, Media | TokenStreams):
            raise InputError(
                "a text model answers with text",
                field="completion",
                found=type(candidate.completion).__name__,
                remedy="Use a model of that kind",
            )
        return self.renderer.render(comparison.prompt_of(candidate), candidate.completion, tools)

    def _tools(self, comparison: Comparison) -> Any:
        tools = comparison.meta.get("tools") or None
        if tools is not None and hasattr(self.renderer, "check_tools"):
            self.renderer.check_tools(tools)
        return tools

    def _differing(self, comparison: Comparison, text: Rendered) -> tuple[tuple[int, int], ...]:
        """The turns from the first message on in which the comparison's completions differ."""
        completions = [candidate.completion for candidate in comparison.candidates]
        if any(isinstance(completion, str) for completion in completions):
            return text.turns
        alike = 0
        for messages in zip(*completions, strict=False):
            if any(message != messages[0] for message in messages):
                break
            alike += sum(message["role"] == "assistant" for message in messages[:1])
        return text.turns[alike:] if len(completions) > 1 and alike < len(text.turns) else text.turns[-1:]

    # -- tokens

    @cached_property
    def _end(self) -> tuple[int, ...]:
        end = self.tokenizer.eos_token_id
        return () if end is None else (int(end),)

    def _encode(self, text: Rendered, report: EncodingReport) -> EncodedCandidate:
        prompt, completion, merging = self.tokens.pair(text)
        report.boundary_merges += merging
        scored = self.tokens.scored(text, completion)
        if not text.closed and text.turns[-1][1] == len(text.completion):
            completion += self._end
            scored += (COMPLETION,) * len(self._end)
            report.without_end += not self._end
        segments = (*self._prompt_segments(prompt), *scored)
        return EncodedCandidate(prompt + completion, _first_unscored(segments), len(prompt))

    def _prompt_segments(self, prompt: tuple[int, ...]) -> tuple[int, ...]:
        if not self.score_prompts:
            return _unscored(len(prompt))
        starts = bool(prompt) and prompt[0] == self.tokenizer.bos_token_id
        return (UNSCORED,) * starts + (PROMPT,) * (len(prompt) - starts)

    def _within_bound(
        self, name: str, candidates: tuple[EncodedCandidate, ...], report: EncodingReport
    ) -> tuple[EncodedCandidate, ...] | None:
        """The candidates under the policy in force; None if the record is left out. Counts all policies."""
        if any(not _completion_scored(candidate) for candidate in candidates):
            report.dropped.append(Dropped(name, "a completion is empty and leaves no token to score"))
            return None
        bound = self.max_length
        if bound is None or all(len(candidate.ids) <= bound for candidate in candidates):
            return candidates
        kept: tuple[EncodedCandidate, ...] | None = None
        for policy in POLICIES:
            loss = report.truncation.setdefault(policy, TruncationLoss())
            try:
                cut = POLICIES[policy](candidates, bound, self._first(candidates))
            except CannotCut as error:
                loss.dropped += 1
                loss.tokens_lost += tokens_of(candidates)
                if policy == self.truncate:
                    report.dropped.append(Dropped(name, str(error)))
                continue
            loss.cut += 1
            loss.tokens_lost += tokens_of(candidates) - tokens_of(cut)
            if policy == self.truncate:
                kept = cut
        if kept is not None and self.truncate == "completion_right":
            report.unfinished += sum(len(a.ids) < len(b.ids) for a, b in zip(kept, candidates, strict=True))
        return kept

    def _first(self, candidates: tuple[EncodedCandidate, ...]) -> int:
        """How many ids in front no policy may cut: the BOS, where there is one."""
        bos = self.tokenizer.bos_token_id
        return int(bos is not None and all(candidate.ids[:1] == (bos,) for candidate in candidates))

    def _with_verdict(
        self, comparison: Comparison, candidates: tuple[EncodedCandidate, ...], report: EncodingReport
    ) -> EncodedComparison:
        """The record with its scores in the candidates' column order."""
        ordered = comparison.ordered()
        names = list(dict.fromkeys(name for candidate in ordered for name in candidate.scores))
        confidence = comparison.confidence
        answers = [candidate for candidate in ordered if candidate.role is None]
        if confidence is not None and answers[0] is not comparison.answers[0]:
            confidence = 1 - confidence
            report.reordered += 1
        return EncodedComparison(
            id=comparison.key,
            candidates=candidates,
            scores=tuple(float("nan") if c.score is None else float(c.score) for c in ordered),
            labels=tuple(-1 if c.label is None else int(c.label) for c in ordered),
            roles=tuple(c.role for c in ordered),
            dimensions={name: tuple(float(c.scores.get(name, float("nan"))) for c in ordered) for name in names},
            confidence=confidence,
            weight=comparison.weight,
            annotator=comparison.annotator,
            group=comparison.group,
            context=comparison.context,
            extra=comparison.meta,
        )


def _at(error: InputError, comparison: Comparison) -> InputError:
    """The error with the record it came from."""
    return InputError(
        error.message,
        where=error.where or f"record {comparison.key[:12]}",
        field=error.field,
        found=error.found,
        expected=error.expected,
        remedy=error.remedy,
    )


def _own_texts(comparison: Comparison) -> Iterator[str]:
    """The texts that the record itself brings, before any template."""
    parts: list[Any] = [comparison.prompt, *(c.completion for c in comparison.candidates)]
    parts += [candidate.prompt for candidate in comparison.candidates if candidate.prompt is not None]
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Sequence):
            yield from (m["content"] for m in part if isinstance(m.get("content"), str))


@lru_cache(maxsize=4096)
def _unscored(count: int) -> tuple[int, ...]:
    return (UNSCORED,) * count


def _first_unscored(segments: tuple[int, ...]) -> tuple[int, ...]:
    """The segments with position 0 unscored: no context predicts it."""
    return segments if not segments or segments[0] == UNSCORED else (UNSCORED, *segments[1:])


def _alike(comparison: EncodedComparison) -> bool:
    """Whether several answers of a comparison are the same to the model."""
    answers = [c.ids for c, role in zip(comparison.candidates, comparison.roles, strict=True) if role is None]
    return len(answers) > 1 and len(set(answers)) == 1


def _completion_scored(candidate: EncodedCandidate) -> bool:
    return candidate.scored > candidate.segments.count(PROMPT)
