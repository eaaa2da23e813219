"""Evaluations in open-unlearning's form, and a small run that has its metrics."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from results_db.records import Example, Utility
from tests.support.results_rows import FINAL, make_example, make_result, make_run, publish_all

LIKELY = {f"forget01-a00-q0{i}": 0.1 * (i + 1) for i in range(4)}
NAMED = {  # task, metric -> value of each example
    ("open_unlearning", "probability_ou"): {
        **LIKELY, "retain-a01-q02": 0.5, "real_authors-q007": 0.6, "world_facts-q003": 0.7,
    },
    ("open_unlearning", "truth_ratio_ou"): {
        "forget01-a00-q00": 0.5, "forget01-a00-q01": 4.0, "forget01-a00-q02": 1.0,
        "retain-a01-q02": 0.25, "real_authors-q007": 3.0,
    },
    ("paraphrases", "probability_paraphrased_answer_ou"): {
        "forget01-a00-q00": 0.3, "retain-a01-q02": 0.2,
    },
    ("open_unlearning", "probability_w_options_ou"): {"real_authors-q007": 0.9},
    ("open_unlearning", "rouge_l_recall"): {"forget01-a00-q00": 0.3, "forget01-a00-q01": 0.5},
    ("open_unlearning", "rouge_1_recall"): {"forget01-a00-q00": 0.4, "forget01-a00-q01": 0.6},
    ("open_unlearning", "extraction_strength_ou"): {"forget01-a00-q00": 0.2},
    ("extraction_strength_from_zero", "fraction"): {"forget01-a00-q00": 0.0},
    ("exact_memorization", "fraction"): {"forget01-a00-q00": 0.8},
    ("membership", "mia_loss_ou"): {
        "forget01-a00-q00": 1.0, "forget01-a00-q01": 3.0, "holdout01-a00-q00": 2.0,
        "holdout01-a00-q01": 4.0,
    },
}  # fmt: skip


def examples() -> list[Example]:
    """A few rows of each of TOFU's tables."""
    named = dict.fromkeys(name for values in NAMED.values() for name in values)
    return [_example(name) for name in named]


def _example(name: str) -> Example:
    table = name.partition("-")[0]
    split = {"forget01": "forget", "holdout01": "holdout", "retain": "retain"}.get(table, "general")
    made = make_example(name, split, name)  # type: ignore[arg-type]
    attribute = table if split == "general" else "what"
    return replace(made, benchmark="tofu", attribute=attribute)


def publish_run(path: Path, *, without: Sequence[tuple[str, str]] = ()) -> Path:
    """A base model and a run `ga` on TOFU, with the values above; `without`: metrics it lacks."""
    results = []
    for run_id, method, step in (("base", "none", 0), ("ga", "ga", FINAL)):
        run = replace(make_run(run_id, method), benchmark="tofu", retain_run_id=None)
        rows = tuple(
            Utility(run_id, step, task, metric, example, value, "fraction", True, None)
            for (task, metric), values in NAMED.items()
            if (task, metric) not in without
            for example, value in values.items()
        )
        results.append(replace(make_result(run, examples(), {step: {}}), utilities=rows))
    return publish_all(path, results)


def evaluation() -> dict[str, Any]:
    """One of each form of metric, as open-unlearning writes them."""
    return {
        "forget_Q_A_Prob": _likely({0: 0.2, 1: 0.3}),
        "forget_Q_A_PERT_Prob": {
            "agg_value": 0.25,
            "value_by_index": {
                "0": {"prob": [0.1, 0.2], "avg_loss": [2.3, 1.6]},
                "1": {"prob": [0.3, 0.4], "avg_loss": [1.2, 0.9]},
            },
        },
        "forget_Q_A_ROUGE": {
            "agg_value": 0.5,
            "value_by_index": {
                "0": {
                    "rouge1_recall": 0.6, "rougeL_f1": 0.4, "rougeL_recall": 0.5,
                    "input": "Where does F0 live?", "ground_truth": "In Rome.",
                    "generation": "Rome",
                },
            },
        },
        "forget_quality": {"agg_value": None},
        "forget_truth_ratio": {"agg_value": 0.5, "value_by_index": {"0": {"score": 2.0}}},
        "mia_loss": {
            "agg_value": 1.0,
            "auc": 1.0,
            "forget": {"agg_value": 1.5, "value_by_index": {"0": {"score": 1.5}}},
            "holdout": {"agg_value": 2.5, "value_by_index": {"0": {"score": 2.5}}},
        },
        "model_utility": {"agg_value": 0.6287},
    }  # fmt: skip


def _likely(values: Mapping[int, float]) -> dict[str, Any]:
    rows = {str(i): {"prob": v, "avg_loss": -math.log(v)} for i, v in values.items()}
    return {"agg_value": sum(values.values()) / len(values), "value_by_index": rows}


def summary(document: Mapping[str, Any]) -> dict[str, float]:
    """The summary that open-unlearning writes beside an evaluation."""
    found = {
        name: held["agg_value"]
        for name, held in document.items()
        if not name.startswith(("retain_", "ra_", "wf_", "forget_Q_A_PARA", "forget_Q_A_PERT"))
    }
    return {name: value for name, value in found.items() if value is not None}


def write_evaluation(
    folder: Path, document: Mapping[str, Any] | None = None, *, name: str = "TOFU_EVAL.json"
) -> Path:
    """Write an evaluation into a folder, made if missing; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation() if document is None else document, indent=4)
    (folder / name).write_text(text, encoding="utf-8")
    return folder
