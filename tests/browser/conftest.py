"""A real browser in front of a real server over a real, small study."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.visits import WIDE, Visit, watch
from tests.support.servers import answers, free_port

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip


def find_browser() -> str | None:
    """Path of an installed chromium or chrome; installs one where this process may."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found or not (hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get")):
        return found
    with (Path(tempfile.gettempdir()) / "unpact-browser.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test worker may be installing it just now
        if not any(map(shutil.which, NAMES)):
            for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
                subprocess.run(["apt-get", *command], check=False, capture_output=True, timeout=600)
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless browser; without one the tests are skipped, and fail under CI=true."""
    executable = find_browser()
    if executable is None:
        reason = "no chromium or chrome is installed, and apt-get could not install one"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def study_db(request: pytest.FixtureRequest) -> Path:
    """Results of a shrunken study that the engine ran; $UNPACT_TEST_DB names one made before."""
    ready = os.environ.get("UNPACT_TEST_DB")
    return Path(ready) if ready else request.getfixturevalue("tiny_study").database


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages are kept: $UNPACT_SCREENSHOTS, else a temporary folder."""
    named = os.environ.get("UNPACT_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], str]]:
    """Starts a dashboard over a results file, returns its address; all are stopped at the end."""
    running: dict[Path, tuple[subprocess.Popen[bytes], str]] = {}

    def start(database: Path) -> str:
        if database not in running:
            log = tmp_path_factory.mktemp("server") / "log.txt"
            running[database] = _start(database, log)
        return running[database][1]

    yield start
    for server, _ in running.values():
        server.terminate()
        server.wait(timeout=20)


def _start(database: Path, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py"]
    flags = ["--server.port", str(port), "--server.address", "127.0.0.1"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, *flags], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, "UNPACT_DB": str(database)},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    if not answers(f"{address}/_stcore/health"):
        server.kill()
        pytest.fail(f"the dashboard did not start: {log.read_text(encoding='utf-8')[-3000:]}")
    return server, address


@pytest.fixture
def visit(browser: Browser, serve: Callable[[Path], str]) -> Iterator[Callable[..., Visit]]:
    """Opens a dashboard in a fresh context of the browser: no cookies, no history."""
    contexts = []

    def open_in(database: Path, scheme: str = "light") -> Visit:
        dark = scheme == "dark"
        context = browser.new_context(color_scheme="dark" if dark else "light", viewport=WIDE)
        contexts.append(context)
        opened = Visit(context.new_page(), serve(database))
        watch(opened)
        return opened

    yield open_in
    for context in contexts:
        context.close()
