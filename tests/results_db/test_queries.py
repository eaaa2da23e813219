"""Every query: columns, header, an empty file, several models, seeds, failures; and read.query."""

from __future__ import annotations

import re
from dataclasses import replace
from math import isnan
from pathlib import Path

import pandas as pd
import pytest

from results_db import read, store, summaries
from results_db.guard import reading, writing
from results_db.read import Parameter
from results_db.records import (
    MEASUREMENT,
    ModelCheck,
    ModelSource,
    PlannedRun,
    Progress,
    RunResult,
    Statistic,
    Study,
    TextTokenClass,
)
from tests.support.results_rows import (
    BUILD,
    FINAL,
    attempt,
    failed_run,
    make_example,
    make_result,
    make_run,
    publish_all,
    small_study,
)

RUNS: dict[str, Parameter] = {"benchmark": "people", "models": [], "methods": []}
KIND: dict[str, Parameter] = {
    "attribution_method": "leave_one_out", "target": "gold", "answer_tokens": "novel",
}  # fmt: skip
FOCUS = {**RUNS, **KIND, "minimum_nats": 0.05}
ONE: dict[str, Parameter] = {"benchmark": "people", "models": [], "example_id": "f0a"}

RATES = ("plain", "any_emphasis", "any_placebo")
COLUMNS: dict[str, tuple[dict[str, Parameter], str]] = {
    "choices": ({}, "kind name benchmark"),
    "benchmark": (
        {"benchmark": "people"},
        "correct_rule n options guess_rate forget forget_judged retain retain_judged general"
        " general_judged",
    ),
    "info": ({}, "benchmarks models methods complete failed pending examples token_scores"),
    "runs": (
        {},
        "study run_id benchmark model architecture parameters trained_here method seed status stage"
        " done total updated_at started_at seconds error failed_step spec measurement data_hash"
        " other_data python"
        " platform device threads packages commit",
    ),
    "stages": ({"run_id": "ga"}, "run_id stage seconds"),
    "model_checks": ({"run_id": "ga"}, "model check passed allowed figure note"),
    "checks_of_runs": (RUNS, "run_id model method subject check passed allowed figure note"),
    "model_loading": (
        {"run_id": "ga"},
        "run_id dtype prompt_format source revision commit adapter adapter_commit content_hash"
        " attention device_map quantization trusted_code prompt_style asked stripped_prefix"
        " measurement unit weight_hash path fine_tuned",
    ),
    "penalty_shares": (
        RUNS,
        "run_id model method penalise step axis axis_value is_final answer_class share token_share"
        " tokens change_forget change_retain change_general pushed reason",
    ),
    "penalise_effect": (
        {**RUNS, "max_gap": 0.05},
        "run_id model method seed other_penalise other_run_id step other_step forget other_forget"
        " measure difference low high n groups",
    ),
    "run_variants": ({}, "run_id variant"),
    "run_flags": (
        RUNS,
        "run_id model method weight_change same_answers one_token n stopped effect_left"
        " over_half_step flag",
    ),
    "losses": ({"run_id": "ga"}, "run_id step loss gradient_norm learning_rate"),
    "overview": (
        RUNS,
        "run_id model method n groups "
        + " ".join(f"{rate} {rate}_low {rate}_high" for rate in RATES)
        + " guess_rate utility utility_low utility_high utility_worst weight_change",
    ),
    "metrics": (
        RUNS,
        "run_id model method task metric split value low high n groups unit higher_is_better"
        " base_value drift drift_low drift_high missing reason",
    ),
    "depth": (
        RUNS,
        "run_id model method depth_method measure unit split block is_last value low high n groups"
        " median missing reason calibrated",
    ),
    "depth_scores": (
        {**RUNS, "minimum_drop": 0.05},
        "run_id model method source score low high n groups examples no_block reason",
    ),
    "run_metrics": (RUNS, "run_id model method name value n reason"),
    "effect_tests": (
        RUNS,
        "run_id model method strategy effect effect_low effect_high n groups p p_holm gained lost"
        " p_mcnemar seeds spread reason",
    ),
    "verdict": (
        {**RUNS, "max_effect": 0.1, "min_utility": 0.9},
        "run_id model method effect effect_low effect_high n groups never_knew placebo_arm"
        " utility utility_low utility_high verdict evidence measurement data_hash prompt_format"
        " prompt_style asked effect_left_stored allowed_checks questions stand_ins"
        " without_stand_in",
    ),
    "claim_focus": (
        RUNS,
        "run_id model method seed judged_by estimate low high n groups threshold p p_holm m word"
        " reason known_forget null_forget known_retain null_retain forgotten still_known"
        " judged_step forget retain marks focus sham_focus",
    ),
    "run_prompts": (
        {"run_id": "ga", "attribution_method": "leave_one_out", "minimum_nats": 0.05},
        "example_id place prompt gold focus_before focus_after shift median_shift n before"
        " before_correct after after_correct strategy emphasised emphasised_correct brought_back"
        " tried placebo_right placebo_tried",
    ),
    "claim_emphasis": (
        RUNS,
        "run_id model method seed estimate low high n groups threshold p p_holm m word reason"
        " never_knew stand_ins without_stand_in tried not_built judged_step forget retain marks",
    ),
    "claim_penalty": (
        RUNS,
        "model method compared_at vs_all vs_all_low vs_all_high vs_random vs_random_low"
        " vs_random_high seeds groups p p_holm m word opposite reason without_point"
        " common_words_facts common_words_all common_words_random runs",
    ),
    "trajectory": (
        RUNS,
        "run_id model method step axis axis_value is_final plain emphasis placebo strategy"
        " utility utility_low utility_high utility_worst weight_change n",
    ),
    "focus": (
        FOCUS,
        "run_id model method split n groups focus_before focus_after shift shift_low shift_high"
        " key_contribution_before key_contribution_after undefined",
    ),
    "focus_by_alpha": (
        {**RUNS, **KIND},
        "run_id model method split alpha is_recorded n groups focus_before focus_after shift"
        " shift_low shift_high key_contribution_before key_contribution_after undefined",
    ),
    "focus_by_prompt": (
        {"run_id": "ga", **KIND, "minimum_nats": 0.05},
        "run_id model method split example_id prompt focus_before focus_after key_before"
        " key_after plain_correct",
    ),
    "class_contribution": (
        {**RUNS, **KIND},
        "run_id model method split token_class contribution tokens n",
    ),
    "focus_restored": (
        {**RUNS, "minimum_nats": 0.05},
        "run_id model method outcome attempts n groups focus_base focus_plain focus_emphasised"
        " change change_low change_high is_enough",
    ),
    "grade": (
        {"example_id": "f0a"},
        "run_id step method target answer_tokens measure value unit passes reason grade",
    ),
    "grades": (
        {**RUNS, **KIND},
        "run_id model method measure estimate low high n groups unit passed grade_a grade_b"
        " grade_c",
    ),
    "keyword_agreement": (
        {"benchmark": "people", "models": [], "answer_tokens": "novel"},
        "run_id model attribution_method split measure estimate low high chance n groups",
    ),
    "key_tokens_kept": (
        {**RUNS, **KIND},
        "run_id model method split estimate low high n groups by_chance own_keys base_keys",
    ),
    "rank_agreement": (
        {**RUNS, **KIND},
        "run_id model method split measure estimate low high n groups definition reason",
    ),
    "prompt_tokens": (
        {"benchmark": "people", "model": "tiny", "example_id": "f0a", **KIND},
        "run_id method position token token_class score is_key answer logprob grade reason"
        " token_part",
    ),
    "recovery_rates": (
        RUNS,
        "run_id model method strategy arm rung settings n groups residual residual_low"
        " residual_high forgotten recovered recovery_rate guess_rate not_built never_residual",
    ),
    "recovery_reasons": (RUNS, "strategy arm reason attempts runs"),
    "recovery_overlap": (
        RUNS,
        "run_id model method rungs recovered groups share total forgotten also_placebo"
        " also_never_knew",
    ),
    "effects": (
        RUNS,
        "run_id model method strategy effect effect_low effect_high n groups placebo_arm"
        " never_knew stand_ins without_stand_in",
    ),
    "recovery_attempts": (
        {
            **RUNS,
            "only_run": None,
            "strategy": "any",
            "only_recovered": False,
            "limit": None,
            "offset": 0,
        },
        "run_id model method example_id question gold plain_answer strategy arm draw words"
        " prompt text correct plain_correct base_correct logprob plain_logprob total",
    ),
    "utility_curves": (
        RUNS,
        "run_id model method step axis axis_value measure value low high n groups unit",
    ),
    "utility_values": (
        {**RUNS, "step": None},
        "run_id model method step measure value low high n groups base_value ratio guess_rate"
        " questions",
    ),
    "examples": (
        {"benchmark": "people", "model": "tiny", "split": "all", "search": "", "outcome": "all"},
        "example_id split group attribute prompt answer n_forgotten n_recovered",
    ),
    "example": (
        {"benchmark": "people", "example_id": "f0a"},
        "benchmark example_id split form group attribute prompt answer facts keywords"
        " wrong_answers question_paraphrases answer_paraphrases correct_rule data_hash",
    ),
    "example_answers": (
        {**ONE, "step": None},
        "run_id model method step text correct logprob rouge_l_recall",
    ),
    "example_course": (
        {"run_id": "ga", "example_id": "f0a"},
        "step axis axis_value is_final text correct rouge_l_recall logprob",
    ),
    "example_attempts": (
        ONE,
        "run_id model method strategy arm draw words prompt text correct logprob reason",
    ),
    "base_answers": ({"run_id": "base"}, "example_id text"),
    "base_scores": ({"run_id": "base"}, "method answer_tokens example_id scores is_key has_keys"),
    "differences": (RUNS, "condition found warning"),
    "measured_steps": (
        RUNS,
        "run_id model method step axis axis_value is_final weight_change measurement",
    ),
    "compared_metrics": (
        {
            "first": "base",
            "first_step": 0,
            "second": "ga",
            "second_step": 10,
            "attribution_method": "leave_one_out",
            "target": "gold",
            "answer_tokens": "novel",
            "minimum_nats": 0.05,
        },
        "section measure unit first_value second_value difference low high n groups unpaired"
        " reason",
    ),
    "compared_settings": (
        {"first": "base", "second": "ga"},
        "setting first_value second_value differs",
    ),
    "compared_conditions": ({"first": "base", "second": "ga"}, "condition warning"),
    "outside_runs": (
        {"benchmark": "tofu"},
        "outside_id name project benchmark kind source sha256 metrics imported_at",
    ),
    "outside_metrics": (
        {"benchmark": "tofu", "first": "base", "second": "ga"},
        "metric side owner value n reason",
    ),
    "open_unlearning_values": ({"run_id": "ga"}, "name value n reason"),
    "open_unlearning_items": ({"run_id": "ga"}, "name part key example_id value reason"),
    "saved_models": ({}, "run_id benchmark model method step path measurement data_hash"),
    "measurements": ({}, "benchmark measurement runs newest"),
    "left_out": (RUNS, "run_id model method example_id split tokens context reason examples"),
    "data_versions": (
        {},
        "benchmark measurement data_hash runs examples started_at asked_for shown",
    ),
    "stored_effects": (
        RUNS,
        "run_id model method weights_changed weights_changed_stored weight_change_over_half_step"
        " effect_left_stored way",
    ),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("queries") / "results.duckdb")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "results.duckdb"
    store.create(path)
    return path


