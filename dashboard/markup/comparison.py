"""Two sides of a comparison: which run and step each is, and their numbers as HTML."""

from __future__ import annotations

import html
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from dashboard import filters, formats, tables, theme

SECTIONS = {
    "answers": "Answers to plain prompts",
    "utility": "Tasks and language",
    "recovery": "Emphasised prompts",
    "focus": "What the prompt contributes",
}
FOLLOWED = "followed_step"  # in the session: the sidebar's step that both sides were set to last


@dataclass(frozen=True)
class Side:
    """One side: a run at a measured step."""

    run_id: str
    step: int
    label: str  # of run and step
    method: str


def sides(steps: pd.DataFrame, at_step: int | None = None) -> tuple[Side, Side]:
    """Controls for the two sides; base model against the first unlearned run at first.

    Args:
        steps: of `measured_steps`.
        at_step: each side is set to its last measured step up to this one whenever it changes;
            None: to its final one.
    """
    named = theme.labelled(steps)
    runs = named.drop_duplicates("run_id")
    ids = [str(run_id) for run_id in runs["run_id"]]
    unlearned = runs[~runs["method"].isin(theme.REFERENCE_ARMS)]
    second = ids.index(str(unlearned["run_id"].iloc[0])) if len(unlearned) else len(ids) - 1
    filters.take_handed("second", ids)
    left, right = st.columns(2, gap="large")
    with left:
        one = _side("first", named, ids, 0, at_step)
    with right:
        other = _side("second", named, ids, second, at_step)
    st.session_state[FOLLOWED] = at_step
    return one, other


def _side(name: str, named: pd.DataFrame, ids: list[str], start: int, at_step: int | None) -> Side:
    labels = dict(zip(named["run_id"], named["label"], strict=True))
    run, step = st.columns([2, 1])
    with run:
        run_id = st.selectbox(
            f"{name.capitalize()} run", ids, start, key=name, bind="query-params",
            format_func=lambda each: str(labels[each]),
        )  # fmt: skip
    run_id = run_id or ids[start]
    own = named[named["run_id"] == run_id].sort_values(["is_final", "step"], ascending=False)
    words = {int(row["step"]): _step(row) for row in own.to_dict("records")}
    reached = filters.up_to_step(own, at_step)
    start_step = int(reached.iloc[0]["step"] if len(reached) == len(own) else reached["step"].max())
    key = f"{name}_step"
    if st.session_state.get(FOLLOWED, at_step) != at_step:
        st.session_state[key] = start_step
    with step:
        chosen = st.selectbox(
            f"{name.capitalize()} step", list(words), list(words).index(start_step),
            key=key, bind="query-params",
            format_func=lambda each: words.get(each, str(each)),
        )  # fmt: skip
    at = start_step if chosen is None else int(chosen)
    method = str(own["method"].iloc[0])
    return Side(str(run_id), at, f"{labels[run_id]}, {words[at]}", method)


def _step(row: dict[str, object]) -> str:
    """A measured step in words, by what its run is measured along.

    >>> _step({"axis": "step", "axis_value": 10.0, "is_final": True})
    'step 10 (final)'
    """
    final = " (final)" if row["is_final"] else ""
    return f"{row['axis']} {float(str(row['axis_value'])):g}{final}"


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
