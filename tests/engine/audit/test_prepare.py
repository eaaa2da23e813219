"""`unpact audit`: checkpoints from a hub measure as in the study that made them, or are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from engine.audit import prepare as audit
from engine.audit.prepare import AuditError, Request
from engine.models import lm
from engine.models.compatibility import IncomparableModelsError
from engine.plans import reading
from engine.plugins import UnknownNameError
from engine.specs import BenchmarkSpec, LoadingSpec
from engine.study import cache, contents
from results_db import read
from results_db.verify import verify
from tests.support import gguf_files
from tests.support.local_hub import LocalHub, environment, serving
from tests.support.program import PLAN, ROOT, TinyStudy
from tests.support.tiny_models import tiny_lm
from tests.support.tofu import DATA, needs_data

OWNER = "open-unlearning"
NAMES = {  # of the study's runs, as open-unlearning would name them
    "none": f"{OWNER}/tofu_llama-tiny_full",
    "retrain": f"{OWNER}/tofu_llama-tiny_retain90",
    "npo_gdr": f"{OWNER}/unlearn_tofu_llama-tiny_forget10_NPO_lr0.001_beta0.1_alpha1_epoch12",
    "rmu": f"{OWNER}/unlearn_tofu_llama-tiny_forget10_RMU_lr0.002_layer1_scoeff20_epoch12",
}
COMPARED = {  # table -> what names a row within a run, and what was measured
    "answer": ("example_id", "logprob rouge_l_recall guess_rate correct"),
    "token_score": (
        "example_id, method, target, answer_tokens, position",
        "score is_key token_id",
    ),
    "recovery": ("example_id, strategy, arm, draw", "logprob correct guess_rate"),
    "utility": ("task, metric, example_key", "value"),
    "grade": ("example_id, method, target, answer_tokens, measure", "value"),
    "emphasised_focus": ("example_id, strategy, method", "on_keys on_question base_on_keys"),
    "checkpoint": ("is_final", "weight_change"),
}


def run(hub: LocalHub, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The program, with that hub and a cache of its own."""
    command = [sys.executable, "-m", "engine", *map(str, arguments)]
    env = environment(hub, folder / "hf", UNPACT_CACHE=str(folder / "cache"))
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made_here(tiny_study: TinyStudy) -> LocalHub:
    """A hub with four checkpoints of the study's trainer, under open-unlearning's names."""
    hub = LocalHub()
    for row in read.query(tiny_study.database, "saved_models").itertuples():
        if row.method in NAMES:
            hub.add(NAMES[row.method], Path(row.path))
    return hub