@pytest.mark.parametrize("name", read.names())
def test_columns_are_the_ones_agreed(study: Path, name: str) -> None:
    parameters, columns = COLUMNS[name]
    rows = read.query(study, name, **parameters)
    assert list(rows.columns) == columns.split()
    assert not rows.empty or name in {
        "saved_models",
        "differences",
        "compared_conditions",
        "penalise_effect",
        "claim_penalty",
        "left_out",
        "model_checks",  # the small study was examined by nobody and stored by nobody: rows of
        "checks_of_runs",  # these three have tests of their own
        "stored_effects",
        "outside_runs",  # nothing was read from elsewhere, and the benchmark is no published one:
        "outside_metrics",  # rows of these four have tests of their own
        "open_unlearning_values",
        "open_unlearning_items",
    }


@pytest.mark.parametrize("name", read.names())
def test_an_empty_file_answers_with_no_rows(empty: Path, name: str) -> None:
    parameters, columns = COLUMNS[name]
    rows = read.query(empty, name, **parameters)
    assert list(rows.columns) == columns.split()
    assert len(rows) == (1 if name == "info" else 0)


@pytest.mark.parametrize("name", read.names())
def test_header_says_question_parameters_and_grain(name: str) -> None:
    lines = read.sql_of(name).splitlines()
    header = [line for line in lines if line.startswith("--")]
    assert header == lines[: len(header)], "comments stand in the header"
    assert header[0].endswith("?")
    described = [
        re.match(r"-- \$(\w+) +(VARCHAR\[\]|VARCHAR|DOUBLE|INTEGER|BOOLEAN) ", line)
        for line in header
    ]
    assert {match[1] for match in described if match} == read.parameters_of(name)
    assert sum(line.startswith("-- One row") for line in header) == 1


