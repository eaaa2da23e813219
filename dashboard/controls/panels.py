"""The furniture of a page: heading, chart, table, the question's SQL, what to do when empty."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from dashboard.controls import filters, picker
from dashboard.look import benchmarks, formats, theme
from dashboard.markup import cards
from dashboard.rows import data

PAGE = 200  # lines of a long list that are fetched at a time
MOST = 5000  # characters of a text in a grid
NOTHING = "Nothing matches these filters. Choose other ones in the sidebar."
CHART_CONFIG = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
}
MISSING = "There is no results file yet. Run a study; this page fills as it goes."
EMPTY = "The results file holds no study yet. Run one; this page fills as it goes."
OTHER_SCHEMA = (
    "The results file was written by another version of unPact and cannot be read by this one. "
    "Run the study again into a new file, or open it with the version that wrote it. If it is "
    "damaged or holds what no file of unPact has, `unpact db info` says so."
)


def page(title: str, purpose: str) -> None:
    """Title of a page and one sentence on what it is for."""
    st.title(title, anchor=False)
    note(purpose, kind="u-lead")


def context(
    benchmark: str,
    models: Sequence[str],
    more: str = "",
    *,
    measurement: int | None = None,
    data_hash: str | None = None,
) -> None:
    """What a benchmark asks, when an answer is right, and how large these models are.

    Args:
        benchmark: whose runs are shown.
        models: of these runs.
        more: to be said with it.
        measurement: version by which the runs were measured; None where nothing stored is shown.
        data_hash: version of the data that they were made on; None likewise.
    """
    rules = data.rows(
        "benchmark", benchmark=benchmark, measurement=measurement, data_hash=data_hash
    )
    asks = benchmarks.description(benchmark, rules)
    runs = data.rows("runs")
    shown = (runs["benchmark"] == benchmark) & runs["model"].isin(list(models))
    markup(cards.context(benchmark, f"{asks} {more}".strip(), runs[shown]))
    if measurement is not None:
        versions = data.rows("measurements")
        for said in (
            cards.measured(versions[versions["benchmark"] == benchmark], measurement),
            _made_on(benchmark, measurement, data_hash),
            cards.left_out(_left_out(benchmark, models, measurement, data_hash)),
        ):
            if said:
                note(said)


def _left_out(
    benchmark: str, models: Sequence[str], measurement: int, data_hash: str | None
) -> pd.DataFrame:
    return data.rows(
        "left_out", benchmark=benchmark, models=tuple(models), methods=(), measurement=measurement,
        data_hash=data_hash,
    )  # fmt: skip


def _made_on(benchmark: str, measurement: int, data_hash: str | None) -> str:
    versions = data.rows("data_versions")
    of_benchmark = versions["benchmark"] == benchmark
    return cards.made_on(
        versions[of_benchmark & (versions["measurement"] == measurement)], data_hash
    )


def final_step_only(chosen: filters.Chosen) -> None:
    """Says that the chosen step changes nothing about what was measured at final steps alone."""
    if chosen.step is not None:
        note(
            "Contributions, and recovery by every strategy, are measured at the last step of each "
            "run alone: the step chosen in the sidebar changes nothing here."
        )


def heading(question: str, reading: str = "") -> None:
    """A panel's question, and how to read its answer."""
    st.header(question, anchor=False)
    if reading:
        note(reading)


def note(text: str, kind: str = "u-note") -> None:
    """A line of muted text. Escaped, so it may hold text from data."""
    st.html(f'<p class="{kind}">{html.escape(formats.visible(text))}</p>')


def markup(safe: str) -> None:
    """HTML from our own builders, which have escaped every text from data."""
    if safe:
        st.html(safe)


def chart(figure: go.Figure, key: str) -> None:
    """A figure with the alternative text that its builder wrote."""
    st.plotly_chart(figure, key=key, config=_config(key), alt=_alt(figure, key))


