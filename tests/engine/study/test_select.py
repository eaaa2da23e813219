"""Settings are chosen by the declared rule, from every combination of a grid."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine import plugins
from engine.errors import PlanError
from engine.plans import reading
from engine.plugins import UnknownNameError
from engine.study import cache, select
from engine.study.select import Measured
from results_db import durable
from tests.support.program import PLAN, ROOT, TinyStudy, unpact
from tests.support.stored import rows


def measured(step: int, forget: float, retain: float | None, method: str = "ga") -> Measured:
    settings: dict[str, Any] = {"optimizer": {"learning_rate": 1e-4, "max_steps": step}}
    return Measured(
        "bios-qa", "m", method, settings, step, forget, retain, eligible=retain is not None
    )


def test_every_combination_is_tried_in_the_grids_order() -> None:
    table = {"alpha": [1.0, 5.0], "optimizer": {"learning_rate": [1e-4, 2e-4], "max_steps": 8}}
    tried = list(select.combinations(table))
    assert [(t["alpha"], t["optimizer"]["learning_rate"]) for t in tried] == [
        (1.0, 1e-4), (1.0, 2e-4), (5.0, 1e-4), (5.0, 2e-4),
    ]  # fmt: skip
    assert {t["optimizer"]["max_steps"] for t in tried} == {8}


def test_retain_decides_among_those_that_forget_enough() -> None:
    high_forget, best = measured(4, 0.5, None), measured(8, 0.10, 0.9)
    assert select.choose([high_forget, measured(6, 0.0, 0.8), best]) is best


def test_ties_go_to_the_lower_forget_rate_then_to_fewer_steps() -> None:
    best = measured(8, 0.05, 0.9)
    assert select.choose([measured(4, 0.08, 0.9), measured(12, 0.05, 0.9), best]) is best


def test_where_nothing_forgets_enough_the_lowest_is_taken_and_marked() -> None:
    best = measured(12, 0.4, None)
    assert select.choose([measured(4, 0.7, None), best]) is best
    assert "no candidate forgot enough" in select.chosen_toml([best])


def test_nothing_measured_is_said() -> None:
    with pytest.raises(PlanError, match="all of them diverged"):
        select.choose([])


def test_the_printed_blocks_are_toml_with_a_sham_beside_npo_gdr() -> None:
    text = select.chosen_toml([measured(8, 0.1, 0.9), measured(6, 0.1, 0.9, "npo_gdr")])
    (block,) = tomllib.loads(text)["chosen"]
    assert block["methods"]["ga"]["optimizer"]["max_steps"] == 8
    assert block["methods"]["sham"] == block["methods"]["npo_gdr"]


@pytest.mark.parametrize("name", ["bois", "nowhere.toml"])
def test_a_wrong_grid_is_said(name: str) -> None:
    with pytest.raises((UnknownNameError, PlanError)):
        select.read_grid(name)


def test_shipped_grids_fit_the_methods() -> None:
    for path in select.GRIDS.glob("*.toml"):
        for method, tables in select.read_grid(path.stem).items():
            family = plugins.load("unlearning_methods", method).Method
            values = [{k: v for k, v in table.items() if k != "every"} for table in tables]
            every = [one for table in values for one in select.combinations(table)]
            tried = [plugins.settings(family, one, method) for one in every]
            assert len(set(tried)) == len(tried) > 1


def test_a_selection_prints_settings_that_a_plan_takes(
    tiny_study: TinyStudy, tmp_path: Path
) -> None:
    grid, table = tmp_path / "grid.toml", tmp_path / "candidates.csv"
    grid.write_text(
        "[ga]\nevery = 2\noptimizer.max_steps = 6\noptimizer.learning_rate = [1e-4, 1e-3]\n"
        "[task_vector]\nevery = 1\nalpha = 4.0\npoints = 2\noptimizer.max_steps = 4\n",
        encoding="utf-8",
    )
    done = unpact("select", PLAN, "--grid", grid, "--cache", tiny_study.cache, "--table", table)
    assert done.returncode == 0, done.stderr
    listed = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["method"] for row in listed] == ["ga", "ga", "task_vector"]
    for row in listed:
        assert (row["eligible"] == "True") == (float(row["forget"]) <= 0.1) == bool(row["retain"])
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN.read_text(encoding="utf-8") + "\n" + done.stdout, encoding="utf-8")
    chosen = reading.read(str(plan)).run_of("bios-qa", "llama-tiny", "ga").settings
    assert chosen["optimizer"]["max_steps"] in {2, 4, 6}


def test_a_model_that_is_not_trained_is_said(tmp_path: Path) -> None:
    done = unpact("select", PLAN, "--grid", "bios", "--cache", tmp_path)
    assert done.returncode == 2
    assert "not trained yet" in done.stderr


MADE_ELSEWHERE = """
name = "elsewhere"
description = "A model that was made elsewhere"
seed = 0
[benchmarks.bios-qa]
settings = {settings}
[models.theirs]
base.source = "{folder}"
[methods.none]
[methods.ga]
[probe]
attribute = 6
trajectory_strategy = "quote"
[probe.attribution.leave_one_out]
[probe.recovery.quote]
"""


def test_settings_are_chosen_on_what_a_model_made_elsewhere_knows(
    tiny_study: TinyStudy, tmp_path: Path
) -> None:
    """A step that changes nothing leaves all that counts right, and only that is asked."""
    model = next((tiny_study.cache / "models").glob("*-base-*"))
    bench = reading.read(str(PLAN)).run_of("bios-qa", "llama-tiny", "none").benchmark
    settings = "{ " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in bench.settings.items()) + " }"
    plan, grid, table = (tmp_path / name for name in ("plan.toml", "grid.toml", "table.csv"))
    plan.write_text(MADE_ELSEWHERE.format(settings=settings, folder=model), encoding="utf-8")
    grid.write_text(
        "[ga]\nevery = 1\noptimizer = { max_steps = 1, learning_rate = [1e-12, 5e-2] }\n",
        encoding="utf-8",
    )
    command = ("select", plan, "--grid", grid, "--cache", tmp_path / "cache", "--table", table)
    done = unpact(*command)
    assert done.returncode == 0, done.stderr
    (known,) = (tmp_path / "cache" / cache.KNOWN).glob("*.json")
    ids = durable.read_json(known)
    right = rows(
        tiny_study.database,
        "SELECT example_id FROM answer JOIN run USING (run_id) WHERE method = 'none' AND correct",
    )
    assert {split: len(of) for split, of in ids.items()} == {"forget": 6, "retain": 6}
    assert {(one,) for of in ids.values() for one in of} <= set(right)
    still, gone = csv.DictReader(table.open(encoding="utf-8"))
    assert (float(still["forget"]), still["retain"]) == (1.0, "")
    assert float(gone["forget"]) < 1.0
    written = known.read_bytes()
    known.write_bytes(written[:-9])
    again = unpact(*command)
    assert again.returncode == 0, again.stderr
    assert "it is measured again" in again.stderr
    assert known.read_bytes() == written


def test_a_finished_candidate_is_not_tried_again(tiny_study: TinyStudy, tmp_path: Path) -> None:
    grid, table = tmp_path / "grid.toml", tmp_path / "table.csv"
    grid.write_text("[ga]\nevery = 1\noptimizer = { max_steps = 1, learning_rate = [1e-12] }\n")
    store, folder = tiny_study.cache, tiny_study.cache / cache.TRIED
    command = ("select", PLAN, "--grid", grid, "--cache", store, "--table", table)
    before = set(folder.glob("*/*.json"))
    assert unpact(*command).returncode == 0
    (note,) = set(folder.glob("*/*.json")) - before
    noted = durable.read_json(note)
    assert noted["steps"][0]["forget"] > 0.5
    noted["steps"][0]["forget"] = 0.125
    durable.write_json(note, noted)
    assert unpact(*command).returncode == 0
    (taken,) = csv.DictReader(table.open(encoding="utf-8"))
    assert taken["forget"] == "0.125"
    note.write_bytes(note.read_bytes()[:-5])
    again = unpact(*command)
    assert "it is measured again" in again.stderr
    (measured_again,) = csv.DictReader(table.open(encoding="utf-8"))
    assert float(measured_again["forget"]) > 0.5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_selection_at_once(
    tiny_study: TinyStudy, tmp_path: Path, number: int
) -> None:
    """While a candidate is at work that would take days."""
    grid, store = tmp_path / "grid.toml", tmp_path / "cache"
    grid.write_text("[ga]\nevery = 10000000\noptimizer.max_steps = 10000000\n")
    shutil.copytree(tiny_study.cache / "models", store / "models")
    command = [sys.executable, "-m", "engine", "select", str(PLAN), "--grid", str(grid)]
    process = subprocess.Popen(
        [*command, "--cache", str(store), "--workers", "1"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not list(store.glob(f"{cache.KNOWN}/*.json")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    said, errors = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "")
    assert errors.splitlines()[-1].startswith("unpact: interrupted")
    assert "Traceback" not in errors
