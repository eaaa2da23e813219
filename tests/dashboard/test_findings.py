"""Findings and One run: what they say on a study, and where things were not measured."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.controls import links
from dashboard.markup import findings, one_run
from results_db import read, store
from results_db.sentences import claims, verdicts
from results_db.sentences.finding import Finding, Mark
from tests.support import hostile_rows, results_rows
from tests.support.pages import FIRST, PAGES, html_of, opened

RUN = "15_run.py"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("findings") / "study.duckdb"
    store.create(path)
    return results_rows.small_study(path)


def text_of(shown: str) -> str:
    """What a reader reads of HTML."""
    return " ".join(re.sub(r"<[^>]+>", " ", shown).split())


def test_the_first_page_says_the_verdicts_as_the_query_does(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = html_of(opened(study, FIRST, monkeypatch))
    rows = read.query(
        study, "verdict", benchmark="people", models=[], methods=[], max_effect=0.10,
        min_utility=0.90,
    )  # fmt: skip
    assert len(rows) == 3
    lanes = dict(re.findall(r"</i> ([\w ]+)</h3><b>(\d+)<small> of 3 runs", shown))
    assert lanes == {
        side: str(sum(verdict in said for verdict in rows["verdict"]))
        for side, said in verdicts.SIDES.items()
    }
    for row in rows.itertuples():
        assert f'href="run?run_id={row.run_id}"' in shown
    assert "Not judged: GA-GDR (not finished), RMU (failed)." in text_of(shown)


def test_claims_say_why_they_prove_nothing_and_say_no_figure_that_is_none(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = text_of(html_of(opened(study, FIRST, monkeypatch)))
    assert "Claim 1 Focus moves away from the keywords Shown in none of 3 runs." in shown
    assert "no sham run" in shown, "the small study's runs name none"
    assert claims.FACT_WORDS in shown
    assert "nan" not in shown.lower().replace("finance", "")


def test_a_filter_by_seed_says_that_it_leaves_runs_out(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = text_of(html_of(opened(study, FIRST, monkeypatch, seeds="1")))
    assert "Shown in none of the 1 run chosen here (of 3)." in shown


def test_the_page_of_one_run_has_its_verdict_prompts_and_what_is_lacking(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, RUN, monkeypatch, run_id="npo-1")
    assert app.selectbox(key="one_run").value == "npo-1"
    assert app.query_params["run_id"] == "npo-1", "the address stays that of this run"
    shown = html_of(app)
    said = text_of(shown)
    assert "run npo-1" in said
    verdict = read.query(study, "verdict", benchmark="people", models=[], methods=[],
                         max_effect=0.10, min_utility=0.90).set_index("run_id")  # fmt: skip
    assert verdict.loc["npo-1", "verdict"].capitalize() in said
    assert verdicts.of_run(verdict.loc["npo-1"].to_dict(), 0.10, 0.90) in said.replace(
        "&#x27;", "'"
    )
    asked = {"run_id": "npo-1", "attribution_method": "leave_one_out", "minimum_nats": 0.05}
    prompts = read.query(study, "run_prompts", **asked)
    assert len(prompts) == 7
    for row in prompts.itertuples():
        assert f'href="prompt?example={row.example_id}"' in shown
    assert "extreme: lost most" in said
    assert "extreme: gained most" in said
    assert "Not measured Checks of the model before it was measured: none was made." in said
    deep = read.query(study, "depth_scores", benchmark="people", models=[], methods=[],
                      minimum_drop=0.05).set_index(["run_id", "source"])  # fmt: skip
    assert f"How deep is it? {deep.loc[('npo-1', 'own'), 'score']:.2f} [" in said


def test_a_reference_run_has_a_page_and_no_verdict(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = text_of(html_of(opened(study, RUN, monkeypatch, run_id="base")))
    assert "No verdict A reference run, or one that did not finish" in said
    assert one_run.UNCLAIMED in said


def test_a_failed_run_has_a_page_that_says_why(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, RUN, monkeypatch, run_id="rmu")
    assert "This run failed at step 3." in [box.value for box in app.error]
    assert "Recovery: no emphasis was tried." in text_of(html_of(app))


def test_a_run_without_attribution_sham_or_recovery_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [results_rows.make_example(name) for name in ("f1", "f2")]
    knows = {"f1": True, "f2": True}
    base = results_rows.make_result(results_rows.make_run("base", "none"), examples, {0: knows})
    run = results_rows.make_run("ga", retain_run_id=None)
    bare = results_rows.make_result(run, examples, {10: {"f1": False, "f2": True}})
    path = results_rows.publish_all(tmp_path / "bare.duckdb", [base, bare])
    first = text_of(html_of(opened(path, FIRST, monkeypatch)))
    assert "GA: what is missing: effect not measured" in first
    assert "Shown in none of one run." in first
    said = text_of(html_of(opened(path, RUN, monkeypatch, run_id="ga")))
    assert "no prompt has a shift of focus" in said
    assert "Recovery: no emphasis was tried." in said
    assert "not shown" not in said


def test_names_and_answers_of_a_hostile_study_stay_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hostile_rows.study(tmp_path / "hostile.duckdb")
    for page in (FIRST, RUN):
        shown = html_of(opened(path, page, monkeypatch))
        assert "<script" not in shown
        assert "<img" not in shown


MARK = Mark("a&b", "GA <i>", "ga", "shown", -0.41, -0.49, -0.33, "said", ("a&b",))


def test_a_picture_puts_estimate_and_interval_on_the_axis_of_its_threshold() -> None:
    found = Finding("T", "c", "e", (), (MARK, replace(MARK, estimate=None, low=None, high=None)),
                    -0.10, below=True)  # fmt: skip
    drawn = findings.forest(found)
    low, high = -0.49 - 0.06 * 0.49, 0.06 * 0.49  # from the lowest bound to zero, with room
    at = {value: f"{100 * (value - low) / (high - low):.1f}%" for value in (-0.41, -0.10, -0.49)}
    assert f'u-dot u-is-shown" style="left:{at[-0.41]}"' in drawn
    assert drawn.count(f'u-limit" style="left:{at[-0.10]}"') == 2
    assert f'u-reach" style="left:{at[-0.49]};width:{100 * 0.16 / (high - low):.1f}%"' in drawn
    assert drawn.count("u-reach") == 1, "nothing is drawn where nothing was measured"
    assert "not measured" in drawn
    nothing = replace(MARK, estimate=None, low=None, high=None)
    assert findings.forest(replace(found, marks=(nothing,))) == "", "the sentence says why"
    assert "GA &lt;i&gt;" in drawn
    assert 'href="run?run_id=a%26b"' in drawn


def test_links_lead_to_pages_that_there_are() -> None:
    assert {Path(view).name for view in links.VIEWS.values()} <= set(PAGES)
    for name, view in links.VIEWS.items():
        assert Path(view).stem.partition("_")[2] == name, "as Streamlit names it in an address"
