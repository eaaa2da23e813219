"""Multiple choice by lm-evaluation-harness itself, beside which ours is held.

Run where lm_eval 0.4.13 is installed, this writes tests/fixtures/harness_metrics.json:

    python -m tests.support.harness_metrics

The model is that of tests/support/field_metrics.py. The letter tasks include the harness's own
texts for WMDP and MMLU.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engine.benchmarks.benchmark import Benchmark, Listed
from results_db.records import Example
from tests.support.field_metrics import FIXTURES, benchmark, lm

EXPECTED = FIXTURES / "harness_metrics.json"
SUBJECT = "wmdp-bio"
ABOUT = "The following are multiple choice questions (with answers) about biology.\\n\\n"
PLAIN = """task: plain
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/plain.json}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
LETTERS = """include: TEMPLATE
task: NAME
description: "ABOUT"
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/listed.json, dev: FOLDER/dev.json}}
num_fewshot: SHOTS
"""
TEMPLATES = {"letters": ("wmdp", 0), "five": ("mmlu/default", 5)}


def asked() -> Benchmark:
    """140 questions of TOFU; those of general are listed too, the right option in any place."""
    of = benchmark()
    chosen = of.rows("forget", "retain", "general")
    listed = tuple(_listed(e, place) for place, e in enumerate(of.rows("general")))
    shots = tuple(replace(one, example_id="") for one in listed[:5])
    return Benchmark("tofu", chosen, (), listed=listed, shots=shots)


def _listed(example: Example, place: int) -> Listed:
    wrong, right = list(example.wrong_answers), place % 4
    options = (*wrong[:right], example.answer, *wrong[right:])
    return Listed(example.example_id, example.prompt, options, right, SUBJECT)


def _rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def _write(folder: Path, templates: Path) -> None:
    of, listed = asked(), [_row(one) for one in asked().listed]
    by_id = {one.example_id: one for one in of.listed}
    plain = [
        by_id.get(e.example_id)
        or Listed(e.example_id, e.prompt, (e.answer, *e.wrong_answers), 0, "")
        for e in of.examples
    ]
    _rows(folder / "plain.json", [_row(one) for one in plain])
    _rows(folder / "listed.json", listed)
    _rows(folder / "dev.json", listed[:5])
    (folder / "plain.yaml").write_text(PLAIN.replace("FOLDER", str(folder)), encoding="utf-8")
    for name, (template, shots) in TEMPLATES.items():
        text = LETTERS.replace("TEMPLATE", str(templates / template / "_default_template_yaml"))
        text = text.replace("NAME", name).replace("ABOUT", ABOUT).replace("SHOTS", str(shots))
        (folder / f"{name}.yaml").write_text(text.replace("FOLDER", str(folder)), encoding="utf-8")


def _row(one: Listed) -> dict[str, Any]:
    return {"id": one.example_id, "question": one.question, "choices": list(one.options),
            "answer": one.answer}  # fmt: skip


def main() -> None:
    """Write what the harness says of each question."""
    harness = importlib.import_module("lm_eval")
    models = importlib.import_module("lm_eval.models.huggingface")
    manager = importlib.import_module("lm_eval.tasks").TaskManager
    model = lm("base")
    wrapped = models.HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=4)
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, Path(harness.__file__).parent / "tasks")
        found = harness.simple_evaluate(
            model=wrapped, tasks=["plain", *TEMPLATES], bootstrap_iters=0, log_samples=True,
            task_manager=manager(include_path=str(folder), include_defaults=False),
        )  # fmt: skip
    written: dict[str, dict[str, float]] = {}
    for task, *metrics in (("plain", "acc", "acc_norm"), ("letters", "acc"), ("five", "acc")):
        for metric in metrics:
            rows = found["samples"][task]
            written[f"{task} {metric}"] = {r["doc"]["id"]: float(r[metric]) for r in rows}
    EXPECTED.write_text(json.dumps(written, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
