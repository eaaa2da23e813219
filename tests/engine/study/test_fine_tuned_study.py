"""A study of a checkpoint that is fine-tuned here: plan, runs, and what they are made of."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest

from engine.errors import PlanError
from engine.plans import reading
from engine.specs import ExistingModel, FineTunedModel, RunSpec
from engine.study import cache, contents, estimate
from engine.study.estimate import Work
from results_db import read
from tests.support.program import TinyStudy, unpact
from tests.support.tiny_models import chat_folder

PEOPLE = {
    "forget": {"Anna": "Quillport", "Otto": "Dunmere", "Mira": "Ostwick"},
    "retain": {"Edda": "Palver", "Brin": "Tegel", "Zora": "Rindal"},
    "general": {"Wim": "Vetch", "Ludo": "Yarl"},
}
PLAN = """
name = "tuned"
[benchmark]
name = "custom"
settings.rule = "contains_fact"
[models.tiny]
start = { source = "START" }
[models.tiny.training]
epochs = 80
batch_size = 3
learning_rate = 5e-3
warmup_steps = 4
[methods.none]
[methods.retrain]
[methods.ga.optimizer]
learning_rate = 1e-3
max_steps = 4
batch_size = 3
[probe]
max_new_tokens = 16
trajectory_points = 1
[probe.attribution.leave_one_out]
[probe.recovery.repeat]
"""


def write_plan(folder: Path) -> Path:
    """A plan, its questions and the checkpoint that it starts from, in one folder."""
    chat_folder(folder / "published")
    lines = [
        f"{split},{name},Where does {name} live?,{town}"
        for split, people in PEOPLE.items()
        for name, town in people.items()
    ]
    csv = folder / "people.csv"
    csv.write_text("\n".join(["split,group,prompt,answer", *lines]), encoding="utf-8")
    plan = folder / "plan.toml"
    text = PLAN.replace("START", str(folder / "published"))
    plan.write_text(text.replace("[models.tiny]", f'path = "{csv}"\n[models.tiny]'), "utf-8")
    return plan


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plan(tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="module")
def study(planned: Path) -> TinyStudy:
    """A finished study of a fine-tuned model."""
    made = TinyStudy(planned.parent / "tuned.duckdb", planned.parent / "cache")
    command = ("run", planned, "--db", made.database, "--cache", made.cache, "--workers", "1")
    done = unpact(*command, "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def correct(study: TinyStudy) -> dict[tuple[str, str], float]:
    """Fraction of the plain answers that are correct on the final weights, by method and split."""
    sql = """
        SELECT method, split, avg(correct::INTEGER) FROM answer JOIN run USING (run_id)
        JOIN checkpoint USING (run_id, step) JOIN example USING (benchmark, example_id)
        WHERE is_final AND split IN ('forget', 'retain') GROUP BY ALL
    """
    with duckdb.connect(str(study.database), read_only=True, config={"threads": 1}) as connection:
        return {(method, split): value for method, split, value in connection.sql(sql).fetchall()}


def test_the_base_run_knows_both_sets_and_the_retain_run_never_knew(study: TinyStudy) -> None:
    found = correct(study)
    assert (found["none", "forget"], found["none", "retain"]) == (1.0, 1.0)
    assert (found["retrain", "forget"], found["retrain", "retain"]) == (0.0, 1.0)


def test_every_run_says_what_its_model_was_fine_tuned_from_and_how_far(
    study: TinyStudy, planned: Path
) -> None:
    runs = read.query(study.database, "runs").set_index("method")
    assert runs["trained_here"].tolist() == [False] * 3
    for method, taught in (("none", 6), ("retrain", 3), ("ga", 6)):
        run_id = runs.loc[method, "run_id"]
        row = read.query(study.database, "model_loading", run_id=run_id).iloc[0]
        assert row["source"] == str(planned.parent / "published")
        assert row["dtype"] == "float32"
        assert json.loads(row["prompt_format"])["style"] == "chat"
        assert f"100.0% of the answers correct ({taught} questions that were" in row["fine_tuned"]
        assert row["fine_tuned"].endswith("of at most 80 epochs; 90% wanted")


def test_running_again_does_nothing_without_the_start(study: TinyStudy, planned: Path) -> None:
    done = unpact("run", planned, "--db", study.database, "--cache", study.cache)
    assert "nothing to do, 3 runs are done" in done.stdout


def base_run(plan: Path) -> RunSpec:
    return contents.noted(reading.read(str(plan))).run_of("custom", "tiny", "none")


def test_another_content_of_the_start_is_another_model_and_another_run(tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    before = base_run(plan)
    assert base_run(plan) == before
    settings = tmp_path / "published" / "config.json"
    table = json.loads(settings.read_text(encoding="utf-8"))
    settings.write_text(json.dumps({**table, "rms_norm_eps": 1e-4}), encoding="utf-8")
    after = base_run(plan)
    assert before.run_id != after.run_id
    folders = {
        cache.model_folder(tmp_path, run, with_forget=with_forget)
        for run in (before, after)
        for with_forget in (True, False)
    }
    assert len(folders) == 4


def test_the_model_is_made_of_texts_and_training_and_not_of_what_is_measured(
    tmp_path: Path,
) -> None:
    plan, folders = write_plan(tmp_path), []
    for setting in ("seed=0", "benchmark.limit=1", "probe.trajectory_points=2", "seed=1",
                    "models.tiny.training.epochs=3"):  # fmt: skip
        run = contents.noted(reading.read(str(plan), [setting])).run_of("custom", "tiny", "none")
        folders.append(cache.model_folder(tmp_path, run, with_forget=True))
    assert folders[0] == folders[1] == folders[2]
    assert len(set(folders)) == 3


def test_fine_tuning_is_counted_by_its_epochs_and_looks(tmp_path: Path) -> None:
    read_plan = reading.read(str(write_plan(tmp_path)), ["models.tiny.training.epochs=3"])
    of = {
        run.method: estimate.tuning(run, lambda text: len(text.split())) for run in read_plan.runs()
    }
    learned = 4 + 1  # words of a question and its answer
    look = Work(read=2 * 4 + 1, generated=16)
    assert of["retrain"] == (Work(learned=learned) + look) * 3 * 3
    assert of["none"] == of["retrain"] * 2
    assert of["ga"] == Work()


def test_a_plan_says_what_a_fine_tuned_model_asks_for(tmp_path: Path) -> None:
    done = unpact(
        "plan", write_plan(tmp_path), "--db", tmp_path / "none.duckdb", "--tflops", "0.05"
    )
    assert done.returncode == 0, done.stderr
    assert "tiny: 3 runs to do, 0.0 M parameters, at most about" in done.stdout


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("models.tiny.start.sauce=x", "unknown key 'models.tiny.start.sauce'"),
        ("models.tiny.retain.source=x", "unknown key 'models.tiny.retain'"),
        ("models.tiny.training.epochs=0", "models.tiny.training.epochs: Input should be greater"),
        ("models.tiny.loading.quantization=nf4", "models.tiny: .*loading.quantization is nf4"),
        ("models.tiny.loading.dtype=bfloat16", "loading.dtype is bfloat16: trained is in float32"),
    ],
)
def test_what_is_wrong_with_a_fine_tuned_model_is_said(
    setting: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match=says):
        reading.read(str(write_plan(tmp_path)), [setting])


def test_the_kind_of_a_model_is_known_by_its_table(tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    assert isinstance(reading.read(str(plan)).models["tiny"], FineTunedModel)
    text = plan.read_text(encoding="utf-8").replace("start = {", "base = {")
    text = re.sub(
        r"\[models.tiny.training\].*?\[methods.retrain\]", "[methods.none]", text, flags=re.S
    )
    plan.write_text(text, encoding="utf-8")
    assert isinstance(reading.read(str(plan)).models["tiny"], ExistingModel)


def test_allowed_checks_reach_a_fine_tuned_model(tmp_path: Path) -> None:
    model = reading.read(str(write_plan(tmp_path))).loaded_with(("end",), "auto").models["tiny"]
    assert isinstance(model, FineTunedModel)
    assert (model.loading.allow, model.loading.tokenizer) == (("end",), "auto")
