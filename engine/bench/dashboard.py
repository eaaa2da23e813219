"""How quickly the dashboard answers a browser, alone and among other visitors, and what it holds.

A real browser in front of a real server; the other visitors speak Streamlit's protocol and draw
nothing. Needs playwright (requirements-dev.txt) and an installed chromium or chrome.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from engine.bench import synthetic_study
from engine.live import launch
from results_db import read

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

HOST = "127.0.0.1"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip
PAGES = (
    "",
    "overview",
    "run",
    "token_shift",
    "recovery",
    "utility",
    "prompt",
    "compare",
    "runs",
    "methods",
)
WINDOW: ViewportSize = {"width": 1280, "height": 900}
CHART = '[data-testid="stPlotlyChart"] .main-svg'
IDLE = '[data-testid="stApp"][data-test-script-state="notRunning"]'
PATIENCE_MS = 60_000
QUIET_MS = 350  # without a change, until a page counts as drawn
VISIT = (Path(__file__).parent / "visitor.js").read_text(encoding="utf-8")
WATCH = """() => {
  window.asked = window.changed = performance.now();
  document.addEventListener("click", (event) => {
    if (event.target.closest('[role="option"]')) window.asked = performance.now();
  }, true);
  const main = document.querySelector('[data-testid="stMain"]');
  new MutationObserver(() => { window.changed = performance.now(); })
    .observe(main, { childList: true, subtree: true, attributes: true, characterData: true });
}"""
QUIET = f"""() => document.querySelector('{IDLE}') && window.changed > window.asked
  && performance.now() - window.changed > {QUIET_MS}"""


class BrowserError(RuntimeError):
    """There is no browser, or nothing that drives one."""


@dataclass(frozen=True)
class Load:
    """How much is asked of the dashboard."""

    changes: int  # of a filter, at least 2
    visitors: int  # that come at once with the browser


FULL, QUICK = Load(24, 9), Load(2, 1)


@dataclass(frozen=True)
class Measurement:
    """Times in seconds unless they say milliseconds; memory in bytes."""

    token_scores: int
    file_bytes: int
    cold_seconds: float  # start of the server to the first chart, file not in the page cache
    warm_seconds: float  # the same, with a file that was read before
    visit_seconds: float  # a new browser session on a running server to its first chart
    redraw_ms: tuple[float, ...]  # a filter's option is clicked to the page is drawn anew
    together_seconds: tuple[float, ...]  # visits that began at once, page by page
    server_bytes: int  # proportional set size after all of this

    def as_document(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "redraw_p95_ms": p95(self.redraw_ms)}

    def table(self) -> list[tuple[str, str, str]]:
        """Rows to print: what, how long, and what it should be."""
        return [
            ("server start to first chart, cold", f"{self.cold_seconds:.2f} s", "6 s"),
            ("server start to first chart, warm", f"{self.warm_seconds:.2f} s", "2.5 s"),
            ("new visit to first chart", f"{self.visit_seconds:.2f} s", ""),
            ("filter change, median", f"{statistics.median(self.redraw_ms):.0f} ms", ""),
            ("filter change, p95", f"{p95(self.redraw_ms):.0f} ms", "700 ms"),
            ("visits at once, slowest", f"{max(self.together_seconds):.2f} s", "2 s"),
            ("memory of the server (PSS)", f"{self.server_bytes / 2**20:.0f} MiB", "500 MiB"),
        ]


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def measure(token_scores: int, load: Load = FULL) -> Measurement:
    """Write a made-up study of about so many token scores and measure the dashboard on it."""
    with tempfile.TemporaryDirectory(prefix="unpact-bench-") as folder:
        path = Path(folder) / "results.duckdb"
        synthetic_study.make(path, token_scores)
        return measure_file(path, load)


def measure_file(path: Path, load: Load = FULL) -> Measurement:
    """Measure the dashboard on a results file.

    Args:
        path: of the file; at least one run is complete.
        load: how much is asked of it.

    Raises:
        BrowserError: there is no browser to measure with.
        DashboardError: the dashboard does not come up.
    """
    with _browser() as browser:
        _drop_from_cache(path)
        with _served(path) as (begun, _, address):
            cold = _first_chart(browser, address, begun)
        with _served(path) as (begun, server, address):
            warm = _first_chart(browser, address, begun)
            visit = _first_chart(browser, address, time.perf_counter())
            redraw = _changes(browser, address, path, load.changes)
            together = _together(browser, address, load.visitors)
            held = _proportional_size(server.pid)
    info = read.query(path, "info").iloc[0]
    return Measurement(
        int(info["token_scores"]), path.stat().st_size, cold, warm, visit, tuple(redraw),
        tuple(together), held,
    )  # fmt: skip


@contextmanager
def _browser() -> Iterator[Browser]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        wanted = "this measurement needs playwright: pip install -r requirements-dev.txt"
        raise BrowserError(wanted) from error
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        raise BrowserError(f"this measurement needs one of {', '.join(BROWSERS)} on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def _served(path: Path) -> Iterator[tuple[float, subprocess.Popen[bytes], str]]:
    """A running dashboard: when it was started, its process, its address."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="unpact-") as private:
        environment = launch.environment(path.resolve(), Path(private))
        begun = time.perf_counter()
        server = subprocess.Popen(
            launch.command(HOST, port), cwd=launch.ROOT, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            launch.wait_until_up(server, HOST, port)
            yield begun, server, f"http://{HOST}:{port}"
        finally:
            launch.end([server])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _drop_from_cache(path: Path) -> None:
    """Ask the system to forget the file's pages, so that they come from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _first_chart(browser: Browser, address: str, begun: float) -> float:
    """Seconds since `begun` when a fresh session shows the first chart of the Overview."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{address}/overview", timeout=PATIENCE_MS)
        page.wait_for_selector(CHART, timeout=PATIENCE_MS)
        return time.perf_counter() - begun


