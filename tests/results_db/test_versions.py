"""Runs of different measurement versions share a file and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from results_db import read
from results_db.verify import verify
from tests.support.questions import FILLED, GIVEN, SEVERAL
from tests.support.results_rows import BENCHMARK, FINAL, publish_small

OLD = [("none", 0), ("retrain", 0), ("ga", 0), ("npo", 0)]
NEW = [("none", 0), ("retrain", 0), ("npo", 0), ("npo", 1)]


def publish(path: Path, version: int, runs: list[tuple[str, int]]) -> Path:
    for method, seed in runs:
        publish_small(
            path, f"{method}-{seed}-v{version}", method, seed, measurement=version,
            base_run_id=f"none-0-v{version}", retain_run_id=f"retrain-0-v{version}",
        )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file with runs of version 1, one with runs of version 2, one with both."""
    folder = tmp_path_factory.mktemp("versions")
    old = publish(folder / "old.duckdb", 1, OLD)
    new = publish(folder / "new.duckdb", 2, NEW)
    shutil.copy(old, folder / "both.duckdb")
    return {"old": old, "new": new, "both": publish(folder / "both.duckdb", 2, NEW)}


def ask(path: Path, name: str, measurement: int | None = None) -> pd.DataFrame:
    parameters = {key: GIVEN[key] for key in read.parameters_of(name)}
    return read.query(path, name, measurement=measurement, **parameters)


@pytest.mark.parametrize("name", [*SEVERAL, "choices"])
def test_a_question_sees_one_version_as_if_the_other_were_not_there(
    files: dict[str, Path], name: str
) -> None:
    """Every question about several runs: the newest by default, an older one when it is asked."""
    for version, alone in ((None, "new"), (2, "new"), (1, "old")):
        found, expected = ask(files["both"], name, version), ask(files[alone], name)
        if name == "choices":
            found, expected = (f[f["kind"] != "measurement"] for f in (found, expected))
        pd.testing.assert_frame_equal(
            found.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True
        )
        assert len(found) or name not in FILLED


def test_versions_of_a_file_are_counted(files: dict[str, Path]) -> None:
    found = read.query(files["both"], "measurements").to_dict("records")
    assert found == [
        {"benchmark": BENCHMARK, "measurement": 2, "runs": 4, "newest": True},
        {"benchmark": BENCHMARK, "measurement": 1, "runs": 4, "newest": False},
    ]
    choices = read.query(files["both"], "choices")
    assert sorted(choices.loc[choices["kind"] == "measurement", "name"]) == ["1", "2"]


def test_a_run_is_told_apart_from_those_of_its_own_version(files: dict[str, Path]) -> None:
    variants = read.query(files["both"], "run_variants")
    assert dict(zip(variants["run_id"], variants["variant"], strict=True)) == {
        "npo-0-v2": "seed=0", "npo-1-v2": "seed=1",
    }  # fmt: skip


def test_two_versions_are_not_compared(files: dict[str, Path]) -> None:
    def compared(first: str, second: str) -> int:
        rows = read.query(
            files["both"], "compared_metrics", first=first, second=second, first_step=FINAL,
            second_step=FINAL, attribution_method="leave_one_out", target="gold",
            answer_tokens="novel", minimum_nats=0.05,
        )  # fmt: skip
        return len(rows)

    assert compared("npo-0-v1", "npo-0-v2") == 0
    assert compared("npo-0-v2", "npo-1-v2") > 0
    warned = read.query(
        files["both"], "compared_conditions", first="npo-0-v1", second="npo-0-v2"
    )  # fmt: skip
    assert warned.iloc[0]["warning"] == "These runs differ in measurement version: 1 and 2."


def test_a_base_run_of_another_version_is_none(files: dict[str, Path], tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.duckdb"
    shutil.copy(files["old"], mixed)
    publish_small(
        mixed, "npo-9", "npo", 9, measurement=2, base_run_id="none-0-v1",
        retain_run_id="retrain-0-v1",
    )  # fmt: skip
    row = read.query(
        mixed, "verdict", benchmark=BENCHMARK, models=[], methods=[], max_effect=0.1,
        min_utility=0.9,
    ).iloc[0]  # fmt: skip
    assert (row.run_id, row.n, row.never_knew) == ("npo-9", 0, "absent")
    assert {p for p in verify(mixed) if "measurement" in p} == {
        "run npo-9: measurement version 2, its base run has 1",
        "run npo-9: measurement version 2, its retain run has 1",
    }


def test_a_version_that_the_spec_does_not_say_is_found(
    files: dict[str, Path], tmp_path: Path
) -> None:
    changed = tmp_path / "changed.duckdb"
    shutil.copy(files["new"], changed)
    with duckdb.connect(str(changed), config={"threads": 1}) as connection:
        spec = '{"model_name": "tiny", "measurement": 3}'
        connection.execute("UPDATE run SET spec = ? WHERE run_id = 'npo-1-v2'", [spec])
    assert "run npo-1-v2: measurement version 2, its spec says 3" in verify(changed)
