"""Rows of pictures: every way a cell holds one, paths from the data file, labels and ranks."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from assent.comparison import Media
from assent.encoding.images import load_image
from assent.errors import InputError
from assent.readers import read
from tests.tiny_diffusion import picture, png


def test_a_folder_of_pictures_with_a_file_of_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        picture(ord(name)).save(tmp_path / "images" / f"{name}.png")
    row = {"caption": "a boat", "chosen": "images/a.png", "rejected": {"path": "images/b.png", "bytes": None}}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row))
    monkeypatch.chdir(tmp_path.parent)
    found = read(tmp_path.relative_to(tmp_path.parent) / "pairs.jsonl")
    assert found.format == "image_pair"
    monkeypatch.chdir("/")
    pair = found.comparisons[0]
    assert pair.prompt == "a boat"
    assert [candidate.score for candidate in pair.candidates] == [1.0, 0.0]
    for candidate, name in zip(pair.candidates, "ab", strict=True):
        assert isinstance(candidate.completion, Media)
        assert load_image(candidate.completion).tobytes() == picture(ord(name)).tobytes()


def test_pick_a_pic_in_parquet_with_ties_and_unlabelled_rows(tmp_path: Path) -> None:
    first, second = png(picture(1)), png(picture(2))
    labels = [1.0, 0.0, 0.5, 1.0]
    table = pyarrow.table(
        {
            "caption": ["one", "two", "three", "four"],
            "jpg_0": [first] * 4,
            "jpg_1": [second] * 4,
            "label_0": labels,
            "label_1": [1 - label for label in labels],
            "has_label": [True, True, True, False],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "p.parquet")
    found = read(tmp_path / "p.parquet")
    assert found.format == "pickapic"
    scores = [[candidate.score for candidate in one.candidates] for one in found.comparisons]
    assert scores == [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [None, None]]
    completion = found.comparisons[0].candidates[1].completion
    assert isinstance(completion, Media)
    assert completion.data == second
    assert found.comparisons[0].meta == {}


def test_image_columns_and_rankings(tmp_path: Path) -> None:
    image = {"bytes": png(picture(1)), "path": "x.png"}
    pyarrow.parquet.write_table(
        pyarrow.table({"prompt": ["p"], "chosen": [image], "rejected": [image]}), tmp_path / "p.parquet"
    )
    assert read(tmp_path / "p.parquet").format == "image_pair"
    row = {"prompt": "p", "generations": ["a.png", "b.png", "c.png"], "ranking": [2, 1, 2]}
    (tmp_path / "r.jsonl").write_text(json.dumps(row))
    found = read(tmp_path / "r.jsonl")
    assert found.format == "image_ranking"
    assert [candidate.score for candidate in found.comparisons[0].candidates] == [1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"caption": "c", "jpg_0": 7, "jpg_1": "b.jpg", "label_0": 1}, "jpg_0"),
        ({"caption": "c", "jpg_0": "a.jpg", "jpg_1": "b.jpg", "label_0": 2}, "label_0"),
        ({"prompt": "p", "images": ["a.png", "b.png"], "ranking": [1]}, "ranking"),
        ({"prompt": "p", "images": ["a.png", "b.png"], "ranking": [1, 3]}, "ranking[1]"),
    ],
)
def test_bad_cells_are_named(tmp_path: Path, row: dict[str, object], field: str) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError) as raised:
        read(tmp_path / "r.jsonl")
    assert raised.value.field == field


def test_text_that_ends_like_a_file_stays_text_beside_prose(tmp_path: Path) -> None:
    row = {"prompt": "Which file?", "chosen": "Open images/a.png with a viewer", "rejected": "a.png"}
    (tmp_path / "r.jsonl").write_text(json.dumps(row))
    assert read(tmp_path / "r.jsonl").format == "preference"


def test_a_captioned_picture_is_a_demonstration(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps({"caption": "a boat", "image": "a.png"}))
    found = read(tmp_path / "r.jsonl")
    assert (found.format, found.demonstrations) == ("captioned_image", True)
    assert found.comparisons[0].candidates[0].score is None