def _changes(browser: Browser, address: str, path: Path, changes: int) -> list[float]:
    """Milliseconds from a click on a method in the filter to the page drawn anew, each time.

    One method more each time, benchmark by benchmark, so that no rows were asked for before.
    """
    info = read.query(path, "info").iloc[0]
    spent: list[float] = []
    with browser.new_context(viewport=WINDOW) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        for benchmark in info["benchmarks"]:
            page.goto(f"{address}/overview?benchmark={benchmark}")
            page.wait_for_selector(CHART)
            page.wait_for_selector(IDLE)
            page.evaluate(WATCH)
            for _ in range(min(changes - len(spent), len(info["methods"]) - 1)):
                spent.append(_change(page))
    return spent


def _change(page: Page) -> float:
    """Choose one more method."""
    box = page.get_by_test_id("stSidebar").get_by_label("Methods", exact=False).first
    box.scroll_into_view_if_needed()
    page.wait_for_timeout(QUIET_MS)  # a list that opens while the sidebar scrolls closes again
    box.click()
    page.get_by_role("option").filter(has_not_text="Select all").first.click()
    page.wait_for_function(QUIET, timeout=PATIENCE_MS)
    page.keyboard.press("Escape")
    return float(page.evaluate("() => window.changed - window.asked"))


def _together(browser: Browser, address: str, visitors: int) -> list[float]:
    """Seconds of each visit, when a browser and visitors open one page after another at once."""
    spent: list[float] = []
    with browser.new_context() as context, browser.new_context() as others:
        page, crowd = context.new_page(), others.new_page()
        crowd.goto(f"{address}/_stcore/health")
        for name in PAGES:
            crowd.evaluate(
                f"""(visit) => {{ window.visits = Promise.all(
                    Array.from({{ length: {visitors} }}, () => ({VISIT})(visit))); }}""",
                {"address": address, "page": name},
            )
            begun = time.perf_counter()
            page.goto(f"{address}/{name}", timeout=PATIENCE_MS)
            page.wait_for_selector(IDLE, timeout=PATIENCE_MS)
            spent.append(time.perf_counter() - begun)
            spent += [ms / 1000 for ms in crowd.evaluate("() => window.visits")]
    return spent


def _proportional_size(pid: int) -> int:
    """Memory of a process and its children, pages that are shared counted by their share."""
    root = psutil.Process(pid)
    return sum(int(each.memory_full_info().pss) for each in [root, *root.children(recursive=True)])
