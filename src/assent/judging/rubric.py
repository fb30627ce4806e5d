"""Rubrics: what a judge is asked, as data files. One file per judgement, ours or a user's, checked when read."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from assent.errors import InputError

Mode = Literal["pairwise", "pointwise", "listwise", "checklist", "critique"]
MODES: tuple[Mode, ...] = ("pairwise", "pointwise", "listwise", "checklist", "critique")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scale(_Strict):
    """The numbers a judge may give, and what they mean."""

    lowest: int = 1
    highest: int = 5
    levels: dict[int, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ordered(self) -> Scale:
        if self.lowest >= self.highest:
            raise ValueError(f"lowest {self.lowest} is not below highest {self.highest}")
        outside = [level for level in self.levels if not self.lowest <= level <= self.highest]
        if outside:
            raise ValueError(f"level {outside[0]} lies outside {self.lowest} to {self.highest}")
        return self

    def read(self, value: Any) -> float | None:
        """The value as a number of the scale; None if it is none."""
        if isinstance(value, str):
            head, _, of = value.strip().partition("/")
            if of and of.strip() != str(self.highest):
                return None
            try:
                value = float(head)
            except ValueError:
                return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if self.lowest <= value <= self.highest else None


class Item(_Strict):
    """One line of a checklist.

    Args:
        id: its name in `scores`.
        text: what the judge is to look at.
        weight: in the overall score; negative where having it is bad.
        group: for rubrics whose items belong to kinds.
        read_by: `judge`, or `rule` where the number is computed, not asked for.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    text: str
    weight: float = 1.0
    group: str | None = None
    read_by: Literal["judge", "rule"] = "judge"


class Rubric(_Strict):
    """What is asked, how, and how the answer reads.

    Args:
        name: its name, the file's name without ending.
        title: shown to people.
        source: where the idea is from.
        mode: how it is asked unless the user says otherwise.
        criterion: what better means, in a paragraph.
        questions: what to look at.
        scale: for rated modes.
        items: for checklists.
        subject: what is judged, in words (`answer`).
        template: Jinja text in place of the mode's own; it must name the answers' tag.
        answer_schema: JSON schema in place of the mode's own.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    source: str
    mode: Mode = "pairwise"
    criterion: str
    questions: tuple[str, ...] = ()
    scale: Scale = Scale()
    items: tuple[Item, ...] = ()
    subject: str = "answer"
    template: str | None = None
    answer_schema: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Rubric:
        names = [item.id for item in self.items]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"items: `{twice[0]}` stands twice")
        if self.mode == "checklist" and not self.asked:
            raise ValueError("items: a checklist needs at least one item that the judge reads")
        return self

    @property
    def asked(self) -> tuple[Item, ...]:
        """The items that a judge is asked about."""
        return tuple(item for item in self.items if item.read_by == "judge")


def built_in() -> list[str]:
    """Names of the rubrics that come with the library."""
    folder = resources.files("assent.judging") / "rubrics"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def load_rubric(name_or_path: str | Path) -> Rubric:
    """A built-in rubric by name, or one's own by path (anything with a slash or ending in .yaml)."""
    text = str(name_or_path)
    if "/" in text or text.endswith((".yaml", ".yml")):
        try:
            content = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("the rubric cannot be read", where=text, found=str(error)) from None
        return parse_rubric(content, where=text)
    if text not in built_in():
        raise InputError(
            f"no rubric is called `{text}`",
            field="rubric",
            expected=", ".join(built_in()),
            remedy="Name a file of your own as path/to/rubric.yaml",
        )
    file = resources.files("assent.judging") / "rubrics" / f"{text}.yaml"
    return parse_rubric(file.read_text(encoding="utf-8"), where=f"{text}.yaml")


def parse_rubric(content: str, where: str) -> Rubric:
    """The rubric of a YAML text; an InputError names the field that is wrong."""
    try:
        row = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise InputError("not YAML", where=where, found=str(error).replace("\n", " ")) from None
    if not isinstance(row, Mapping):
        raise InputError("a rubric is a mapping", where=where, found=type(row).__name__)
    try:
        return Rubric.model_validate(dict(row))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            first["msg"],
            where=where,
            field=".".join(map(str, first["loc"])) or None,
            found=repr(first.get("input"))[:80],
            expected=", ".join(Rubric.model_fields) if first["type"] == "extra_forbidden" else None,
        ) from None
