"""The numbers and settings of two sides of a comparison as HTML."""

from __future__ import annotations

import html
from dataclasses import dataclass

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup import tables

SECTIONS = {
    "answers": "Answers to plain prompts",
    "utility": "Tasks and language",
    "recovery": "Emphasised prompts",
    "focus": "What the prompt contributes",
}


@dataclass(frozen=True)
class Side:
    """One side: a run at a measured step."""

    run_id: str
    step: int
    label: str  # of run and step
    method: str

    @property
    def run_label(self) -> str:
        """The label of the run alone."""
        return self.label.rpartition(", ")[0] or self.label


def named(metrics: pd.DataFrame) -> pd.DataFrame:
    """The rows with a column `label`: the measure in words.

    Args:
        metrics: of `compared_metrics`.
    """
    labels = [
        measure_label(str(section), str(measure))
        for section, measure in zip(metrics["section"], metrics["measure"], strict=True)
    ]
    return metrics.assign(label=labels)


def measure_label(section: str, measure: str) -> str:
    """A measure of a section in words.

    >>> measure_label("recovery", "note_before placebo_same")
    'Note before, placebo: other words of the prompt'
    >>> measure_label("utility", "plain_text nll"), measure_label("answers", "forget correct")
    ('Plain text: NLL', 'Forget correct')
    >>> measure_label("utility", "min_k surprise"), measure_label("utility", "refusal_rate refused")
    ('Min k: surprise', 'Refusal rate: refused')
    """
    first, _, rest = measure.partition(" ")
    if section == "recovery":
        if rest == "resample":
            return theme.strategy_label(first)
        return (
            f"{theme.strategy_label(first)}, {theme.arm_label(rest).replace('Placebo', 'placebo')}"
        )
    if section == "utility":
        return f"{theme.readable(first)}: {theme.METRICS.get(rest, rest.replace('_', ' '))}"
    return f"{theme.SPLITS.get(first, first)} {rest}"


def table(metrics: pd.DataFrame, first: Side, second: Side) -> str:
    """One line a measure, section by section: both values, difference, interval, n; HTML.

    Args:
        metrics: of `named`.
        first: what stands in the first column of values.
        second: what stands in the second.
    """
    headings = ["Measure", first.label, second.label, "Difference", "Examples"]
    lines = []
    for section, part in metrics.groupby("section", sort=False):
        lines.append(tables.group(SECTIONS.get(str(section), str(section)), "", len(headings)))
        lines += [_line(row) for row in part.to_dict("records")]
    return f'<div class="u-dense">{tables.table(headings, lines, numeric=4)}</div>'


def _line(row: dict[str, object]) -> list[str]:
    unit = str(row["unit"])
    label = html.escape(str(row["label"]))
    values = [tables.figure(value(_number(row[name]), unit)) for name in ("first_value",
              "second_value")]  # fmt: skip
    return [
        f'<th scope="row" class="u-measure">{label}<small>{html.escape(unit)}</small></th>',
        *values,
        _difference(row, unit),
        tables.figure(*_sample(row)),
    ]


def _difference(row: dict[str, object], unit: str) -> str:
    if formats.present(row["reason"]):
        return tables.cell(formats.MISSING, str(row["reason"]), "u-num u-reason")
    scale, digits = (100, 0) if unit == "fraction" else (1, 2)
    reach = formats.interval(_number(row["low"]), _number(row["high"]), scale=scale, digits=digits)
    shown = difference(_number(row["difference"]), unit)
    kind = "u-num u-shown" if _excludes_zero(row) else "u-num"
    return tables.cell(shown, reach or "no interval: one group, or a value of a whole task", kind)


def _excludes_zero(row: dict[str, object]) -> bool:
    low, high = _number(row["low"]), _number(row["high"])
    return low is not None and high is not None and (low > 0 or high < 0)


def _sample(row: dict[str, object]) -> tuple[str, str]:
    if not formats.present(row["n"]):
        return "whole task", ""
    alone = _number(row["unpaired"])
    left_out = f", {formats.count(alone)} on one side only" if alone else ""
    return f"n = {formats.count(_number(row['n']))}", (
        f"{formats.count(_number(row['groups']), 'group')}{left_out}"
    )


def value(number: float | None, unit: str) -> str:
    """A value in its unit, short.

    >>> value(0.5, "fraction"), value(-1.25, "nats per token")
    ('50%', '−1.25')
    """
    return formats.percent(number) if unit == "fraction" else formats.number(number)


def difference(number: float | None, unit: str) -> str:
    """A difference in its unit, signed.

    >>> difference(0.5, "fraction"), difference(-1.25, "nats per token")
    ('+50 pp', '−1.25')
    """
    return formats.points(number) if unit == "fraction" else formats.number(number, sign=True)


def _number(value: object) -> float | None:
    return float(str(value)) if formats.present(value) else None


def settings(rows: pd.DataFrame, first: Side, second: Side) -> str:
    """The settings that differ, in bold; HTML.

    Args:
        rows: of `compared_settings`.
        first: what stands in the first column of values.
        second: what stands in the second.
    """
    differing = rows[rows["differs"]]
    if differing.empty:
        return '<p class="u-note">No setting differs.</p>'
    lines = [
        [f'<th scope="row">{html.escape(str(row["setting"]))}</th>', _bold(row["first_value"]),
         _bold(row["second_value"])]
        for row in differing.to_dict("records")
    ]  # fmt: skip
    return (
        f'<div class="u-dense">{tables.table(["Setting", first.label, second.label], lines)}</div>'
    )


def _bold(value: object) -> str:
    return tables.cell(_shown(value), kind="u-wide u-differs")


def shared(rows: pd.DataFrame) -> str:
    """The settings that both sides share; HTML."""
    lines = [
        [f'<th scope="row">{html.escape(str(row["setting"]))}</th>',
         tables.cell(_shown(row["first_value"]), kind="u-wide")]
        for row in rows[~rows["differs"]].to_dict("records")
    ]  # fmt: skip
    return f'<div class="u-dense">{tables.table(["Setting", "Both"], lines)}</div>'


def _shown(value: object) -> str:
    return str(value) if formats.present(value) else "not set"
