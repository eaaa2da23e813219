"""Cards: a few numbers at the top of a page; HTML, every text escaped in `facts`."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

from dashboard import formats

SMALL = 20_000_000  # parameters; a smaller model was trained from scratch for its study


def facts(entries: Sequence[tuple[str, str, str]]) -> str:
    """Cards of (label, value, remark)."""
    cards = "".join(
        f'<div class="u-fact"><span>{html.escape(label)}</span><b>{html.escape(value)}</b>'
        f"<small>{html.escape(remark)}</small></div>"
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
    benchmarks = ", ".join(map(str, row["benchmarks"]))
    return facts(
        [
            model_card(runs),
            ("Benchmark", benchmarks, formats.count(row["examples"], "example")),
            ("Runs", f"{formats.count(row['complete'])} finished",
             f"{failed} failed, {formats.count(row['pending'])} to come"),
            ("Token scores", formats.count(row["token_scores"]), "each one deletion or gradient"),
            ("Verdicts", f"{formats.count(len(verdict), 'run')} judged", ", ".join(said)),
        ]
    )  # fmt: skip


def model_card(runs: pd.DataFrame) -> tuple[str, str, str]:
    """Card on the models of a study: how large they are, said plainly."""
    sizes = runs.dropna(subset=["parameters"]).drop_duplicates("model")
    largest = sizes["parameters"].max() if not sizes.empty else None
    names = ", ".join(str(name) for name in sizes["model"])
    if largest is None:
        return ("Model", formats.MISSING, "")
    reach = " to ".join(dict.fromkeys(formats.parameters(p) for p in sorted(sizes["parameters"])))
    kind = "small model trained here" if largest < SMALL else "model"
    return ("Model", names, f"{kind} (about {reach} parameters)")


def size_of(parameters: float | None) -> str:
    """Size of a model in words, to follow its name; empty where it is not known."""
    if parameters is None or not formats.present(parameters):
        return ""
    kind = "small model trained here, " if parameters < SMALL else ""
    return f": {kind}about {formats.parameters(parameters)} parameters"