def test_every_query_file_is_in_the_table_above() -> None:
    assert set(read.names()) == set(COLUMNS)


def test_a_file_that_holds_older_definitions_is_read_with_the_new_ones(
    study: Path, tmp_path: Path
) -> None:
    older = tmp_path / "older.duckdb"
    older.write_bytes(study.read_bytes())
    with writing(older) as connection:
        connection.execute("UPDATE meta SET macros = 'older'")
        connection.execute(
            "CREATE OR REPLACE MACRO is_reference(of_method) AS true;"
            "CREATE OR REPLACE MACRO least_utility(of_ratios) AS TABLE SELECT 1 AS wrong;"
            "CREATE OR REPLACE MACRO chosen_runs(a, b, c) AS TABLE FROM compared WHERE false;"
            "CREATE OR REPLACE TABLE run_effect AS SELECT 1 AS wrong; DELETE FROM final_answer"
        )
    for name in ("verdict", "examples", "effects"):
        parameters, _ = COLUMNS[name]
        new, old = (read.query(path, name, **parameters) for path in (study, older))
        assert new.equals(old), name
    store.create(older)
    with writing(older) as connection:
        kept = connection.execute("SELECT macros FROM meta").fetchall()
    assert kept == [(summaries.definitions_hash(),)]


@pytest.mark.parametrize("name", summaries.names())
def test_a_summary_kept_run_by_run_is_that_of_the_whole_file(study: Path, name: str) -> None:
    with reading(study) as connection:
        kept = connection.execute(f"FROM {name} ORDER BY ALL").df()
        summaries.define_for_connection(connection)
        anew = connection.execute(f"FROM {name} ORDER BY ALL").df()
    assert len(kept) > 0
    pd.testing.assert_frame_equal(kept, anew)


def test_an_unknown_query_names_those_there_are(study: Path) -> None:
    with pytest.raises(read.UnknownQueryError, match=r"no query 'verdicts'\. It has: .*verdict"):
        read.query(study, "verdicts")


