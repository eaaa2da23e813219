"""The dashboard of an installed wheel, in a browser, from another folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.visits import WIDE, Visit, watch
from tests.support import results_rows
from tests.support.installed import ROOT, build_wheel, install, serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_an_installed_dashboard_is_themed_and_asks_no_other_host(
    browser: Browser, tmp_path: Path
) -> None:
    installed = install(build_wheel(tmp_path / "wheel"), tmp_path)
    study = results_rows.small_study(tmp_path / "small.duckdb")
    with serving(installed, study, "unpact", "dashboard", "--port", "PORT") as (_, port):
        context = browser.new_context(color_scheme="dark", viewport=WIDE)
        opened = Visit(context.new_page(), f"http://127.0.0.1:{port}")
        watch(opened)
        for path in ("", "recovery", "methods"):
            opened.go(path)
        background = opened.page.locator('[data-testid="stApp"]').evaluate(
            "app => getComputedStyle(app).backgroundColor"
        )
        opened.assert_clean()
        context.close()
    settings = tomllib.loads((ROOT / ".streamlit/config.toml").read_text(encoding="utf-8"))
    color = settings["theme"]["dark"]["backgroundColor"]
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    assert background == f"rgb({red}, {green}, {blue})"
