"""From a prompt to the token ids after which a completion starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assent.comparison import Message, Prompt
from assent.errors import InputError


def messages_of(prompt: Prompt) -> list[dict[str, Any]]:
    """The prompt as chat messages; a plain string is one user message."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [dict(message) for message in prompt]


def prompt_ids(prompt: Prompt, tokenizer: Any) -> list[int]:
    """Token ids of the prompt, ready for the completion's first token.

    A chat template is used where the tokenizer has one; without it a string is raw text and messages are an
    error. A prompt that ends in an assistant turn is continued, not answered.
    """
    if not getattr(tokenizer, "chat_template", None):
        if not isinstance(prompt, str):
            raise InputError(
                "messages need a chat template, and the tokenizer has none",
                field="prompt",
                remedy="Give the prompt as plain text, or use a chat model",
            )
        return _checked([int(token) for token in tokenizer(prompt)["input_ids"]])
    messages = [_textual(message) for message in messages_of(prompt)]
    unfinished = messages[-1]["role"] == "assistant"
    ids = tokenizer.apply_chat_template(
        messages,
        tokenize=True,
        return_dict=False,
        add_generation_prompt=not unfinished,
        continue_final_message=unfinished,
    )
    return _checked([int(token) for token in ids])


def turn_ends(tokenizer: Any) -> set[int]:
    """The special token that the chat template writes after an assistant's turn, if it writes one.

    Many base models and tokenizers name another token as end of text; a model trained on the template ends its
    turns with this one, and sampling that ignored it would run on into invented user turns.
    """
    if not getattr(tokenizer, "chat_template", None):
        return set()
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "Yes"}]
    try:
        closed = tokenizer.apply_chat_template(turns, tokenize=False)
        opened = tokenizer.apply_chat_template(turns, tokenize=False, continue_final_message=True)
    except (ValueError, TypeError):
        return set()
    ids = tokenizer(closed[len(opened) :], add_special_tokens=False)["input_ids"]
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return {int(ids[0])} & special if ids else set()


def text_of(prompt: Prompt) -> str:
    """The prompt's text as one reads it: turns joined, parts other than text named."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return content_text(prompt[0].get("content"))
    return "\n\n".join(f"{message['role']}: {content_text(message.get('content'))}" for message in prompt)


def content_text(content: Any) -> str:
    """The text of a message's content, whether a string or parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] if part["type"] == "text" else f"[{part['type']}]" for part in content)


def _textual(message: Message) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        media = [part["type"] for part in content if isinstance(part, Mapping) and part["type"] != "text"]
        if media:
            raise InputError(
                "a text generator cannot read media", field="prompt", found=media[0], expected="text parts only"
            )
        return {**message, "content": content_text(content)}
    return dict(message)


def _checked(ids: list[int]) -> list[int]:
    if not ids:
        raise InputError("the prompt has no tokens", field="prompt", remedy="Give a prompt, or a BOS token")
    return ids
