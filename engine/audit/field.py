"""The field's metrics in an audit: which tasks measure them, and the figures beside a verdict.

A name is that of `run_metrics`, or a metric of `metrics` and the split of its mean; whose
definition each is: docs/metrics.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.benchmarks.benchmark import Benchmark
from results_db import read

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("open_unlearning", "membership", "exact_memorization")
CHOICES = "harness"  # where a benchmark lists its options
REFERENCES = {"none": "base", "retrain": "retain"}  # method of a run, and what it is called here
A_TABLE = 4  # runs that stand beside each other
LEAST_SHOWN = 1e-3  # below, a value is shown by its power of ten
MISSING = "–"
UNDEFINED = "it is not defined for this benchmark"
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]  # columns and cells
OU, MUSE, HARNESS = "open-unlearning", "MUSE", "lm-evaluation-harness"
SHORT = {OU: "OU", HARNESS: "lm-eval"}  # in a table


@dataclass(frozen=True)
class Name:
    """A figure of the field, and where it is kept."""

    shown: str
    whose: str  # definition
    task: str = ""  # of `metrics`; empty: it is in `run_metrics` under the name that is shown
    metric: str = ""
    split: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure of one run; without a value, why."""

    value: float | None
    n: int  # examples with a value, or parts of model utility
    of: int  # examples, or parts
    reason: str | None


NOTHING = Figure(None, 0, 0, "its run failed")


def _mean(task: str, metric: str, split: str, whose: str = OU) -> Name:
    shown = task if metric == "fraction" else metric
    return Name(f"{shown}_{split}", whose, task, metric, split)


MEMORIZED = (
    _mean("open_unlearning", "extraction_strength_ou", "forget"),
    _mean("exact_memorization", "fraction", "forget"),
)
OF_QUESTIONS = (
    Name("model_utility_ou", OU),
    Name("forget_quality_ou", OU),
    Name("privleak_min_k_ou", OU),
    Name("auc_min_k_ou", OU),
    _mean("open_unlearning", "probability_ou", "forget"),
    _mean("open_unlearning", "rouge_l_recall", "forget"),
    _mean("open_unlearning", "truth_ratio_ou", "forget"),
    *MEMORIZED,
)
OF_MUSE = (
    Name("verbmem_forget", MUSE),
    Name("knowmem_forget", MUSE),
    Name("knowmem_retain", MUSE),
    Name("privleak_min_k_ou", MUSE),
    *MEMORIZED,
)
OF_CHOICES = tuple(
    _mean(CHOICES, metric, split, HARNESS)
    for split in ("forget", "general")
    for metric in (
        "letters_harness", "letters_five_shot_harness", "acc_harness", "acc_norm_harness"
    )
)  # fmt: skip


def tasks(benchmark: Benchmark) -> tuple[str, ...]:
    """The tasks that measure what the field measures on a benchmark, in the order of measuring."""
    return (*TASKS, CHOICES) if benchmark.listed else TASKS


@dataclass(frozen=True)
class FieldMetrics:
    """The field's metrics of an audit's runs."""

    names: tuple[Name, ...]  # that are shown
    figures: dict[str, dict[str, Figure]]  # by run id and name
    references: dict[str, str]  # run id -> base or retain

    def beside(self, run_id: str) -> dict[str, Any]:
        """The figures of a run as JSON has them: one a name, and all that is known of each."""
        own = self.figures.get(run_id, {})
        found = {name.shown: own.get(name.shown, NOTHING) for name in self.names}
        details = [
            {
                "name": name.shown,
                "defined_by": name.whose,
                **asdict(found[name.shown]),
                **{
                    f"{called}_value": self.figures[other][name.shown].value
                    for other, called in self.references.items()
                    if other in self.figures
                },
            }
            for name in self.names
        ]
        return {**{name: one.value for name, one in found.items()}, "field_metrics": details}

    def tables(self, shown: dict[str, str], verdicts: dict[str, str]) -> Iterator[Table]:
        """Columns and cells: a line a metric, a column a run, some runs beside each other.

        Args:
            shown: what each run is called, by its id.
            verdicts: on runs, by their ids.
        """
        runs = [run_id for run_id in shown if run_id in self.figures]
        for first in range(0, len(runs), A_TABLE):
            some = runs[first : first + A_TABLE]
            columns = ("metric", "defined by", "of", *(shown[run_id] for run_id in some))
            cells = [
                (
                    name.shown,
                    SHORT.get(name.whose, name.whose),
                    self._size(name, some),
                    *self._values(name, some),
                )
                for name in self.names
            ]
            judged = ("verdict", "unPact", "", *(verdicts.get(run_id, "") for run_id in some))
            yield columns, [*cells, judged]

    def _values(self, name: Name, runs: Sequence[str]) -> list[str]:
        return [_shown(self.figures[run_id][name.shown].value) for run_id in runs]

    def _size(self, name: Name, runs: Sequence[str]) -> str:
        """How many examples or parts the values are over; a range, where the runs differ."""
        found = [self.figures[run_id][name.shown] for run_id in runs]
        sizes = sorted({one.n for one in found if one.value is not None})
        if not sizes:
            return ""
        n = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        every = max(one.of for one in found)
        return f"{n} of {every}" if every > sizes[0] else n

    def lacking(self, shown: dict[str, str]) -> Iterator[str]:
        """Say why figures have no value: a line a reason, with the names and runs that it is of.

        Args:
            shown: what each run is called, by its id.
        """
        by_reason: dict[str, dict[str, list[str]]] = {}
        runs = {run_id: called for run_id, called in shown.items() if run_id in self.figures}
        for run_id, called in runs.items():
            for name, one in self.figures[run_id].items():
                if one.value is None:
                    by_reason.setdefault(str(one.reason), {}).setdefault(name, []).append(called)
        for reason, of_names in by_reason.items():
            of_runs = list(dict.fromkeys(run for of in of_names.values() for run in of))
            where = "" if len(of_runs) == len(runs) else f" of {', '.join(of_runs)}"
            yield f"{MISSING}  {', '.join(of_names)}{where}: {reason}"


