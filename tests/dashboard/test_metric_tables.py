"""Tables of metrics: what stands where, what is left out and why, nothing that acts."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from dashboard.look import benchmarks
from dashboard.markup import field, metrics, tables
from results_db import read

NAMED = {"model": "tiny", "method": "ga"}


def whole(**changes: object) -> dict[str, object]:
    """A row of `run_metrics`."""
    row = {"run_id": "ga", **NAMED, "name": "auc_min_k", "value": 0.25, "n": 200, "reason": None}
    return {**row, **changes}


def value(**changes: object) -> dict[str, object]:
    """A row of `metrics`."""
    row = {
        "run_id": "ga", **NAMED, "task": "answer", "metric": "probability", "split": "forget",
        "value": 0.5, "low": 0.25, "high": 0.75, "n": 12, "groups": 4, "unit": "fraction",
        "higher_is_better": True, "base_value": 0.9, "drift": -0.4, "drift_low": -0.6,
        "drift_high": -0.2, "missing": 0, "reason": None,
    }  # fmt: skip
    return {**row, **changes}


def texts(table: str) -> list[str]:
    """What a reader sees, cell by cell."""
    cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", table, re.DOTALL)
    return [re.sub(r"<[^>]+>", "|", cell).strip("|") for cell in cells]


def lines(table: str) -> list[list[str]]:
    """What a reader sees, line by line."""
    return [texts(line) for line in table.split("<tr>")[1:]]


def test_a_metric_of_the_whole_run_says_once_how_much_it_is_over() -> None:
    rows = pd.DataFrame([
        whole(), whole(run_id="base", method="none", value=1.0),
        whole(name="model_utility_ou", value=0.5, n=9),
        whole(run_id="base", method="none", name="model_utility_ou", value=0.75, n=8),
    ])  # fmt: skip
    heading, ou, utility, ours, auc = lines(field.table(rows))
    assert heading == ["Metric", "Base model", "GA"]
    assert ou[0].startswith("As open-unlearning computes them|")
    assert utility[1:] == ["0.7500|8 parts", "0.5000|9 parts"]
    assert ours[0].startswith("Ours, where one thing differs|")
    assert auc[0].endswith("our older name · 200 examples")
    assert auc[1:] == ["1.00", "0.25"]


def test_models_are_named_over_their_runs_where_there_are_several() -> None:
    rows = pd.DataFrame([whole(), whole(run_id="other", model="small", value=0.5)])
    assert lines(field.table(rows))[0] == ["Metric", "GA\ntiny", "GA\nsmall"]


def test_one_number_under_two_names_is_shown_once_where_every_run_has_both() -> None:
    both = [whole(), whole(name="auc_min_k_ou", value=0.25)]
    seen = lines(field.table(pd.DataFrame(both)))
    assert [line[0].split("|")[0] for line in seen[1:]] == [
        "As open-unlearning computes them", "AUC of min-k",
    ]  # fmt: skip
    more = [*both, whole(run_id="base", method="none", value=1.0)]
    seen = lines(field.table(pd.DataFrame(more)))
    assert [line[0].split("|")[0] for line in seen[1:]] == [
        "As open-unlearning computes them", "AUC of min-k",
        "Ours, where one thing differs", "AUC of min-k",
    ]  # fmt: skip


def test_metrics_without_a_value_anywhere_are_a_line_a_reason() -> None:
    reason = {"value": None, "n": 0, "reason": "no truth ratio"}
    rows = pd.DataFrame([
        whole(), whole(name="forget_quality_ou", **reason),
        whole(name="forget_quality_without_end", **reason),
        whole(name="privleak_min_k", value=3.0),
        whole(run_id="retrain", method="retrain", name="privleak_min_k", value=None,
              reason="this is the retain model"),
    ])  # fmt: skip
    table = field.table(rows)
    assert "quality" not in table
    assert "this is the retain model" in table
    assert field.unmeasured(rows) == [
        "No truth ratio: Forget quality, p (open-unlearning's); Forget quality, p (ours)."
    ]


def test_a_reason_that_all_dashes_of_a_run_have_is_said_once() -> None:
    of_retain = {"run_id": "retrain", "method": "retrain", "value": None}
    names, why = ("privleak_min_k", "privleak_loss_ou"), "this is the retain model"
    rows = pd.DataFrame([
        *(whole(name=name) for name in names),
        *(whole(**of_retain, name=name, reason=why) for name in names),
    ])  # fmt: skip
    assert why not in field.table(rows)
    assert field.dashes(rows) == [f"– under Retain model: {why}."]
    rows.loc[3, "reason"] = "not run"
    assert why in field.table(rows)
    assert field.dashes(rows) == []


def test_a_name_that_the_page_has_no_words_for_is_shown_under_others() -> None:
    seen = lines(field.table(pd.DataFrame([whole(name="auc_of_something_new")])))
    assert seen[1] == ["Others"]
    assert seen[2][0].startswith("Auc of something new")


def test_a_p_value_is_never_nought_and_keeps_its_power_of_ten() -> None:
    for name in ("without_end", "ou"):
        for value, shown in ((1.9e-10, "1.9e-10"), (0.25, "0.250")):
            rows = pd.DataFrame([whole(name=f"forget_quality_{name}", value=value)])
            assert texts(field.table(rows))[-1] == shown


def test_every_metric_that_the_question_names_has_its_words() -> None:
    sql = (Path(read.__file__).parent / "questions.sql").read_text(encoding="utf-8")
    named = set(re.findall(r"'((?:auc|privleak|forget_quality|model_utility)_[a-z0-9_]+)'", sql))
    assert {"auc_reference_ou", "forget_quality_ou"} <= named
    assert named - field.KNOWN == set()


def test_a_task_has_a_column_for_each_metric_and_split_with_change_from_the_base_model() -> None:
    rows = pd.DataFrame([
        value(split="retain"), value(),
        value(run_id="base", method="none", value=0.9, low=0.8, high=1.0, drift=0.0),
        value(metric="surprise", unit="nats/token", value=8.125, low=6.5, high=9.75, drift=8.0,
              drift_low=6.0, drift_high=10.0, missing=3, reason="2 words"),
    ])  # fmt: skip
    seen = texts(metrics.of_task(rows))
    assert seen[1:4] == ["Probability,\nForget", "Probability,\nRetain",
                         "Surprise,\nForget\nnats/token"]  # fmt: skip
    base, ga = seen[5:8], seen[9:12]
    assert base == ["90%|[80, 100]\nn = 12, 4 groups", "–", "–"]
    assert ga[0] == ga[1] == "50%|[25, 75]\n−40 pp [−60, −20]\nn = 12, 4 groups"
    assert ga[2] == ("8.12|[6.50, 9.75]\n+8.00 [6.00, 10.00]\nn = 12, 4 groups\n3 without: 2 words")


def test_what_could_not_be_measured_says_why_as_text() -> None:
    rows = pd.DataFrame([value(value=None, drift=None, reason="<b>no</b> options")])
    table = metrics.of_task(rows)
    assert "&lt;b&gt;no&lt;/b&gt; options" in table
    assert "<b>" not in table
    assert metrics.tasks(pd.DataFrame([value(), value(task="min_k")])) == {
        "answer": "Answer", "min_k": "Min k",
    }  # fmt: skip


def test_documents_of_the_harness_have_a_column_without_a_split() -> None:
    rows = pd.DataFrame([value(task="lm_eval:arc_easy", metric="acc", split="", base_value=None)])
    assert metrics.tasks(rows) == {"lm_eval:arc_easy": "lm_eval:arc_easy"}
    assert texts(metrics.of_task(rows))[:2] == ["Run", "Acc"]


def test_a_rule_that_cannot_judge_every_question_says_of_how_many() -> None:
    counts = {"forget": 400, "retain": 400, "general": 217}
    rule = {"correct_rule": "fact_words", "n": 1017, "options": None, "guess_rate": None, **counts}
    judged = {"forget_judged": 368, "retain_judged": 360, "general_judged": 214}
    said = benchmarks.description("tofu", pd.DataFrame([{**rule, **judged}]))
    assert "of 368 of 400 forget, 360 of 400 retain, 214 of 217 general questions;" in said
    whole_judged = {f"{split}_judged": n for split, n in counts.items()}
    assert "of 400" not in benchmarks.description("tofu", pd.DataFrame([{**rule, **whole_judged}]))


def test_figures_of_the_rule_say_n_of_all_questions() -> None:
    row = {
        "run_id": "ga", "label": "GA", **NAMED, "measure": "forget correct", "value": 0.5,
        "low": None, "high": None, "n": 368, "ratio": 0.5, "guess_rate": None, "questions": 400,
    }  # fmt: skip
    assert "n = 368 of 400" in texts(tables.utility(pd.DataFrame([row])))[-1]
    assert "n = 368 of" not in texts(tables.utility(pd.DataFrame([{**row, "questions": 368}])))[-1]
