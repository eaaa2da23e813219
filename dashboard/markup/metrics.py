"""Metrics of the field's papers, run beside run, as HTML; their definitions: docs/metrics.md."""

from __future__ import annotations

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup import evidence, tables

ATTACKS = {"loss": "loss", "zlib": "zlib", "min_k_plus_plus": "min-k++", "gradnorm": "gradients"}
WHOLE_RUN = {  # of `run_metrics`: heading, digits after the point (None: a p value)
    "forget_quality_ou": ("OU forget\nquality, p", None),
    "model_utility_ou": ("OU model\nutility", 4),
    "privleak_min_k_ou": ("OU PrivLeak\nof min-k, %", 1),
    **{f"privleak_{k}_ou": (f"OU PrivLeak\nof {v}, %", 1) for k, v in ATTACKS.items()},
    "auc_loss_ou": ("OU AUC\nof loss", 2),
    "auc_zlib_ou": ("OU AUC\nof zlib", 2),
    "auc_min_k_ou": ("OU AUC\nof min-k", 2),
    "auc_min_k_plus_plus_ou": ("OU AUC\nof min-k++", 2),
    "auc_gradnorm_ou": ("OU AUC of\ngradient norm", 2),
    "auc_reference_ou": ("OU AUC of\nreference", 2),
    "score_ou_paper": ("OU paper's\nscore", 2),
    "memorization_ou_paper": ("OU paper's\nmemorization", 2),
    "privacy_ou_paper": ("OU paper's\nprivacy", 2),
    "utility_ou_paper": ("OU paper's\nutility", 2),
    "memorization_ou_paper_paraphrased_question": ("OU paper's memorization,\nasked otherwise", 2),
    "score_ou_paper_paraphrased_question": ("OU paper's score,\nasked otherwise", 2),
    "score_own_fluency": ("OU paper's score,\nour fluency", 2),
    "utility_own_fluency": ("OU paper's utility,\nour fluency", 2),
    "knowmem_forget": ("KnowMem,\nforget", 3),
    "knowmem_retain": ("KnowMem,\nretain", 3),
    "verbmem_forget": ("VerbMem,\nforget", 3),
    "forget_quality_without_end": ("Our forget quality,\nno end token, p", None),
    "model_utility_without_end": ("Our model utility,\nno end token", 2),
    "auc_min_k": ("AUC of min-k\n(as OU)", 2),
    "auc_min_k_plus_plus_sd_1e6": ("Our AUC of min-k++,\nσ ≥ 1e-6", 2),
    "privleak_min_k": ("PrivLeak of\nmin-k (as OU), %", 0),
    "privleak_min_k_plus_plus_sd_1e6": ("Our PrivLeak of min-k++,\nσ ≥ 1e-6, %", 0),
}
TWINS = {"auc_min_k": "auc_min_k_ou", "privleak_min_k": "privleak_min_k_ou"}  # the same number
OF_PARTS = ("model_utility", "memorization", "privacy_ou", "utility", "score")  # harmonic means
SPLITS = ("forget", "retain", "general", "holdout", "")  # "": of no question of the benchmark
COMMON_WORDS = "common_words"


def whole_run(rows: pd.DataFrame) -> str:
    """One line a run: what is one number for all its examples, or why there is none.

    A name without a value in any run is left out, see `unmeasured`; so is one that says of each of
    its runs what its twin says.

    Args:
        rows: of `run_metrics`.
    """
    valued = rows.loc[rows["value"].notna()].groupby("name")["run_id"].agg(set).to_dict()
    found = {n for n, runs in valued.items() if not runs <= valued.get(TWINS.get(n, ""), set())}
    names = [name for name in WHOLE_RUN if name in found] + sorted(found - set(WHOLE_RUN))
    sizes = {name: _common(rows.loc[rows["name"] == name]) for name in names}
    headings = ["Run", *(f"{_heading(name)}\n{sizes[name]}".rstrip() for name in names)]
    lines = []
    for model, runs in theme.by_model(rows):
        lines += tables.model_line(model, rows, len(headings))
        for _, part in runs.groupby("run_id", sort=False):
            cells = {str(row["name"]): row for _, row in part.iterrows()}
            values = [_whole(cells.get(name), alone=bool(sizes[name])) for name in names]
            lines.append([tables.head(part.iloc[0]), *values])
    return _tight(headings, lines)


def unmeasured(rows: pd.DataFrame) -> list[str]:
    """A line for each name without a value in any run, with the most frequent reason.

    Args:
        rows: of `run_metrics`.
    """
    return [
        f"{_heading(str(name)).replace(chr(10), ' ')}: {part['reason'].mode().iloc[0]}."
        for name, part in rows.groupby("name")
        if part["value"].isna().all() and part["reason"].notna().any()
    ]


