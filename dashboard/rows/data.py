"""Rows of named questions, cached by the published version of the results file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pandas as pd
import streamlit as st

from dashboard.look import formats
from results_db import guard, read, transfer

# of pandas' own strings those of Arrow take twice as long to label, filter and walk through
pd.set_option("mode.string_storage", "python")

Parameter = str | float | bool | tuple[str, ...] | None
MOST_SEEN = 256  # answers kept, also for the moment when a writer holds the file
MOST_FILES = 4  # of which the state is kept
ASKED = "asked_last"  # in the session: question -> how it was last asked
FILE = "study"  # in session and address: name of the results file
State = Literal["missing", "empty", "running", "ready", "other_schema"]


def databases() -> dict[str, Path]:
    """Results files that can be chosen, by name: recorded studies first, then the reader's own.

    That is $UNPACT_DB, else results_db/unpact.duckdb under the current folder.
    """
    recorded = filter(None, os.environ.get("UNPACT_RECORDED", "").split(os.pathsep))
    own = Path(os.environ.get("UNPACT_DB") or "results_db/unpact.duckdb")
    return {path.stem: path.resolve() for path in (*map(Path, recorded), own)}


def database() -> Path:
    """The results file that is shown: the chosen one, else the first."""
    known = databases()
    first = next(iter(known))
    if len(known) == 1:  # the session is not asked
        return known[first]
    return known.get(str(st.session_state.get(FILE)), known[first])


def state() -> State:
    """Whether there is something to show, and if not, why."""
    found: State = _state(str(database()), version())
    return found


def version() -> str:
    """Changes whenever something is published."""
    return repr(read.version(database()))


def rows(name: str, **parameters: Parameter) -> pd.DataFrame:
    """Rows of a named question. While a writer holds the file, the rows seen last.

    Args:
        name: of the question.
        parameters: of the question. `seeds` beside them keeps only runs of these seeds, where the
            rows are about runs; without it, or empty, all are kept. `measurement` and `data_hash`
            are the versions whose runs are seen; without them, or None, the newest of each
            benchmark, and the data that its latest plan asks for.

    Raises:
        TimeoutError: the file stayed busy and these rows were never read before.
    """
    st.session_state.setdefault(ASKED, {})[name] = dict(parameters)
    key = (str(database()), name, tuple(sorted(parameters.items())))
    try:
        stored = _shown(*key, version())
    except TimeoutError:
        if key not in _seen():
            raise
        stored = _seen()[key]
    if len(_seen()) >= MOST_SEEN:
        _seen().clear()
    _seen()[key] = stored
    return _frame(stored)


def is_studied() -> bool:
    """Whether a study works on the results file now."""
    return bool(guard.is_studied(database()))


def runs() -> pd.DataFrame:
    """Rows of the question `runs`; one that was at work when its study ended is `stopped`."""
    found = rows("runs")
    if is_studied():
        return found
    return found.assign(status=found["status"].replace("running", "stopped"))


def asked_last(name: str) -> Callable[[], str] | None:
    """Gives the rows of a question as it was last asked in this session, as CSV; None: never."""
    if name not in st.session_state.get(ASKED, {}):
        return None
    parameters = st.session_state[ASKED][name]
    return lambda: formats.csv(rows(name, **parameters))


def sql_of(name: str) -> str:
    """The text of a named question."""
    return str(read.sql_of(name))


def _frame(stored: bytes) -> pd.DataFrame:
    frame: pd.DataFrame = pickle.loads(stored)
    return frame


@st.cache_data(max_entries=MOST_SEEN, show_spinner=False)
def _shown(
    path: str, name: str, parameters: tuple[tuple[str, Parameter], ...], version: str
) -> bytes:
    """The rows of the chosen seeds, those of one method told apart; pickled as in `_read`."""
    asked = dict(parameters)
    seeds = asked.pop("seeds", ())
    frame = _frame(_read(path, name, tuple(asked.items()), version))
    if {"run_id", "method", "model"} <= set(frame.columns) and len(frame):
        variants = _frame(_read(path, "run_variants", (), version))
        named = dict(zip(variants["run_id"], variants["variant"], strict=True))
        frame = frame.assign(variant=frame["run_id"].map(named))
    if isinstance(seeds, tuple) and seeds and "run_id" in frame:
        runs = _frame(_read(path, "runs", (), version))
        kept = runs.loc[runs["seed"].astype(str).isin(seeds), "run_id"]
        frame = frame[frame["run_id"].isin(kept)]
    return pickle.dumps(frame)


@st.cache_data(max_entries=MOST_SEEN, show_spinner=False)
def _read(
    path: str, name: str, parameters: tuple[tuple[str, Parameter], ...], version: str
) -> bytes:
    """The rows as bytes: whoever asks first gets them as all others do, equal to the last bit."""
    file = _readable(path, version)
    values = {key: list(v) if isinstance(v, tuple) else v for key, v in parameters}
    measurement, data_hash = values.pop("measurement", None), values.pop("data_hash", None)
    found = read.query(
        file, name, measurement=measurement if isinstance(measurement, int) else None,
        data_hash=data_hash if isinstance(data_hash, str) else None, **values,
    )  # fmt: skip
    return pickle.dumps(found)


def _readable(path: str, version: str) -> Path:
    """The results file, or a copy of it as this version writes it where its schema is older."""
    if not _is_older(path, version):
        return Path(path)
    folder = _folder_of_copy(path, version)
    return Path(folder.name) / Path(path).name


@st.cache_data(max_entries=MOST_FILES, show_spinner=False)
def _is_older(path: str, version: str) -> bool:
    del version  # part of the key only
    return bool(read.is_of_older_schema(Path(path)))


@st.cache_resource(max_entries=MOST_FILES, show_spinner="Reading an older results file, once")
def _folder_of_copy(path: str, version: str) -> TemporaryDirectory[str]:
    """A folder with the copy in it, that goes with the process."""
    del version  # part of the key only
    folder = TemporaryDirectory(prefix="unpact-")
    transfer.copy_to_read(path, Path(folder.name))
    return folder


@st.cache_data(max_entries=MOST_FILES, show_spinner=False)
def _state(path: str, version: str) -> State:
    del version  # part of the key only
    found: State = read.state(Path(path))
    return found


@st.cache_resource(max_entries=1, show_spinner=False)
def _seen() -> dict[tuple[str, str, tuple[tuple[str, Parameter], ...]], bytes]:
    return {}
