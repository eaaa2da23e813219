"""Cards: a few numbers at the top of a page; HTML, every text escaped in `facts`."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

from dashboard.look import formats
from results_db import records

SMALL = 20_000_000  # parameters; models that are published for use are larger


MOST_NAMED = 8  # examples that a sentence lists


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
    """How large the models of these runs are, said plainly; empty where it is not known.

    Args:
        runs: of `runs`; a model counts as trained here where all its runs' weights were.
    """
    known = runs.dropna(subset=["parameters"]).sort_values("trained_here", kind="stable")
    known = known.drop_duplicates("model")
    if known.empty:
        return ""
    reach = " to ".join(dict.fromkeys(formats.parameters(p) for p in sorted(known["parameters"])))
    kind = _kind(float(known["parameters"].max()), int(known["trained_here"].sum()), len(known))
    return f"{kind} (about {reach} parameters{'' if len(known) == 1 else ' each'})"


def _kind(parameters: float, trained_here: int, models: int = 1) -> str:
    """Models of at most so many parameters, and how many of them were trained here, in words.

    >>> _kind(1e6, 1), _kind(1e9, 0), _kind(1e9, 1, models=3)
    ('small model trained here', 'model', 'models, 1 of 3 trained here')
    """
    noun = f"{'small ' if parameters < SMALL else ''}{'model' if models == 1 else 'models'}"
    if trained_here == 0:
        return noun
    return (
        f"{noun} trained here"
        if trained_here == models
        else (f"{noun}, {trained_here} of {models} trained here")
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


def measured(versions: pd.DataFrame, shown: int) -> str:
    """By which measurement version the runs shown were measured, and how many others there are.

    Args:
        versions: of `measurements`, of one benchmark.
        shown: the version.
    """
    old = "" if shown >= records.MEASUREMENT else (
        f", an older one: this program measures by version {records.MEASUREMENT}, and the numbers "
        "do not compare with its"
    )  # fmt: skip
    others = [
        f"{formats.count(row['runs'], 'run')} by version {row['measurement']}"
        for row in versions.to_dict("records")
        if row["measurement"] != shown
    ]
    left_out = f" Not shown: {', '.join(others)} (sidebar, Measured by)." if others else ""
    return f"Measured by version {shown}{old}.{left_out}" if old or others else ""


def made_on(versions: pd.DataFrame, shown: str | None) -> str:
    """On which version of the data the runs shown were made, where there are or were others.

    Args:
        versions: of `data_versions`, of one benchmark and measurement version.
        shown: hash of the version.
    """
    own = versions[versions["data_hash"] == shown]
    others = [formats.data_version(row) for _, row in versions.iterrows()
              if row["data_hash"] != shown]  # fmt: skip
    if own.empty:
        return ""
    asked_for = own.iloc[0]["asked_for"]
    is_left = formats.present(asked_for) and not bool(asked_for)
    if not (others or is_left):
        return ""
    old = ", which no plan asks for any more: the data were changed since" if is_left else ""
    left_out = f" Not shown: data {'; data '.join(others)} (sidebar, Data)." if others else ""
    return f"On data {formats.data_version(own.iloc[0])}{old}.{left_out}"


def left_out(rows: pd.DataFrame) -> str:
    """Which examples the models shown were not asked; empty where all were.

    Args:
        rows: of `left_out`.
    """
    said = []
    for model, part in rows.groupby("model", sort=False):
        names = list(dict.fromkeys(map(str, part["example_id"])))
        listed = ", ".join(map(formats.visible, names[:MOST_NAMED]))
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        first = part.iloc[0]
        said.append(
            f"{len(names)} of {formats.count(first['examples'], 'example')} were not asked of "
            f"{formats.visible(str(model))}, longer than its context of {first['context']} tokens: "
            f"{listed}{more}. Every n is of the others."
        )
    return " ".join(said)


def size_of(parameters: float | None, trained_here: bool) -> str:
    """Size and origin of a model in words, to follow its name; empty where it is not known."""
    if parameters is None or not formats.present(parameters):
        return ""
    kind = _kind(parameters, int(trained_here))
    said = "" if kind == "model" else f"{kind}, "
    return f": {said}about {formats.parameters(parameters)} parameters"