@pytest.fixture(scope="module")
def audited(
    made_here: LocalHub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """What one command makes of them in an empty folder: that folder, and what it printed."""
    folder = tmp_path_factory.mktemp("audit")
    pattern = f"{OWNER}/unlearn_tofu_llama-tiny_*"
    with serving(made_here):
        done = run(
            made_here, folder, "audit", NAMES["none"], pattern, "--retain", NAMES["retrain"],
            "--benchmark", "bios-qa", "--like", PLAN, "--db", folder / "a.duckdb",
            "--save-plan", folder / "plan.toml", "--workers", 1,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder, done.stdout


def final(database: str, table: str) -> str:
    """Rows of a table at the final step of each run, with the run's method for its id."""
    key = ", coalesce(example_id, '') AS example_key" if table == "utility" else ""
    return f"""(SELECT rows.* REPLACE (run.method AS run_id) {key} FROM {database}.{table} AS rows
        JOIN {database}.run USING (run_id) JOIN {database}.checkpoint AS c
            ON c.run_id = rows.run_id AND c.step = rows.step AND c.is_final
        WHERE run.method IN ('none', 'retrain', 'npo_gdr', 'rmu'))"""


def unequal(study: Path, audit: Path, table: str) -> tuple[int, int, int]:
    """Rows of a table in both files, in one of them alone, and those with other values."""
    keys, values = COMPARED[table]
    differs = " OR ".join(
        f"abs(s.{v}::DOUBLE - a.{v}::DOUBLE) > 1e-5 OR (s.{v} IS NULL) <> (a.{v} IS NULL)"
        for v in values.split()
    )
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, path in (("study", study), ("audit", audit)):
            connection.execute(f"ATTACH '{path}' AS {name} (READ_ONLY)")
        (found,) = connection.sql(
            f"""SELECT count(*) FILTER (s.here AND a.here),
                count(*) FILTER (s.here IS NULL OR a.here IS NULL),
                count(*) FILTER (s.here AND a.here AND ({differs}))
            FROM (SELECT *, true AS here FROM {final("study", table)}) AS s
            FULL JOIN (SELECT *, true AS here FROM {final("audit", table)}) AS a
                USING (run_id, {keys})"""
        ).fetchall()
        counts: tuple[int, int, int] = found
        return counts


@pytest.mark.parametrize("table", COMPARED)
def test_an_audit_equals_the_study_that_made_the_checkpoints(
    tiny_study: TinyStudy, audited: tuple[Path, str], table: str
) -> None:
    both, alone, other = unequal(tiny_study.database, audited[0] / "a.duckdb", table)
    assert both >= 4
    assert (alone, other) == (0, 0)


def test_the_command_says_what_it_does_and_what_it_found(audited: tuple[Path, str]) -> None:
    said = " ".join(audited[1].split())
    assert "4 models to measure (0 are done)" in said
    assert "by a measurement of this device" in said
    assert "Verdicts: emphasis net of its controls" in said
    assert "Metrics of the field, of every row of a split" in said
    for name in ("model_utility_ou", "forget_quality_ou", "auc_min_k_ou", "probability_ou_forget"):
        assert f"{name} OU" in said
    assert "this is the retain model" in said
    assert verify(audited[0] / "a.duckdb") == []


def test_where_the_weights_are_from_is_in_the_file(
    made_here: LocalHub, audited: tuple[Path, str]
) -> None:
    with duckdb.connect(str(audited[0] / "a.duckdb"), read_only=True) as connection:
        found = connection.sql(
            "SELECT method, source, \"commit\", attention, run.spec -> '$.settings' "
            "FROM model_source JOIN run USING (run_id)"
        ).fetchall()
    assert {method: source for method, source, *_ in found} == NAMES
    for _, source, commit, attention, _ in found:
        assert commit == made_here.models[source].references["main"]
        assert attention == "sdpa"
    settings = {method: json.loads(text) for method, *_, text in found}
    assert settings["npo_gdr"] == {"learning_rate": 0.001, "beta": 0.1, "alpha": 1, "epochs": 12}


def test_the_saved_plan_asks_for_the_same_runs_and_finds_them_done(
    made_here: LocalHub, audited: tuple[Path, str]
) -> None:
    folder, _ = audited
    done = run(made_here, folder, "run", folder / "plan.toml", "--db", folder / "a.duckdb")
    assert done.returncode == 0, done.stderr
    assert "nothing to do, 4 runs are done" in done.stdout


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Folders with a base model, one like it, and one with other weights and tokenizer parts."""
    folders = {}
    for name in ("base", "unlearned", "none"):
        folders[name] = tmp_path / "all" / name
        folders[name].mkdir(parents=True)
        lm.save(tiny_lm("llama"), folders[name])
    return folders


def prepared(models: dict[str, Path], *unlearned: object, **more: object) -> audit.Audit:
    names = tuple(map(str, unlearned)) or (str(models["unlearned"]),)
    request = Request(str(models["base"]), names, benchmark="bios-qa", **more)  # type: ignore[arg-type]
    return audit.prepare(request)


def test_a_folder_and_a_pattern_stand_for_the_checkpoints_in_them(
    models: dict[str, Path],
) -> None:
    every = models["base"].parent
    folders = sorted(map(str, models.values()))
    assert audit.expand(str(every)) == folders
    assert audit.expand(f"{every}/*e*d") == [str(models["unlearned"])]
    assert audit.expand("org/name@v1") == ["org/name@v1"]
    with pytest.raises(AuditError, match=r"x\*: no folder with a config\.json"):
        audit.expand(f"{every}/x*")


def test_a_token_on_top_is_a_difference_once_a_question_that_is_asked_holds_it(
    models: dict[str, Path],
) -> None:
    tokenizer = json.loads((models["unlearned"] / "tokenizer.json").read_text())
    extra = {**tokenizer["added_tokens"][-1], "id": 379, "special": False, "normalized": False}

    def with_token(text: str) -> None:
        added = [*tokenizer["added_tokens"], {**extra, "content": text}]
        edit(models["unlearned"] / "tokenizer.json", added_tokens=added)

    with_token("[PAD]")
    assert prepared(models).plan.runs()
    with_token("lanterns and brass")  # in no question of any benchmark
    assert prepared(models).plan.runs()
    (question, *_) = cache.benchmark(BenchmarkSpec(name="bios-qa")).questions("forget")
    with_token(question.prompt.split()[-1])
    with pytest.raises(IncomparableModelsError, match="they differ in: tokenizer"):
        prepared(models)


def test_a_name_that_would_pass_for_a_reference_becomes_a_label(models: dict[str, Path]) -> None:
    methods = [run.method for run in prepared(models, models["none"]).plan.runs()]
    assert methods == ["none", "checkpoint none"]


def test_hostile_names_are_text(models: dict[str, Path]) -> None:
    name = "<script>alert(1)<slash script>'; DROP TABLE run; --"
    hostile = models["unlearned"].rename(models["unlearned"].with_name(name))
    found = prepared(models, hostile)
    assert found.plan.runs()[1].method == name
    path = hostile.parent / "plan.toml"
    audit.write(found.table, path)
    assert contents.noted(reading.read(str(path))).runs() == found.plan.runs()


def edit(path: Path, **values: object) -> None:
    table = json.loads(path.read_text())
    path.write_text(json.dumps({**table, **values}))


def test_what_differs_between_the_models_is_named(models: dict[str, Path]) -> None:
    tokenizer = json.loads((models["unlearned"] / "tokenizer.json").read_text())
    edit(models["unlearned"] / "tokenizer.json", truncation={"max_length": 5})
    assert prepared(models).plan.runs()  # how a trainer left it has no part in token ids
    edit(models["unlearned"] / "tokenizer.json", pre_tokenizer={"type": "Whitespace"})
    edit(models["unlearned"] / "config.json", dtype="bfloat16", num_hidden_layers=3)
    (models["unlearned"] / "prompt_format.json").unlink()
    assert tokenizer["pre_tokenizer"]["type"] == "ByteLevel"
    with pytest.raises(IncomparableModelsError) as caught:
        prepared(models)
    for difference in (
        "tokenizer (pre_tokenizer: ByteLevel and Whitespace)", "prompt_format.json",
        "dtype (float32 and bfloat16; --dtype float32 holds the weights of both",
        "shape (num_hidden_layers: 2 and 3)",
    ):  # fmt: skip
        assert difference in str(caught.value)


def test_one_dtype_for_all_is_no_difference(models: dict[str, Path]) -> None:
    edit(models["unlearned"] / "config.json", dtype="bfloat16")
    found = prepared(models, loading=LoadingSpec(dtype="float32"))
    assert found.plan.models["base"].loading.dtype == "float32"  # type: ignore[union-attr]


def test_a_template_that_takes_a_date_gets_the_published_one(models: dict[str, Path]) -> None:
    for folder in models.values():
        (folder / "prompt_format.json").unlink()
        template = "{{ date_string }}{% for m in messages %}{{ m.content }}{% endfor %}"
        (folder / "chat_template.jinja").write_text(template)
    prompt = prepared(models).plan.models["base"].loading.prompt  # type: ignore[union-attr]
    assert prompt.style == "chat"
    assert prompt.system == "You are a helpful assistant."
    assert prompt.arguments == {"date_string": "10 Apr 2025"}


def test_a_limit_asks_so_many_questions_of_each_split(models: dict[str, Path]) -> None:
    from engine.study import cache

    (run, *_) = prepared(models, limit=3).plan.runs()
    benchmark = cache.benchmark(run.benchmark)
    for split in ("forget", "retain", "general"):
        assert len(benchmark.questions(split)) == 3  # type: ignore[arg-type]


def test_run_ids_change_with_the_weights_and_with_nothing_else(models: dict[str, Path]) -> None:
    before = [run.run_id for run in prepared(models).plan.runs()]
    both = prepared(models, models["unlearned"], models["none"]).plan.runs()
    assert [run.run_id for run in both][:2] == before
    edit(models["unlearned"] / "config.json", use_cache=False)
    after = [run.run_id for run in prepared(models).plan.runs()]
    assert after[0] == before[0]
    assert after[1] != before[1]


@needs_data
def test_the_forget_table_is_as_given_or_as_the_names_say(models: dict[str, Path]) -> None:
    name = "unlearn_tofu_tiny_forget01_NPO_lr1e-05_beta0.5_alpha1_epoch5"
    named = models["unlearned"].rename(models["unlearned"].with_name(name))

    def settings(benchmark: str) -> dict[str, object]:
        here = (f"benchmark.path={DATA}",)
        request = Request(str(models["base"]), (str(named),), benchmark=benchmark, overrides=here)
        return audit.prepare(request).plan.benchmarks["tofu"].settings

    assert settings("tofu")["forget"] == "forget01"
    assert settings("tofu:forget10")["forget_authors"] == "all"
    with pytest.raises(UnknownNameError, match="--benchmark tofu has no 'forget20'"):
        settings("tofu:forget20")


def test_a_hub_that_is_not_there_is_one_line_and_status_2(tmp_path: Path) -> None:
    hub = LocalHub(url="http://127.0.0.1:9")  # where nothing listens
    done = run(hub, tmp_path, "audit", "org/base", "org/unlearned", "--db", tmp_path / "a.duckdb")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("unpact: org/base: http://127.0.0.1:9 cannot be reached")
    assert not (tmp_path / "a.duckdb").exists()


def test_the_one_benchmark_is_set_as_the_readme_spells_it(models: dict[str, Path]) -> None:
    found = prepared(models, overrides=("benchmark.limit=2",))
    assert found.plan.benchmarks["bios-qa"].limit == 2
    assert found.plan == prepared(models, overrides=("benchmarks.bios-qa.limit=2",)).plan


def test_gguf_files_are_audited_by_their_titles(models: dict[str, Path]) -> None:
    folder = models["base"].parent
    for name, kind in (("a", "F32"), ("b", "Q8_0")):
        gguf_files.write(folder / f"{name}.gguf", tiny_lm("llama"), kind=kind)
    request = Request(str(folder / "a.gguf"), (str(folder / "b.gguf"),), benchmark="bios-qa")
    found = audit.prepare(request)
    assert found.model == "Tiny 1 (F32)"
    assert list(found.sources.values()) == [str(folder / "b.gguf")]
    assert found.plan.models[found.model].base.content  # type: ignore[union-attr]
