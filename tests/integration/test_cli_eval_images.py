"""`assent eval images` on folders of pictures: features, scores, before and after, and every way it is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from assent.cli.main import main
from assent.comparison import Media
from assent.errors import InputError
from assent.evaluation.picture_features import features_of, load_vision_model
from assent.evaluation.pictures import read_picture_folder
from assent.work.store import ArrayStore
from tests.tiny_vision import save_towers, save_vision

COUNT = 18


def draw(folder: Path, hues: Sequence[float], captions: bool = True) -> Path:
    """Pictures of one colour each with some noise, and their captions."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for number, hue in enumerate(hues):
        colour = np.array([hue, 1 - hue, 0.5]) * 255
        values = (colour + generator.normal(size=(20, 24, 3)) * 12).clip(0, 255).astype(np.uint8)
        name = f"{number:03d}.png"
        Image.fromarray(values).save(folder / name)
        rows.append({"file_name": name, "prompt": f"picture {number % 6}"})
    if captions:
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSENT_CACHE", str(tmp_path / "cache"))
    spread = np.linspace(0, 1, COUNT)
    draw(tmp_path / "real", spread)
    draw(tmp_path / "before", spread**1.05)
    draw(tmp_path / "after", 0.9 + 0.1 * spread)
    return tmp_path


def called(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["eval", "images", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_collapse_shows_in_every_number_and_the_page_holds_both_rows(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_vision(folders / "vit")
    save_towers(folders / "clip")
    assert (
        called(
            folders / "after",
            folders / "real",
            *("--before", folders / "before", "--features", folders / "vit", "--scorer", folders / "clip"),
            *("--neighbours", "2", "--report", folders / "page.html"),
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["generated"] == found["real"] == COUNT
    assert found["coverage"] < 0.5 < found["before"]["coverage"]
    assert found["frechet_distance"] > found["before"]["frechet_distance"]
    assert found["tonal_variety"] < found["before"]["tonal_variety"]
    assert found["variety_within_captions"] < found["before"]["variety_within_captions"]
    score = found["scores"]["clip"]
    assert score["gain"] == pytest.approx(score["mean"] - score["before"])
    assert score["gain_interval"][0] <= score["gain"] <= score["gain_interval"][1]
    page = (folders / "page.html").read_text()
    assert page.count('class="photographs"') == 1
    assert "The same prompts and seeds before and after" in page
    assert "picture 5" in page


def test_features_are_those_of_the_network_and_read_once(folders: Path) -> None:
    encoder = load_vision_model(save_vision(folders / "dinov2", "dinov2"))
    pictures = read_picture_folder(folders / "real").media()
    store = ArrayStore(folders / "store")
    told: list[int] = []
    found = features_of(pictures, encoder, store, lambda done, total: told.append(total))
    assert found.shape == (COUNT, 24)
    with torch.no_grad():
        one = encoder(
            torch.as_tensor(np.asarray(Image.open(folders / "real" / "003.png")) / 255).permute(2, 0, 1)[None]
        )
    np.testing.assert_allclose(found[3], one[0].numpy(), atol=1e-4)
    told.clear()
    again = features_of(pictures, encoder, ArrayStore(folders / "store"), lambda done, total: told.append(total))
    np.testing.assert_array_equal(found, again)
    assert told == []


@pytest.mark.parametrize(("kind", "width"), [("vit", 24), ("convnext", 16)])
def test_every_kind_of_network_gives_one_row_a_picture(kind: str, width: int, folders: Path) -> None:
    pictures = [Media("image", path=str(folders / "real" / "000.png"))] * 2
    assert features_of(pictures, load_vision_model(save_vision(folders / kind, kind))).shape == (2, width)


def test_towers_give_their_image_embedding(folders: Path) -> None:
    encoder = load_vision_model(save_towers(folders / "clip"))
    pictures = [Media("image", path=str(folders / "real" / "000.png"))]
    assert features_of(pictures, encoder).shape == (1, 20)


def test_what_cannot_be_measured_is_refused_by_name(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_towers(folders / "clip")
    draw(folders / "silent", [0.1, 0.2], captions=False)
    (folders / "empty").mkdir()
    (folders / "empty" / "notes.txt").write_text("no picture")
    broken = draw(folders / "broken", [0.1, 0.2])
    (broken / "001.png").write_bytes((broken / "001.png").read_bytes()[:50])
    strange = draw(folders / "strange", [0.1, 0.2])
    with (strange / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "9.png", "prompt": "gone"}\n')
    cases: list[tuple[list[str | Path], str]] = [
        ([folders / "silent", "--scorer", folders / "clip"], "2 of 2 pictures have none, the first is 000.png"),
        ([folders / "empty"], "no picture in this folder"),
        ([folders / "nowhere"], "no such folder of pictures"),
        ([broken], "001.png"),
        ([strange], "metadata.jsonl:3"),
        ([folders / "after", folders / "real"], "--features"),
        ([folders / "after", "--features", folders / "clip"], "REAL"),
        ([folders / "after", "--before", folders / "silent"], "only one of them has"),
        ([folders / "after", folders / "real", "--features", folders / "real"], "not a vision model"),
        ([folders / "after", "--scorer", folders / "real"], "not a model folder"),
    ]
    for arguments, said in cases:
        assert called(*arguments) == 2, arguments
        assert said in " ".join(capsys.readouterr().err.split()), arguments


def test_a_table_of_captions_and_the_number_of_a_class(tmp_path: Path) -> None:
    folder = draw(tmp_path / "digits", [0.1, 0.2], captions=False)
    (folder / "metadata.csv").write_text("file_name,text\n000.png,3\n001.png,a seven\n")
    assert read_picture_folder(folder).captioned() == ["3", "a seven"]
    (folder / "metadata.csv").write_text("name,text\n000.png,3\n")
    with pytest.raises(InputError, match="not a picture's caption"):
        read_picture_folder(folder)
