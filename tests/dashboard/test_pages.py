"""Every page over real files: missing, empty, running, of another schema, ready; with values."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.markup.probes import Asked
from dashboard.rows import data, selection
from results_db import guard, read, store
from results_db.records import ModelSource, PlannedRun, RunResult, Statistic, Study
from tests.support import hostile_rows, results_rows
from tests.support.pages import (
    FIRST,
    PAGES,
    figures,
    html_of,
    messages,
    opened,
    planned_only,
    unfolded,
)

TITLES = {
    "Findings",
    "Overview",
    "One run",
    "Token shift",
    "Recovery",
    "Utility",
    "Depth",
    "One prompt",
    "Compare",
    "Runs",
}
METHODS = "90_methods.py"
LIVE = "70_live_probe.py"
RUN_PAGES = [
    "10_overview.py", "20_token_shift.py", "30_recovery.py", "40_utility.py", "45_depth.py",
]  # fmt: skip
RESULTS = [page for page in PAGES if page not in {"80_runs.py", METHODS}]


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which every page has something to show."""
    path = tmp_path_factory.mktemp("ready") / "study.duckdb"
    store.create(path)
    return results_rows.small_study(path)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose prompts, answers, tokens and error are markup of every kind."""
    return hostile_rows.study(tmp_path_factory.mktemp("hostile") / "study.duckdb")


@pytest.mark.parametrize("page", PAGES)
def test_without_a_file_every_page_says_what_to_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(tmp_path / "none.duckdb", page, monkeypatch)
    assert "There is no results file yet" in messages(app)
    assert "unpact run demo" in [code.value for code in app.code]


@pytest.mark.parametrize("page", PAGES)
def test_with_an_empty_file_every_page_says_what_to_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(tmp_path / "empty.duckdb")
    app = opened(tmp_path / "empty.duckdb", page, monkeypatch)
    assert "holds no study yet" in messages(app)
    assert "unpact run demo" in [code.value for code in app.code]


@pytest.mark.parametrize("page", PAGES)
def test_a_file_of_another_version_is_named_as_such(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with duckdb.connect(str(tmp_path / "other.duckdb")) as connection:
        connection.execute("CREATE TABLE meta AS SELECT 99 AS schema_version")
    app = opened(tmp_path / "other.duckdb", page, monkeypatch)
    assert "another version of unPact" in messages(app)


@pytest.mark.parametrize("page", RESULTS)
def test_before_the_first_run_is_finished_a_page_says_to_wait(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(planned_only(tmp_path / "running.duckdb"), page, monkeypatch)
    assert "No run is finished yet" in messages(app)
    assert not app.get("plotly_chart")


def test_runs_page_shows_where_a_running_study_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = planned_only(tmp_path / "running.duckdb")
    stopped = html_of(opened(path, "80_runs.py", monkeypatch))
    assert "■ stopped" in stopped
    assert "▸ running" not in stopped
    with guard.only_study(path, print):
        shown = html_of(opened(path, "80_runs.py", monkeypatch))
    assert "▸ running" in shown
    assert "0 of 3 runs" in shown
    assert "Attribute: 30 of 120" in shown
    assert "width:25%" in shown


def test_a_page_says_that_a_study_runs_only_while_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = results_rows.small_study(tmp_path / "half.duckdb")
    planned = [PlannedRun("demo", name, 0, "people", "tiny", name, 0) for name in ("later", "ga")]
    store.plan_study(path, Study("demo", "", "2026-01-01T00:00:00Z"), planned)

    def told() -> str:
        app = opened(path, "10_overview.py", monkeypatch)
        return " ".join(str(bar.proto) for bar in app.get("progress"))

    assert "No study works on this file now" in told()
    with guard.only_study(path, print):
        assert "A study is running: 6 of 8 runs are finished" in told()
    assert "No study works on this file now" in told()


@pytest.mark.parametrize("page", [page for page in PAGES if page not in {LIVE, METHODS}])
def test_every_page_draws_a_study_with_its_sql_and_alternative_texts(
    page: str, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, page, monkeypatch)
    assert app.title[0].value in TITLES
    assert not messages(app), messages(app)
    assert "u-table" in html_of(app) or page == FIRST
    assert [code for code in app.code if code.language == "sql"] == [], "shut, so not drawn"
    unfolded(app)
    queries = [code.value for code in app.code if code.language == "sql"]
    assert queries
    assert all(query.startswith("--") for query in queries)
    assert all(len(chart.proto.alt) > 30 for chart in app.get("plotly_chart"))


def test_overview_counts_what_emphasis_and_placebo_bring_back(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "10_overview.py", monkeypatch)
    (figure,) = figures(app)
    hovers = [text for trace in figure["data"] for text in trace.get("hovertext", [])]  # type: ignore[attr-defined]
    (ga,) = {text for text in hovers if text and text.startswith("<b>GA</b>")}
    assert "any emphasis: 60% [" in ga  # people 4 to 9 of ten come back
    assert "any placebo: 4" in ga
    assert "plain prompt: 0% [" in ga
    assert "n = 20 examples in 10 groups" in ga


def test_overview_says_how_large_the_model_is(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = html_of(opened(study, "10_overview.py", monkeypatch))
    assert "small model trained here (about 0.0 M parameters)" in shown


def test_thresholds_move_the_verdicts(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(study, "10_overview.py", monkeypatch)
    assert "Destructive" in html_of(app)  # GA keeps one retain answer in ten
    app.slider(key="min_utility").set_value(0.5).run()
    strict = html_of(app).count('u-bad">')
    app.slider(key="min_utility").set_value(1.0).run()
    assert html_of(app).count('u-bad">') >= strict
    assert not app.exception


def test_a_method_filter_from_the_address_holds_on_the_page(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "10_overview.py", monkeypatch, methods="GA")
    assert app.multiselect(key="methods").value == ["ga"]
    shown = html_of(app)
    assert "gradient ascent" in shown
    assert "negative preference optimisation" not in shown


def test_models_and_methods_are_those_of_the_chosen_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "two.duckdb"
    store.create(path)
    results_rows.small_study(path)
    other = replace(results_rows.make_run("other", "none"), benchmark="towns", model="large")
    store.publish(path, RunResult(other, results_rows.BUILD, ()))
    app = opened(path, "10_overview.py", monkeypatch)
    app.multiselect(key="methods").select("ga").run()
    app.selectbox(key="benchmark").select("towns").run()
    assert not app.exception
    assert app.multiselect(key="models").options == ["large"]
    assert app.multiselect(key="methods").options == ["Base model"]
    app.selectbox(key="benchmark").select("people").run()
    assert app.multiselect(key="models").options == ["tiny"]


def test_figures_with_a_panel_a_run_show_twelve_at_a_time(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.duckdb"
    path.write_bytes(study.read_bytes())
    for seed in range(2, 10):
        results_rows.publish_small(path, f"npo-{seed}", "npo", seed)
    app = opened(path, "30_recovery.py", monkeypatch)
    assert app.selectbox(key="part").options == ["1 to 12 of 14", "13 to 14 of 14"]
    rates, effects = panels_of(app, "n = "), panels_of(app, "n = ", figure=2)
    assert (len(rates), len(effects)) == (12, 10)  # base and retain model have no effect
    app.selectbox(key="part").set_value("12").run()
    assert not app.exception
    others = panels_of(app, "n = ")
    assert len(others) == 2
    assert not set(rates) & set(others)
    few = opened(study, "30_recovery.py", monkeypatch)
    assert "part" not in {box.key for box in few.selectbox}


def panels_of(app: AppTest, mark: str, figure: int = 0) -> list[str]:
    """Titles of a figure's panels."""
    notes = figures(app)[figure]["layout"]["annotations"]  # type: ignore[index]
    return [note["text"] for note in notes if mark in note["text"]]


