"""A visit of a page by a browser, and what must not happen on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page, Request, Route, ViewportSize

WIDE: ViewportSize = {"width": 1280, "height": 900}
READY = '[data-testid="stApp"][data-test-script-state="notRunning"]'
TIMEOUT_MS = 60_000


@dataclass
class Visit:
    """An open page and everything about it that a reader must never meet."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open a path and wait until everything is drawn."""
        self.page.goto(f"{self.address}/{path}", timeout=TIMEOUT_MS)
        self.settle()

    def settle(self) -> None:
        """Wait until the script has run, no placeholder is left, and every chart is drawn."""
        self.page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        self.page.wait_for_selector('[data-testid="stMainBlockContainer"] h1', timeout=TIMEOUT_MS)
        self.page.wait_for_timeout(400)  # a rerun that a widget asks for begins only after a moment
        self.page.wait_for_selector(READY, timeout=TIMEOUT_MS)
        self.page.wait_for_function(
            """() => !document.querySelector('[data-testid="stSkeleton"]')
                && [...document.querySelectorAll('[data-testid="stPlotlyChart"]')]
                    .every(chart => chart.querySelector('.main-svg'))""",
            timeout=TIMEOUT_MS,
        )

    def assert_clean(self) -> None:
        """No exception box, page error, console error of ours, or request to another host."""
        boxes = self.page.locator('[data-testid="stException"]')
        assert boxes.count() == 0, boxes.first.inner_text()
        assert self.complaints == []

    def screenshot(self, file: Path) -> None:
        """Keep a picture of the whole page, not only of what fits the window."""
        height = self.page.evaluate(
            """() => document.querySelector('[data-testid="stMain"]').scrollHeight"""
        )
        self.page.set_viewport_size({"width": WIDE["width"], "height": int(height) + 24})
        self.page.wait_for_timeout(700)
        self.page.screenshot(path=file)
        self.page.set_viewport_size(WIDE)


def watch(opened: Visit) -> None:
    """Note page errors, console errors of ours, requests to other hosts; refuse the latter."""

    def refuse(route: Route) -> None:
        opened.complaints.append(f"request to another host: {route.request.url}")
        route.abort()

    opened.page.context.route(lambda url: not _is_local(url), refuse)
    opened.page.on("pageerror", lambda error: opened.complaints.append(f"page error: {error}"))
    opened.page.on("requestfailed", lambda request: _failed(opened, request))
    opened.page.on("console", lambda message: _console(opened, message))


def _console(opened: Visit, message: ConsoleMessage) -> None:
    source = str(message.location.get("url"))
    # Streamlit probes for itself under the page's path first, which is not found there
    if message.type == "error" and "/_stcore/" not in source:
        opened.complaints.append(f"console: {message.text} {source}")


def _failed(opened: Visit, request: Request) -> None:
    if not _is_local(request.url):
        opened.complaints.append(f"request to another host: {request.url}")


def _is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:"))
