"""Cards: a few numbers at the top of a page; HTML, every text escaped in `facts`."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

from dashboard.look import formats

SMALL = 20_000_000  # parameters; a smaller model was trained from scratch for its study


def facts(entries: Sequence[tuple[str, str, str]]) -> str:
    """Cards of (label, value, remark)."""
    cards = "".join(
        f'<div class="u-fact"><span>{html.escape(label)}</span>'
        f"<b>{html.escape(formats.visible(value))}</b>"
        f"<small>{html.escape(formats.visible(remark))}</small></div>"
        for label, value, remark in entries
    )
    return f'<div class="u-facts">{cards}</div>'


def study(info: pd.DataFrame, runs: pd.DataFrame, verdict: pd.DataFrame) -> str:
    """Cards on what this file holds: model, data, runs, verdicts.

    Args:
        info: the row of `info`.
        runs: of `runs`.
        verdict: of `verdict`.
    """
    row = info.iloc[0]
    counts = verdict["verdict"].value_counts() if not verdict.empty else pd.Series(dtype=int)
    said = [f"{formats.count(number)} {name}" for name, number in counts.items()]
    failed = formats.count(row["failed"])
    benchmarks = list(map(str, row["benchmarks"]))
    examples = formats.count(row["examples"], "example")
    return facts(
        [
            model_card(runs),
            ("Benchmarks", formats.count(len(benchmarks)), f"{', '.join(benchmarks)}: {examples}"),
            ("Runs", f"{formats.count(row['complete'])} finished",
             f"{failed} failed, {formats.count(row['pending'])} to come"),
            ("Token scores", formats.count(row["token_scores"]), "each one deletion or gradient"),
            ("Verdicts", f"{formats.count(len(verdict), 'run')} judged", ", ".join(said)),
        ]
    )  # fmt: skip


def model_card(runs: pd.DataFrame) -> tuple[str, str, str]:
    """Card on the models of a study: how large they are, said plainly."""
    names = list(dict.fromkeys(runs.loc[runs["parameters"].notna(), "model"].astype(str)))
    if not names:
        return ("Models", formats.MISSING, "")
    return ("Models", formats.count(len(names)), f"{', '.join(names)}: {sizes(runs)}")


def sizes(runs: pd.DataFrame) -> str:
    """How large the models of these runs are, said plainly; empty where it is not known."""
    known = runs.dropna(subset=["parameters"]).drop_duplicates("model")
    if known.empty:
        return ""
    reach = " to ".join(dict.fromkeys(formats.parameters(p) for p in sorted(known["parameters"])))
    small = known["parameters"].max() < SMALL
    kind = "small model trained here" if small else "model"
    return (
        f"{kind} (about {reach} parameters)"
        if len(known) == 1
        else f"{kind.replace('model', 'models')} (about {reach} parameters each)"
    )


def context(benchmark: str, description: str, runs: pd.DataFrame) -> str:
    """One line on what is looked at: benchmark, rule of correctness, models; HTML."""
    names = ", ".join(dict.fromkeys(runs["model"].astype(str)))
    size = sizes(runs)
    models = f"{names}: {size}." if size else ""
    return (
        f'<p class="u-context"><b>{html.escape(formats.visible(benchmark))}</b> '
        f"{html.escape(description)} {html.escape(formats.visible(models))}</p>"
    )


def size_of(parameters: float | None) -> str:
    """Size of a model in words, to follow its name; empty where it is not known."""
    if parameters is None or not formats.present(parameters):
        return ""
    kind = "small model trained here, " if parameters < SMALL else ""
    return f": {kind}about {formats.parameters(parameters)} parameters"
