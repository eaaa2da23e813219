"""What axe-core finds on a page, what we render apart from what Streamlit renders."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

OURS = '[data-testid="stHtml"], .u-clickable, .u-strips'
STREAMLITS = {"list", "listitem"}  # its navigation, and the selected options of its lists
SERIOUS = {"serious", "critical"}
_axe = Axe()


def serious(page: Page) -> tuple[list[str], set[str]]:
    """Serious findings in what we render, each with its place; rules that Streamlit breaks."""
    ours: list[str] = []
    streamlits: set[str] = set()
    for violation in _axe.run(page).response["violations"]:
        if violation["impact"] not in SERIOUS:
            continue
        for node in violation["nodes"]:
            place = node["target"][0]
            if page.evaluate("([at, ours]) => !!document.querySelector(at)?.closest(ours)",
                             [place, OURS]):  # fmt: skip
                ours.append(f"{violation['id']}: {node['html'][:160]} {node['failureSummary']}")
            else:
                streamlits.add(violation["id"])
    return ours, streamlits
