"""A prompt and a completion as one text, with the places in it that are scored.

Chat templates are rendered by transformers in its sandbox. What the template makes of the whole conversation is
the text; nothing is rendered in pieces and glued. Letters: positions are characters of that text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2.exceptions import TemplateError

from assent.comparison import Message, Prompt
from assent.encoding.messages import call_with_object, text_of, without_end
from assent.errors import InputError

TRANSCRIPT = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '\n\nAssistant: ' + message['content'] }}"
    "{% elif message['role'] == 'user' %}{{ '\n\nHuman: ' + message['content'] }}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}"
)
"""A chat template for base models: a plain dialogue of `Human` and `Assistant`."""

BUILT_IN_TEMPLATES = {"transcript": TRANSCRIPT}


@dataclass(frozen=True)
class Rendered:
    """One candidate as text.

    Args:
        prompt: what a model is given before it answers.
        completion: the rest, up to and with the token that ends the last turn.
        turns: the assistant's turns in the completion as (start, end), counted from the completion's start; each
            ends with its stop token where the template writes one.
        closed: whether the template itself ended the last turn with a stop token.
        served: whether the prompt is what the template makes for generation (thinking templates may differ).
        templated: whether a template wrote the text, which then decides about BOS too.
    """

    prompt: str
    completion: str
    turns: tuple[tuple[int, int], ...]
    closed: bool
    served: bool = True
    templated: bool = True


class RawText:
    """Renders for models without a chat template: prompt and completion are kept as they are."""

    def __init__(self, tokenizer: Any) -> None:
        self.end = tokenizer.eos_token

    def render(self, prompt: Prompt, completion: Any, tools: Sequence[Any] | None = None) -> Rendered:
        """The two texts; an end token that the data wrote out is taken off, since the encoder sets it."""
        if not isinstance(prompt, str) or not isinstance(completion, str):
            raise InputError(
                "the data has chat messages, and the tokenizer no chat template",
                found="messages" if isinstance(prompt, str | Sequence) else type(prompt).__name__,
                expected="texts, or a tokenizer with a chat template",
                remedy="Give a chat template (`transcript` is a plain one for base models) or use an instruct model",
            )
        text = without_end(completion, self.end)
        return Rendered(prompt, text, ((0, len(text)),), closed=False, templated=False)


class ChatTemplate:
    """Renders conversations with a chat template.

    Args:
        tokenizer: any transformers tokenizer.
        template: Jinja text, or a name in BUILT_IN_TEMPLATES; default: the tokenizer's own.
        options: further variables of the template, such as `enable_thinking`.
    """

    def __init__(self, tokenizer: Any, template: str | None = None, options: Mapping[str, Any] | None = None) -> None:
        self.tokenizer = tokenizer
        self.given = BUILT_IN_TEMPLATES.get(template, template) if template else None
        self.options = dict(options or {})
        self._prompts: dict[str, str] = {}

    def render(self, prompt: Prompt, completion: Any, tools: Sequence[Any] | None = None) -> Rendered:
        """The conversation as the template writes it, and where the assistant's turns of the completion are."""
        before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        if isinstance(completion, str):
            after = [{"role": "assistant", "content": completion}]
            if before and before[-1]["role"] == "assistant" and isinstance(before[-1].get("content"), str):
                return self._continued(before, completion, tools)
        else:
            after = list(completion)
        before, after = self._plain(before), self._plain(after)
        places = [index for index, message in enumerate(after) if message["role"] == "assistant"]
        if not places:
            raise InputError("the completion has no assistant turn", field="completion")
        text = self._write([*before, *after], tools)
        found = [self._turn(text, before, after, place, tools) for place in places]
        start = found[0][0] if places[0] == 0 else self._start(text, before, tools)
        served = all(turn[2] for turn in found)
        return self._cut(text, start, tuple(turn[:2] for turn in found), served)

    def _continued(self, before: list[Any], completion: str, tools: Sequence[Any] | None) -> Rendered:
        """A completion that goes on inside the prompt's last assistant turn."""
        before = self._plain(before)
        given = self._write(before, tools, continue_final_message=True)
        whole = {**before[-1], "content": before[-1]["content"] + without_end(completion, self.stop)}
        text = self._write([*before[:-1], whole], tools)
        if not text.startswith(given):
            raise InputError("the chat template changes an assistant turn when it is continued", field="prompt")
        return self._cut(text, len(given), ((len(given), len(text)),), True)

    def _cut(self, text: str, start: int, turns: tuple[tuple[int, int], ...], served: bool) -> Rendered:
        """The rendered candidate, without what follows the last stop token: nobody ever reads that."""
        after_stop = self.closing[len(self._to_stop) :]
        closed = bool(self._to_stop) and text.endswith(self.closing)
        spans = []
        for begin, end in turns:
            if self._to_stop and after_stop and text[begin:end].endswith(self.closing):
                end -= len(after_stop)
            spans.append((begin - start, end - start))
        completion = text[start:]
        if turns[-1][1] == len(text):
            completion = completion[: spans[-1][1]]
        return Rendered(text[:start], completion, tuple(spans), closed, served)

    # -- where things are in the text

    def _start(self, text: str, before: list[Any], tools: Sequence[Any] | None) -> int:
        """Where a completion that opens with somebody else's turn starts."""
        return _common_prefix(text, self._write(before, tools)) if before else 0

    def _turn(
        self, text: str, before: list[Any], after: list[Any], place: int, tools: Sequence[Any] | None
    ) -> tuple[int, int, bool]:
        """(start, end) of an assistant's turn, and whether it starts where generation would."""
        given = self._given([*before, *after[:place]], tools)
        begin = len(given) if text.startswith(given) else None
        content = after[place]["content"].strip()
        end = self._turn_end(text, before, after, place, _common_prefix(text, given), tools)
        own = self._own_start(text, end, content)
        if begin is None:
            if own is None and content:
                raise InputError(
                    "the chat template does not write the completion as it stands in the data",
                    field="completion",
                    found=repr(content[:60]),
                    remedy="Check the template, or give thinking as `reasoning_content`",
                )
            return (_common_prefix(text, given) if own is None else own), end, False
        by_author = any(
            after[place].get(name) for name in ("reasoning_content", "reasoning", "thinking", "tool_calls")
        )
        if own is not None and not by_author and text[begin:own].strip():
            # What the template writes before an answer (an empty thinking block) is nobody's answer.
            return own, end, False
        return begin, end, True

    def _turn_end(
        self, text: str, before: list[Any], after: list[Any], place: int, start: int, tools: Sequence[Any] | None
    ) -> int:
        if place == len(after) - 1:
            return len(text)
        closed = self._write([*before, *after[: place + 1]], tools)
        if text.startswith(closed):
            return len(closed)
        content = after[place]["content"].strip()
        end = text.find(content, start) + len(content)
        return end + len(self.closing) if text.startswith(self.closing, end) else end

    def _own_start(self, text: str, end: int, content: str) -> int | None:
        """Where the content starts that ends, but for the closing, at the turn's end; None: it does not."""
        body = text[:end].removesuffix(self.closing).rstrip()
        return len(body) - len(content) if content and body.endswith(content) else None

    def _given(self, before: list[Any], tools: Sequence[Any] | None) -> str:
        """What a model is given before it answers; remembered, since the candidates of a comparison share it."""
        key = json.dumps([before, tools], default=str)
        if key not in self._prompts:
            if len(self._prompts) > 64:
                self._prompts.clear()
            self._prompts[key] = self._write(before, tools, add_generation_prompt=True) if before else ""
        return self._prompts[key]

    # -- the template

    @property
    def template(self) -> str:
        """The Jinja text in use."""
        return str(self.given or self.tokenizer.get_chat_template())

    @cached_property
    def closing(self) -> str:
        """What the template writes after the content of an assistant's turn, last or not."""
        word, user = "ANSWER", {"role": "user", "content": "x"}
        turns = [user, {"role": "assistant", "content": word}]
        try:
            last, inside = self._write(turns, None), self._write([*turns, user], None)
        except InputError:
            return ""
        tails = [text[text.rfind(word) + len(word) :] for text in (last, inside) if word in text]
        return tails[0][: _common_prefix(*tails)] if len(tails) == 2 else ""

    @cached_property
    def _to_stop(self) -> str:
        """The closing up to and with the token that a model stops at; empty if it writes none."""
        special = [str(token) for token in self.tokenizer.added_tokens_decoder.values()]
        ends = [self.closing.find(token) + len(token) for token in special if token and token in self.closing]
        return self.closing[: min(ends)] if ends else ""

    @cached_property
    def stop(self) -> str | None:
        """The text of the token that ends a turn: the template's, else the tokenizer's end token."""
        return self._to_stop.strip() or self.tokenizer.eos_token

    def _write(self, messages: list[Any], tools: Sequence[Any] | None, **how: Any) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tools=tools, chat_template=self.given, tokenize=False, **how, **self.options
                )
            )
        except (TemplateError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise InputError(
                "the chat template refuses the conversation",
                found=f"{' '.join(str(message['role']) for message in messages)}: {error}"[:200],
                remedy="Check the order of the roles, or use a template that knows them",
            ) from error

    def _plain(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """The messages as templates expect them: text instead of text parts, arguments as objects."""
        return [self._plain_message(message) for message in messages]

    def _plain_message(self, message: Message) -> dict[str, Any]:
        plain = {**message, "content": text_of(message.get("content"))}
        if plain["role"] == "assistant":
            plain["content"] = without_end(plain["content"], self.stop)
        if plain["role"] == "developer" and "developer" not in self.template:
            plain["role"] = "system"
        if plain.get("tool_calls"):
            if "tool_calls" not in self.template:
                raise InputError(
                    "the chat template knows no tool calls",
                    field="tool_calls",
                    remedy="Use a model or a template with tools, or leave such records out",
                )
            plain["tool_calls"] = [call_with_object(call) for call in plain["tool_calls"]]
        return plain

    def check_tools(self, tools: Sequence[Any] | None) -> None:
        """Raises if tools are given and the template would leave them out without a word."""
        if tools and "tools" not in self.template:
            raise InputError("the chat template knows no tools", field="meta.tools", found=f"{len(tools)} tools")


def renderer_of(
    tokenizer: Any, template: str | None = None, options: Mapping[str, Any] | None = None
) -> RawText | ChatTemplate:
    """The way a tokenizer's texts are made: with its chat template, or raw if it has none."""
    if template is None and not tokenizer.chat_template:
        return RawText(tokenizer)
    return ChatTemplate(tokenizer, template, options)


def _common_prefix(left: str, right: str) -> int:
    """How many characters two texts share; bisected, since prompts are long and comparing slices is fast."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
