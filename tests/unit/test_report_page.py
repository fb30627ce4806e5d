"""The report holds whatever a model wrote, loads nothing, and says what it leaves out."""

import html.parser
import random
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from assent import Candidate, Comparison, InputError, Media
from assent.report import Report, histogram, interval_chart, line_chart, write_run_report
from assent.report.figures import data_uri
from assent.report.text import SHOWN_CHARACTERS, display, plain, visible

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "</style><style>body{display:none}",
    "<!-- -->]]>",
    "javascript:alert(1)",
    "&lt;b&gt; &amp;",
]


class Tags(html.parser.HTMLParser):
    """Collects what a browser would see of a page's structure."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.written: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.written.append(data)


def parsed(report: Report) -> Tags:
    tags = Tags()
    tags.feed(report.html())
    return tags


def everywhere(text: str) -> Report:
    """A report with the text in every place that takes text."""
    report = Report(text, text).section(text).text(text).callout(text).key_values({text: text}).code(text, text)
    report.headlines([{"label": text, "value": text, "detail": text}])
    report.table([{text: text}], text)
    report.figure(line_chart({"a": ([0, 1], [1, 2])}, "x", "y"), text)
    report.samples([{"prompt": text, "before": text, "after": text, "before_note": text}], text, text, text)
    candidate = Candidate(text, score=1, source=text, scores={text: 1})
    told = Candidate([{"role": "assistant", "content": text}], prompt=text, score=0)
    return report.comparisons([Comparison(text, [candidate, told], annotator=text, group=text, context=text)], text)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_never_markup(text: str) -> None:
    harmless, hostile = parsed(everywhere("harmless")), parsed(everywhere(text))
    assert [tag for tag, _ in harmless.tags] == [tag for tag, _ in hostile.tags]
    assert [sorted(names) for _, names in harmless.tags] == [sorted(names) for _, names in hostile.tags]
    assert "".join(hostile.written).count(text) >= 15
    assert not any(name.startswith("on") or name == "style" for _, names in hostile.tags for name in names)


@pytest.mark.parametrize(
    "character", ["\u202e", "\u2066", "\u200b", "\ufeff", "\x00", "\x1b", "\x85", "\u2028", "\ud800"]
)
def test_hidden_characters_are_written_out(character: str) -> None:
    page = Report(f"a{character}b").text(f"a{character}b").html()
    page.encode("utf-8")
    assert character not in page
    assert f'a<span class="control">U+{ord(character):04X}</span>b' in page
    assert f"<title>a[U+{ord(character):04X}]b</title>" in page


def test_letters_of_all_scripts_stay_as_they_are() -> None:
    text = "Grüße, 你好, مرحبا, नमस्ते, 👩‍🔬, می‌خواهم\n\tEnde"
    assert str(visible(text)) == text
    assert plain(text) == text


def test_a_huge_text_is_cut_and_the_rest_counted() -> None:
    page = Report("t").samples([{"prompt": "p", "before": "x" * 3_000_000, "after": "y"}]).html()
    assert f"… {3_000_000 - SHOWN_CHARACTERS:,} more characters" in page
    assert len(page) < 100_000


def test_nothing_is_loaded_and_the_policy_admits_only_what_stands_in_the_file(tmp_path: Path) -> None:
    page = everywhere("plain").html()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe" not in policy[1]
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "http://" not in re.sub(r"data:image[^\"]*", "", page)
    assert "https://" not in re.sub(r"data:image[^\"]*", "", page)


def test_a_list_of_comparisons_says_how_many_there_are() -> None:
    many = [
        Comparison(f"prompt {index}", [Candidate("a", score=1), Candidate("b", score=0)]) for index in range(1234)
    ]
    page = Report("t").comparisons(many, "Pairs.").html()
    assert "The first 200 of 1,234." in page
    assert page.count('<details class="comparison">') == 200


def test_images_are_embedded_and_paths_are_never_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    embedded = Media("image", data=b"\x89PNG\r\n\x1a\nshown")
    page = Report("t").comparisons([Comparison("p", [Candidate(embedded), Candidate(Media("image", str(secret)))])])
    sources = [names["src"] for tag, names in parsed(page).tags if tag == "img"]
    assert sources == ["data:image/png;base64,iVBORw0KGgpzaG93bg=="]
    assert f"[image: {secret}]" in page.html()


def test_an_svg_that_claims_to_be_an_image_is_not_embedded() -> None:
    page = Report("t").comparisons([Comparison("p", [Candidate(Media("image", data=b"<svg onload=alert(1)>"))])])
    assert "<img" not in page.html()


def test_figures_are_equal_bytes_for_equal_content_and_turn_to_pixels_when_large() -> None:
    small = [data_uri(line_chart({"a": ([0, 1, 2], [1, 2, 3])}, "x", "y")) for _ in range(2)]
    assert small[0] == small[1]
    assert small[0].startswith("data:image/svg+xml;base64,")
    noise = random.Random(1)
    large = Figure()
    large.add_subplot().scatter([noise.random() for _ in range(20_000)], [noise.random() for _ in range(20_000)])
    assert data_uri(large).startswith("data:image/png;base64,")


def test_charts_of_nothing_and_of_one_value_are_drawn() -> None:
    assert data_uri(histogram({"a": []}, "x")).startswith("data:")
    assert data_uri(histogram({"a": [1.0], "b": [1.0]}, "x")).startswith("data:")
    assert data_uri(interval_chart([("a", 0.4, 0.5, 0.6)], "win rate", 0.5)).startswith("data:")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (True, "yes"), (1234567, "1,234,567"), (0.123456, "0.1235"), (1e-9, "1e-09"), (float("nan"), "nan"),
     (12345.6, "12,346"), ({"a": 1, "b": None}, "a: 1, b: –"), ([1, "x"], "1, x")],
)  # fmt: skip
def test_values_are_shown_in_few_digits(value: object, shown: str) -> None:
    assert display(value) == shown


def test_a_run_folder_becomes_a_report(tmp_path: Path) -> None:
    (tmp_path / "config.resolved.yaml").write_text("model: tiny\nobjective: {dpo: {beta: 0.1}}\n")
    (tmp_path / "versions.json").write_text('{"torch": "2.13", "assent": "0.1"}')
    (tmp_path / "data.json").write_text('{"comparisons": 12, "quarantined": {"empty": 1}}')
    lines = [f'{{"step": {n}, "loss": {0.7 - n / 100}, "rewards/margins": {n}, "kto/kl": 0.1}}' for n in range(5)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 5, "lo']))
    (tmp_path / "samples.jsonl").write_text('{"prompt": "p", "before": "old\\u2028text", "after": "new text"}\n')
    path = write_run_report(tmp_path)
    page = path.read_text()
    assert path == tmp_path / "report.html"
    for expected in ("tiny aligned with dpo", "1 line(s) of metrics.jsonl", "new text", "beta: 0.1", "quarantined"):
        assert expected in page
    assert page.count('class="drawing"') == 3
    assert not list(tmp_path.glob(".report*"))


def test_a_run_folder_with_nothing_in_it_says_what_is_missing(tmp_path: Path) -> None:
    page = write_run_report(tmp_path).read_text()
    for name in ("metrics.jsonl", "data.json", "versions.json", "config.resolved.yaml"):
        assert name in page


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        write_run_report(tmp_path / "missing")


def test_photographs_keep_their_colours_on_a_dark_screen() -> None:
    page = Report("Title").photographs(Figure(figsize=(1, 1)), "Two <boats>").html()
    assert page.count('class="photographs"') == 1
    assert "Two &lt;boats&gt;" in page
    dark = page[page.index("prefers-color-scheme: dark") :]
    assert ".drawing { filter: invert" in dark
    assert ".photographs" not in dark[: dark.index("@media print")]
