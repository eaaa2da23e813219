"""Parameters of every question about several runs of the small study; which of them have rows."""

from __future__ import annotations

from typing import Any

from results_db import read
from tests.support.results_rows import BENCHMARK, MODEL

GIVEN: dict[str, Any] = {
    "benchmark": BENCHMARK, "models": [], "methods": [], "model": MODEL, "split": "all",
    "search": "", "outcome": "all", "example_id": "f0a", "step": None,
    "attribution_method": "leave_one_out", "target": "gold", "answer_tokens": "novel",
    "minimum_nats": 0.05, "max_effect": 0.1, "min_utility": 0.9, "max_gap": 0.5, "limit": 1000,
    "minimum_drop": 0.05,
    "offset": 0, "strategy": "quote", "only_recovered": True, "only_run": None,
}  # fmt: skip
SEVERAL = [  # of those that name no run
    name
    for name in read.names()
    if "benchmark" in read.parameters_of(name) and "first" not in read.parameters_of(name)
]
FILLED = {"verdict", "overview", "recovery_rates", "effects", "effect_tests", "focus", "examples"}
