"""The report: one HTML file that can be sent to a colleague, opened offline and printed.

It loads nothing, from anywhere: style and script stand in the file and are admitted by their hashes, images are
`data:` addresses, and a content security policy refuses everything else. Whatever a caller puts in is text; there
is no way to pass markup, so model output stays harmless.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

import assent
from assent.comparison import Candidate, Comparison, Media, Message, TokenStreams
from assent.report.figures import data_uri
from assent.report.text import display, is_number, plain, visible

MOST_COMPARISONS = 200
"""How many comparisons one list shows; the caption says of how many."""

RASTER_SIGNATURES = {b"\x89PNG\r\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}
LARGEST_EMBEDDED = 1_000_000


@dataclass
class Block:
    """One thing on the page: which part of the template draws it, and with what."""

    kind: str
    content: Mapping[str, Any]


@dataclass
class Section:
    """A titled part of the report."""

    title: str
    anchor: str
    blocks: list[Block] = field(default_factory=list)


class Report:
    """Builds a page top to bottom; every method returns the report, so that calls can be chained.

    Args:
        title: what the report is about.
        subtitle: one sentence under the title.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self.sections = [Section("", "top")]

    def section(self, title: str) -> Report:
        """Starts a section."""
        self.sections.append(Section(title, f"section-{len(self.sections)}"))
        return self

    def text(self, text: str) -> Report:
        """Adds prose; an empty line separates paragraphs."""
        return self._add("text", paragraphs=[part for part in text.split("\n\n") if part.strip()])

    def callout(self, text: str) -> Report:
        """Adds a sentence set apart: a result, a warning, a reservation."""
        return self._add("callout", text=text)

    def headlines(self, rows: Sequence[Mapping[str, Any]]) -> Report:
        """Adds numbers in large type: each row has `label`, `value` and optionally `detail`."""
        return self._add("headlines", rows=[{"detail": "", **row} for row in rows])

    def key_values(self, mapping: Mapping[str, Any]) -> Report:
        """Adds names with their values."""
        return self._add("key_values", rows=list(mapping.items()))

    def table(self, rows: Sequence[Mapping[str, Any]], caption: str = "") -> Report:
        """Adds a table; columns are the keys in order of first appearance, numbers stand flush right."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        numeric = [all(is_number(row[key]) for row in rows if row.get(key) is not None) for key in columns]
        cells = [[row.get(key) for key in columns] for row in rows]
        return self._add("table", caption=caption, columns=columns, numeric=numeric, rows=cells)

    def figure(self, figure: Figure, caption: str = "") -> Report:
        """Adds a matplotlib figure as an image inside the file."""
        return self._add("figure", source=data_uri(figure), caption=caption)

    def photographs(self, figure: Figure, caption: str = "") -> Report:
        """Adds a figure of pictures, which keeps its colours on a dark screen where drawings are inverted."""
        return self._add("photographs", source=data_uri(figure), caption=caption)

    def code(self, text: str, caption: str) -> Report:
        """Adds a file or command as it is, folded behind its caption."""
        return self._add("code", text=text, caption=caption)

    def samples(
        self, rows: Sequence[Mapping[str, Any]], caption: str = "", before: str = "before", after: str = "after"
    ) -> Report:
        """Adds texts side by side: rows of `prompt`, `before`, `after`, and `before_note`, `after_note` if any."""
        empty = {"prompt": "", "before": "", "after": "", "before_note": "", "after_note": ""}
        return self._add(
            "samples", caption=caption, before=before, after=after, rows=[{**empty, **row} for row in rows]
        )

    def comparisons(self, comparisons: Iterable[Comparison], caption: str = "") -> Report:
        """Adds a list to browse and filter; at most `MOST_COMPARISONS` are shown, and the total is stated."""
        given = list(comparisons)
        shown = [_comparison_view(comparison) for comparison in given[:MOST_COMPARISONS]]
        return self._add("comparisons", caption=caption, rows=shown, total=len(given))

    def html(self) -> str:
        """The whole page."""
        style, script = _resource("page.css"), _resource("page.js")
        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
        environment.filters["visible"] = visible
        environment.filters["display"] = display
        environment.filters["plain"] = plain
        template = environment.from_string(_resource("page.jinja"))
        return template.render(
            title=self.title,
            subtitle=self.subtitle,
            sections=[section for section in self.sections if section.title or section.blocks],
            style=style,
            script=script,
            policy=_content_security_policy(style, script),
            version=assent.__version__,
            date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page and returns its path; a reader never finds half a file there."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        unfinished.write_text(self.html(), encoding="utf-8")
        os.replace(unfinished, target)
        return target

    def _add(self, kind: str, **content: Any) -> Report:
        self.sections[-1].blocks.append(Block(kind, content))
        return self


def _content_security_policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _resource(name: str) -> str:
    return resources.files("assent.report").joinpath(name).read_text(encoding="utf-8")


def _comparison_view(comparison: Comparison) -> dict[str, Any]:
    facts = {
        "annotator": comparison.annotator,
        "group": comparison.group,
        "criterion": comparison.context,
        "confidence": comparison.confidence,
        "weight": None if comparison.weight == 1 else comparison.weight,
    }
    return {
        "prompt": _pieces(comparison.prompt),
        "facts": {name: value for name, value in facts.items() if value is not None},
        "candidates": [_candidate_view(candidate) for candidate in comparison.ordered()],
    }


def _candidate_view(candidate: Candidate) -> dict[str, Any]:
    facts = {"role": candidate.role, "source": candidate.source, **candidate.scores}
    return {
        "pieces": _pieces(candidate.completion),
        "prompt": [] if candidate.prompt is None else _pieces(candidate.prompt),
        "score": candidate.score,
        "label": candidate.label,
        "facts": {name: value for name, value in facts.items() if value is not None},
    }


def _pieces(content: str | Sequence[Message] | Media | TokenStreams) -> list[dict[str, Any]]:
    """What to draw of a prompt or completion: texts with the speaker's role, embedded images, or a description."""
    if isinstance(content, str):
        return [{"speaker": "", "text": content, "image": ""}]
    if isinstance(content, Media):
        return [_media_piece("", content)]
    if isinstance(content, TokenStreams):
        lengths = ", ".join(str(len(stream)) for stream in content.streams)
        return [{"speaker": "", "text": f"[token streams of {lengths} tokens]", "image": ""}]
    return [piece for message in content for piece in _message_pieces(message)]


