"""The one set of filters. Every choice stands in the URL, so a link shows what its sender saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd
import streamlit as st

from dashboard.look import formats, theme
from dashboard.look.thresholds import MAX_EFFECT, MIN_UTILITY, MINIMUM_NATS
from dashboard.rows import data

KEYS = ("benchmark", "version", "data", "models", "model", "methods", "seeds", "step",
        "attribution", "target", "words")  # in the URL  # fmt: skip
ALL, LAST = "all", "last"
HANDED = "run_id"  # in the address of a link to a page about one run
RUN, ONLY_RUN, STRATEGY = "run", "only_run", "strategy"  # controls that a click in a chart sets
NARROW = 360  # pixels
MOST_PANELS = 12  # of a figure with one a run


@dataclass(frozen=True)
class Chosen:
    """What the reader wants to see; an empty choice of models, methods or seeds means all."""

    benchmark: str
    measurement: int  # version by which the runs shown were measured
    data_hash: str  # version of the data that they were made on
    models: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[str, ...]
    step: int | None  # of each run its last measured step up to this one; None: its final one
    attribution_method: str
    target: str
    answer_tokens: str

    @property
    def version(self) -> dict[str, Any]:
        """How the runs shown were measured and on which data; others do not compare with them."""
        return {"measurement": self.measurement, "data_hash": self.data_hash}

    @property
    def runs(self) -> dict[str, Any]:
        """Parameters of questions about runs, and the seeds to keep of their rows."""
        return {
            "benchmark": self.benchmark,
            **self.version,
            "models": self.models,
            "methods": self.methods,
            "seeds": self.seeds,
        }

    @property
    def attribution(self) -> dict[str, Any]:
        """Parameters that pick one kind of attribution."""
        return {
            "attribution_method": self.attribution_method,
            "target": self.target,
            "answer_tokens": self.answer_tokens,
        }

    @property
    def emphasis(self) -> dict[str, Any]:
        """Parameters of questions about focus under emphasised prompts."""
        return {**self.runs, "minimum_nats": MINIMUM_NATS}

    @property
    def keywords(self) -> dict[str, Any]:
        """Parameters of questions about the words of base models' prompts."""
        return {
            "benchmark": self.benchmark,
            **self.version,
            "models": self.models,
            "answer_tokens": self.answer_tokens,
        }

    @property
    def focus(self) -> dict[str, Any]:
        """Parameters of questions about focus on KeyTokens."""
        return {**self.runs, **self.attribution, "minimum_nats": MINIMUM_NATS}


def sidebar() -> Chosen:
    """Draw the filters and return the choices; stop the page while no run is finished."""
    choices = finished()
    with st.sidebar:
        st.html('<p class="u-side">Runs shown</p>')
        benchmark = _one("Benchmark", "benchmark", _benchmarks(choices), str)
        measurement = _measurement(choices, benchmark)
        data_hash = _data(benchmark, measurement)
        choices = data.rows("choices", measurement=measurement, data_hash=data_hash)
        there = choices[choices["benchmark"] == benchmark]
        return Chosen(benchmark, measurement, data_hash, *_runs(there), *_attribution(there))


def _measurement(choices: pd.DataFrame, benchmark: str) -> int:
    """One of the measurement versions of a benchmark's runs, the newest at first."""
    there = choices[choices["benchmark"] == benchmark]
    versions = sorted(_names(there, "measurement"), key=int, reverse=True)
    if len(versions) < 2:
        return int(versions[0])
    shown = {version: f"Version {version}" for version in versions}
    return int(_one("Measured by", "version", versions, shown.__getitem__))


def _data(benchmark: str, measurement: int) -> str:
    """One of the versions of a benchmark's data; at first the one that the latest plan asks for."""
    versions = data.rows("data_versions")
    there = versions[
        (versions["benchmark"] == benchmark) & (versions["measurement"] == measurement)
    ]
    shown = {str(row["data_hash"]): formats.data_version(row) for _, row in there.iterrows()}
    if len(shown) < 2:
        return next(iter(shown))
    return _one("Data", "data", list(shown), shown.__getitem__)


