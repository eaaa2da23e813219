"""Token classes by run as a shaded table.

A table and no figure, so that its text is readable on every shade in both themes.
"""

from __future__ import annotations

import html

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup.tokens import swatch

SPLITS = ("forget", "retain")


def class_table(rows: pd.DataFrame) -> str:
    """Mean contribution per token class and run, forget prompts beside retain prompts; HTML.

    Args:
        rows: of `class_contribution`, in nats per token.
    """
    rows = theme.labelled(rows[rows["split"].isin(SPLITS)])
    limit = theme.scale_limit(rows["contribution"])
    columns = _columns(rows)
    lines = "".join(_line(part, columns, limit) for _, part in rows.groupby("run_id", sort=False))
    return (
        f'<div class="u-scroll" tabindex="0" role="region" aria-label="Table">'
        f'<table class="u-table u-classes"><thead>{_head(columns)}</thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _columns(rows: pd.DataFrame) -> dict[str, list[str]]:
    found = {split: set(rows.loc[rows["split"] == split, "token_class"]) for split in SPLITS}
    return {
        split: [name for name in theme.TOKEN_CLASSES if name in names]
        for split, names in found.items()
        if names
    }


def _head(columns: dict[str, list[str]]) -> str:
    above = "".join(
        f'<th scope="colgroup" colspan="{len(names)}">{theme.SPLITS[split]} prompts</th>'
        for split, names in columns.items()
    )
    below = "".join(
        f'<th scope="col">{theme.TOKEN_CLASSES[name]}</th>'
        for names in columns.values()
        for name in names
    )
    return f'<tr><th rowspan="2">Run</th>{above}</tr><tr>{below}</tr>'


def _line(rows: pd.DataFrame, columns: dict[str, list[str]], limit: float) -> str:
    first = rows.iloc[0]
    cells = {(row["split"], row["token_class"]): row for _, row in rows.iterrows()}
    style = theme.method(str(first["method"]))
    drawn = "".join(
        _cell(cells.get((split, name)), limit) for split, names in columns.items() for name in names
    )
    label = html.escape(str(first["label"]))
    return f'<tr><th scope="row">{swatch(style.color, style.symbol)}{label}</th>{drawn}</tr>'


def _cell(row: pd.Series | None, limit: float) -> str:
    if row is None:
        return f"<td>{formats.MISSING}</td>"
    n = f"{formats.count(row['tokens'], 'token')} in {formats.count(row['n'], 'prompt')}"
    title = f"{formats.nats(row['contribution'])} per token; {n}"
    shade = theme.shade(row["contribution"], limit)
    value = formats.number(row["contribution"], sign=True)
    return f'<td title="{title}"><span style="background:{shade}">{value}</span></td>'
