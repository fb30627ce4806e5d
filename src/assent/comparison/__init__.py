"""The record everything is built on: a comparison is a handful of candidates and what a judge said of them."""

from assent.comparison.checks import MESSAGE_ROLES
from assent.comparison.parts import Completion, Media, Message, Prompt, TokenStreams
from assent.comparison.record import HELPER_ROLES, Candidate, Comparison, content_key, to_dict
from assent.comparison.rows import from_dict

__all__ = [
    "HELPER_ROLES",
    "MESSAGE_ROLES",
    "Candidate",
    "Comparison",
    "Completion",
    "Media",
    "Message",
    "Prompt",
    "TokenStreams",
    "content_key",
    "from_dict",
    "to_dict",
]
