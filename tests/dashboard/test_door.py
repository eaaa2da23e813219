"""By which names the dashboard's server answers, on one interface and on all of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from streamlit import config

from dashboard import door


@pytest.fixture
def bound() -> Iterator[None]:
    """What the server listens on is as before afterwards."""
    before = config.get_option("server.address")
    yield
    config.set_option("server.address", before)


@pytest.mark.parametrize(
    ("address", "host", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8501", 200),
        ("127.0.0.1", "[::1]:8501", 200),
        ("127.0.0.1", "LOCALHOST", 200),
        ("127.0.0.1", "10.0.0.7:8501", 403),
        ("127.0.0.1", "localhost.rebound.example", 403),
        ("127.0.0.1", "user@rebound.example", 403),
        ("127.0.0.1", "", 403),
        ("10.0.0.7", "10.0.0.7:8501", 200),
        ("10.0.0.7", "10.0.0.8:8501", 403),
        ("0.0.0.0", "10.0.0.8:8501", 200),
        ("0.0.0.0", "[fe80::1]:8501", 200),
        ("0.0.0.0", socket.gethostname(), 200),
        ("0.0.0.0", "rebound.example", 403),
        ("0.0.0.0", "dash.example", 200),
    ],
)
@pytest.mark.usefixtures("bound")
def test_a_name_that_is_not_the_servers_own_is_refused(
    address: str, host: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.set_option("server.address", address)
    monkeypatch.setenv(door.NAMES, "dash.example, other.example")
    client = TestClient(door.Door(PlainTextResponse("let in")))
    assert client.get("/", headers={"Host": host}).status_code == status
    asked = {"Host": "localhost", "Origin": f"http://{host}"}
    assert client.get("/", headers=asked).status_code == status
