"""Rows of named questions, cached by the published version of the results file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pandas as pd
import streamlit as st

from dashboard import formats
from results_db import read

Parameter = str | float | bool | tuple[str, ...] | None
MOST_SEEN = 256  # frames kept for the moment when a writer holds the file
ASKED = "asked_last"  # in the session: question -> how it was last asked
State = Literal["missing", "empty", "running", "ready", "other_schema"]


def database() -> Path:
    """The results file: $UNPACT_DB, else results_db/unpact.duckdb under the current folder."""
    return Path(os.environ.get("UNPACT_DB") or "results_db/unpact.duckdb").resolve()


def state() -> State:
    """Whether there is something to show, and if not, why."""
    found: State = read.state(database())
    return found


def version() -> str:
    """Changes whenever something is published."""
    return repr(read.version(database()))


def rows(name: str, **parameters: Parameter) -> pd.DataFrame:
    """Rows of a named question. While a writer holds the file, the rows seen last.

    Args:
        name: of the question.
        parameters: of the question. `seeds` beside them keeps only runs of these seeds, where the
            rows are about runs; without it, or empty, all are kept.

    Raises:
        TimeoutError: the file stayed busy and these rows were never read before.
    """
    st.session_state.setdefault(ASKED, {})[name] = dict(parameters)
    seeds = parameters.pop("seeds", ())
    key = (str(database()), name, tuple(sorted(parameters.items())))
    try:
        frame = _told_apart(_read(*key, version()))
    except TimeoutError:
        if key not in _seen():
            raise
        return _of_seeds(_seen()[key], seeds)
    if len(_seen()) >= MOST_SEEN:
        _seen().clear()
    _seen()[key] = frame
    return _of_seeds(frame, seeds)


def asked_last(name: str) -> Callable[[], str] | None:
    """Gives the rows of a question as it was last asked in this session, as CSV; None: never."""
    if name not in st.session_state.get(ASKED, {}):
        return None
    parameters = st.session_state[ASKED][name]
    return lambda: formats.csv(rows(name, **parameters))


def _of_seeds(frame: pd.DataFrame, seeds: Parameter) -> pd.DataFrame:
    """The rows of runs with one of these seeds; all where none is named or rows are of no run."""
    if not isinstance(seeds, tuple) or not seeds or "run_id" not in frame:
        return frame
    runs = _read(str(database()), "runs", (), version())
    kept = runs.loc[runs["seed"].astype(str).isin(seeds), "run_id"]
    return frame[frame["run_id"].isin(kept)]


def _told_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows about runs with a column that tells those of one method apart, for their labels."""
    if frame.empty or not {"run_id", "method", "model"} <= set(frame.columns):
        return frame
    variants = _read(str(database()), "run_variants", (), version())
    named = dict(zip(variants["run_id"], variants["variant"], strict=True))
    return frame.assign(variant=frame["run_id"].map(named))


def sql_of(name: str) -> str:
    """The text of a named question."""
    return str(read.sql_of(name))


def _read(
    path: str, name: str, parameters: tuple[tuple[str, Parameter], ...], version: str
) -> pd.DataFrame:
    frame: pd.DataFrame = pickle.loads(_pickled(path, name, parameters, version))
    return frame


@st.cache_data(max_entries=MOST_SEEN, show_spinner=False)
def _pickled(
    path: str, name: str, parameters: tuple[tuple[str, Parameter], ...], version: str
) -> bytes:
    """The rows as bytes: whoever asks first gets them as all others do, equal to the last bit."""
    del version  # part of the key only
    values = {key: list(v) if isinstance(v, tuple) else v for key, v in parameters}
    return pickle.dumps(read.query(Path(path), name, **values))


@st.cache_resource(max_entries=1, show_spinner=False)
def _seen() -> dict[tuple[str, str, tuple[tuple[str, Parameter], ...]], pd.DataFrame]:
    return {}