def test_missing_and_unknown_parameters_are_named(study: Path) -> None:
    with pytest.raises(read.ParameterError, match="takes run_id; missing: run_id; unknown: run"):
        read.query(study, "losses", run="ga")
    with pytest.raises(read.ParameterError, match="takes no parameters; missing: none; unknown: x"):
        read.query(study, "info", x=1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.duckdb"):
        read.query(tmp_path / "none.duckdb", "info")


# --- lists of what there is ---


def test_choices_hold_what_has_rows(study: Path) -> None:
    found = read.query(study, "choices").groupby("kind")["name"].apply(list).to_dict()
    assert found == {
        "attribution_method": ["leave_one_out"], "benchmark": ["people"], "model": ["tiny"],
        "method": ["ga", "none", "npo", "retrain", "sham"], "strategy": ["quote", "repeat"],
        "seed": ["0", "1"], "step": ["0", "10", "5"], "measurement": [str(MEASUREMENT)],
        "data": ["data-1"],
    }  # fmt: skip


def test_info_counts(study: Path) -> None:
    (row,) = read.query(study, "info").to_dict("records")
    assert list(row["methods"]) == ["ga", "none", "npo", "retrain", "sham"]
    assert (row["complete"], row["failed"], row["pending"]) == (6, 1, 1)
    assert row["examples"] == 60
    assert (
        row["token_scores"] == 6 * 40 * 2 * 2 * 6
    )  # runs, examples, targets, answer tokens, tokens


def test_info_of_an_empty_file_holds_empty_lists_and_zeros(empty: Path) -> None:
    (row,) = read.query(empty, "info").to_dict("records")
    assert list(row["models"]) == []
    assert (row["complete"], row["failed"], row["pending"], row["token_scores"]) == (0, 0, 0, 0)


def test_runs_say_where_each_stands(tmp_path: Path) -> None:
    path = tmp_path / "results.duckdb"
    names = ["base", "again", "ga", "npo"]
    planned = [PlannedRun("s", name, i, "people", "tiny", name, 0) for i, name in enumerate(names)]
    store.plan_study(path, Study("s", "", ""), planned)
    examples = [make_example("f1")]
    publish_all(path, [
        make_result(make_run("base", "none"), examples, {0: {"f1": True}}),
        RunResult(failed_run("again"), make_result(make_run("x"), [], {0: {}}).build, ()),
        make_result(make_run("unplanned", "none"), examples, {0: {"f1": True}}),
    ])  # fmt: skip
    for run_id in ("again", "ga"):
        store.note_progress(path, Progress(run_id, "unlearn", 3, 9, "2026-01-01T00:00:00Z"))
    rows = read.query(path, "runs").set_index("run_id")
    assert rows["status"].to_dict() == {
        "base": "complete", "again": "running", "ga": "running", "npo": "pending",
        "unplanned": "complete",
    }  # fmt: skip
    assert list(rows.index) == [*names, "unplanned"]
    assert rows["study"].isna().to_dict() == {**dict.fromkeys(names, False), "unplanned": True}
    assert (rows.loc["ga", "stage"], rows.loc["ga", "done"], rows.loc["ga", "total"]) == (
        "unlearn",
        3,
        9,
    )
    assert rows.loc["npo", ["seconds", "stage", "device"]].isna().all()
    assert rows.loc["base", "packages"] == '{"torch": "2.13"}'


def test_a_failed_run_says_why(study: Path) -> None:
    rows = read.query(study, "runs").set_index("run_id")
    assert rows.loc["rmu", ["status", "error", "failed_step"]].tolist() == [
        "failed",
        "loss is nan",
        3,
    ]
    assert rows.loc["gd", "status"] == "pending"


def test_stages_and_losses_in_the_order_of_the_run(study: Path) -> None:
    stages = read.query(study, "stages", run_id="ga")
    assert list(zip(stages["stage"], stages["seconds"], strict=True)) == [
        ("unlearn", 1.0),
        ("evaluate", 0.5),
    ]
    losses = read.query(study, "losses", run_id="ga")
    assert losses["step"].tolist() == list(range(FINAL))
    assert losses["loss"].tolist() == [-float(step) for step in range(FINAL)]


# --- failed runs, several models, seeds, filters ---

RUN_QUERIES = sorted(
    name for name, (given, _) in COLUMNS.items() if "models" in given or "model" in given
)


@pytest.mark.parametrize(
    "name",
    sorted(
        set(RUN_QUERIES)
        - {
            "examples",
            "keyword_agreement",
            "differences",
            "compared_conditions",
            "penalise_effect",
            "claim_penalty",
            "recovery_reasons",
            "left_out",
            "checks_of_runs",
            "stored_effects",
        }
    ),
)
def test_only_complete_runs_are_counted(study: Path, name: str) -> None:
    ids = set(read.query(study, name, **COLUMNS[name][0])["run_id"])
    judging = ("verdict", "claim_focus", "claim_emphasis")
    assert ids == {"ga", "npo", "npo-1"} if name in judging else ids <= {
        "base", "retrain", "sham", "ga", "npo", "npo-1",
    }  # fmt: skip
    assert {"npo", "npo-1"} <= ids, "two seeds are two runs"


@pytest.mark.parametrize(
    "name",
    sorted(
        n
        for n in RUN_QUERIES
        if "methods" in COLUMNS[n][0] and n not in ("differences", "recovery_reasons")
    ),
)
def test_filters_by_method_and_model(study: Path, name: str) -> None:
    parameters = COLUMNS[name][0]
    everything = read.query(study, name, **parameters)
    some = read.query(study, name, **{**parameters, "methods": ["npo"], "models": ["tiny"]})
    expected = everything[everything["method"] == "npo"].reset_index(drop=True)
    some, expected = (  # a total is that of what was asked for
        rows.drop(columns="total", errors="ignore") for rows in (some, expected)
    )
    assert some.equals(expected.astype(some.dtypes.to_dict()))
    assert read.query(study, name, **{**parameters, "models": ["large"]}).empty
    assert read.query(study, name, **{**parameters, "benchmark": "other"}).empty


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model small forgets f1, model large keeps it; each has its own base and no retain run."""
    examples = [make_example("f1"), make_example("f2")]
    results = []
    for model, kept in (("small", False), ("large", True)):
        base = make_run(
            f"{model}-base", "none", model=model, base_run_id=f"{model}-base", retain_run_id=None
        )
        ga = make_run(
            f"{model}-ga", "ga", model=model, base_run_id=f"{model}-base", retain_run_id=None
        )
        results += [
            make_result(base, examples, {0: {"f1": True, "f2": kept}}),
            make_result(
                ga, examples, {0: {"f1": True, "f2": kept}, FINAL: {"f1": kept, "f2": True}},
                recoveries=[attempt(ga.run_id, "f1", "quote", "treatment", not kept)],
            ),
        ]  # fmt: skip
    path = tmp_path_factory.mktemp("models") / "results.duckdb"
    return publish_all(path, results)


def test_each_model_is_compared_with_its_own_base(two_models: Path) -> None:
    rows = read.query(two_models, "overview", **RUNS).set_index("run_id")
    assert rows["n"].to_dict() == {"large-base": 2, "large-ga": 1, "small-base": 1, "small-ga": 1}
    assert rows["plain"].to_dict() == {
        "large-base": 1,
        "large-ga": 1,
        "small-base": 1,
        "small-ga": 0,
    }
    only = read.query(two_models, "overview", **{**RUNS, "models": ["large"]})
    assert only["run_id"].tolist() == ["large-ga", "large-base"]


def test_prompts_are_counted_per_model(two_models: Path) -> None:
    parameters = COLUMNS["examples"][0]
    for model, counts in (("small", [1, 1]), ("large", [0, 0])):
        rows = read.query(two_models, "examples", **{**parameters, "model": model})
        assert rows.loc[0, ["n_forgotten", "n_recovered"]].tolist() == counts


# --- prompts ---


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("all", "f1 f2 f3 f4"), ("forgotten", "f1 f2"), ("recovered", "f1"), ("kept", "f3")],
)
def test_prompts_by_outcome(tmp_path: Path, outcome: str, expected: str) -> None:
    """f1: forgotten twice, recovered once; f2: forgotten once; f3: kept; f4: not known; no sham."""
    examples = [make_example(f"f{i}") for i in range(1, 5)]
    base = {"f1": True, "f2": True, "f3": True, "f4": False}
    final = {
        "ga": {"f1": False, "f2": False, "f3": True, "f4": False},
        "npo": {"f1": False, "f2": True, "f3": True, "f4": True},
        "sham": dict.fromkeys(base, False),
    }
    path = publish_all(tmp_path / "results.duckdb", [
        make_result(make_run("base", "none"), examples, {0: base}),
        *(
            make_result(
                make_run(name, name), examples, {FINAL: answered},
                recoveries=[
                    attempt(name, "f1", "quote", "treatment", name == "ga"),
                    attempt(name, "f2", "quote", "placebo_same", True),
                    attempt(name, "f3", "quote", "treatment", True),
                ],
            )
            for name, answered in final.items()
        ),
    ])  # fmt: skip
    parameters = {**COLUMNS["examples"][0], "outcome": outcome}
    rows = read.query(path, "examples", **parameters).set_index("example_id")
    assert list(rows.index) == expected.split()
    if outcome == "all":
        assert rows["n_forgotten"].tolist() == [2, 1, 0, 0]
        assert rows["n_recovered"].tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("split", "search", "found"),
    [
        ("retain", "", 20), ("all", "", 50), ("all", "NEIGHBOUR 3", 2),
        ("forget", "does f3A live", 1),
        ("forget", "%", 0), ("all", "rome", 50), ("holdout", "", 0),
    ],
)  # fmt: skip
def test_prompts_by_split_and_search(study: Path, split: str, search: str, found: int) -> None:
    parameters = {**COLUMNS["examples"][0], "split": split, "search": search}
    assert len(read.query(study, "examples", **parameters)) == found


def test_an_unknown_outcome_is_refused(study: Path) -> None:
    with pytest.raises(Exception, match="outcome is one of all, forgotten"):
        read.query(study, "examples", **{**COLUMNS["examples"][0], "outcome": "lost"})


def test_one_example_with_its_answers_and_attempts(study: Path) -> None:
    (row,) = read.query(study, "example", benchmark="people", example_id="f0a").to_dict("records")
    assert (row["prompt"], row["answer"], list(row["facts"])) == (
        "Where does F0A live?",
        "In Rome.",
        ["Rome"],
    )
    assert read.query(study, "example", benchmark="people", example_id="zz").empty
    answers = read.query(study, "example_answers", **ONE, step=None).set_index("run_id")
    assert answers["correct"].to_dict() == {
        "base": True, "retrain": False, "sham": False, "ga": False, "npo": False, "npo-1": False,
    }  # fmt: skip
    attempts = read.query(study, "example_attempts", **ONE)
    of_ga = attempts[(attempts["run_id"] == "ga") & (attempts["strategy"] == "quote")]
    assert of_ga["arm"].tolist() == [
        "treatment",
        "placebo_same",
        "placebo_foreign",
        "placebo_format",
    ]
    assert of_ga["reason"].dropna().tolist() == ["too few words"]
    assert len(attempts) == 6 * 2 * 4  # runs, strategies, arms; the final weights only


# --- asked by the engine ---


def test_base_answers_are_the_plain_answers_of_the_final_step(study: Path) -> None:
    rows = read.query(study, "base_answers", run_id="base")
    expected = read.query(study, "example_answers", **ONE, step=None)
    text = expected[expected["run_id"] == "base"]["text"].item()
    assert dict(zip(rows["example_id"], rows["text"], strict=True))["f0a"] == text


def test_base_scores_are_lists_by_position(study: Path) -> None:
    rows = read.query(study, "base_scores", run_id="base")
    first = rows[(rows["example_id"] == "f0a") & (rows["answer_tokens"] == "novel")].iloc[0]
    assert list(first["is_key"]) == [False, False, False, True, False, False]
    assert first["has_keys"]
    assert isnan(first["scores"][0])
    assert [round(float(score), 6) for score in list(first["scores"])[1:]] == [
        0.2,
        0.1,
        0.9,
        0.3,
        -0.05,
    ]


def test_saved_models_are_the_final_checkpoints_with_a_folder(study: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.duckdb"
    saved.write_bytes(study.read_bytes())
    with writing(saved) as connection:
        connection.execute("UPDATE checkpoint SET path = '/w/' || step WHERE run_id = 'ga'")
    rows = read.query(saved, "saved_models")
    assert rows.to_dict("records") == [
        {
            "run_id": "ga",
            "benchmark": "people",
            "model": "tiny",
            "method": "ga",
            "step": 10,
            "path": "/w/10",
            "measurement": MEASUREMENT,
            "data_hash": "data-1",
        }
    ]


def test_a_benchmark_tells_when_an_answer_is_right_and_how_often_guessing_is(
    tmp_path: Path,
) -> None:
    free = make_example("f0")
    choice = replace(
        make_example("f1"), correct_rule="multiple_choice", wrong_answers=("a", "b", "c")
    )
    result = make_result(make_run("base", "none"), [free, choice], {0: {"f0": True, "f1": True}})
    path = publish_all(tmp_path / "rules.duckdb", [result])
    rows = read.query(path, "benchmark", benchmark="people").set_index("correct_rule")
    assert list(rows["n"]) == [1, 1]
    assert rows.loc["multiple_choice", "options"] == 4
    assert rows.loc["multiple_choice", "guess_rate"] == pytest.approx(0.25)
    assert isnan(rows.loc["contains_fact", "guess_rate"])


def test_a_figure_of_the_rule_is_of_n_of_all_questions(tmp_path: Path) -> None:
    unjudged = [replace(make_example(f"f{i}"), facts=()) for i in range(2, 5)]
    asked = [make_example("f0"), make_example("f1"), make_example("r0", "retain")]
    right = {"f0": True, "f1": True, "r0": True}
    results = [
        make_result(make_run(name, method), [*asked, *unjudged], {step: right})
        for name, method, step in (("base", "none", 0), ("ga", "ga", FINAL))
    ]
    path = publish_all(tmp_path / "n.duckdb", results)
    (rule,) = read.query(path, "benchmark", benchmark="people").itertuples()
    assert (rule.forget_judged, rule.forget, rule.retain_judged, rule.retain) == (2, 5, 1, 1)
    values = read.query(path, "utility_values", **RUNS, step=None)
    of_ga = values[values["run_id"] == "ga"].set_index("measure")
    assert list(of_ga.loc["forget correct", ["n", "questions"]]) == [2, 5]
    assert list(of_ga.loc["retain correct", ["n", "questions"]]) == [1, 1]


# --- what runs were made under ---


def test_runs_made_under_other_conditions_carry_a_warning(tmp_path: Path) -> None:
    examples = [make_example("f1")]
    newer = replace(BUILD, build_id="build-2", packages='{"torch": "2.14", "numpy": "2.4"}')
    same = {"dtype": "float32", "prompt_format": "Q", "data_hash": "d"}
    runs = {
        "base": (make_run("base", "none", **same), BUILD),
        "ga": (make_run("ga", **same), BUILD),
        "npo": (make_run("npo", "npo", **{**same, "dtype": "bfloat16"}, build_id="build-2"), newer),
    }
    path = publish_all(tmp_path / "results.duckdb", [
        replace(make_result(run, examples, {0: {"f1": True}}), build=build)
        for run, build in runs.values()
    ])  # fmt: skip
    rows = read.query(path, "differences", **RUNS).set_index("condition")
    assert list(rows.index) == ["dtype", "torch"]
    assert rows.loc["torch", "found"] == "2.13 (2 runs), 2.14 (1 runs)"
    assert rows.loc["dtype", "warning"] == (
        "These runs differ in dtype: float32 (2 runs), bfloat16 (1 runs)."
    )
    assert read.query(path, "differences", **{**RUNS, "methods": ["ga", "none"]}).empty


def test_runs_that_changed_nothing_or_repeat_themselves_are_flagged(tmp_path: Path) -> None:
    examples = [make_example(f"f{i}") for i in range(4)]
    correct = {FINAL: {e.example_id: True for e in examples}}
    base = make_result(make_run("base", "none"), examples, {0: correct[FINAL]})
    said = {
        "same": ["In Rome."] * 4,
        "noise": ["the the the", "aaaa", "", "In Oslo."],
        "fine": ["In Rome.", "In Rome.", "In Oslo.", "no no"],
    }
    results = [base]
    for run_id, texts in said.items():
        result = make_result(make_run(run_id), examples, correct)
        answers = tuple(
            replace(answer, text=text) for answer, text in zip(result.answers, texts, strict=True)
        )
        results.append(replace(result, answers=answers))
    still = make_result(make_run("still"), examples, correct)
    unchanged = tuple(replace(c, weight_change=0.0) for c in still.checkpoints)
    results.append(replace(still, checkpoints=unchanged))
    for run_id, (left, stored) in {
        "undone": (0.09, 0.2), "differs": (1.3, 2.0), "whole": (0.97, 2.0), "unmoved": (None, 0.01),
    }.items():  # fmt: skip
        result = make_result(make_run(run_id), examples, correct)
        answers = (replace(result.answers[0], text="In Bern."), *result.answers[1:])
        figures = tuple(
            Statistic(run_id, name, "w", value, None, None, 4, 2, None, "d",
                      "too small" if value is None else None)
            for name, value in (("effect_left_stored", left), ("effect_stored", stored),
                                ("weight_change_over_half_step", 0.3))
        )  # fmt: skip
        results.append(replace(result, answers=answers, statistics=figures))
    rows = read.query(publish_all(tmp_path / "flags.duckdb", results), "run_flags", **RUNS)
    found = {row.run_id: row for row in rows.itertuples()}
    flags = {
        run_id: row.flag if isinstance(row.flag, str) else None for run_id, row in found.items()
    }
    assert flags == {
        "base": None,
        "same": "answers unchanged",
        "noise": "one token, repeated",
        "fine": None,
        "still": "weights unchanged",
        "undone": "storing undid the unlearning",
        "differs": "stored and trained differ",
        "whole": None,
        "unmoved": "forget answers unmoved",
    }
    assert (found["undone"].effect_left, found["undone"].over_half_step) == (0.09, 0.3)
    assert isnan(found["unmoved"].effect_left) and isnan(found["same"].over_half_step)
    assert (found["noise"].one_token, found["noise"].same_answers) == (0.75, 0.0)
    assert (found["fine"].one_token, found["fine"].same_answers) == (0.0, 0.5)


def test_runs_of_a_sweep_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    def spec(beta: float, steps: int) -> str:
        return f'{{"settings": {{"beta": {beta}, "optimizer": {{"max_steps": {steps}}}}}}}'

    runs = [
        make_run("base", "none"),
        make_run("a", "npo", spec=spec(0.1, 5)),
        make_run("b", "npo", spec=spec(0.5, 5)),
        make_run("c", "npo", spec=spec(0.5, 5), seed=1),
        make_run("d", "ga", spec=spec(0.5, 9)),
    ]
    examples = [make_example("f0")]
    results = [make_result(run, examples, {FINAL: {"f0": True}}) for run in runs]
    failed = failed_run("e", "npo", spec=spec(0.9, 5))
    results.append(RunResult(failed, results[0].build, ()))
    rows = read.query(publish_all(tmp_path / "sweep.duckdb", results), "run_variants")
    assert dict(zip(rows["run_id"], rows["variant"], strict=True)) == {
        "a": "beta=0.1, seed=0", "b": "beta=0.5, seed=0", "c": "beta=0.5, seed=1",
        "e": "beta=0.9, seed=0",
    }  # fmt: skip


def test_shares_of_a_loss_and_changes_by_class(study: Path) -> None:
    rows = read.query(study, "penalty_shares", **RUNS)
    final = rows[(rows["run_id"] == "ga") & rows["is_final"]].set_index("answer_class")
    assert final["share"].to_dict() == {"fact": 0.75, "function": 0.25}
    assert final["token_share"].to_dict() == pytest.approx({"fact": 2 / 3, "function": 1 / 3})
    assert final["tokens"]["fact"] == 2 * final["tokens"]["function"]
    for split in ("forget", "retain", "general"):
        changes = final[f"change_{split}"].to_dict()
        assert changes == pytest.approx({"fact": -0.2 * FINAL, "function": -0.1 * FINAL})
    before = rows[(rows["run_id"] == "ga") & (rows["step"] == 0)]
    assert before["share"].isna().all()
    assert (before["change_forget"] == 0).all()


def test_shares_are_those_of_documents_where_they_are_unlearned(tmp_path: Path) -> None:
    examples = [make_example("f0"), make_example("r0", "retain")]
    knows = {0: {"f0": True, "r0": True}, FINAL: {"f0": False, "r0": True}}
    base = make_result(make_run("base", "none"), examples, {0: knows[0]})
    documents = tuple(
        TextTokenClass("ga", FINAL, text, name, tokens, gradient)
        for text in range(2)
        for name, tokens, gradient in (("fact", 1, 3.0), ("content", 4, 1.0))
    )
    reason = Statistic(
        "sham", "pushed_texts", "split=forget", None, None, None, 0, 0, None, "d", "reads none"
    )
    silent = make_result(make_run("sham", "sham"), examples, knows)
    results = [
        base,
        replace(make_result(make_run("ga"), examples, knows), text_classes=documents),
        replace(silent, statistics=(reason,)),
    ]
    rows = read.query(publish_all(tmp_path / "documents.duckdb", results), "penalty_shares", **RUNS)
    final = rows[(rows["run_id"] == "ga") & rows["is_final"]].set_index("answer_class")
    assert final["share"].dropna().to_dict() == {"fact": 0.75, "content": 0.25}
    assert final["token_share"].dropna().to_dict() == {"fact": 0.2, "content": 0.8}
    assert set(final["pushed"]) == {"documents"}
    assert final.loc["fact", "change_forget"] == pytest.approx(-0.2 * FINAL), "of the answers"
    assert isnan(final.loc["content", "change_forget"]), "no answer has such a token"
    assert set(rows[rows["run_id"] == "sham"]["reason"]) == {"reads none"}


def test_fact_words_alone_are_compared_at_equal_forgetting(tmp_path: Path) -> None:
    def spec(penalise: str | None, beta: float = 0.1) -> str:
        chosen = "" if penalise is None else f'"penalise": "{penalise}", '
        return f'{{"seed": 0, "settings": {{{chosen}"beta": {beta}}}}}'

    forget = [make_example(f"f{i}", "forget", f"p{i}") for i in range(4)]
    retain = [make_example(f"r{i}", "retain", f"n{i}") for i in range(4)]
    examples = [*forget, *retain]

    def knows(forgotten: int, lost: int) -> dict[str, bool]:
        return {f"f{i}": i >= forgotten for i in range(4)} | {f"r{i}": i >= lost for i in range(4)}

    everything = {0: knows(0, 0), 5: knows(2, 1), 10: knows(4, 3)}
    facts_only = {0: knows(0, 0), 5: knows(2, 0), 10: knows(2, 2)}
    results = [
        make_result(make_run("base", "none"), examples, {0: knows(0, 0)}),
        make_result(make_run("all", "npo", spec=spec(None)), examples, everything),
        make_result(make_run("facts", "npo", spec=spec("fact_words")), examples, facts_only),
        make_result(make_run("other", "npo", spec=spec("fact_words", 0.5)), examples, facts_only),
        make_result(make_run("drawn", "npo", spec=spec("random")), examples, {5: knows(2, 2)}),
        make_result(make_run("ga-all", "ga", spec=spec(None)), examples, {5: knows(4, 4)}),
        make_result(
            make_run("ga-facts", "ga", spec=spec("fact_words")), examples, {5: knows(0, 0)}
        ),
    ]
    path = publish_all(tmp_path / "facts.duckdb", results)
    found = read.query(path, "penalise_effect", **RUNS, max_gap=0.05)
    of_random = found[found["other_penalise"] == "random"].set_index("run_id")
    assert of_random.loc["facts", ["other_run_id", "step", "other_step"]].tolist() == [
        "drawn",
        5,
        5,
    ]
    assert of_random.loc["facts", "difference"] == pytest.approx(0.5)
    rows = found[found["other_penalise"] == "all"].set_index("run_id")
    assert "other" not in rows.index, "no partner with the same settings"
    assert rows.loc["facts", ["other_run_id", "step", "other_step", "measure"]].tolist() == [
        "all", 5, 5, "retain correct",
    ]  # fmt: skip
    assert rows.loc["facts", "difference"] == pytest.approx(0.25)
    assert rows.loc["facts", "low"] < 0.25 < rows.loc["facts", "high"]
    assert (rows.loc["facts", "n"], rows.loc["facts", "groups"]) == (4, 4)
    assert rows.loc["ga-facts"].isna()[["step", "measure", "difference"]].all()


def test_a_run_says_where_its_weights_are_from_and_how_it_was_asked(tmp_path: Path) -> None:
    examples = [make_example("f0")]
    run = make_run("audited", dtype="bfloat16", prompt_format='{"prefix": "Q: "}')
    source = ModelSource(
        "audited",
        "org/model",
        "main",
        "c0ffee",
        None,
        None,
        "abcd",
        "sdpa",
        None,
        None,
        False,
        "{}",
    )
    audited = replace(make_result(run, examples, {FINAL: {"f0": True}}), sources=(source,))
    ours = make_result(make_run("base", "none", dtype="float32"), examples, {0: {"f0": True}})
    path = publish_all(tmp_path / "sources.duckdb", [ours, audited])
    found = read.query(path, "model_loading", run_id="audited").iloc[0]
    assert found[["source", "commit", "dtype"]].tolist() == ["org/model", "c0ffee", "bfloat16"]
    assert read.query(path, "model_loading", run_id="base")["source"].isna().all()
    assert found["unit"] == "token"


def test_checks_of_a_run_are_its_own_and_those_of_its_base_model(tmp_path: Path) -> None:
    examples = [make_example("f0")]
    passed = ModelCheck("base", "measured", "bos", True, False, 1.0, "one BOS")
    allowed = ModelCheck("ga", "measured", "end", False, True, None, "nothing ends an answer")
    base = make_result(make_run("base", "none"), examples, {0: {"f0": True}})
    run = make_result(make_run("ga", "ga"), examples, {FINAL: {"f0": False}})
    path = publish_all(
        tmp_path / "checks.duckdb",
        [replace(base, checks=(passed,)), replace(run, checks=(allowed,))],
    )
    found = read.query(path, "checks_of_runs", **RUNS)
    columns = ["run_id", "subject", "check", "passed", "allowed"]
    assert found[columns].to_numpy().tolist() == [
        ["ga", "measured", "end", False, True],
        ["ga", "base", "bos", True, False],
        ["base", "measured", "bos", True, False],
    ]
    assert found["figure"].isna().tolist() == [True, False, False]


def test_a_model_was_trained_here_unless_its_source_or_its_spec_says_otherwise(
    tmp_path: Path,
) -> None:
    path = tmp_path / "trained.duckdb"
    store.create(path)
    examples = [make_example("f0")]
    elsewhere = '{"model": {"base": {"source": "org/model"}}, "probe": {}}'
    source = ModelSource(
        "audited", "org/model", None, None, None, None, "ab", "sdpa", None, None, False, "{}"
    )
    audited = make_result(make_run("audited"), examples, {FINAL: {"f0": True}})
    results = [
        make_result(make_run("base", "none"), examples, {0: {"f0": True}}),
        replace(audited, sources=(source,)),
        RunResult(failed_run("stopped", spec=elsewhere), BUILD, tuple(examples)),
        RunResult(failed_run("tuned", spec=elsewhere.replace("base", "start")), BUILD, ()),
    ]
    for result in results:
        store.publish(path, result)
    planned = [PlannedRun("demo", "later", 0, "people", "tiny", "ga", 0)]
    store.plan_study(path, Study("demo", "", "2026-01-01T00:00:00Z"), planned)
    rows = read.query(path, "runs").set_index("run_id")["trained_here"]
    assert rows.drop("later").to_dict() == {
        "base": True, "audited": False, "stopped": False, "tuned": False,
    }  # fmt: skip
    assert rows.isna().to_dict()["later"]