def measured(
    path: Path, benchmark: str, model: str, planned: Sequence[str], methods: Mapping[str, str]
) -> FieldMetrics | None:
    """The field's metrics of finished runs; None where none was to be measured.

    Args:
        path: the results file.
        benchmark: its name.
        model: its name.
        planned: tasks of the plan.
        methods: of the runs, by their ids.
    """
    of: dict[str, Any] = {"benchmark": benchmark, "models": [model], "methods": []}
    whole, means = read.query(path, "run_metrics", **of), read.query(path, "metrics", **of)
    shown = (*names(benchmark, planned), *_of_lm_eval(means, planned))
    if not shown:
        return None
    there = {*whole["run_id"], *means["run_id"]}
    figures = {
        run_id: {name.shown: _figure(name, run_id, whole, means) for name in shown}
        for run_id in methods
        if run_id in there
    }
    references = {r: REFERENCES[method] for r, method in methods.items() if method in REFERENCES}
    return FieldMetrics(shown, figures, references)


def names(benchmark: str, planned: Sequence[str]) -> tuple[Name, ...]:
    """The figures of the field that are shown for a benchmark; none where none was to be measured.

    Args:
        benchmark: its name.
        planned: tasks of the plan.
    """
    if not {*TASKS, CHOICES} & set(planned):
        return ()
    own = OF_MUSE if benchmark.startswith("muse-") else OF_QUESTIONS
    return (*OF_CHOICES, *own) if CHOICES in planned else own


def _of_lm_eval(means: pd.DataFrame, planned: Sequence[str]) -> tuple[Name, ...]:
    """The metrics of every task of lm-eval, as the harness has them."""
    rows = means[means["task"].isin([task for task in planned if ":" in task])]
    found = dict.fromkeys(zip(rows["task"], rows["metric"], strict=True))
    return tuple(Name(f"{task} {metric}", HARNESS, task, metric) for task, metric in found)


def _figure(name: Name, run_id: str, whole: pd.DataFrame, means: pd.DataFrame) -> Figure:
    """One figure of one run, from all rows of `run_metrics` and of `metrics`."""
    if not name.task:
        found = whole[(whole["run_id"] == run_id) & (whole["name"] == name.shown)]
        lacks = UNDEFINED
    else:
        is_it = (means["task"] == name.task) & (means["metric"] == name.metric)
        rows = means[(means["run_id"] == run_id) & is_it]
        found = rows[rows["split"] == name.split]
        lacks = _absent(name, rows)
    if not len(found):
        return Figure(None, 0, 0, lacks)
    row = found.iloc[0]
    value = None if math.isnan(row["value"]) else float(row["value"])
    n = int(row["n"])
    of = n + int(row["missing"]) if name.task else n
    return Figure(value, n, of, str(row["reason"]) if value is None else None)


def _absent(name: Name, rows: pd.DataFrame) -> str:
    """Why a mean has no row: the metric is not of this benchmark, of this split, or was not run."""
    said = rows.loc[rows["split"] == "", "reason"]
    if len(said):
        return str(said.iloc[0])
    return f"no question of {name.split} has it" if len(rows) else f"task {name.task} was not run"


def _shown(value: float | None) -> str:
    """Four digits after the point, more of what is smaller than they show.

    >>> _shown(0.62871), _shown(1.9e-10), _shown(None), _shown(0.0)
    ('0.6287', '1.9e-10', '–', '0.0000')
    """
    if value is None:
        return MISSING
    return f"{value:.1e}" if 0 < abs(value) < LEAST_SHOWN else f"{value:.4f}"