def _benchmarks(choices: pd.DataFrame) -> list[str]:
    """The benchmark that was begun first comes first, also while a study goes on to others."""
    begun = data.rows("runs").groupby("benchmark")["started_at"].min().to_dict()
    return sorted(_names(choices, "benchmark"), key=lambda name: (begun.get(name, ""), name))


def finished() -> pd.DataFrame:
    """What finished runs offer to choose from; stop the page while there is none."""
    choices = data.rows("choices")
    if choices[choices["kind"] == "method"].empty:
        st.info(
            "No run is finished yet. Results appear here after the first one.",
            icon=":material/hourglass_top:",
        )
        st.page_link("views/80_runs.py", label="See the running study")
        st.stop()
    return choices


def _runs(
    choices: pd.DataFrame,
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], int | None]:
    models = _names(choices, "model")
    methods = sorted(_names(choices, "method"), key=theme.method_rank)
    chosen_models = _many("Models", "models", models, str)
    chosen_methods = _many("Methods", "methods", methods, theme.method_label)
    seeds = _seeds(sorted(_names(choices, "seed"), key=int))
    return chosen_models, chosen_methods, seeds, _step(sorted(_names(choices, "step"), key=int))


def _seeds(seeds: list[str]) -> tuple[str, ...]:
    """Some of the seeds where runs differ in it; empty for all."""
    if len(seeds) < 2:
        return ()
    chosen = _many("Seeds", "seeds", seeds, str)
    return () if len(chosen) == len(seeds) else chosen


def _step(steps: list[str]) -> int | None:
    """One of the steps at which runs were measured; None for the final step of each."""
    if not steps:
        return None
    shown = {LAST: "The last of each run", **{step: f"At most {step}" for step in steps}}
    chosen = _one("Step", "step", [LAST, *steps], shown.__getitem__)
    return None if chosen == LAST else int(chosen)


def _attribution(choices: pd.DataFrame) -> tuple[str, str, str]:
    st.html('<p class="u-side">Token contributions<small>on pages that show tokens</small></p>')
    found = _names(choices, "attribution_method") or ["leave_one_out"]
    first = sorted(found, key=lambda name: (name != "leave_one_out", name))
    return (
        _one("Attribution method", "attribution", first, theme.attribution_label),
        _one("Attributed answer", "target", list(theme.TARGETS), theme.TARGETS.__getitem__),
        _one("Answer words", "words", list(theme.ANSWER_TOKENS), theme.ANSWER_TOKENS.__getitem__),
    )


def _names(choices: pd.DataFrame, kind: str) -> list[str]:
    return [str(name) for name in choices.loc[choices["kind"] == kind, "name"]]


def _one(
    label: str,
    key: str,
    options: list[str],
    shown: Callable[[str], str],
    width: int | Literal["stretch"] = "stretch",
) -> str:
    chosen = st.selectbox(
        label, options, format_func=shown, key=key, bind="query-params", width=width
    )
    return chosen or options[0]


def _many(label: str, key: str, options: list[str], shown: Callable[[str], str]) -> tuple[str, ...]:
    chosen = st.multiselect(
        label, options, format_func=shown, key=key, bind="query-params", placeholder="All"
    )
    return tuple(chosen or options)


def one_model(chosen: Chosen) -> Chosen:
    """The same choices for one of the chosen models, for pages that compare runs of one model."""
    if len(chosen.models) == 1:
        return chosen
    return replace(chosen, models=(_one("Model", "model", list(chosen.models), str, NARROW),))


def part_of_runs(rows: pd.DataFrame) -> list[str]:
    """Ids of the runs that have a panel each at a time, in the order of methods; all where few."""
    ids = [str(run_id) for run_id in theme.labelled(rows)["run_id"].drop_duplicates()]
    if len(ids) <= MOST_PANELS:
        return ids
    starts = {str(start): f"{start + 1} to {min(start + MOST_PANELS, len(ids))} of {len(ids)}"
              for start in range(0, len(ids), MOST_PANELS)}  # fmt: skip
    start = int(_one("Runs shown", "part", list(starts), starts.__getitem__, NARROW))
    return ids[start : start + MOST_PANELS]


