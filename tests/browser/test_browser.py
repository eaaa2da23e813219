"""What only a browser can say: pages are drawn, in both themes, offline, and text stays text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from results_db import store
from tests.browser import accessibility
from tests.browser.visits import Visit
from tests.support import hostile_rows
from tests.support.pages import planned_only

PAGES = {
    "": "Findings", "overview": "Overview", "run": "One run", "token_shift": "Token shift",
    "recovery": "Recovery", "utility": "Utility", "depth": "Depth",
    "prompt": "One prompt", "compare": "Compare",
    "live_probe": "Live probe", "runs": "Runs", "methods": "Methods",
}  # fmt: skip
CHARTS = {
    "": 0,
    "overview": 1,
    "run": 0,
    "token_shift": 2,
    "recovery": 2,
    "utility": 1,
    "depth": 1,
    "prompt": 0,
    "compare": 1,
    "live_probe": 0,
    "runs": 0,
    "methods": 0,
}
Open = Callable[..., Visit]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="session")
def hostile_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose every text is markup of some kind."""
    return hostile_rows.study(tmp_path_factory.mktemp("hostile") / "study.duckdb")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", list(PAGES))
def test_every_page_is_drawn_in_both_themes_without_a_complaint(
    path: str, scheme: str, visit: Open, study_db: Path, screenshots: Path
) -> None:
    opened = visit(study_db, scheme)
    opened.go(path)
    expect(opened.page.locator("h1").first).to_have_text(PAGES[path])
    assert opened.page.locator('[data-testid="stPlotlyChart"] .main-svg').count() >= CHARTS[path]
    assert is_dark(opened.page) == (scheme == "dark")
    opened.screenshot(screenshots / f"{path or 'findings'}-{scheme}.png")
    opened.assert_clean()
    ours, streamlits = accessibility.serious(opened.page)
    assert ours == []
    assert streamlits <= accessibility.STREAMLITS


def is_dark(page: Page) -> bool:
    """Whether the page's background is darker than mid grey."""
    app = page.get_by_test_id("stApp")
    color = app.evaluate("element => getComputedStyle(element).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", color)[:3]) < 3 * 128


def test_filters_stand_in_the_address_and_come_back_in_a_fresh_browser(
    visit: Open, study_db: Path
) -> None:
    first = visit(study_db)
    first.go("overview")
    choose(first, "Methods", "GA")
    choose(first, "Answer words", "All words")
    choose(first, "Step", "At most 0")
    first.settle()
    query = parse_qs(urlsplit(first.page.url).query)
    assert query == {"methods": ["GA"], "words": ["All words"], "step": ["At most 0"]}
    second = visit(study_db)
    second.go("overview?" + urlsplit(first.page.url).query)
    assert parse_qs(urlsplit(second.page.url).query) == query
    table = second.page.locator(".u-table").first
    expect(table).to_contain_text("gradient ascent")
    expect(table.locator("tbody tr")).to_have_count(1)
    expect(second.page.get_by_text("Shown after at most 0 steps")).to_be_visible()
    second.assert_clean()


def test_filters_survive_a_change_of_page(visit: Open, study_db: Path) -> None:
    opened = visit(study_db)
    opened.go("overview")
    choose(opened, "Methods", "GA")
    opened.settle()
    opened.page.get_by_role("link", name="Utility").click()
    expect(opened.page.locator("h1").first).to_have_text("Utility")
    opened.settle()
    assert parse_qs(urlsplit(opened.page.url).query)["methods"] == ["GA"]
    expect(opened.page.locator(".u-table").first.locator("tbody tr")).to_have_count(1)
    opened.assert_clean()


def choose(opened: Visit, label: str, option: str) -> None:
    """Pick an option of a select box or multiselect in the sidebar."""
    box = opened.page.get_by_test_id("stSidebar").get_by_label(label, exact=False).first
    box.scroll_into_view_if_needed()
    opened.page.wait_for_timeout(300)  # a list that opens while the sidebar scrolls closes again
    box.click()
    opened.page.get_by_role("option", name=option, exact=True).click()
    opened.page.keyboard.press("Escape")
    opened.settle()


def test_next_prompt_moves_on_and_its_address_opens_it_again(visit: Open, study_db: Path) -> None:
    first = visit(study_db)
    first.go("prompt")
    before = first.page.locator(".u-question").inner_text()
    first.page.get_by_role("button", name="Next").click()
    expect(first.page.locator(".u-question")).not_to_have_text(before)
    first.settle()
    after = first.page.locator(".u-question").inner_text()
    assert after != before
    second = visit(study_db)
    second.go("prompt?" + urlsplit(first.page.url).query)
    assert second.page.locator(".u-question").inner_text() == after
    second.assert_clean()


def test_a_chosen_answer_is_shown_in_full_and_leads_to_its_prompt(
    visit: Open, study_db: Path
) -> None:
    opened = visit(study_db)
    opened.go("recovery?recovered=false&methods=GA")
    grid = opened.page.locator(".st-key-attempts").get_by_test_id("stDataFrame")
    grid.scroll_into_view_if_needed()
    grid.locator(".dvn-scroller").click(position={"x": 16, "y": 90}, force=True)
    question = (
        opened.page.locator("tr", has=opened.page.get_by_role("rowheader", name="Question"))
        .locator("td")
        .first
    )
    expect(question).not_to_be_empty()
    asked = question.inner_text()
    opened.page.get_by_role("link", name="See everything about this prompt").click()
    expect(opened.page.locator("h1").first).to_have_text("One prompt")
    opened.settle()
    expect(opened.page.locator(".u-question")).to_contain_text(asked)
    assert parse_qs(urlsplit(opened.page.url).query)["methods"] == ["GA"]
    opened.assert_clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["empty", "running"])
