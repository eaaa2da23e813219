"""The live page in a browser: its numbers, emphasis, and text that stays text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from results_db import read
from tests.browser.visits import TIMEOUT_MS, Visit
from tests.support.program import unpact

Open = Callable[..., Visit]
EXAMPLE = "p001-dish"
TOLERANCE = 1e-4  # nats
HOSTILE = (
    'Where was <img src=x onerror="window.hacked=1"> $z^2$ **Ann** [a](https://b.example) born?'
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def probe(opened: Visit) -> None:
    """Press the button and wait for the tokens."""
    opened.page.get_by_role("button", name="Probe", exact=True).click()
    opened.page.locator(".u-strip").nth(2).wait_for(timeout=TIMEOUT_MS)
    opened.settle()


def scores(strip: Locator) -> list[float | None]:
    """What one line of tokens shows, at full precision; None for a token that was not deleted."""
    tokens = strip.locator(".u-tokens > .u-token")
    found = tokens.evaluate_all("tokens => tokens.map(token => token.dataset.score ?? null)")
    return [None if score is None else float(score) for score in found]


def differences(after: list[float | None], before: list[float | None]) -> list[float | None]:
    return [None if a is None or b is None else a - b for a, b in zip(after, before, strict=True)]


@pytest.fixture(scope="session")
def runs(study_db: Path) -> dict[str, str]:
    """Run ids of the study by method."""
    saved = read.query(study_db, "saved_models")
    return dict(zip(saved["method"], saved["run_id"], strict=True))


def test_a_prompt_of_the_study_has_the_numbers_of_the_program_and_of_the_study(
    visit: Open, study_db: Path, runs: dict[str, str], screenshots: Path
) -> None:
    opened = visit(study_db)
    opened.go(f"prompt?example={EXAMPLE}")
    opened.page.get_by_role("link", name="Probe the models with this prompt").click()
    expect(opened.page.locator("h1").first).to_have_text("Live probe")
    opened.settle()
    probe(opened)
    told = probed(study_db, runs, ("none", "ga"))
    before, after, difference, _ = map(scores, opened.page.locator(".u-strip").all())
    for shown, model in zip((before, after), told["models"], strict=True):
        assert shown[0] is None
        assert shown[1:] == pytest.approx(model["scores"][1:], abs=TOLERANCE)
    assert difference[1:] == pytest.approx(differences(after, before)[1:], abs=TOLERANCE)
    for shown, method in ((before, "none"), (after, "ga")):
        assert shown[1:] == pytest.approx(stored(study_db, runs[method])[1:], abs=TOLERANCE)
    main = opened.page.get_by_test_id("stMain")
    for model in told["models"]:
        expect(main).to_contain_text(model["own_answer"])
    keys = opened.page.locator(".u-strip").first.locator(".u-key")
    assert keys.count() == sum(told["is_key"])
    expect(main.locator(".u-measured").first).to_contain_text("MiB of memory")
    opened.screenshot(screenshots / "live-answered-light.png")
    opened.assert_clean()


def probed(study_db: Path, runs: dict[str, str], methods: tuple[str, str]) -> dict[str, Any]:
    """What `unpact probe` says about the example."""
    example = read.query(study_db, "example", benchmark="bios-qa", example_id=EXAMPLE).iloc[0]
    first, second = (runs[method] for method in methods)
    told = unpact("probe", "--model", first, "--against", second, "--prompt", example["prompt"],
                  "--answer", example["answer"], "--db", study_db, "--json")  # fmt: skip
    document: dict[str, Any] = json.loads(told.stdout)
    return document


def stored(study_db: Path, run_id: str) -> list[float]:
    """What the study stored about the example."""
    rows = read.query(
        study_db, "prompt_tokens", benchmark="bios-qa", model=model_of(study_db),
        example_id=EXAMPLE, attribution_method="leave_one_out", target="gold",
        answer_tokens="novel",
    )  # fmt: skip
    return list(rows[rows["run_id"] == run_id].sort_values("position")["score"])


def model_of(study_db: Path) -> str:
    return str(read.query(study_db, "saved_models").iloc[0]["model"])


def test_words_are_chosen_by_keyboard_and_answered_beside_their_placebo(
    visit: Open, study_db: Path, screenshots: Path
) -> None:
    opened = visit(study_db, "dark")
    opened.go(f"live_probe?prompt_benchmark=bios-qa&prompt_example={EXAMPLE}&after=NPO-GDR")
    probe(opened)
    expect(opened.page.locator(".u-strip").nth(1)).to_contain_text("After · NPO-GDR")
    pressed = opened.page.get_by_role("button", name="Emphasise What")
    expect(pressed).to_have_attribute("aria-pressed", "false")
    pressed.focus()
    opened.page.keyboard.press("Space")
    expect(pressed).to_have_attribute("aria-pressed", "true")
    opened.settle()
    expect(pressed).to_be_focused()
    opened.page.get_by_role("button", name="Answer again").click()
    table = opened.page.locator(".u-table").nth(1)
    expect(table).to_contain_text("Your words emphasised", timeout=TIMEOUT_MS)
    opened.settle()
    prompts = table.locator("tbody tr").first.locator("td")
    expect(prompts.nth(1)).to_contain_text('"What')
    expect(table.locator("tbody tr")).to_have_count(4)
    opened.screenshot(screenshots / "live-emphasised-dark.png")
    opened.assert_clean()


def test_a_click_on_part_of_a_word_in_any_line_toggles_the_whole_word(
    visit: Open, study_db: Path
) -> None:
    opened = visit(study_db)
    opened.go(f"live_probe?prompt_benchmark=bios-qa&prompt_example={EXAMPLE}")
    opened.page.get_by_label("Prompt").fill("Where was Tolvanderik born?")
    probe(opened)
    parts = opened.page.get_by_role("button", name="Emphasise Tolvanderik")
    assert parts.count() > 1
    pressed = opened.page.locator(".u-pick[aria-pressed=true]")
    while pressed.count():
        pressed.last.click()
    opened.settle()
    main = opened.page.get_by_test_id("stMain")
    expect(main).to_contain_text("none yet; click words")
    expect(opened.page.get_by_role("button", name="Answer again")).to_be_disabled()
    after = opened.page.locator(".u-strip").nth(1).locator("[data-word=Tolvanderik]")
    after.last.click()
    for part in parts.all():
        expect(part).to_have_attribute("aria-pressed", "true")
    opened.settle()
    opened.page.get_by_role("button", name="Answer again").click()
    table = opened.page.locator(".u-table").nth(1)
    expect(table).to_contain_text("Your words emphasised", timeout=TIMEOUT_MS)
    prompts = table.locator("tbody tr").first.locator("td")
    expect(prompts.nth(1)).to_have_text('Where was "Tolvanderik" born?')
    expect(prompts.nth(2)).not_to_contain_text('"Tolvanderik"')
    opened.assert_clean()


def test_text_that_is_typed_stays_text(visit: Open, study_db: Path) -> None:
    opened = visit(study_db)
    opened.go("live_probe")
    opened.page.get_by_label("Prompt").fill(HOSTILE)
    probe(opened)
    opened.page.get_by_role("button", name="Answer again").click()
    main = opened.page.get_by_test_id("stMain")
    expect(main).to_contain_text("Your words emphasised", timeout=TIMEOUT_MS)
    opened.settle()
    assert opened.page.evaluate("() => window.hacked") is None
    assert main.locator("img[src=x], .katex, a[href*='b.example'], strong").count() == 0
    expect(main.locator(".u-question")).to_contain_text(HOSTILE)
    opened.assert_clean()


def test_an_empty_prompt_is_one_line(visit: Open, study_db: Path) -> None:
    opened = visit(study_db)
    opened.go("live_probe")
    opened.page.get_by_role("button", name="Probe", exact=True).click()
    main = opened.page.get_by_test_id("stMain")
    expect(main).to_contain_text("the prompt is empty", timeout=TIMEOUT_MS)
    opened.settle()
    opened.assert_clean()