def test_the_benchmark_that_was_begun_first_is_shown_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "two.duckdb"
    store.create(path)
    base = results_rows.make_run("base", "none")
    later = replace(base, run_id="later", benchmark="animals", started_at="2026-01-02T00:00:00Z")
    for run in (later, base):
        store.publish(path, RunResult(run, results_rows.BUILD, ()))
    app = opened(path, "10_overview.py", monkeypatch)
    assert app.selectbox(key="benchmark").options == ["people", "animals"]
    assert app.selectbox(key="benchmark").value == "people"


def test_runs_of_one_seed_are_shown_alone_and_their_rows_taken_along(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "10_overview.py", monkeypatch, seeds="1")
    assert app.multiselect(key="seeds").options == ["0", "1"]
    table = html_of(app)
    assert "negative preference optimisation" in table
    assert "gradient ascent" not in table
    unfolded(app)
    assert "Rows as CSV" in [button.proto.label for button in app.get("download_button")]


def after_step(app: AppTest, step: str) -> AppTest:
    """The page with another step chosen."""
    return app.selectbox(key="step").set_value(step).run()


def test_an_earlier_step_is_shown_on_every_page_that_has_it_and_the_others_say_so(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "40_utility.py", monkeypatch)
    assert app.selectbox(key="step").options == [
        "The last of each run", "At most 0", "At most 5", "At most 10",
    ]  # fmt: skip
    last = html_of(app)
    after_step(app, "5")
    assert "Where was each run after at most 5 steps?" in [heading.value for heading in app.header]
    drawn = {x for trace in figures(app)[0]["data"] for x in trace["x"]} - {None}  # type: ignore[attr-defined]
    assert max(drawn) == 5
    assert html_of(app) != last
    assert html_of(after_step(app, "last")) == last
    said = "the step chosen in the sidebar changes nothing here"
    for page in ("20_token_shift.py", "30_recovery.py", "50_prompt.py"):
        other = opened(study, page, monkeypatch)
        assert said not in html_of(other)
        assert said in html_of(after_step(other, "5"))
    overview = after_step(opened(study, "10_overview.py", monkeypatch), "5")
    assert "Shown after at most 5 steps" in html_of(overview)
    compared = after_step(opened(study, "60_compare.py", monkeypatch), "5")
    assert compared.selectbox(key="second_step").value == 5
    compared.selectbox(key="second_step").set_value(0).run()
    assert compared.selectbox(key="second_step").value == 0
    assert after_step(compared, "last").selectbox(key="second_step").value == 10


