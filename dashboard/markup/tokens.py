"""Prompt tokens coloured by contribution: escaped, aligned, readable in both themes.

Colour never stands alone: each token has its signed number under it and in its title.
"""

from __future__ import annotations

import html
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd

from dashboard.look import formats, theme

SIGNS = {"\n": "↵", "\t": "⇥"}
LONGEST = 120  # characters of a token in a strip
LONGEST_PART = 24  # of a part of the template


@dataclass(frozen=True)
class Shown:
    """A token as it is drawn."""

    text: str
    starts_word: bool  # white space stands before it


@cache
def _bytes_of() -> dict[str, int]:
    """The printable stand-in of each byte in byte-level BPE, as GPT-2 defined it."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(256) if value not in printable]
    stand_ins = {chr(256 + place): value for place, value in enumerate(others)}
    return {chr(value): value for value in printable} | stand_ins


def decoded(token: str) -> str:
    r"""A token without byte-level stand-ins; one that has none is left as it is.

    >>> decoded("ĠAnna"), decoded("▁Anna"), decoded("ĊQ"), decoded("née")
    (' Anna', ' Anna', '\nQ', 'née')
    """
    if token.startswith("\u2581"):
        return " " + token[1:].replace("\u2581", " ")
    if not any(mark in token for mark in ("\u0120", "\u010a", "\u0109")):
        return token
    table = _bytes_of()
    if any(character not in table for character in token):
        return token
    return bytes(table[character] for character in token).decode("utf-8", "replace")


def shown(token: str) -> Shown:
    r"""What to draw for a token: white space inside is made visible, before it becomes a gap.

    >>> shown(" Anna")
    Shown(text='Anna', starts_word=True)
    >>> shown("ette"), shown("\n").text
    (Shown(text='ette', starts_word=False), '↵')
    """
    text = decoded(token)
    bare = text.lstrip(" ")
    visible = "".join(SIGNS.get(sign, sign) for sign in formats.visible(bare, LONGEST))
    return Shown(visible or "␣", starts_word=bare != text or text[:1] in SIGNS)


@dataclass(frozen=True)
class Cell:
    """One token of a strip: what is written, and how it looks."""

    text: str
    kinds: str  # CSS classes
    title: str
    shade: str  # CSS background
    value: str  # the number under it
    score: str | None  # at full precision, for whoever reads by program; None: not scored
    width: str  # least width, CSS
    word: str | None  # the word of the prompt that it is a part of, where that is known


@dataclass(frozen=True)
class Strip:
    """One run's line of tokens."""

    label: str
    color: str
    symbol: str
    logprob: str
    cells: tuple[Cell, ...]


def strips(rows: pd.DataFrame, scale: pd.DataFrame | None = None) -> str:
    """One line of coloured tokens per run, on one scale, token under token; HTML.

    Args:
        rows: of `prompt_tokens`, for one prompt.
        scale: the rows that the scale is of, where others of the prompt are drawn elsewhere.
    """
    rows = theme.labelled(rows.assign(model=""))
    scale = rows if scale is None else scale
    drawn = "".join(_strip(strip) for strip in lines(rows, scale))
    return f'{answer(rows)}<div class="u-strips">{drawn}</div>{legend(scale)}'


def lines(rows: pd.DataFrame, scale: pd.DataFrame | None = None) -> list[Strip]:
    """What to draw of rows with a column `label`, run by run in the order they come in.

    Args:
        rows: of `prompt_tokens`; a column `word` names the word that a token is a part of.
        scale: the rows that the scale is of; these rows where it is None.
    """
    limit, rows = _limit(rows if scale is None else scale), blocks(rows)
    widths = _widths(rows)
    return [
        _line(part.sort_values("position"), limit, widths)
        for _, part in rows.groupby("run_id", sort=False)
    ]