def test_every_page_says_what_it_waits_for(
    state: str, scheme: str, visit: Open, waiting_dbs: dict[str, Path]
) -> None:
    opened = visit(waiting_dbs[state], scheme)
    opened.go("overview")
    main = opened.page.get_by_test_id("stMain")
    for title in PAGES.values():
        sidebar = opened.page.get_by_test_id("stSidebarNav")
        sidebar.get_by_role("link", name=title, exact=True).click()
        if state == "empty":
            expect(main).to_contain_text("holds no study yet")
            continue
        expect(opened.page.locator("h1").first).to_have_text(title)
        waited = {"Runs": "0 of 3 runs", "Methods": "What is"}
        expect(main).to_contain_text(waited.get(title, "No run is finished yet"))
    assert is_dark(opened.page) == (scheme == "dark")
    opened.assert_clean()


@pytest.fixture(scope="session")
def waiting_dbs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file without a study, and one whose first run is at work."""
    folder = tmp_path_factory.mktemp("waiting")
    store.create(folder / "empty.duckdb")
    return {"empty": folder / "empty.duckdb", "running": planned_only(folder / "running.duckdb")}


def test_a_click_on_a_curve_leaves_its_run_alone_and_a_link_brings_that_back(
    visit: Open, study_db: Path
) -> None:
    opened = visit(study_db)
    opened.go("utility?methods=GA&methods=NPO-GDR")
    table = opened.page.locator(".u-table").first
    expect(table.locator("tbody tr")).to_have_count(2)
    mark = opened.page.locator(".js-plotly-plot .points path").first
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    assert box is not None
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(table.locator("tbody tr")).to_have_count(1)
    opened.settle()
    query = urlsplit(opened.page.url).query
    assert "only_run" in parse_qs(query)
    second = visit(study_db)
    second.go("utility?" + query)
    expect(second.page.locator(".u-table").first.locator("tbody tr")).to_have_count(1)
    opened.assert_clean()


def test_a_figure_and_its_rows_are_downloaded(visit: Open, study_db: Path) -> None:
    opened = visit(study_db)
    opened.go("compare")
    opened.page.get_by_test_id("stPlotlyChart").first.hover()
    for title, start in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
        with opened.page.expect_download() as waited:
            opened.page.locator(f'.modebar-btn[data-title*="{title}"]').first.click()
        assert waited.value.path().read_bytes().startswith(start)
        assert waited.value.suggested_filename == f"unpact-differences.{title.lower()}"
    opened.page.get_by_text("How is this computed?").first.click()
    with opened.page.expect_download() as waited:
        opened.page.get_by_role("button", name="Rows as CSV").first.click()
    lines = waited.value.path().read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("section,measure,unit,first_value")
    assert len(lines) > 10
    opened.assert_clean()


@pytest.mark.parametrize("path", list(PAGES))
def test_hostile_text_is_shown_as_text(path: str, visit: Open, hostile_db: Path) -> None:
    opened = visit(hostile_db)
    opened.go(path)
    assert opened.page.evaluate("() => window.hacked") is None
    main = opened.page.get_by_test_id("stMain")
    assert main.locator("img[src=x]").count() == 0
    assert main.locator(".katex").count() == 0
    assert main.locator("a[href^='http://b.example']").count() == 0
    if path in {"token_shift", "prompt", "runs"}:
        shown = " ".join(main.inner_text().split())
        assert "<script>window.hacked=1</script>" in shown
        assert "$z^2$" in shown
    opened.assert_clean()


def test_without_results_the_page_says_what_to_run(visit: Open, tmp_path: Path) -> None:
    opened = visit(tmp_path / "none.duckdb")
    opened.go("overview")
    expect(opened.page.get_by_test_id("stMain")).to_contain_text("unpact run demo")
    opened.assert_clean()


def test_a_click_on_a_rate_lists_the_answers_of_its_run_and_strategy(
    visit: Open, study_db: Path
) -> None:
    opened = visit(study_db)
    opened.go("recovery?recovered=false")
    marks = opened.page.locator(".st-key-rates .js-plotly-plot .points path").all()
    for mark in marks[::-1]:  # one of a strategy that is not the chosen one, nor any of them
        mark.scroll_into_view_if_needed()
        box = mark.bounding_box()
        assert box is not None
        opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        opened.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        opened.page.wait_for_timeout(300)
        opened.settle()
        chosen = parse_qs(urlsplit(opened.page.url).query)
        if "strategy" in chosen:  # the address has it unless it is the one that is there at first
            break
    else:
        raise AssertionError("no click changed the strategy")
    assert len(chosen["only_run"]) == 1
    grid = opened.page.locator(".st-key-attempts").get_by_test_id("stDataFrame")
    expect(grid).to_be_visible()
    opened.assert_clean()
