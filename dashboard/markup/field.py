"""The field's metrics of whole runs as HTML: one line a metric, under whose definition it is.

Definitions and what was compared with which other code: docs/metrics.md.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup import evidence, tables


@dataclass(frozen=True)
class Metric:
    """A name of `run_metrics` and how it is shown."""

    name: str
    shown: str
    says: str = ""  # what a value means, or what is otherwise than in the definition it is named by
    digits: int | None = 2  # after the point; None: a p value


@dataclass(frozen=True)
class Owner:
    """Whose definition metrics have, and with whose figures they compare."""

    title: str
    short: str
    compares: str
    metrics: tuple[Metric, ...]


AUC = "how well it tells unseen from forget: 1 still known; the retain model's where no trace is"
PRIVLEAK = (
    "change of 1 − AUC from the retain model's: 0 as if never learned, −100 nothing unlearned"
)
PERCENT = 1
ATTACKS = {
    "loss": "loss", "zlib": "zlib", "min_k": "min-k", "min_k_plus_plus": "min-k++",
    "gradnorm": "gradient norm", "reference": "loss minus the retain model's",
}  # fmt: skip
OWNERS = (
    Owner(
        "As open-unlearning computes them",
        "open-unlearning's",
        "over every question, with the end token; they compare with its leaderboard where model "
        "and data are the same",
        (
            Metric("forget_quality_ou", "Forget quality, p",
                   "that truth ratios are the retain model's; small where they are not", None),
            Metric("model_utility_ou", "Model utility",
                   "harmonic mean of what must stay; 0 as soon as one part is", 4),
            *(Metric(f"auc_{k}_ou", f"AUC of {v}", AUC if k == "loss" else "")
              for k, v in ATTACKS.items()),
            *(Metric(f"privleak_{k}_ou", f"PrivLeak of {v}, %", PRIVLEAK if k == "loss" else "",
                     PERCENT)
              for k, v in ATTACKS.items() if k != "reference"),
        ),
    ),
    Owner(
        "As the paper of open-unlearning ranks runs",
        "its paper's",
        "harmonic means of the metrics above and of memorization",
        (
            Metric("score_ou_paper", "Score", "of memorization, privacy and utility"),
            Metric("memorization_ou_paper", "Memorization"),
            Metric("privacy_ou_paper", "Privacy"),
            Metric("utility_ou_paper", "Utility", "of model utility and its classifier's fluency"),
            Metric("score_ou_paper_paraphrased_question", "Score, asked in other words"),
            Metric("memorization_ou_paper_paraphrased_question",
                   "Memorization, asked in other words"),
        ),
    ),
    Owner(
        "As MUSE computes them",
        "MUSE's",
        "mean ROUGE-L F1",
        (
            Metric("knowmem_forget", "KnowMem, forget", digits=3),
            Metric("knowmem_retain", "KnowMem, retain", digits=3),
            Metric("verbmem_forget", "VerbMem, forget", digits=3),
        ),
    ),
    Owner(
        "Ours, where one thing differs",
        "ours",
        "they compare with nobody else's figures",
        (
            Metric("forget_quality_without_end", "Forget quality, p", "end token left out", None),
            Metric("model_utility_without_end", "Model utility", "end token left out", 4),
            Metric("auc_min_k", "AUC of min-k", "the number of open-unlearning's, our older name"),
            Metric("privleak_min_k", "PrivLeak of min-k, %",
                   "the number of open-unlearning's, our older name", PERCENT),
            Metric("auc_min_k_plus_plus_sd_1e6", "AUC of min-k++",
                   "divides by a deviation of at least 1e-6; open-unlearning by at least 1e-3"),
            Metric("privleak_min_k_plus_plus_sd_1e6", "PrivLeak of min-k++, %",
                   "divides by a deviation of at least 1e-6; open-unlearning by at least 1e-3",
                   PERCENT),
            Metric("score_own_fluency", "Score of open-unlearning's paper",
                   "fluency by our measure, not by its classifier"),
            Metric("utility_own_fluency", "Utility of open-unlearning's paper",
                   "fluency by our measure, not by its classifier"),
        ),
    ),
)  # fmt: skip
KNOWN = {metric.name for owner in OWNERS for metric in owner.metrics}
TWINS = {"auc_min_k": "auc_min_k_ou", "privleak_min_k": "privleak_min_k_ou"}  # the same number
OF_PARTS = ("model_utility", "memorization", "privacy_ou", "utility", "score")  # harmonic means


def table(rows: pd.DataFrame) -> str:
    """One line a metric, one column a run.

    A metric without a value in any run is left out, see `unmeasured`; so is one that says of each
    of its runs what its twin says.

    Args:
        rows: of `run_metrics`.
    """
    valued = rows.loc[rows["value"].notna()].groupby("name")["run_id"].agg(set).to_dict()
    found = {n for n, runs in valued.items() if not runs <= valued.get(TWINS.get(n, ""), set())}
    runs = list(_runs(rows))
    cells = {(str(row["name"]), str(row["run_id"])): row for _, row in rows.iterrows()}
    said = set(_one_reason(rows, found))
    lines: list[list[str]] = []
    for owner in owners(found):
        shown = [metric for metric in owner.metrics if metric.name in found]
        lines += [tables.group(owner.title, owner.compares, len(runs) + 1)] if shown else []
        for metric in shown:
            lines.append(_line(metric, [cells.get((metric.name, run)) for run, _ in runs], said))
    whole = tables.table(["Metric", *(label for _, label in runs)], lines, numeric=len(runs))
    return f'<div class="u-dense u-tight">{whole}</div>'


def owners(found: set[str]) -> Iterator[Owner]:
    """Whose metrics are shown, in order; last those that this page has no words for."""
    yield from OWNERS
    others = tuple(Metric(name, theme.readable(name)) for name in sorted(found - KNOWN))
    if others:
        yield Owner("Others", "other", "", others)


def unmeasured(rows: pd.DataFrame) -> list[str]:
    """Why metrics have no value: a line a reason that holds for all runs, with their names.

    Args:
        rows: of `run_metrics`.
    """
    named = {metric.name: f"{metric.shown} ({owner.short})"
             for owner in owners(set(rows["name"])) for metric in owner.metrics}  # fmt: skip
    reasons: dict[str, list[str]] = {}
    for name, part in rows.groupby("name", sort=False):
        if part["value"].isna().all() and part["reason"].notna().any():
            reasons.setdefault(str(part["reason"].mode().iloc[0]), []).append(named[str(name)])
    return [
        f"{reason[:1].upper()}{reason[1:]}: {'; '.join(names)}."
        for reason, names in reasons.items()
    ]


def _runs(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Id and heading of each run, model by model."""
    several = rows["model"].nunique() > 1
    for model, part in theme.by_model(rows):
        for _, row in part.drop_duplicates("run_id").iterrows():
            below = f"\n{formats.visible(model)}" if several else ""
            yield str(row["run_id"]), f"{row['label']}{below}"