def blocks(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in which each part of the template is one row, with its text and all of its score.

    Args:
        rows: of `prompt_tokens`; without a column `token_part` they are as they are.
    """
    if "token_part" not in rows or rows["token_part"].isna().all():
        return rows
    rows = rows.reset_index(drop=True)
    alone = rows["token_part"].isna()
    within = rows[~alone].sort_values("position")
    texts = [decoded(str(token)) for token in within["token"]]
    parts = within.assign(token=texts).groupby(["run_id", "token_part"], sort=False)
    first = parts.head(1)
    whose = pd.MultiIndex.from_frame(first[["run_id", "token_part"]])
    first = first.assign(
        token=parts["token"].agg("".join).reindex(whose).to_numpy(),
        score=parts["score"].sum(min_count=1).reindex(whose).to_numpy(),
    )
    return pd.concat([rows[alone], first]).sort_index()


def _limit(rows: pd.DataFrame) -> float:
    return theme.scale_limit(rows.loc[rows["token_class"] != "template", "score"])


def _line(rows: pd.DataFrame, limit: float, widths: dict[int, float]) -> Strip:
    first = rows.iloc[0]
    style = theme.method(str(first["method"]))
    grade = f" · grade {first['grade']}" if formats.present(first["grade"]) else ""
    reason = first.get("reason")
    unscored = f" · no scores: {reason}" if formats.present(reason) else ""
    return Strip(
        label=str(first["label"]),
        color=style.color,
        symbol=style.symbol,
        logprob=f"log p {formats.number(first['logprob'])} nats per token{grade}{unscored}",
        cells=tuple(_cell(row, limit, widths) for row in rows.to_dict("records")),
    )


def answer(rows: pd.DataFrame) -> str:
    """The answer whose probability is explained, where all runs share one; HTML."""
    answers = {str(answer) for answer in rows["answer"]}
    if len(answers) != 1:
        return ""
    return f'<p class="u-answer">Answer scored: <b>{html.escape(answers.pop())}</b></p>'


def _widths(rows: pd.DataFrame) -> dict[int, float]:
    """Room per position in ch, the same in every line, so that lines break alike."""
    lengths = rows.assign(length=[len(_text(row).text) for row in rows.to_dict("records")])
    longest = lengths.groupby("position")["length"].max()
    muted = set(rows.loc[rows["token_class"] == "template", "position"])
    return {int(at): max(size + 1.4, 2.0 if at in muted else 4.6) for at, size in longest.items()}


def _cell(row: dict[Hashable, object], limit: float, widths: dict[int, float]) -> Cell:
    token = _text(row)
    score = float(str(row["score"])) if formats.present(row["score"]) else None
    template = row["token_class"] == "template"
    kinds = ["u-token"]
    kinds += ["u-word"] if token.starts_word else []
    kinds += ["u-template"] if template else []
    kinds += ["u-key"] if _yes(row["is_key"]) else []
    return Cell(
        text=token.text,
        kinds=" ".join(kinds),
        title=_title(row, score),
        shade=theme.shade(None if template else score, limit),
        value="" if template and _part(row) is None else formats.number(score, 2, sign=True),
        score=None if score is None else f"{score:.6f}",
        width=f"{widths[int(str(row['position']))]:.1f}ch",
        word=str(row["word"]) if formats.present(row.get("word")) else None,
    )


def _text(row: dict[Hashable, object]) -> Shown:
    """What to draw for a row; a part of the template is cut short, its title has all of it."""
    token = shown(str(row["token"]))
    if _part(row) is None or len(token.text) <= LONGEST_PART:
        return token
    return Shown(token.text[: LONGEST_PART - 1] + "…", token.starts_word)


def _part(row: dict[Hashable, object]) -> str | None:
    """What a part of the template is called; None for a token that was deleted alone."""
    part = row.get("token_part")
    return theme.TEMPLATE_PARTS.get(str(part), str(part)) if formats.present(part) else None


def _strip(strip: Strip) -> str:
    label = html.escape(strip.label)
    return (
        f'<div class="u-strip"><div class="u-run">{swatch(strip.color, strip.symbol)}'
        f"<b>{label}</b><small>{html.escape(strip.logprob)}</small></div>"
        f'<div class="u-tokens" role="list" aria-label="{label}">'
        f"{''.join(_token(cell) for cell in strip.cells)}</div></div>"
    )


def _token(cell: Cell) -> str:
    exact = "" if cell.score is None else f'data-score="{cell.score}" '
    return (
        f'<span role="listitem" class="{cell.kinds}" title="{html.escape(cell.title)}" {exact}'
        f'style="min-width:{cell.width}">'
        f'<span class="u-text" style="background:{cell.shade}">'
        f"{html.escape(cell.text)}</span><small>{cell.value}</small></span>"
    )


def _title(row: dict[Hashable, object], score: float | None) -> str:
    kind = theme.TOKEN_CLASSES.get(str(row["token_class"]), str(row["token_class"])).lower()
    kind += f" ({_part(row)}, deleted at once)" if _part(row) else ""
    key = ", KeyToken" if _yes(row["is_key"]) else ""
    value = "not scored" if score is None else f"{formats.nats(score)} per answer token"
    text = formats.visible(decoded(str(row["token"])), formats.LONGEST)
    return f"{text!r}: {value}; {kind}{key}; position {row['position']}"


def _yes(value: object) -> bool:
    return formats.present(value) and bool(value)


def swatch(color: str, symbol: str) -> str:
    """A small mark in a method's colour and shape, the same as in figures; HTML."""
    return f'<i class="u-swatch u-{symbol}" style="background:{color}"></i>'


def legend(rows: pd.DataFrame, *, clickable: bool = False) -> str:
    """What the colours and outlines of these rows mean, and the mark of a chosen word; HTML."""
    limit = _limit(rows)
    steps = [step / 4 for step in range(-4, 5)]
    boxes = "".join(
        f'<span style="background:{theme.shade(step * limit, limit)}"></span>' for step in steps
    )
    chosen = (
        '<span class="u-token"><span class="u-text u-chosen">chosen</span><small></small></span>'
        if clickable
        else ""
    )
    return (
        f'<div class="u-legend"><span>{formats.MINUS}{formats.nats(limit, sign=False)} '
        f'or less: works against the answer</span><span class="u-scale">{boxes}</span>'
        f"<span>+{formats.nats(limit, sign=False)} or more: supports the answer</span>"
        '<span class="u-token u-key"><span class="u-text">KeyToken</span></span>'
        '<span class="u-token u-template"><span class="u-text">template</span></span>'
        f"{chosen}</div>"
    )


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """The same numbers as a table: one row a token, one column a run, nats per answer token."""
    return aligned_table(theme.labelled(rows.assign(model="")))


def aligned_table(rows: pd.DataFrame) -> pd.DataFrame:
    """The same, of rows with a column `label`, in the order they come in."""
    rows = blocks(rows)
    order: Sequence[str] = list(dict.fromkeys(rows["label"]))
    wide = rows.pivot_table(index="position", columns="label", values="score", sort=False)
    facts = rows.drop_duplicates("position").set_index("position")
    wide = wide.reindex(columns=[label for label in order if label in wide]).sort_index()
    facts = facts.loc[:, ["token", "token_class", "is_key"]].sort_index()
    facts["token"] = [decoded(str(token)) for token in facts["token"]]
    facts["token_class"] = [theme.TOKEN_CLASSES.get(str(k), str(k)) for k in facts["token_class"]]
    joined = facts.join(wide).reset_index()
    names = {"token": "Token", "token_class": "Class", "is_key": "KeyToken", "position": "Position"}
    return joined.rename(columns=names)
