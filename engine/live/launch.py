"""The dashboard as a child process, with a study beside it if asked to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import duckdb

from engine.interrupt import kept_from_children
from engine.live.recorded import results_file
from engine.text.escapes import escaped
from results_db import read, store

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0


class DashboardError(RuntimeError):
    """The dashboard cannot be started."""


def dashboard(
    path: Path,
    host: str,
    port: int,
    plan: str | None,
    names: Sequence[str] = (),
    recorded: Sequence[Path] = (),
    *,
    trust_remote_code: bool = False,
) -> int:
    """Serve until interrupted; returns the exit status.

    Args:
        path: the results file; it need not exist yet.
        host: address to listen on.
        port: to listen on.
        plan: a study to run beside it, once the dashboard answers.
        names: by which it is reached, beside this machine's own: any other is refused.
        recorded: folders of recorded studies, each of which can be chosen beside the results file.
        trust_remote_code: the model host runs Python files where the plan of a run let them run.

    Raises:
        DashboardError: if the port is taken or the server does not come up.
        RecordedError, TransferError: for a recorded study that cannot be read.
    """
    _check_free(host, port)
    others = [results_file(study, path) for study in recorded]
    for file in (path, *others):
        _bring_up_to_date(file)
    with tempfile.TemporaryDirectory(prefix="unpact-") as private:
        settings = environment(path, Path(private), names, others)
        if trust_remote_code:
            settings["UNPACT_TRUST_REMOTE_CODE"] = "1"
        with kept_from_children():
            server = subprocess.Popen(command(host, port), cwd=ROOT, env=settings)
        return _serve_until_it_ends(server, path, host, port, plan)


def _serve_until_it_ends(
    server: subprocess.Popen[bytes], path: Path, host: str, port: int, plan: str | None
) -> int:
    children = [server]
    try:
        wait_until_up(server, host, port)
        print(f"Dashboard: http://{_shown(host)}:{port}  (Ctrl-C ends it)", flush=True)
        if plan is not None:
            study = [sys.executable, "-m", "engine", "run", plan, "--db", str(path)]
            with kept_from_children():
                children.append(subprocess.Popen(study))
        return server.wait()
    finally:
        end(children)


def _bring_up_to_date(path: Path) -> None:
    """Compute the summaries that another version left once, so that not every question has to."""
    try:
        if not path.exists():
            return
        if read.is_of_older_schema(path):
            print(
                f"{path} is of an older schema: pages read a copy that is made once; "
                "`unpact db upgrade` writes one that stays",
                flush=True,
            )
            return
        if read.is_up_to_date(path):
            return
        print(f"{path}: another unPact made its summaries; computing them anew, once", flush=True)
        store.create(path)
    except (OSError, duckdb.Error) as error:
        said = str(error).splitlines()[0]
        print(
            f"{escaped(said)}; every page computes its summaries anew, which may be slow",
            flush=True,
        )
    except ValueError:
        pass  # of another schema, or damaged: the pages say so


def _check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = f"{host}:{port}: {error.strerror}"
            raise DashboardError(f"cannot listen on {reason}; choose another --port") from error


def command(host: str, port: int) -> list[str]:
    """Command line of the server."""
    options = {"server.address": host, "server.port": str(port), "server.headless": "true"}
    flags = [f"--{key}={value}" for key, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard" / "server.py"), *flags]


def environment(
    path: Path, private: Path, names: Sequence[str] = (), others: Sequence[Path] = ()
) -> dict[str, str]:
    """What the server reads: see dashboard/door.py and dashboard/rows/live.py.

    Args:
        path: the results file.
        private: folder in which the model host, once a page needs one, leaves address and token.
        names: by which the server is reached, beside this machine's own.
        others: results files that can be chosen; the first of them is shown first.
    """
    return {
        **os.environ,
        "UNPACT_DB": str(path),
        "UNPACT_RECORDED": os.pathsep.join(map(str, others)),
        "UNPACT_HOST_FILE": str(private / "host.json"),
        "UNPACT_DASHBOARD_PARENT": str(os.getpid()),
        "UNPACT_DASHBOARD_NAMES": ",".join(names),
    }


def wait_until_up(server: subprocess.Popen[bytes], host: str, port: int) -> None:
    """Return once the server answers.

    Raises:
        DashboardError: it ended, or does not answer.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise DashboardError(f"the dashboard ended at once with status {server.returncode}")
        try:
            with urllib.request.urlopen(f"http://{_shown(host)}:{port}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise DashboardError(f"the dashboard did not answer within {START_SECONDS:.0f} s")


def _shown(host: str) -> str:
    return "localhost" if host in ("127.0.0.1", "0.0.0.0", "") else host


def end(children: list[subprocess.Popen[bytes]]) -> None:
    """Stop processes, and wait until they are gone."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
