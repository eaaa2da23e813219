"""The page Methods: everything there is stands in it, with source, searchable, by link."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.controls import lookup
from dashboard.rows import catalogue
from engine import plugins
from results_db import read, summaries
from tests.support import results_rows
from tests.support.pages import html_of, messages, opened, unfolded

PAGE = "90_methods.py"
FAMILIES = {  # kind of the catalogue -> family of engine/plugins.py
    "unlearning": "unlearning_methods",
    "attribution": "attribution_methods",
    "recovery": "recovery_strategies",
    "task": "tasks",
    "depth": "depth_methods",
    "benchmark": "benchmarks",
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("methods") / "study.duckdb"
    run = results_rows.make_run("base", "none")
    made = results_rows.make_result(run, [results_rows.make_example("f1")], {0: {"f1": True}})
    return results_rows.publish_all(path, [made])


def named(kind: str) -> set[str]:
    return {entry.name for entry in catalogue.entries() if entry.kind == kind}


@pytest.mark.parametrize("kind", list(FAMILIES))
def test_every_plugin_is_in_the_catalogue(kind: str) -> None:
    assert named(kind) == set(plugins.names(FAMILIES[kind]))


def test_every_question_summary_and_definition_is_in_the_catalogue() -> None:
    assert named("question") == set(read.names())
    assert named("summary") == set(summaries.names())
    assert {"estimates", "known_facts", "compared_run", "focus_pairs"} <= named("definition")


def test_every_entry_says_what_it_is_and_methods_where_they_come_from() -> None:
    for entry in catalogue.entries():
        assert entry.first_line, entry.key
        assert entry.code, entry.key
        assert (catalogue.ROOT / entry.path).is_file(), entry.key
        if entry.kind in {"unlearning", "attribution", "recovery", "depth"}:
            assert entry.origin.startswith("Source: "), entry.key


def test_keys_are_told_apart() -> None:
    keys = [entry.key for entry in catalogue.entries()]
    assert len(keys) == len(set(keys))


def test_settings_have_type_default_and_remark() -> None:
    (npo,) = catalogue.matching("unlearning/npo negative 2404.05868 frozen", "unlearning")[:1]
    settings = {setting.name: setting for setting in npo.settings}
    assert (settings["beta"].type, settings["beta"].default) == ("float", "0.1")
    assert settings["penalise"].default == "'all'"
    assert settings["penalise"].remark == "which tokens of the forget answers carry the loss"
    assert "start" not in settings


def test_search_needs_every_word_in_any_case() -> None:
    found = {entry.key for entry in catalogue.matching("WILSON interval", "")}
    assert "definition/estimates" in found
    assert catalogue.matching("wilson nosuchword", "") == []


def test_a_paper_is_linked_and_everything_else_escaped() -> None:
    entry = catalogue.Entry("metric", "m.x", "A <b>.\n\nSource: A 2024, arXiv:2404.05868 <i>.", "p")
    shown = lookup.description(entry)
    assert '<a href="https://arxiv.org/abs/2404.05868"' in shown
    assert "<b>" not in shown
    assert "<i>" not in shown


def test_a_link_opens_its_entry_and_a_search_finds_another(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, PAGE, monkeypatch)
    app.query_params["entry"] = "unlearning/rmu"
    app.run()
    assert app.selectbox(key="entry").value == "unlearning/rmu"
    assert "epresentation misdirection" in html_of(app)
    unfolded(app)
    assert app.code[0].value.startswith('"""')
    app.text_input(key="find").set_value("Does each loss push").run()
    app.text_input(key="find").set_value("intervals robust to groups, one row per cell").run()
    assert app.selectbox(key="entry").value == "definition/estimates"
    app.text_input(key="find").set_value("nosuchword").run()
    assert "Nothing here has these words" in messages(app)
    assert not app.exception
