"""Tasks of lm-evaluation-harness by the harness itself, where it is installed."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.audit import field
from engine.benchmarks.benchmark import Benchmark
from engine.errors import PlanError
from engine.plans import reading
from engine.tasks import lm_eval, planned
from engine.tasks.subject import Subject
from results_db import read
from results_db.records import Utility
from tests.support.program import PLAN
from tests.support.results_rows import (
    BENCHMARK,
    FINAL,
    MODEL,
    make_example,
    make_result,
    make_run,
    publish_all,
)
from tests.support.tiny_models import tiny_lm

IS_INSTALLED = importlib.util.find_spec("lm_eval") is not None
needs_harness = pytest.mark.skipif(
    not IS_INSTALLED, reason="lm-eval is not installed: pip install -r requirements-lm-eval.txt"
)
TASK = """task: NAME
dataset_path: json
dataset_kwargs: {data_files: {test: PLACE}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
CHOICES = ("blue", "a long grey coat", "no")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks: one of ten questions, and one whose data are not there."""
    rows = [
        {"question": f"What has number {i}?", "choices": CHOICES, "answer": i % 3}
        for i in range(10)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    for name, place in (("numbers", data), ("lost", tmp_path / "gone.jsonl")):
        text = TASK.replace("NAME", name).replace("PLACE", str(place))
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def measured(name: str, folder: Path, **more: object) -> list[Utility]:
    task = planned(f"lm_eval:{name}", {"folder": str(folder), **more})
    subject = Subject(tiny_lm("llama"), Benchmark("people", (), ()), ("r", 0), 2048, ())
    return list(task.measure(subject))


def by_hand(row: int) -> tuple[float, float]:
    """Σ log p of each option behind the question, in one pass an option: acc and acc_norm."""
    lm, sums = tiny_lm("llama"), []
    context = lm.tokenizer(f"Question: What has number {row}?\nAnswer:")["input_ids"]
    for choice in CHOICES:
        whole = lm.tokenizer(f"Question: What has number {row}?\nAnswer: {choice}")["input_ids"]
        with torch.no_grad():
            logprobs = lm.model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
        sums.append(sum(logprobs[i - 1, whole[i]].item() for i in range(len(context), len(whole))))
    scaled = [value / len(choice) for value, choice in zip(sums, CHOICES, strict=True)]
    return float(sums.index(max(sums)) == row % 3), float(scaled.index(max(scaled)) == row % 3)


@needs_harness
def test_every_document_is_a_row_with_the_harnesss_own_metrics(folder: Path) -> None:
    rows = measured("numbers", folder)
    found = {(row.metric, row.example_id): row.value for row in rows}
    for i in range(10):
        acc, norm = by_hand(i)
        assert found["acc", f"numbers/{i}"] == acc
        assert found["acc_norm", f"numbers/{i}"] == norm
    assert len(rows) == 20
    assert {(row.task, row.unit, row.higher_is_better) for row in rows} == {
        ("lm_eval:numbers", "fraction", True)
    }
    assert {row.example_id for row in measured("numbers", folder, limit=4)} == {
        f"numbers/{i}" for i in range(4)
    }


@needs_harness
def test_weights_and_draws_are_as_they_were(folder: Path) -> None:
    lm = tiny_lm("llama")
    before = {name: weight.clone() for name, weight in lm.model.state_dict().items()}
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    pad = lm.tokenizer.pad_token
    measured("numbers", folder)
    assert torch.equal(torch.rand(3), wanted)
    assert all(torch.equal(before[n], weight) for n, weight in lm.model.state_dict().items())
    assert lm.tokenizer.pad_token == pad
    assert "tie_weights" not in vars(lm.model)


@needs_harness
def test_data_that_are_not_at_hand_are_one_row_without_a_value(folder: Path) -> None:
    (row,) = measured("lost", folder)
    assert (row.value, row.example_id) == (None, None)
    assert row.reason is not None
    assert row.reason.startswith("its data are not at hand: ")
    assert "\n" not in row.reason
    (public,) = measured("arc_easy", folder)
    assert str(public.reason).startswith("its data are not at hand: ")


@needs_harness
def test_a_plan_names_a_task_that_there_is(folder: Path) -> None:
    settings = [f"probe.tasks.lm_eval:numbers.folder={folder}"]
    plan = reading.read(str(PLAN), settings)
    assert plan.probe.tasks["lm_eval:numbers"] == {
        "folder": str(folder), "limit": None, "num_fewshot": None
    }  # fmt: skip
    with pytest.raises(PlanError, match=r"lm-eval has no task 'numbrs' \(did you mean 'numbers'\?"):
        reading.read(str(PLAN), [f"probe.tasks.lm_eval:numbrs.folder={folder}"])
    with pytest.raises(PlanError, match="no folder there"):
        reading.read(str(PLAN), [f"probe.tasks.lm_eval:numbers.folder={folder / 'no'}"])


@pytest.mark.skipif(IS_INSTALLED, reason="lm-eval is installed here")
def test_without_the_harness_one_line_says_what_to_install() -> None:
    with pytest.raises(PlanError) as caught:
        reading.read(str(PLAN), ["probe.tasks.lm_eval:arc_easy={}"])
    said = str(caught.value)
    assert "probe.tasks.lm_eval:arc_easy: lm-eval is not installed: pip install" in said
    assert "unpact[lm-eval]" in said
    assert "\n" not in said


def test_a_name_behind_a_colon_is_of_the_harness_alone() -> None:
    with pytest.raises(PlanError, match="write lm_eval:NAME"):
        reading.read(str(PLAN), ["probe.tasks.lm_eval={}"])
    with pytest.raises(PlanError, match="this task has no names behind a colon, drop 'x'"):
        reading.read(str(PLAN), ["probe.tasks.min_k:x={}"])


def test_pinned_everywhere_alike() -> None:
    root = Path(lm_eval.__file__).resolve().parents[2]
    wanted = f"lm-eval=={lm_eval.PINNED}"
    assert wanted in (root / "requirements-lm-eval.txt").read_text(encoding="utf-8").split()
    assert f'lm-eval = ["{wanted}"]' in (root / "pyproject.toml").read_text(encoding="utf-8")


def test_documents_are_averaged_each_a_group_of_its_own_and_shown(tmp_path: Path) -> None:
    task = "lm_eval:numbers"

    def row(run: str, step: int, number: int, value: float) -> Utility:
        return Utility(run, step, task, "acc", f"numbers/{number}", value, "fraction", True, None)

    examples = [make_example("f0")]
    results = []
    for run, method, step, right in (("base", "none", 0, 3), ("ga", "ga", FINAL, 1)):
        made = make_result(make_run(run, method), examples, {step: {}})
        rows = tuple(row(run, step, i, float(i < right)) for i in range(4))
        results.append(replace(made, utilities=rows))
    path = publish_all(tmp_path / "r.duckdb", results)
    of = {"benchmark": BENCHMARK, "models": [], "methods": []}
    (found,) = (
        read.query(path, "metrics", **of).query("run_id == 'ga' and task == @task").itertuples()
    )
    assert (found.value, found.base_value, found.drift) == (0.25, 0.75, -0.5)
    assert (found.n, found.groups, found.split) == (4, 4, "")
    assert found.low < 0.25 < found.high
    metrics = field.measured(path, BENCHMARK, MODEL, [task], {"base": "none", "ga": "ga"})
    assert metrics is not None
    assert metrics.beside("ga")["lm_eval:numbers acc"] == 0.25
    columns, cells = next(metrics.tables({"base": "base", "ga": "1"}, {"ga": "holds"}))
    assert cells[0] == ("lm_eval:numbers acc", "lm-eval", "4", "0.7500", "0.2500")
    assert columns[-1] == "1"
