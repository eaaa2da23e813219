"""Evaluations made elsewhere beside two of our runs, and the files that they are from, as HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping

import pandas as pd

from dashboard.look import formats
from dashboard.markup import tables

HOLLOW = "○"  # before each number that was not measured here
PERCENT, P_VALUE = ("privleak",), ("forget_quality",)
SETS = {"forget": "forget", "retain": "retain", "ra": "real authors", "wf": "world facts"}
KINDS = {
    "Q_A_Prob": "likelihood of the answer",
    "Q_A_PARA_Prob": "likelihood of the answer in other words",
    "Q_A_PERT_Prob": "likelihood of wrong answers",
    "Q_A_Prob_normalised": "share of the answer among the options",
    "Q_A_ROUGE": "ROUGE-L recall of the answer",
    "Q_A_PARA_ROUGE": "ROUGE-L recall, answer in other words",
    "Q_A_PERT_ROUGE": "ROUGE-L recall, wrong answers",
    "Q_A_gibberish": "share that a classifier calls clean",
    "Truth_Ratio": "truth ratio",
    "truth_ratio": "truth ratio",
    "knowmem_ROUGE": "KnowMem, ROUGE-L F1",
    "verbmem_ROUGE": "VerbMem, ROUGE-L F1",
    "gibberish": "share that a classifier calls clean",
}
WHOLE = {
    "forget_quality": "p of a test against the retain model",
    "model_utility": "harmonic mean over retain and general",
    "privleak": "PrivLeak of min-k, %",
    "extraction_strength": "forget, share that the model completes",
    "exact_memorization": "forget, share of greedy tokens",
}


def meaning(metric: str) -> str:
    """A metric of open-unlearning in words.

    >>> meaning("ra_Q_A_Prob_normalised"), meaning("mia_min_k")
    ('real authors, share of the answer among the options', 'AUC of min k')
    >>> meaning("forget_quality")
    'p of a test against the retain model'
    """
    if metric in WHOLE:
        return WHOLE[metric]
    if metric.startswith("mia_"):
        return f"AUC of {metric.removeprefix('mia_').replace('_', ' ')}"
    prefix, _, kind = metric.partition("_")
    return f"{SETS.get(prefix, prefix)}, {KINDS.get(kind, kind)}"


def shown(metric: str, value: object) -> str:
    """A value as that project's tables show it.

    >>> shown("forget_quality", 1.9e-10), shown("privleak", -99.5), shown("model_utility", 0.5974)
    ('1.9e-10', '−99.5', '0.5974')
    """
    if not formats.present(value):
        return formats.MISSING
    number = float(str(value))
    if metric in P_VALUE:
        return f"{number:.1e}" if number < 0.001 else f"{number:.4f}"
    return formats.number(number, 1 if metric in PERCENT else 4)


def table(rows: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """One line a metric: two runs, then each evaluation made elsewhere, marked hollow; HTML.

    Args:
        rows: of `outside_metrics`.
        labels: of the sides first and second.
    """
    elsewhere = list(dict.fromkeys(rows.loc[rows["side"] == "outside", "owner"]))
    headings = ["open-unlearning's name", labels["first"], labels["second"],
                *(f"{HOLLOW} {name}\nmade elsewhere" for name in elsewhere)]  # fmt: skip
    lines = []
    for metric, part in rows.groupby("metric", sort=False):
        found = {(row["side"], row["owner"]): row for row in part.to_dict("records")}
        ours = [next((row for key, row in found.items() if key[0] == side), None)
                for side in ("first", "second")]  # fmt: skip
        theirs = [found.get(("outside", name)) for name in elsewhere]
        cells = [_cell(str(metric), row, "") for row in ours]
        cells += [_cell(str(metric), row, f"{HOLLOW} ") for row in theirs]
        lines.append([_head(str(metric)), *cells])
    return f'<div class="u-dense">{tables.table(headings, lines, len(headings) - 1)}</div>'


def _head(metric: str) -> str:
    below = f"<small>{html.escape(meaning(metric))}</small>"
    return f'<th scope="row" class="u-measure">{html.escape(metric)}{below}</th>'


def _cell(metric: str, row: dict[str, object] | None, mark: str) -> str:
    if row is None or not formats.present(row["value"]):
        reason = "" if row is None else str(row["reason"])
        return tables.cell(formats.MISSING, reason, "u-num u-reason")
    below = f"n = {formats.count(float(str(row['n'])))}" if formats.present(row["n"]) else ""
    return tables.figure(f"{mark}{shown(metric, row['value'])}", below)


def sources(rows: pd.DataFrame) -> str:
    """The files that evaluations were read from, with their hashes; HTML.

    Args:
        rows: of `outside_runs`.
    """
    lines = [
        [
            f'<th scope="row">{HOLLOW} {tables.safe(str(row["name"]))}</th>',
            tables.cell(str(row["project"]), str(row["kind"]).lower()),
            tables.cell(str(row["source"]), f"SHA-256 {row['sha256']}", "u-wide"),
            tables.figure(formats.count(row["metrics"])),
            tables.cell(str(row["imported_at"])),
        ]
        for row in rows.to_dict("records")
    ]
    return tables.table(["Made elsewhere", "By", "File", "Metrics", "Read at"], lines)