def of_muse(rows: pd.DataFrame) -> str:
    """Words on the numbers of MUSE's table, where a run has them.

    Args:
        rows: of `run_metrics`.
    """
    measured = rows.loc[rows["value"].notna(), "name"].astype(str)
    has_them = measured.str.startswith(("knowmem", "verbmem")).any()
    return " KnowMem, VerbMem: mean ROUGE-L F1, as MUSE defines them." if has_them else ""


def _heading(name: str) -> str:
    return WHOLE_RUN.get(name, (theme.readable(name), 2))[0]


def _common(rows: pd.DataFrame) -> str:
    """How many examples or parts all values of a metric are over; empty where they differ."""
    sizes = rows.loc[rows["value"].notna(), "n"].unique()
    return _size(str(rows["name"].iloc[0]), sizes[0]) if len(sizes) == 1 else ""


def _size(name: str, n: float) -> str:
    return formats.count(n, "part" if name.startswith(OF_PARTS) else "example")


def tasks(rows: pd.DataFrame) -> dict[str, str]:
    """The tasks that were measured, by name, with what to call them.

    Args:
        rows: of `metrics`.
    """
    names = sorted(set(rows["task"].astype(str)))
    return {name: name if ":" in name else theme.readable(name) for name in names}


def of_task(rows: pd.DataFrame) -> str:
    """One line a run, one column a metric and split: value, change from the base model, n.

    Args:
        rows: of `metrics`, of one task.
    """
    found = set(zip(rows["metric"], rows["split"], strict=True))
    metrics = sorted({str(metric) for metric, _ in found})
    columns = [
        (metric, split) for metric in metrics for split in SPLITS if (metric, split) in found
    ]
    units = dict(zip(rows["metric"], rows["unit"].astype(str), strict=True))
    headings = ["Run", *(_column(metric, split, units[metric]) for metric, split in columns)]
    lines = []
    for model, runs in theme.by_model(rows):
        lines += tables.model_line(model, rows, len(headings))
        for _, part in runs.groupby("run_id", sort=False):
            cells = {(row["metric"], row["split"]): row for _, row in part.iterrows()}
            lines.append(
                [tables.head(part.iloc[0]), *(_value(cells.get(column)) for column in columns)]
            )
    return _tight(headings, lines)


def _column(metric: str, split: str, unit: str) -> str:
    name = theme.METRICS.get(metric, theme.readable(metric))
    of = f",\n{theme.SPLITS[split]}" if split else ""
    return f"{name}{of}" + ("" if unit == "fraction" else f"\n{unit}")


def _tight(headings: list[str], lines: list[list[str]]) -> str:
    whole = tables.table(headings, lines, numeric=len(headings) - 1)
    return f'<div class="u-tight">{whole}</div>'


def _missing(reason: object) -> str:
    said = str(reason) if formats.present(reason) else ""
    return tables.cell(formats.MISSING, said, "u-num u-reason")


def _whole(row: pd.Series | None, *, alone: bool) -> str:
    if row is None or not formats.present(row["value"]):
        return _missing(None if row is None else row["reason"])
    digits = WHOLE_RUN.get(str(row["name"]), ("", 2))[1]
    value = _p_value(row) if digits is None else formats.number(row["value"], digits)
    return tables.figure(value, "" if alone else _size(str(row["name"]), row["n"]))


def _p_value(row: pd.Series) -> str:
    """A p value; a small one by its power of ten, by which models are ranked."""
    shown = evidence.p_value(row["value"])
    return f"{row['value']:.1e}" if "<" in shown else shown


def _value(row: pd.Series | None) -> str:
    if row is None or not formats.present(row["value"]):
        return _missing(None if row is None else row["reason"])
    unit = str(row["unit"])
    scale, digits = (100, 0) if unit == "fraction" else (1, 2)
    shown = formats.percent(row["value"]) if unit == "fraction" else formats.number(row["value"])
    below = [
        formats.interval(row["low"], row["high"], scale=scale, digits=digits),
        _drift(row, unit, scale, digits),
        f"n = {formats.count(row['n'])}, {formats.count(row['groups'], 'group')}",
        f"{formats.count(row['missing'])} without: {row['reason']}" if row["missing"] else "",
    ]
    kind = "u-num u-reason" if row["missing"] else "u-num"
    return tables.cell(shown, "\n".join(line for line in below if line), kind)


def _drift(row: pd.Series, unit: str, scale: float, digits: int) -> str:
    """The change from the base model with its interval; nothing on the base model itself."""
    if row["method"] == "none" or not formats.present(row["drift"]):
        return ""
    change = (
        formats.points(row["drift"]) if unit == "fraction"
        else formats.number(row["drift"], sign=True)
    )  # fmt: skip
    reach = formats.interval(row["drift_low"], row["drift_high"], scale=scale, digits=digits)
    return f"{change} {reach}".strip()
