"""A real browser opens the report: nothing is blocked, nothing is logged, the text is there, nothing is fetched."""

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from assent import Candidate, Comparison
from assent.report import Report, interval_chart, line_chart

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=4000",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="headless Chromium is not installed"),
]


@pytest.fixture
def requests_seen() -> Iterator[tuple[str, list[str]]]:
    """The address of a local server and the paths that were asked of it."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def opened(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The page's structure after scripts ran, and what the browser's console said."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def hostile(address: str) -> Report:
    """A report of everything a page can hold, with texts that try to break out or to call home."""
    attack = (
        f'</script><img src="{address}/image" onerror="document.title=1"><script>document.title="owned"</script>'
        f'<link rel=stylesheet href="{address}/style">'
    )
    comparison = Comparison("Say something.", [Candidate("first answer", score=1), Candidate(attack, score=0)])
    report = Report("What changed", "A subtitle").section("Results").text(attack)
    report.headlines([{"label": "Win rate", "value": "71.0%", "detail": "95% interval 66% to 76%"}])
    report.figure(interval_chart([("dpo", 0.6, 0.7, 0.8)], "win rate", 0.5), attack)
    report.figure(line_chart({"loss": ([0, 1], [1, 0])}, "step", "loss"), "The loss.")
    report.samples([{"prompt": "p", "before": attack, "after": "a \u202e b"}])
    return report.section("Data").table([{"a": attack, "b": 1.5}]).comparisons([comparison] * 3, "Browse.")


def test_a_browser_shows_the_report_without_a_complaint(tmp_path: Path, requests_seen: tuple[str, list[str]]) -> None:
    address, seen = requests_seen
    dom, console = opened(hostile(address).write(tmp_path / "report.html"), tmp_path / "profile")
    assert console == []
    assert seen == []
    assert "<title>What changed</title>" in dom
    for text in ("71.0%", "first answer", "U+202E", "&lt;/script&gt;&lt;img"):
        assert text in dom
    # The script of the page did run: it shows the tools that are hidden where there is no script.
    assert '<div class="tools"><input' in dom


def test_the_policy_stops_a_script_that_got_into_the_page(
    tmp_path: Path, requests_seen: tuple[str, list[str]]
) -> None:
    address, seen = requests_seen
    page = hostile(address).html()
    injected = f'<script>document.title="owned"</script><img src="{address}/image" onerror="document.title=2">'
    (tmp_path / "broken.html").write_text(page.replace("<main>", f"<main>{injected}"))
    dom, console = opened(tmp_path / "broken.html", tmp_path / "profile")
    assert "<title>What changed</title>" in dom
    assert len(console) >= 2
    assert all("Content Security Policy" in line for line in console)
    assert seen == []