def only_methods(rows: pd.DataFrame, chosen: Chosen) -> pd.DataFrame:
    """The rows of the chosen methods, for questions about one prompt, which return all."""
    return rows[rows["method"].isin(chosen.methods)]


def only_run(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one run, or of all; a chart above may set which."""
    chosen = only_run_id(rows)
    return rows if chosen is None else rows[rows["run_id"] == chosen]


def only_run_id(rows: pd.DataFrame) -> str | None:
    """One run among those of the rows, by its id, or None for all; a chart above may set which."""
    named = theme.labelled(rows).drop_duplicates("run_id")
    labels = {ALL: "All runs", **dict(zip(named["run_id"], named["label"], strict=True))}
    if st.session_state.get(ONLY_RUN, ALL) not in labels:  # a click on a run that is not listed
        st.session_state[ONLY_RUN] = ALL
    chosen = _one("Runs in the table", ONLY_RUN, list(labels), labels.__getitem__, NARROW)
    return None if chosen == ALL else chosen


def max_effect() -> float:
    """Greatest net effect of emphasis that is still harmless, a fraction."""
    return _threshold("Insufficient above this net effect", "max_effect", 0.0, 0.5, MAX_EFFECT)


def min_utility() -> float:
    """Least share of the base model's utility that is acceptable, a fraction."""
    return _threshold("Destructive below this utility", "min_utility", 0.5, 1.0, MIN_UTILITY)


def _threshold(label: str, key: str, least: float, most: float, start: float) -> float:
    return float(
        st.slider(label, least, most, start, 0.01, format="percent", key=key, bind="query-params")
    )


def alpha(rows: pd.DataFrame) -> float:
    """One threshold of the KeyToken rule among those with rows; at first the recorded one."""
    options = sorted({float(value) for value in rows["alpha"]})
    recorded = [float(value) for value in rows.loc[rows["is_recorded"], "alpha"]]
    chosen = st.select_slider(
        "Alpha, the threshold for KeyTokens",
        options, recorded[0] if recorded else options[0], format_func="{:.2f}".format,
        key="alpha", bind="query-params", width=NARROW,
    )  # fmt: skip
    return float(chosen)


def strategies(rows: pd.DataFrame) -> list[str]:
    """The recovery strategies with rows, except `any`, which is no prompt of its own."""
    return theme.strategies({str(name) for name in rows["strategy"]} - {"any"})


def strategy(options: list[str]) -> str:
    """One of these recovery strategies."""
    return _one("Strategy", STRATEGY, options, theme.strategy_label)


def only_recovered() -> bool:
    """Whether to list only forgotten answers that came back."""
    label = "Only forgotten answers that came back"
    return st.toggle(label, value=True, key="recovered", bind="query-params")


def task(options: dict[str, str]) -> str:
    """One of the measured tasks."""
    return _one("Task", "task", list(options), options.__getitem__, NARROW)


def measure(options: dict[str, str]) -> str:
    """What a rate is a share of."""
    return _one("Rate", "rate", list(options), options.__getitem__, NARROW)


def take_handed(control: str, ids: list[str]) -> None:
    """Set a control to the run that a link of another page handed over by its id, once.

    The control's own place in the address holds a label, which differs between pages.
    """
    handed = st.query_params.get(HANDED)
    if handed in ids:
        st.session_state[control] = handed
        del st.query_params[HANDED]


def run(rows: pd.DataFrame, label: str = "Run") -> str:
    """One run among the rows, by its label; its id."""
    labels = run_labels(rows)
    take_handed(RUN, list(labels))
    return _one(label, RUN, list(labels), labels.__getitem__, NARROW)


def run_labels(rows: pd.DataFrame) -> dict[str, str]:
    """Labels of runs by id. Finished unlearned runs come first, then references, then failed."""
    named = theme.labelled(rows).drop_duplicates("run_id")
    later = named["method"].isin(theme.REFERENCE_ARMS).astype(int)
    if "status" in named:
        later += 2 * (named["status"] == "failed").astype(int)
    ordered = named.assign(_later=later).sort_values("_later", kind="stable")
    return {
        str(key): str(text) for key, text in zip(ordered["run_id"], ordered["label"], strict=True)
    }
