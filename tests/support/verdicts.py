"""A run whose verdict follows from a few counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from results_db import read
from results_db.records import Example, ModelCheck, RunResult, Split
from tests.support.results_rows import (
    FINAL,
    attempt,
    make_example,
    make_result,
    make_run,
    publish_all,
)


def questions(split: Split, count: int) -> list[Example]:
    """As many examples of a split, each a group of its own."""
    return [make_example(f"{split[0]}{i}", split) for i in range(count)]


def study(path: Path, groups: int, *, method: str = "ga", recovered: int = 0, placebo: int = 0,
          lost: int = 0, nll_shift: float = 0.0, general: bool = True, texts: bool = True,
          forget_groups: int | None = None, tries: bool = True,
          checks: tuple[ModelCheck, ...] = ()) -> dict[str, Any]:  # fmt: skip
    """The verdict of a run that recovers (by emphasis, by placebo) and loses so many groups."""
    forget = questions("forget", forget_groups or groups)
    rest = [*questions("retain", groups), *(questions("general", groups) if general else [])]
    plain = [make_example(f"t{i}", "general") for i in range(groups if texts else 0)]
    base_answers = {e.example_id: True for e in [*forget, *rest]}
    answers = {
        e.example_id: e.split != "forget" and int(e.example_id[1:]) >= lost
        for e in [*forget, *rest]
    }
    recoveries = [
        attempt("ga", e.example_id, "quote", arm, int(e.example_id[1:]) < count)
        for e in forget for arm, count in (("treatment", recovered), ("placebo_same", placebo))
    ]  # fmt: skip
    results: list[RunResult] = [
        make_result(
            make_run("base", "none"), [*forget, *rest, *plain], {0: base_answers},
            nll={0: {e.example_id: 2.0 for e in plain}},
        ),
        make_result(
            make_run("ga", method), [*forget, *rest, *plain], {FINAL: answers},
            nll={FINAL: {e.example_id: 2.0 + nll_shift for e in plain}},
            recoveries=recoveries if tries else [],
        ),
    ]  # fmt: skip
    checked = [
        replace(result, checks=tuple(one for one in checks if one.run_id == result.run.run_id))
        for result in results
    ]
    publish_all(path, checked)
    return verdict(path)


def verdict(path: Path, max_effect: float = 0.1, min_utility: float = 0.9) -> dict[str, Any]:
    """The one verdict of a file, by these thresholds."""
    rows = read.query(
        path, "verdict", benchmark="people", models=[], methods=[], max_effect=max_effect,
        min_utility=min_utility,
    )  # fmt: skip
    (row,) = rows.to_dict("records")
    return {str(key): value for key, value in row.items()}
