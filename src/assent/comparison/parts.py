"""What prompts and completions are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assent.errors import InputError

Message = Mapping[str, Any]
"""A chat message: `role`, `content` (text or a list of parts), optionally `tool_calls`, `tool_call_id`, `name`."""


@dataclass(frozen=True)
class Media:
    """An image, video or piece of audio: a path, or its encoded bytes."""

    kind: Literal["image", "video", "audio"]
    path: str | None = None
    data: bytes | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("image", "video", "audio"):
            raise InputError("unknown kind of media", found=repr(self.kind), expected="image, video or audio")
        if (self.path is None) == (self.data is None):
            raise InputError("media needs a path or data, and not both", field=self.kind)


@dataclass(frozen=True)
class TokenStreams:
    """A completion that is already tokens, in one or several parallel streams (audio-token models)."""

    streams: tuple[tuple[int, ...], ...]


Prompt = str | Sequence[Message]
Completion = str | Sequence[Message] | Media | TokenStreams