def chart_that_sets(figure: go.Figure, key: str, *controls: str, reset: str | None = None) -> None:
    """A figure in which a click on a point sets controls, such as which run is shown below.

    Args:
        figure: whose points carry a value for each control as their customdata; one alone need not
            be a list.
        key: of the figure.
        controls: keys of the controls that are given these values.
        reset: what the first is set to when the choice is taken back; None: it stays.
    """

    def take() -> None:
        chosen = _chosen_point(st.session_state[key])
        for control, value in zip(controls, chosen, strict=False):
            st.session_state[control] = value
        if not chosen and reset:
            st.session_state[controls[0]] = reset

    st.plotly_chart(
        figure, key=key, config=_config(key), alt=_alt(figure, key), on_select=take,
        selection_mode="points",
    )  # fmt: skip


def chart_to_choose(figure: go.Figure, key: str) -> str | None:
    """A figure in which one point can be clicked; its id, or None while none is."""
    event = st.plotly_chart(
        figure, key=key, config=_config(key), alt=_alt(figure, key), on_select="rerun",
        selection_mode="points",
    )  # fmt: skip
    return next(iter(_chosen_point(event)), None)


def _chosen_point(event: Any) -> list[str]:  # noqa: ANN401 - Streamlit's state of a chart
    """What the first chosen point carries; nothing where none is chosen."""
    for point in event.selection.points:
        carried = point.get("customdata")
        if carried is not None:
            return [
                str(each) for each in (carried if isinstance(carried, list | tuple) else [carried])
            ]
    return []


def _config(key: str) -> dict[str, object]:
    picture = {"filename": f"unpact-{key}", "scale": 2}
    return {**CHART_CONFIG, "toImageButtonOptions": picture}


def _alt(figure: go.Figure, key: str) -> str:
    return str((figure.layout.meta or {}).get("alt", key))


def found(rows: Sized, nothing: str = NOTHING) -> bool:
    """True where there are rows; else says so."""
    if not len(rows):
        st.info(nothing, icon=":material/search_off:")
    return bool(len(rows))


def as_table(frame: pd.DataFrame, key: str, title: str = "The same as a table") -> None:
    """Numbers as a sortable grid, folded away."""
    with _folded(title, ":material/table:", f"{key}_open") as opened:
        if opened:
            listing(frame, key)


def listing(frame: pd.DataFrame, key: str) -> None:
    """A long list as a sortable grid."""
    frame, alt = _readable(frame), _table_alt(frame)
    st.dataframe(frame, key=key, hide_index=True, column_config=_columns(frame), alt=alt)


def choose(
    frame: pd.DataFrame, key: str, on_select: Callable[[], None] | Literal["rerun"] = "rerun"
) -> pd.Series | None:
    """A grid in which one line can be chosen; that line."""
    event = st.dataframe(
        _readable(frame), key=key, hide_index=True, column_config=_columns(frame),
        alt=_table_alt(frame), on_select=on_select, selection_mode="single-row",
        height=min(420, 38 + 36 * len(frame)),
    )  # fmt: skip
    chosen = event.selection.rows
    return frame.iloc[chosen[0]] if chosen and chosen[0] < len(frame) else None