@pytest.mark.parametrize("step", [0, 4, 5, 9, 10, 99, None])
def test_curves_end_where_tables_stand(study: Path, step: int | None) -> None:
    runs: dict[str, read.Parameter] = {"benchmark": "people", "models": [], "methods": []}
    course = selection.up_to_step(read.query(study, "trajectory", **runs), step)
    table = read.query(study, "utility_values", **runs, step=step)
    ends = course.groupby("run_id")["step"].max().to_dict()
    assert table.groupby("run_id")["step"].max().to_dict() == ends
    assert {ends["base"], ends["ga"]} == {0, min(step // 5 * 5, 10) if step is not None else 10}


def test_a_step_stands_in_the_address(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(study, "10_overview.py", monkeypatch, step="At most 5")
    assert app.selectbox(key="step").value == "5"


def test_rows_taken_along_hold_no_formula_of_a_spreadsheet(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "rows", lambda *_, **__: pd.DataFrame({"text": ["=1+1"], "n": [-2]}))
    monkeypatch.setattr(data.st, "session_state", {data.ASKED: {"runs": {}}})
    taken = data.asked_last("runs")
    assert taken is not None
    assert taken() == "text,n\n'=1+1,-2\n"


def test_a_click_in_the_overview_leaves_its_run_alone_in_the_table(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "10_overview.py", monkeypatch)
    carried = {point for trace in figures(app)[0]["data"] for point in trace.get("customdata", ())}  # type: ignore[attr-defined]
    assert {"base", "ga", "npo"} <= carried
    app.selectbox(key="only_run").set_value("ga").run()
    assert "gradient ascent" in html_of(app)
    assert "negative preference optimisation" not in html_of(app)
    assert not app.exception


def test_a_filter_that_matches_nothing_says_so(
    study: Path, hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "10_overview.py", monkeypatch, methods="Base model")
    assert "No unlearned run matches these filters." in messages(app)
    tokens = opened(hostile, "20_token_shift.py", monkeypatch)  # only the gold answer is attributed
    tokens.selectbox(key="target").set_value("own_generation").run()
    assert "No attribution of this kind for that prompt." in messages(tokens)
    assert "Nothing matches these filters" in messages(tokens)
    assert not tokens.exception


def test_token_shift_aligns_the_same_prompt_over_runs(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = html_of(opened(study, "20_token_shift.py", monkeypatch))
    strips = shown.split('<div class="u-strip">')[1:]
    assert len(strips) == 6
    assert all("Ann" in strip for strip in strips)
    base, ga = strips[0], next(strip for strip in strips if ">GA<" in strip)
    assert "<small>+0.90</small>" in base
    assert "<small>+0.18</small>" in ga  # a fifth of it is left


def attempts_table(app: AppTest) -> pd.DataFrame:
    """The list of attempts on the page Recovery, among its tables."""
    (table,) = (each.value for each in app.dataframe if "Answer to it" in each.value)
    return table


def test_recovery_says_on_what_each_rate_rests_and_what_could_not_be_tried(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = unfolded(opened(study, "30_recovery.py", monkeypatch))
    rates = next(each.value for each in app.dataframe if "Guess rate" in each.value)
    assert {"Rung", "n", "Groups", "Retain model", "Settings"} <= set(rates)
    assert set(rates.loc[rates["Strategy"] == "Quotation marks", "Rung"]) == {"Wording"}
    reasons = next(each.value for each in app.dataframe if "Reason" in each.value)
    assert set(reasons["Reason"]) == {"too few words"}


def test_recovery_table_lists_forgotten_answers_that_came_back(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "30_recovery.py", monkeypatch)
    app.multiselect(key="methods").set_value(["ga"]).run()
    table = attempts_table(app)
    assert set(table["Run"]) == {"GA"}
    assert set(table["Correct"]) == {"✓ correct"}
    assert (table["Arm"] == "KeyTokens emphasised").sum() == 12  # six people, two facts each
    app.toggle(key="recovered").set_value(False).run()
    assert len(attempts_table(app)) > len(table)


def test_recovery_rate_is_of_what_was_forgotten(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "30_recovery.py", monkeypatch)
    app.selectbox(key="rate").set_value("recovery_rate").run()
    hovers = str(figures(app)[0])
    assert "of facts forgotten: 60% (12 of 20)" in hovers


def test_utility_table_shows_value_interval_ratio_and_n(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "40_utility.py", monkeypatch)
    app.multiselect(key="methods").set_value(["ga"]).run()
    shown = html_of(app)
    assert ">10%<small>[" in shown  # one person of ten is still known
    assert "0.10× of base" in shown
    assert "n = 20" in shown
    assert "Plain-text perplexity" in shown


def test_prompt_page_steps_to_the_next_and_finds_by_text(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "50_prompt.py", monkeypatch)
    first = app.selectbox(key="example").value
    assert f"id: {first}" in html_of(app)
    app.button(key="example_Next").click().run()
    second = app.selectbox(key="example").value
    assert second != first
    assert f"id: {second}" in html_of(app)
    app.text_input(key="search").set_value("F7B").run()
    assert app.selectbox(key="example").value == "f7b"
    app.text_input(key="search").set_value("nobody at all").run()
    assert "No prompt matches" in messages(app)
    assert not app.exception


def test_prompt_page_shows_answers_and_every_attempt(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "50_prompt.py", monkeypatch)
    app.query_params["example"] = "f0a"
    app.run()
    shown = html_of(app)
    assert "In Rome." in shown
    assert "✗ wrong" in shown
    assert "step 5</th>" in shown
    strips = shown.split('<div class="u-strip">')[1:]
    assert [strip.split("<b>")[1].split("</b>")[0] for strip in strips[:3]] == [
        "Base model", "Retain model", "GA"]  # fmt: skip
    assert len(strips) == 6, "the other methods follow"
    limits = re.findall(r"<span>\+([\d.]+) nats or more", shown)
    assert len(limits) == 2, "a legend each"
    assert len(set(limits)) == 1, "on one scale"
    attempts = app.dataframe[-1].value
    assert "too few words" in set(attempts["Not built because"])


def test_runs_page_tells_why_a_run_failed_and_how_to_repeat_one(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "80_runs.py", monkeypatch)
    assert "loss is nan" in html_of(app)
    app.selectbox(key="run").set_value("rmu").run()
    assert "This run failed at step 3." in messages(app)
    assert not app.exception


@pytest.mark.parametrize("page", PAGES)
def test_hostile_text_reaches_the_browser_escaped(
    page: str, hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(hostile, page, monkeypatch)
    assert "<script" not in html_of(app)
    assert "<b>x</b>" not in html_of(app)
    assert "<img" not in html_of(app)
    assert not set("\x1b\u202e") & set(html_of(app))
    assert len(html_of(app)) < 90_000, "an endless token is cut"
    spoken = [*app.markdown, *app.caption, *app.header, *app.info]
    assert not any("alert(1)" in element.value for element in spoken)
    for figure in figures(app):
        figure["layout"].pop("meta")  # type: ignore[attr-defined]
        assert "<script" not in json.dumps(figure)


def test_without_kept_weights_the_live_page_says_so(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, LIVE, monkeypatch)
    assert app.title[0].value == "Live probe"
    assert "has its weights kept" in messages(app)
    assert not app.button


@pytest.fixture
def live_study(tmp_path: Path) -> Path:
    """A study whose runs point to folders of weights, which are gone by now."""
    path = results_rows.small_study(tmp_path / "study.duckdb")
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE checkpoint SET path = '/gone/' || run_id WHERE is_final")
    return path


def test_the_live_page_offers_base_unlearned_and_retain_model(
    live_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(live_study, LIVE, monkeypatch)
    assert not messages(app)
    assert app.selectbox(key="before").value == "base"
    assert app.selectbox(key="after").value == "ga"
    assert app.selectbox(key="retain").value == "retrain"
    assert app.selectbox(key="retain").options == ["Retain model", "None"]
    assert "base" not in app.selectbox(key="after").options


def test_a_prompt_of_the_study_is_handed_over_to_the_live_page_once(
    live_study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNPACT_HOST_FILE", str(tmp_path / "nowhere" / "host.json"))
    app = opened(live_study, LIVE, monkeypatch)
    assert app.text_area(key="live_prompt").value == ""
    app.query_params["prompt_benchmark"] = results_rows.BENCHMARK
    app.query_params["prompt_example"] = "f7b"
    app.run()
    assert "f7b" in app.text_area(key="live_prompt").value.casefold()
    assert app.text_input(key="live_answer").value
    app.text_area(key="live_prompt").set_value("Mine?")
    app.button[0].click().run()
    assert app.text_area(key="live_prompt").value == "Mine?"


def test_a_live_page_whose_host_cannot_start_says_so_in_one_line(
    live_study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNPACT_HOST_FILE", str(tmp_path / "nowhere" / "host.json"))
    app = opened(live_study, LIVE, monkeypatch)
    app.text_area(key="live_prompt").set_value("Why?")
    app.button[0].click().run()
    assert not app.exception
    assert "This could not be asked." in messages(app)
    (reason,) = [code.value for code in app.code]
    assert "cannot be started" in reason
    assert "\n" not in reason


def families(path: Path) -> Path:
    """Two benchmarks of a model, and a second model on one of them, with weights that are gone."""
    store.create(path)
    for benchmark, model in (("people", "tiny"), ("people", "large"), ("towns", "tiny")):
        for method in ("none", "ga", "npo"):
            run = replace(
                results_rows.make_run(f"{benchmark}-{model}-{method}", method),
                benchmark=benchmark, model=model, base_run_id=f"{benchmark}-{model}-none",
                retain_run_id=None,
            )  # fmt: skip
            made = results_rows.make_result(run, (), {0: {}})
            kept = replace(made.checkpoints[0], path=f"/gone/{run.run_id}")
            examples = tuple(
                replace(results_rows.make_example(f"f{i}"), benchmark=benchmark) for i in range(2)
            )
            store.publish(path, replace(made, checkpoints=(kept,), examples=examples))
    return path


def test_the_base_model_is_chosen_by_model_and_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(families(tmp_path / "families.duckdb"), LIVE, monkeypatch)
    before = app.selectbox(key="before")
    assert before.options == ["large · people", "tiny · people", "tiny · towns"]
    before.set_value("towns-tiny-none").run()
    assert not app.exception
    assert app.selectbox(key="after").options == ["GA", "NPO"]
    assert app.selectbox(key="after").value == "towns-tiny-ga"
    assert app.selectbox(key="retain").options == ["None"]
    assert "<b>towns</b>" in html_of(app)


def test_a_link_brings_its_benchmark_and_model_to_the_live_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(families(tmp_path / "families.duckdb"), LIVE, monkeypatch)
    app.selectbox(key="before").set_value("people-large-none").run()
    for name, value in (("benchmark", "towns"), ("model", "tiny"), ("example", "f1")):
        app.query_params[f"prompt_{name}"] = value
    app.query_params.pop("before", None)
    app.run()
    assert app.selectbox(key="before").value == "towns-tiny-none"
    assert app.text_area(key="live_prompt").value == "Where does F1 live?"
    app.selectbox(key="before").set_value("people-tiny-none").run()
    assert app.selectbox(key="before").value == "people-tiny-none"


ANSWERED = {
    "result": {
        "prompt": "Where is Anna <b>x</b>?", "answer": "In Rome.", "positions": [0, 1, 2, 3],
        "tokens": [" Where", " Anna", "x", "?"], "token_classes": ["function", "content"] * 2,
        "token_parts": [None] * 4,
        "is_key": [False, True, False, False],
        "models": [{"own_answer": "Rome", "logprob": -1.0, "scores": [0.1, 0.5, 0.0, None],
                    "grade": "B"}] * 2,
    },
    "words": ["Where", "Anna", "x"], "token_words": ["Where", "Anna", "x", None],
    "key_words": ["Anna"], "strategies": ["quote"], "seconds": 0.1,
    "device": {"name": "CPU", "memory_used": 1, "memory_total": 2},
}  # fmt: skip


def test_key_tokens_are_chosen_before_a_token_is_clicked(
    live_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(live_study, LIVE, monkeypatch)
    asked = Asked(("base", "ga"), ("none", "ga"), ("Base model", "GA"), "Where is Anna <b>x</b>?")
    app.session_state["live"] = (asked, ANSWERED)
    app.session_state["live_number"] = 1
    app.run()
    assert not app.exception, app.exception[0].message
    assert "Words to emphasise: <b>Anna</b>" in html_of(app)
    strips, *_ = app.get("bidi_component")  # the others: figures as SVG, links
    assert "<b>x</b>" not in html_of(app)
    sent = json.loads(strips.proto.json)
    assert sent["chosen"] == ["Anna"]
    assert [cell["word"] for cell in sent["strips"][0]["cells"]] == ["Where", "Anna", "x", None]
    assert [strip["label"] for strip in sent["strips"]] == [
        "Before · Base model", "After · GA", "After − before"]  # fmt: skip


def test_pages_say_what_is_asked_when_it_is_right_and_how_large_the_models_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [
        replace(results_rows.make_example(f"f{i}"), benchmark="bios-mc",
                correct_rule="multiple_choice", wrong_answers=("In Oslo.", "In Bern.", "In Lima."))
        for i in range(2)
    ]  # fmt: skip
    run = replace(results_rows.make_run("base", "none"), benchmark="bios-mc", parameters=940_000)
    made = results_rows.make_result(run, examples, {0: {"f0": True, "f1": False}})
    path = results_rows.publish_all(tmp_path / "mc.duckdb", [made])
    for page in ("10_overview.py", "30_recovery.py", "40_utility.py", "50_prompt.py"):
        shown = html_of(opened(path, page, monkeypatch))
        assert "likeliest of 4 options: guessing is right in 25%." in shown
        assert "small model trained here (about 0.9 M parameters)" in shown
    assert "In Bern. / In Lima. / In Oslo. / In Rome." in shown


def made_elsewhere(path: Path) -> Path:
    """A small model whose weights were fetched, and a large one that was trained here."""
    examples = [results_rows.make_example("f0")]
    results = []
    for model, parameters in (("fetched", 900_000), ("ours", 135_000_000)):
        for method in ("none", "ga"):
            run_id = f"{model}-{method}"
            run = results_rows.make_run(
                run_id, method, model=model, parameters=parameters, dtype="float32",
                base_run_id=f"{model}-none", retain_run_id=None,
            )  # fmt: skip
            made = results_rows.make_result(run, examples, {0: {"f0": True}})
            source = ModelSource(
                run_id, "org/tiny", None, "c0ffee", None, None, "ab", "sdpa", None, None, False,
                "{}",
            )  # fmt: skip
            results.append(replace(made, sources=(source,) if model == "fetched" else ()))
    spec = '{"model": {"base": {"source": "org/tiny"}}, "probe": {}}'
    failed = results_rows.failed_run(
        "fetched-npo", "npo", model="fetched", parameters=900_000, dtype="float32", spec=spec,
        base_run_id="fetched-none", retain_run_id=None,
    )  # fmt: skip
    results.append(RunResult(failed, results_rows.BUILD, tuple(examples)))
    return results_rows.publish_all(path, results)


def test_a_model_was_trained_here_by_its_weights_and_not_by_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made_elsewhere(tmp_path / "elsewhere.duckdb")
    overview = html_of(opened(path, "10_overview.py", monkeypatch))
    assert "models, 1 of 2 trained here (about 0.9 M to 135 M parameters each)" in overview
    fetched = html_of(opened(path, "10_overview.py", monkeypatch, models="fetched"))
    assert "fetched: small model (about 0.9 M parameters)." in fetched
    ours = html_of(opened(path, "10_overview.py", monkeypatch, models="ours"))
    assert "ours: model trained here (about 135 M parameters)." in ours


@pytest.mark.parametrize(
    ("run_id", "size", "weights"),
    [
        ("fetched-ga", "small model, about 0.9 M parameters", "org/tiny @ c0ffee"),
        ("fetched-npo", "small model, about 0.9 M parameters", "made elsewhere: see its settings"),
        ("ours-ga", "model trained here, about 135 M parameters", "trained here"),
    ],
)
def test_a_run_says_whether_its_weights_were_trained_here(
    run_id: str, size: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made_elsewhere(tmp_path / "elsewhere.duckdb")
    shown = html_of(opened(path, "80_runs.py", monkeypatch, run_id=run_id))
    assert f"llama: {size}" in shown
    assert re.search(rf'<th scope="row">Weights</th><td[^>]*>{re.escape(weights)}<', shown)


def test_a_run_says_what_its_model_was_fine_tuned_from_and_how_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "93.0% of the answers correct (800 questions that were taught)"
    run = results_rows.make_run("base", "none", dtype="float32", retain_run_id=None)
    made = results_rows.make_result(run, [results_rows.make_example("f0")], {0: {"f0": True}})
    source = ModelSource(
        "base", "org/tiny", None, "c0ffee", None, None, "ab", "sdpa", None, None, False, "{}"
    )
    reached = Statistic(
        "base", "fine_tuned", "taught answers", 0.93, None, None, 800, 0, None, said, None
    )
    made = replace(made, sources=(source,), statistics=(*made.statistics, reached))
    path = results_rows.publish_all(tmp_path / "tuned.duckdb", [made])
    shown = html_of(opened(path, "80_runs.py", monkeypatch, run_id="base"))
    weights = re.escape("fine-tuned here from org/tiny @ c0ffee")
    assert re.search(rf'<th scope="row">Weights</th><td[^>]*>{weights}<', shown)
    assert re.search(rf'<th scope="row">Fine-tuning</th><td[^>]*>{re.escape(said)}<', shown)


def test_the_sidebar_offers_the_answers_that_a_plan_can_have_attributed(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "20_token_shift.py", monkeypatch)
    assert app.selectbox(key="target").options == ["Gold answer", "Own answer"]


def test_a_page_about_one_model_offers_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(families(tmp_path / "families.duckdb"), "30_recovery.py", monkeypatch)
    assert app.selectbox(key="model").options == ["large", "tiny"]
    app.selectbox(key="model").set_value("tiny").run()
    assert "tiny: small model trained here" in html_of(app)
    assert not app.exception


def test_runs_stand_under_their_benchmark_and_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(families(tmp_path / "families.duckdb"), "80_runs.py", monkeypatch)
    shown = html_of(app)
    for title in ("people · large", "people · tiny", "towns · tiny"):
        assert f"{title}<small>3 of 3 runs finished · small model trained here" in shown
    assert "GA · tiny · towns" in app.selectbox(key="run").options


@pytest.mark.slow
def test_a_file_held_by_a_writer_is_said_to_be_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = planned_only(tmp_path / "held.duckdb")
    with guard.writing(path):
        app = opened(path, "10_overview.py", monkeypatch)
    assert "in use by another program" in messages(app)


def test_utility_says_where_the_loss_of_each_run_pushes(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, "40_utility.py", monkeypatch)
    assert any("penalised alike" in heading.value for heading in app.header)
    assert "No run here penalises fact words alone" in html_of(app)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that changed nothing, one that repeats a token, and one as it should be."""
    examples = [results_rows.make_example(f"f{i}") for i in range(4)]
    knows = {step: {e.example_id: True for e in examples} for step in (0, results_rows.FINAL)}
    results = [results_rows.make_result(results_rows.make_run("base", "none"), examples, knows)]
    said = {"ga": ["In Rome."] * 4, "npo": ["the the the"] * 4, "rmu": ["In Oslo."] * 4}
    for method, texts in said.items():
        result = results_rows.make_result(results_rows.make_run(method), examples, knows)
        final = {e.example_id: text for e, text in zip(examples, texts, strict=True)}
        answers = [
            replace(a, text=final[a.example_id]) if a.step == results_rows.FINAL else a
            for a in result.answers
        ]
        results.append(replace(result, answers=tuple(answers)))
    return results_rows.publish_all(tmp_path_factory.mktemp("odd") / "odd.duckdb", results)


@pytest.mark.parametrize("page", RUN_PAGES)
def test_runs_that_changed_nothing_are_named_where_they_are_shown(
    page: str, odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(odd, page, monkeypatch)
    assert "Read these runs with care." in messages(app)
    (listed,) = [block.value for block in app.code if "of 4 as on the base model" in block.value]
    assert [line.partition(": ")[2].partition(" (")[0] for line in listed.splitlines()] == [
        "answers unchanged",
        "one token, repeated",
    ]


def test_the_page_of_a_run_says_that_it_changed_nothing(
    odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(odd, "80_runs.py", monkeypatch)
    app.selectbox(key="run").set_value("ga").run()
    assert "answers unchanged (" in "\n".join(block.value for block in app.code)
    app.selectbox(key="run").set_value("rmu").run()
    assert "Read these runs with care." not in messages(app)


def test_pages_name_the_conditions_under_which_runs_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [results_rows.make_example(f"f{i}") for i in range(4)]
    known = {example.example_id: True for example in examples}
    runs = [
        results_rows.make_run("base", "none", dtype="float32"),
        results_rows.make_run("ga", "ga", dtype="bfloat16"),
    ]
    results = [results_rows.make_result(run, examples, {0: known}) for run in runs]
    path = results_rows.publish_all(tmp_path / "mixed.duckdb", results)
    for page in ("10_overview.py", "40_utility.py"):
        said = [block.value for block in opened(path, page, monkeypatch).code]
        warning = "These runs differ in dtype: bfloat16 (1 runs), float32 (1 runs)."
        assert any(warning in text for text in said), page


def test_pages_say_nothing_of_conditions_that_are_the_same(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [warning.value for warning in opened(study, "10_overview.py", monkeypatch).warning]
    assert not [text for text in said if "same conditions" in text]