def _one_reason(rows: pd.DataFrame, found: set[str]) -> dict[str, str]:
    """Runs that lack several metrics for one reason, by id: it is said once, under the table."""
    lacking = rows[rows["value"].isna() & rows["reason"].notna() & rows["name"].isin(found)]
    reasons = {str(run): list(of) for run, of in lacking.groupby("run_id")["reason"]}
    return {run: of[0] for run, of in reasons.items() if len(of) > 1 and len(set(of)) == 1}


def dashes(rows: pd.DataFrame) -> list[str]:
    """What the dashes in the column of a run mean, where they all mean the same.

    Args:
        rows: of `run_metrics`.
    """
    found = set(rows.loc[rows["value"].notna(), "name"])
    labels = {run: label.replace("\n", ", ") for run, label in _runs(rows)}
    return [f"– under {labels[run]}: {why}." for run, why in _one_reason(rows, found).items()]


def _line(metric: Metric, cells: Sequence[pd.Series | None], said: set[str]) -> list[str]:
    sizes = {row["n"] for row in cells if row is not None and formats.present(row["value"])}
    alike = len(sizes) == 1
    words = [metric.says, _size(metric.name, next(iter(sizes))) if alike else ""]
    below = f"<small>{html.escape(' · '.join(one for one in words if one))}</small>"
    first = f'<th scope="row" class="u-measure">{html.escape(metric.shown)}{below}</th>'
    return [first, *(_cell(metric, row, said, alone=alike) for row in cells)]


def _size(name: str, n: float) -> str:
    return formats.count(n, "part" if name.startswith(OF_PARTS) else "example")


def _cell(metric: Metric, row: pd.Series | None, said: set[str], *, alone: bool) -> str:
    if row is None or not formats.present(row["value"]):
        is_said = row is None or str(row["run_id"]) in said or not formats.present(row["reason"])
        reason = "" if row is None or is_said else row["reason"]
        return tables.cell(formats.MISSING, str(reason), "u-num u-reason")
    return tables.figure(shown(metric, row["value"]), "" if alone else _size(metric.name, row["n"]))


def shown(metric: Metric, value: float) -> str:
    """A metric's value with the digits that it is shown with."""
    return _p_value(value) if metric.digits is None else formats.number(value, metric.digits)


def _p_value(p: float) -> str:
    """A p value; a small one by its power of ten, by which models are ranked."""
    shown = evidence.p_value(p)
    return f"{p:.1e}" if "<" in shown else shown