def page_of(total: int, key: str) -> int:
    """Lines before the page that the reader wants; says which part of how many that is."""
    pages = -(-total // PAGE)
    if pages <= 1:
        return 0
    page = int(st.number_input(f"Page of {pages}", 1, pages, key=key, width=filters.NARROW))
    first, last = PAGE * (page - 1) + 1, min(total, PAGE * page)
    note(f"Lines {first:,} to {last:,} of {total:,}.")
    return first - 1


def download(label: str, name: str, frame: Callable[[], pd.DataFrame]) -> None:
    """A button that hands over a whole list as CSV, made when it is pressed."""
    st.download_button(
        label, lambda: formats.csv(frame()).encode(), f"{name}.csv", "text/csv",
        key=f"{name}_csv", icon=":material/download:", on_click="ignore",
    )  # fmt: skip


def report(label: str, name: str, text: Callable[[], str]) -> None:
    """A button that hands over a report as one HTML file, made when it is pressed."""
    st.download_button(
        label, lambda: text().encode(), f"{name}.html", "text/html",
        key="report", icon=":material/description:", on_click="ignore",
    )  # fmt: skip


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with texts in which nothing acts, none endless."""
    texts = frame.select_dtypes(["object", "str"]).columns
    return frame.assign(**{
        name: frame[name].map(lambda text: formats.visible(text, MOST) if text else text,
                              na_action="ignore")
        for name in texts
    })  # fmt: skip


def _table_alt(frame: pd.DataFrame) -> str:
    return f"Table of {len(frame)} lines: {', '.join(map(str, frame.columns))}"


def _columns(frame: pd.DataFrame) -> dict[str, ColumnConfig | str | None]:
    numbers = frame.select_dtypes("floating").columns
    digits = {str(name): "%.4f" if str(name).startswith("p, ") else "%.2f" for name in numbers}
    return {
        name: st.column_config.NumberColumn(name, format=shown) for name, shown in digits.items()
    }


def open_prompt(example_id: str) -> None:
    """A link to one example on its own page, under the same filters."""
    kept = {key: st.query_params.get_all(key) for key in filters.KEYS if key in st.query_params}
    st.page_link(
        "views/50_prompt.py", label="See everything about this prompt",
        icon=":material/arrow_forward:", query_params={**kept, picker.KEY: example_id},
    )  # fmt: skip


def open_run(rows: pd.DataFrame) -> None:
    """Links to a run's own page and to Compare, where the rows are those of one run."""
    if rows["run_id"].nunique() != 1:
        return
    kept = {key: st.query_params.get_all(key) for key in filters.KEYS if key in st.query_params}
    handed = {**kept, filters.HANDED: str(rows["run_id"].iloc[0])}
    for page, words in (
        ("views/15_run.py", "See everything about this run"),
        ("views/80_runs.py", "See how this run was computed"),
        ("views/60_compare.py", "Compare it with the base model"),
    ):
        st.page_link(page, label=words, icon=":material/arrow_forward:", query_params=handed)


def probe_live(benchmark: str, model: str, example_id: str) -> None:
    """A link that hands one example over to the live page."""
    st.page_link(
        "views/70_live_probe.py", label="Probe the models with this prompt",
        icon=":material/bolt:",
        query_params=dict(zip(picker.HANDED, (benchmark, model, example_id), strict=True)),
    )  # fmt: skip


def nothing_asked() -> None:
    """Where to take a prompt from, on a live page that has no answer yet."""
    note(
        "Type a prompt, or take one of the study from the page One prompt. The models run in a "
        "process of their own on this machine, started by the first question."
    )
    st.page_link(
        "views/50_prompt.py", label="Choose a prompt of the study", icon=":material/search:"
    )


def flags(rows: pd.DataFrame) -> None:
    """Runs that changed nothing, or say one thing whatever they are asked, as plain text.

    Args:
        rows: of `run_flags`.
    """
    flagged = theme.labelled(rows)
    flagged = flagged[flagged["flag"].notna()]
    if flagged.empty:
        return
    st.warning("Read these runs with care.", icon=":material/warning:")
    lines = [f"{row['label']}: {formats.flag(row)}" for row in flagged.to_dict("records")]
    st.code(formats.visible("\n".join(lines)), language=None, wrap_lines=True)


def stored(rows: pd.DataFrame) -> None:
    """Runs whose weights as stored are not what training made of them, as plain text.

    Args:
        rows: of `stored_effects`.
    """
    named = theme.labelled(rows).to_dict("records")
    lines = [f"{row['label']}: {said}" for row in named if (said := formats.stored(row))]
    if lines:
        st.warning(
            "Stored weights differ from the trained ones. Everything here is about the weights as "
            "they are stored.",
            icon=":material/warning:",
        )
        st.code(formats.visible("\n".join(lines)), language=None, wrap_lines=True)


def warnings(rows: pd.DataFrame) -> None:
    """Conditions under which compared runs differ, one line each, as plain text.

    Args:
        rows: with a column `warning`.
    """
    if len(rows):
        st.warning("These were not made under the same conditions.", icon=":material/warning:")
        st.code(formats.visible("\n".join(rows["warning"])), language=None, wrap_lines=True)


@contextmanager
def _folded(title: str, icon: str, key: str) -> Iterator[bool]:
    """A place that is folded away; whether the reader has opened it. What is shut is not drawn."""
    place = st.expander(title, icon=icon, key=key, on_change="rerun")
    with place:
        yield bool(place.open)


@contextmanager
def folded(title: str) -> Iterator[None]:
    """What is put into it is folded away under a title."""
    with st.expander(title, icon=":material/unfold_more:"):
        yield


def refused(what: str, reason: str) -> None:
    """Something that could not be done, and the reason in one line, as plain text."""
    st.warning(what, icon=":material/warning:")
    st.code(formats.visible(reason), language=None, wrap_lines=True)


def error(run: pd.Series) -> None:
    """What stopped a failed run, as plain text."""
    if formats.present(run["error"]):
        step = run["failed_step"]
        where = f" at step {int(step)}" if formats.present(step) else ""
        st.error(f"This run failed{where}.", icon=":material/warning:")
        st.code(formats.visible(run["error"]), language=None, wrap_lines=True)


def document(title: str, text: object) -> None:
    """A JSON document, folded away; shown as it is when it is no JSON."""
    with st.expander(title, icon=":material/data_object:"):
        try:
            pretty = json.dumps(json.loads(str(text)), indent=2, ensure_ascii=False)
        except json.JSONDecodeError:
            pretty = str(text)
        st.code(pretty, language="json", height=360)


def computed(*names: str) -> None:
    """How the numbers of a panel are computed: the SQL itself, and its rows to take along."""
    title, key = "How is this computed? Download the rows", f"computed_{'_'.join(names)}"
    with _folded(title, ":material/function:", key) as opened:
        for name in names if opened else ():
            said, taken = st.columns([3, 1], vertical_alignment="center")
            said.caption(f"`results_db/queries/{name}.sql`")
            as_csv = data.asked_last(name)
            if as_csv is not None:
                taken.download_button(
                    "Rows as CSV", as_csv, f"unpact-{name}.csv", "text/csv",
                    key=f"csv_{name}", icon=":material/download:", on_click="ignore",
                )  # fmt: skip
            st.code(data.sql_of(name), language="sql")
        if opened:
            st.caption("What several questions share stands in `results_db/definitions/`.")


def source(path: str, code: str, language: str) -> None:
    """The source of a method or query, folded away."""
    with _folded(f"Source: {path}", ":material/code:", f"source_{path}") as opened:
        if opened:
            st.code(code, language=language, height=480)


def explain_state(state: data.State) -> bool:
    """True when the results file can be shown; else says what to do."""
    messages = {"missing": MISSING, "empty": EMPTY, "other_schema": OTHER_SCHEMA}
    if state not in messages:
        return True
    st.title("unPact", anchor=False)
    st.info(messages[state], icon=":material/description:")
    new = " --db results_db/new.duckdb" if state == "other_schema" else ""
    st.code(f"unpact run demo{new}", language="sh")
    st.caption("The results file looked for:")
    st.code(str(data.database()), language=None)
    return False


def filling() -> None:
    """While runs are to come: how far the study is, and whether one works on the file.

    The page is drawn anew when one more run is finished.
    """
    info = data.rows("info").iloc[0]
    if int(info["pending"]):
        _watch(int(info["complete"]))


@st.fragment(run_every="5s")
def _watch(shown: int) -> None:
    info = data.rows("info").iloc[0]
    complete, pending, failed = (int(info[name]) for name in ("complete", "pending", "failed"))
    total = complete + pending + failed
    done = f"{complete} of {total} runs are finished"
    said = (
        f"A study is running: {done}. This page shows those and takes in the rest by itself."
        if data.is_studied()
        else f"{done}. No study works on this file now: `unpact run PLAN --db FILE` goes on."
    )
    st.progress(complete / total, said)
    if complete != shown:
        st.rerun(scope="app")


def busy(error: TimeoutError) -> None:
    """The results file is held by another program, and these rows were never read."""
    st.warning(
        "The results file is in use by another program. Reload in a moment.",
        icon=":material/hourglass_top:",
    )
    st.text(str(error))
