"""What an objective says of itself, read from its docstrings: the command line and the docs are made of this."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from dataclasses import MISSING, dataclass
from typing import Any

from assent.objectives.judged import Needs


@dataclass(frozen=True)
class Option:
    """One hyperparameter.

    Args:
        name: its YAML key.
        kind: its type, as written.
        default: its default, as written; None where it must be given.
        text: what it does.
    """

    name: str
    kind: str
    default: str | None
    text: str


@dataclass(frozen=True)
class Description:
    """An objective in words.

    Args:
        slug: its YAML name.
        title: first line of its file.
        summary: first line of its class.
        source: authors, year and equation.
        body: formula and remarks.
        options: its hyperparameters.
        needs: what it needs at its defaults, in words.
    """

    slug: str
    title: str
    summary: str
    source: str
    body: str
    options: tuple[Option, ...]
    needs: tuple[str, ...]


def describe(cls: type[Any]) -> Description:
    """The description of an objective's class."""
    title, _, rest = (sys.modules[cls.__module__].__doc__ or "").partition("\n")
    source, body = _split_source(rest.strip("\n"))
    documented = inspect.getdoc(cls) or ""
    options = options_of(cls)
    return Description(
        slug=cls.__module__.rsplit(".", 1)[-1],
        title=title.strip(),
        summary=documented.partition("\n")[0],
        source=source,
        body=body,
        options=options,
        needs=needs_in_words(_needs(cls)),
    )


def options_of(cls: type[Any]) -> tuple[Option, ...]:
    """The hyperparameters of a class, with the text that its docstring gives each."""
    texts = documented_arguments(inspect.getdoc(cls) or "")
    return tuple(
        Option(field.name, str(field.type), _default(field), texts.get(field.name, ""))
        for field in (dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ())
        if field.init
    )


def documented_arguments(docstring: str) -> dict[str, str]:
    """The arguments that an `Args:` section explains; continuation lines are joined."""
    _, _, section = docstring.partition("Args:\n")
    texts: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        start = re.match(r"    (\w+): (.*)", line)
        if start:
            name, texts[start[1]] = start[1], start[2].strip()
        elif line.strip() and name:
            texts[name] += " " + line.strip()
    return texts


def needs_in_words(needs: Needs | None) -> tuple[str, ...]:
    """What is needed, one phrase each."""
    if needs is None:
        return ("depends on its options",)
    said = {
        "pairs": "pairs",
        "labels": "labels",
        "lists": "lists",
        "demonstrations": "demonstrations",
        "dimensions": "scores by dimension",
        "joint_prompts": "prompt likelihoods",
        "reference": "reference",
        "contrast": "two contrastive models",
        "live_reference": "live reference",
        "batch": "whole step",
    }
    words = [text for name, text in said.items() if getattr(needs, name)]
    words += [f"helper: {role}" for role in needs.helpers]
    return (*words, *(f"statistic: {name}" for name in needs.statistics))


def _split_source(text: str) -> tuple[str, str]:
    paragraphs = text.split("\n\n")
    for index, paragraph in enumerate(paragraphs):
        if paragraph.startswith("Source:"):
            rest = paragraphs[:index] + paragraphs[index + 1 :]
            return " ".join(paragraph.removeprefix("Source:").split()), "\n\n".join(rest)
    return "", text


def _needs(cls: type[Any]) -> Needs | None:
    stated = inspect.getattr_static(cls, "needs", None)
    if isinstance(stated, Needs):
        return stated
    try:
        needs = cls(**getattr(cls, "example", {})).needs
    except (TypeError, ValueError):
        return None
    return needs if isinstance(needs, Needs) else None


def _default(field: dataclasses.Field[Any]) -> str | None:
    if field.default is not MISSING:
        return "null" if field.default is None else str(field.default)
    if field.default_factory is not MISSING:
        return _shown(field.default_factory())
    return None


def _shown(value: Any) -> str:
    if dataclasses.is_dataclass(value):
        return type(value).__module__.rsplit(".", 1)[-1]
    return str(value)
