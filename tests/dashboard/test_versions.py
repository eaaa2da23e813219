"""Pages over a file with two measurement versions, over an older file, and over checks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from results_db import store
from results_db.records import (
    MEASUREMENT,
    ModelCheck,
    ModelSource,
    PlannedRun,
    RunResult,
    Statistic,
    Study,
)
from tests.support import results_rows
from tests.support.older_files import schema7
from tests.support.pages import PAGES, html_of, opened
from tests.support.results_rows import make_example, make_result, make_run, publish_small


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1: base, retain, GA and NPO. The program's own: base, retain and NPO."""
    path = tmp_path_factory.mktemp("versions") / "both.duckdb"
    for version, methods in (
        (1, ("none", "retrain", "ga", "npo")),
        (MEASUREMENT, ("none", "retrain", "npo")),
    ):
        for method in methods:
            publish_small(
                path, f"{method}-v{version}", method, 0, measurement=version,
                base_run_id=f"none-v{version}", retain_run_id=f"retrain-v{version}",
            )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return schema7(tmp_path_factory.mktemp("schema7"))


def test_the_newest_version_is_shown_and_the_other_is_offered(
    both: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(both, "10_overview.py", monkeypatch)
    shown = html_of(app)
    newest = f"Measured by version {MEASUREMENT}. Not shown: 4 runs by version 1"
    assert f"{newest} (sidebar, Measured by)." in shown
    assert "gradient ascent" not in shown
    assert app.multiselect(key="methods").options == ["Base model", "Retain model", "NPO"]
    app.selectbox(key="version").set_value("1").run()
    shown = html_of(app)
    assert "GA · measured by version 1" in shown
    older = f"this program measures by version {MEASUREMENT}"
    assert f"Measured by version 1, an older one: {older}" in shown
    assert not app.exception


def test_runs_and_compare_mark_old_runs(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = html_of(opened(both, "80_runs.py", monkeypatch))
    assert shown.count("· measured by version 1") >= 4
    assert f"· measured by version {MEASUREMENT}" not in shown
    app = opened(both, "60_compare.py", monkeypatch)
    assert app.selectbox(key="first").options == ["Base model", "Retain model", "NPO"]
    app.selectbox(key="version").set_value("1").run()
    options = app.selectbox(key="first").options
    assert len(options) == 4
    assert all(option.endswith("· measured by version 1") for option in options)
    assert not app.exception


@pytest.mark.parametrize("page", [page for page in PAGES if "70" not in page and "90" not in page])
def test_every_page_reads_a_file_of_the_older_schema(
    page: str, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(old, page, monkeypatch, seconds=300)  # the first one makes a copy of the file
    assert not app.exception
    assert "version 1" in html_of(app)


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On the data aaaa: base, retain, GA and NPO; after the file was edited: base, retain, NPO."""
    path = tmp_path_factory.mktemp("edited") / "edited.duckdb"
    for day, data, methods in (
        (1, "aaaa", ("none", "retrain", "ga", "npo")),
        (2, "bbbb", ("none", "retrain", "npo")),
    ):
        for method in methods:
            publish_small(
                path, f"{method}-{data}", method, 0, data_hash=data,
                base_run_id=f"none-{data}", retain_run_id=f"retrain-{data}",
                started_at=f"2026-01-0{day}T00:00:00Z",
            )  # fmt: skip
    plan_run(path, "none-bbbb")
    return path


def plan_run(path: Path, run_id: str) -> None:
    planned = PlannedRun("people", run_id, 0, results_rows.BENCHMARK, "tiny", "none", 0)
    store.plan_study(path, Study("people", "", "2026-02-01T00:00:00Z"), [planned])


def test_the_data_of_the_plan_are_shown_and_the_others_are_offered_and_marked(
    edited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(edited, "10_overview.py", monkeypatch)
    shown = html_of(app)
    assert "On data bbbb, 3 runs since 2026-01-02. Not shown: data aaaa, 4 runs since" in shown
    assert "gradient ascent" not in shown
    assert app.multiselect(key="methods").options == ["Base model", "Retain model", "NPO"]
    app.selectbox(key="data").set_value("aaaa").run()
    left = "On data aaaa, 4 runs since 2026-01-01, which no plan asks for any more: the data were"
    assert left in html_of(app)
    assert "GA" in app.multiselect(key="methods").options
    assert not app.exception


def test_every_page_opens_on_other_data(edited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for page in PAGES:
        assert not opened(edited, page, monkeypatch, data="aaaa").exception, page


def test_runs_mark_those_on_other_data(edited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = html_of(opened(edited, "80_runs.py", monkeypatch))
    assert shown.count("· on other data, aaaa") >= 4
    assert "on other data, bbbb" not in shown


def test_what_an_edit_left_is_marked_before_the_new_runs_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "begun.duckdb"
    publish_small(path, "base", "none", 0, base_run_id="base", retain_run_id=None)
    plan_run(path, "none-of-the-edited-file")
    left = "On data data-1, 1 run since 2026-01-01, which no plan asks for any more"
    assert left in html_of(opened(path, "10_overview.py", monkeypatch))


def test_checks_prompt_and_what_storing_took_stand_beside_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checked.duckdb"
    examples = [make_example(f"f{i}") for i in range(3)]
    known = dict.fromkeys(("f0", "f1", "f2"), True)
    base = make_run("base", "none", retain_run_id=None)
    store.publish(path, make_result(base, examples, {0: known}))
    store.publish(path, _checked(make_result(_asked(), examples, {0: known, 5: known})))
    app = opened(path, "10_overview.py", monkeypatch)
    shown = html_of(app)
    assert "not passed, allowed: border; as stored: 7% of the effect as trained" in shown
    heads = re.findall(r'<th scope="col" class="([^"]*)">([^<]*)</th>', shown)
    assert [head for kind, head in heads if kind == "u-num"][:3] == [
        "Net effect", "Utility", "Examples",
    ]  # fmt: skip
    assert [head for _, head in heads][:4] == ["Method", "Verdict", "Net effect", "Utility"]
    assert '<td class="">chat<small>Q: QUESTION A:ANSWER; decoding: greedy</small>' in shown
    lost = "NPO: stored weights keep 7% of the effect that training had"
    assert any(lost in block.value for block in app.code)
    app = opened(path, "80_runs.py", monkeypatch, run_id="npo")
    shown = html_of(app)
    assert "⚠ allowed, not passed" in shown
    assert "3 borders moved" in shown
    assert "_orig_mod." in shown
    assert not app.exception


def _asked() -> results_rows.Run:
    around = '{"prefix": "Q: ", "suffix": " A:", "answer_prefix": ""}'
    return make_run("npo", "npo", dtype="bfloat16", prompt_format=around, retain_run_id=None)


def _checked(result: RunResult) -> RunResult:
    source = ModelSource(
        run_id="npo", source="models/npo", revision=None, commit=None, adapter=None,
        adapter_commit=None, content_hash="0", attention="sdpa", device_map=None,
        quantization=None, trusted_code=False, prompt_style='{"style": "auto"}',
        asked='{"style": "chat", "decoding": "greedy"}', stripped_prefix="_orig_mod.",
    )  # fmt: skip
    left = Statistic(
        "npo", "effect_left_stored", "trained=float32 stored=bfloat16", 0.07, None, None, 3, 3,
        None, "share", None,
    )  # fmt: skip
    checks = (
        ModelCheck("npo", "measured", "border", False, True, 3.0, "3 borders moved"),
        ModelCheck("npo", "measured", "weights", True, False, None, "all used"),
    )
    statistics = (*result.statistics, left)
    return replace(result, sources=(source,), checks=checks, statistics=statistics)
