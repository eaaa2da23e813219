"""A results file that another program holds never ends a study."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine.study import loop
from results_db import store
from results_db.fault import HOLDER
from tests.support.results_rows import publish_all
from tests.support.stored import whole


def test_what_is_read_first_is_waited_for_and_the_holder_is_named_once(tmp_path: Path) -> None:
    file, said = publish_all(tmp_path / "results.duckdb", [whole()]), list[str]()
    command = [sys.executable, "-c", HOLDER, str(file), "1.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        found = loop.patiently(lambda: store.finished_runs(file, 0.1), said.append)
    assert found == {"ga"}
    assert len(said) == 1
    assert f"PID {holder.pid}" in said[0]
