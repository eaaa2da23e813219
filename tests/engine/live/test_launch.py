"""What is done before the dashboard's server starts."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.live import launch
from results_db import read, store
from results_db.durable import NotWritableError
from results_db.guard import writing
from tests.support import results_rows
from tests.support.program import ROOT
from tests.support.servers import free_port


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A results file whose summaries another version made."""
    path = tmp_path / "older.duckdb"
    store.create(path)
    results_rows.small_study(path)
    with writing(path) as connection:
        connection.execute("UPDATE meta SET macros = 'older'; DELETE FROM run_effect")
    return path


def test_summaries_of_another_version_are_made_anew_once(
    older: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not read.is_up_to_date(older)
    launch._bring_up_to_date(older)
    assert read.is_up_to_date(older)
    assert "another unPact made its summaries" in capsys.readouterr().out
    with writing(older) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM run_effect").fetchall() == [(True,)]
    launch._bring_up_to_date(older)
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_written_is_shown_as_it_is(
    older: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        raise NotWritableError(f"{path.parent}: nothing can be written there")

    monkeypatch.setattr(launch.store, "create", refuse)
    launch._bring_up_to_date(older)
    assert "nothing can be written there; every page computes" in capsys.readouterr().out
    assert not read.is_up_to_date(older)


@pytest.mark.parametrize("content", [None, b"", b"no database at all"])
def test_no_file_and_no_results_file_are_left_to_the_pages(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.duckdb"
    if content is not None:
        path.write_bytes(content)
    launch._bring_up_to_date(path)
    assert capsys.readouterr().out == ""
    assert (path.read_bytes() if path.exists() else None) == content


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """`unpact dashboard` on a port of its own, and the folder of its temporary files."""
    port, private = free_port(), tmp_path / "tmp"
    private.mkdir()
    command = [sys.executable, "-m", "engine", "dashboard", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--db", str(tmp_path / "none.duckdb"), "--name", "dash.example"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(private)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert any(line.startswith("Dashboard: ") for line in process.stdout)
    yield process, port, private
    process.kill()
    process.wait()
    process.stdout.close()


def asked(port: int, host: str, origin: str | None, *, stream: bool) -> int:
    """Status that the server gives to a page, or to the connection that its script opens."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Host": host, **({} if origin is None else {"Origin": origin})}
    if stream:
        headers |= {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Protocol": "streamlit",
        }
    line.request("GET", "/_stcore/stream" if stream else "/", headers=headers)
    status = line.getresponse().status
    line.close()
    return status


def test_a_dashboard_answers_by_its_own_names_alone_and_ends_with_its_parent(
    opened: tuple[subprocess.Popen[str], int, Path],
) -> None:
    process, port, private = opened
    for host in ("127.0.0.1", "localhost", "dash.example", "DASH.example"):
        here = f"{host}:{port}"
        assert asked(port, here, None, stream=False) == 200
        assert asked(port, here, f"http://{here}", stream=True) == 101
    foreign = f"rebound.example:{port}"
    for host, origin in (
        (foreign, f"http://{foreign}"),
        (f"localhost:{port}", f"http://{foreign}"),
        (foreign, None),
        (f"localhost:{port}", "null"),
        ("127.0.0.1.rebound.example", None),
        ("192.168.7.7", None),
        ("[::1", None),
    ):
        assert asked(port, host, origin, stream=True) == 403
        assert asked(port, host, origin, stream=False) == 403
    assert [path.name.startswith("unpact-") for path in private.iterdir()] == [True]
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 30
    while (is_up(port) or list(private.iterdir())) and time.monotonic() < end:
        time.sleep(0.2)
    assert not is_up(port)
    assert list(private.iterdir()) == []


def is_up(port: int) -> bool:
    """Whether somebody listens on a port."""
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0