def _message_pieces(message: Message) -> list[dict[str, Any]]:
    speaker, content = str(message.get("role", "")), message.get("content")
    if isinstance(content, str):
        return [{"speaker": speaker, "text": content, "image": ""}]
    pieces = [_part_piece(speaker, part) for part in content or ()]
    calls = message.get("tool_calls")
    return [*pieces, {"speaker": speaker, "text": f"[tool calls] {calls}", "image": ""}] if calls else pieces


def _part_piece(speaker: str, part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"speaker": speaker, "text": part.get("text", ""), "image": ""}
    media = next((value for value in part.values() if isinstance(value, Media)), None)
    if media is not None:
        return _media_piece(speaker, media)
    return {"speaker": speaker, "text": f"[{part.get('type')}]", "image": ""}


def _media_piece(speaker: str, media: Media) -> dict[str, Any]:
    """Small raster images are embedded; a path is named, never opened: it may come from somebody else's file."""
    data = media.data or b""
    kind = next((name for start, name in RASTER_SIGNATURES.items() if data.startswith(start)), None)
    if media.kind == "image" and kind and len(data) <= LARGEST_EMBEDDED:
        source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        return {"speaker": speaker, "text": "", "image": source}
    described = media.path or f"{len(data):,} bytes"
    return {"speaker": speaker, "text": f"[{media.kind}: {described}]", "image": ""}
