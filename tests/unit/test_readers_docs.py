"""The page on data names every format with an example that is read as that format."""

import json
import re
from pathlib import Path

from assent.readers import FORMATS, detect

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_every_format_has_an_example_that_is_detected() -> None:
    examples = re.findall(r"^### (\w+)\n.*?```json\n(.*?)\n```", PAGE, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in examples] == [row_format.name for row_format in FORMATS]
    for name, example in examples:
        assert detect([json.loads(example)], "data.md")[0].name == name


def test_the_messages_on_the_page_are_messages_of_the_code() -> None:
    folder = Path(__file__).parents[2] / "src" / "assent"
    code = " ".join(path.read_text(encoding="utf-8") for path in (folder / "readers").rglob("*.py"))
    code += " ".join(path.read_text(encoding="utf-8") for path in (folder / "comparison").glob("*.py"))
    rows = re.findall(r"^\| (.+?) \| .+? \|$", PAGE, re.MULTILINE)[1:]
    listed = [message for row in rows for message in row.split(" / ") if not message.startswith("an unknown field")]
    assert len(listed) > 25
    assert [message for message in listed if message not in code] == []
