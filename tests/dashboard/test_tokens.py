"""Tokens as they are drawn: escaped, aligned, readable on every shade in both themes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.look import theme
from dashboard.markup import tokens

CONFIG = Path(__file__).parents[2] / ".streamlit" / "config.toml"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> *x* $y$ [a](b)"


def rows(*lines: tuple[str, str, float | None, bool | None], method: str = "none") -> pd.DataFrame:
    """Rows of `prompt_tokens` of one run: token, class, score, is_key."""
    columns = ["token", "token_class", "score", "is_key"]
    frame = pd.DataFrame(list(lines), columns=columns)
    return frame.assign(
        run_id=method, method=method, position=range(len(lines)), logprob=-0.5, answer="Rome.",
        grade=None,
    )  # fmt: skip


def luminance(red: float, green: float, blue: float) -> float:
    """Relative luminance of an sRGB colour with channels in [0, 255] (WCAG 2)."""
    channels = [value / 255 for value in (red, green, blue)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    light, dark = sorted((luminance(*first), luminance(*second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def channels(color: str) -> tuple[float, ...]:
    return tuple(int(color[start : start + 2], 16) for start in (1, 3, 5))


def blended(shade: str, background: tuple[float, ...]) -> tuple[float, ...]:
    red, green, blue, alpha = (float(part) for part in re.findall(r"[\d.]+", shade))
    over = (red, green, blue)
    return tuple(alpha * a + (1 - alpha) * b for a, b in zip(over, background, strict=True))


def themes() -> dict[str, dict[str, str]]:
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["theme"]
    return {name: config[name] for name in ("light", "dark")}


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("score", [-9.0, -1.0, -0.5, -0.1, 0.1, 0.5, 1.0, 9.0])
def test_text_is_readable_on_every_shade(name: str, score: float) -> None:
    colors = themes()[name]
    background, text = channels(colors["backgroundColor"]), channels(colors["textColor"])
    assert contrast(blended(theme.shade(score, 1.0), background), text) >= 4.5


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("method", [*theme.METHODS, "a_method_added_later"])
def test_every_method_stands_out_from_the_background(name: str, method: str) -> None:
    background = channels(themes()[name]["backgroundColor"])
    assert contrast(channels(theme.method(method).color), background) >= 3.0


def test_shades_of_opposite_scores_differ_and_nothing_is_no_colour() -> None:
    assert theme.shade(0.5, 1.0) != theme.shade(-0.5, 1.0)
    assert theme.shade(2.0, 1.0) == theme.shade(1.0, 1.0)
    assert theme.shade(None, 1.0) == theme.shade(0.3, 0.0) == "transparent"


def test_hostile_tokens_are_escaped_everywhere() -> None:
    drawn = tokens.strips(rows((HOSTILE, "content", 0.2, False)))
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert drawn.count("&lt;script&gt;") == 2  # the text and its title


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=12))
def test_no_token_opens_a_tag_of_its_own(token: str) -> None:
    drawn = tokens.strips(rows((token, "content", 0.2, False)))
    plain = tokens.strips(rows(("x", "content", 0.2, False)))
    assert drawn.count("<") == plain.count("<")


def test_sign_and_number_stand_beside_the_colour() -> None:
    drawn = tokens.strips(
        rows((" Anna", "keyword", 0.346, True), ("?", "punctuation", -0.2, False))
    )
    assert "<small>+0.35</small>" in drawn
    assert "<small>−0.20</small>" in drawn
    assert "keyword, KeyToken; position 0" in drawn


def test_key_tokens_are_outlined_and_template_is_muted_without_a_number() -> None:
    drawn = tokens.strips(
        rows(("<|user|>", "template", 0.4, None), (" Anna", "keyword", 0.3, True))
    )
    assert 'class="u-token u-template"' in drawn
    assert 'class="u-token u-word u-key"' in drawn
    assert "+0.40</small>" not in drawn


def test_lines_share_one_scale() -> None:
    base = rows((" Anna", "keyword", 0.5, True))
    after = rows((" Anna", "keyword", -0.5, True), method="ga")
    drawn = tokens.strips(pd.concat([base, after]))
    assert theme.shade(0.5, 0.5) in drawn
    assert theme.shade(-0.5, 0.5) in drawn
    assert "+0.50 nats or more: supports" in drawn


def test_one_outlier_does_not_end_the_scale_and_noise_stays_pale() -> None:
    assert theme.scale_limit(pd.Series([0.2] * 99 + [40.0])) == pytest.approx(0.2)
    assert theme.scale_limit(pd.Series([0.001, -0.002, None])) == 0.05
    assert theme.scale_limit(pd.Series([], dtype=float)) == 0.05


def test_lines_give_each_position_the_same_room() -> None:
    base = rows((" Bartholomew", "keyword", 0.5, True), ("?", "punctuation", 0.0, False))
    after = base.assign(run_id="ga", method="ga", score=[12.5, -0.1])
    widths = re.findall(r"min-width:([\d.]+)ch", tokens.strips(pd.concat([base, after])))
    assert widths[:2] == widths[2:]


def test_table_has_one_row_a_token_and_one_column_a_run() -> None:
    base = rows((" Anna", "keyword", 0.5, True), (" Anna", "keyword", 0.1, False))
    table = tokens.table(pd.concat([base, base.assign(run_id="ga", method="ga", score=0.0)]))
    assert list(table["Token"]) == [" Anna", " Anna"]  # kept apart by position, not by text
    assert list(table["Base model"]) == [0.5, 0.1]
    assert list(table["GA"]) == [0.0, 0.0]


def test_the_reason_stands_beside_a_run_without_scores() -> None:
    plain = rows(("<s>", "template", None, None), ("x", "content", None, None))
    assert "no scores" not in tokens.strips(plain)
    drawn = tokens.strips(plain.assign(reason="did not converge: 1 < 2"))
    assert "nats per token · no scores: did not converge: 1 &lt; 2" in drawn


def test_a_grade_stands_beside_the_run_where_there_is_one() -> None:
    plain = rows(("x", "content", 0.2, False))
    assert "grade" not in tokens.strips(plain)
    assert "nats per token · grade B" in tokens.strips(plain.assign(grade="B"))


def in_parts(method: str = "none", system: float = -0.3) -> pd.DataFrame:
    """A chat prompt whose template was deleted by its parts; each token has its share."""
    lines = [
        ("<|bos|>", None, None), (" Be", "system", system / 2), (" brief.", "system", system / 2),
        ("<|user|>", "role", 0.1), (" Anna", None, 0.5), ("<|end|>", "generation", 0.04),
        ("<|assistant|>", "generation", 0.04), ("\n", "generation", 0.04),
    ]  # fmt: skip
    frame = rows(
        *((token, "keyword" if token == " Anna" else "template", score, token == " Anna")
          for token, _, score in lines), method=method,
    )  # fmt: skip
    return frame.assign(token_part=[part for _, part, _ in lines])


def test_a_part_of_the_template_is_one_block_with_its_whole_score() -> None:
    drawn = tokens.strips(in_parts())
    texts = re.findall(r'class="u-text" style="[^"]*">([^<]*)</span><small>([^<]*)</small>', drawn)
    assert texts == [
        ("&lt;|bos|&gt;", ""), ("Be brief.", "−0.30"), ("&lt;|user|&gt;", "+0.10"),
        ("Anna", "+0.50"), ("&lt;|end|&gt;&lt;|assistant|&gt;↵", "+0.12"),
    ]  # fmt: skip
    assert 'data-score="-0.300000"' in drawn
    assert "template (turns before the question, deleted at once); position 1" in drawn


def test_the_table_has_one_row_a_part_of_the_template_and_one_column_a_run() -> None:
    table = tokens.table(pd.concat([in_parts(), in_parts("ga", system=0.8)]))
    assert list(table["Position"]) == [0, 1, 3, 4, 5]
    assert list(table["Token"]) == [
        "<|bos|>", " Be brief.", "<|user|>", " Anna", "<|end|><|assistant|>\n",
    ]  # fmt: skip
    base, after = (list(table[column]) for column in table.columns[4:])
    assert base[1:] == pytest.approx([-0.3, 0.1, 0.5, 0.12])
    assert after[1:] == pytest.approx([0.8, 0.1, 0.5, 0.12])


def test_a_long_part_is_cut_in_its_line_and_whole_in_its_title() -> None:
    long = in_parts()
    long.loc[1, "token"] = " " + "word " * 12
    drawn = tokens.strips(long)
    assert "word word word word wor…<" in drawn
    assert f"{long.loc[1, 'token']} brief.".strip() in drawn
