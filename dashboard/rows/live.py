"""Client of the model host: another process, which this one starts when it first needs it.

The host's address and token stand in a private file, $UNPACT_HOST_FILE where `unpact dashboard` is
the one who started this server. The models, and torch, stay in the other process.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dashboard.rows import data

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "http://127.0.0.1:"  # the token is sent nowhere else
START_SECONDS = 90.0  # the first import of torch from a cold disk takes most of it
HEALTH_SECONDS = 3.0
ANSWER_SECONDS = 180.0
Document = dict[str, Any]

_starting = threading.Lock()
# a proxy of the environment must not get to see what is meant for this machine
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class HostError(RuntimeError):
    """The model host could not be started or could not answer; one line says why."""


@dataclass(frozen=True)
class Address:
    """Where the host listens, and what it lets in."""

    url: str
    token: str


def probe(run_ids: Sequence[str], prompt: str, answer: str | None, attribution: str) -> Document:
    """Answers and contributions; see engine/live/host.py. Starts the host if none is up.

    Raises:
        HostError: in one line.
    """
    body = {"prompt": prompt, "answer": answer, "attribution": attribution}
    return _call(_started(), "/probe", {"models": list(run_ids), **body})


def emphasise(
    run_ids: Sequence[str], prompt: str, answer: str, words: Sequence[str], strategy: str
) -> Document:
    """Answers to the prompt with words emphasised, and to its placebo.

    Raises:
        HostError: in one line.
    """
    body = {"prompt": prompt, "answer": answer, "words": list(words), "strategy": strategy}
    return _call(_started(), "/emphasise", {"models": list(run_ids), **body})


def health() -> Document | None:
    """What the host says of itself; None where none is up."""
    address = _address()
    if address is None:
        return None
    try:
        return _call(address, "/health", None, HEALTH_SECONDS)
    except HostError:
        return None


def unload() -> None:
    """Have the host give its models' memory back.

    Raises:
        HostError: in one line.
    """
    address = _address()
    if address is not None:
        _call(address, "/unload", {})


def host_file() -> Path:
    """Where the host writes its address and token."""
    named = os.environ.get("UNPACT_HOST_FILE")
    return Path(named) if named else _private_folder() / "host.json"


@cache
def _private_folder() -> Path:
    """A folder that only this user can look into, for as long as this server runs."""
    folder = tempfile.mkdtemp(prefix="unpact-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _address() -> Address | None:
    try:
        document = json.loads(host_file().read_text(encoding="utf-8"))
        address = Address(str(document["url"]), str(document["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address if address.url.startswith(LOOPBACK) else None


def _started() -> Address:
    """The address of a host that answers and serves this results file."""
    with _starting:
        if health() is None:
            _start()
        found, address = health(), _address()
    if found is None or address is None:
        raise HostError("the model host ended; try again")
    if found["database"] != str(data.database()):
        raise HostError(f"the model host serves another results file: {found['database']}")
    return address


def _start() -> None:
    command = [
        sys.executable, "-m", "engine", "serve", "--db", str(data.database()),
        "--token-file", str(host_file()), "--parent", str(os.getpid()),
    ]  # fmt: skip
    if os.environ.get("UNPACT_TRUST_REMOTE_CODE") == "1":
        command.append("--trust-remote-code")
    log = host_file().with_suffix(".log")
    try:
        with log.open("wb") as output:
            child = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=output,
            )  # fmt: skip
    except OSError as error:
        raise HostError(f"the model host cannot be started: {error}") from error
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if health() is not None:
            return
        if child.poll() is not None:
            raise HostError(f"the model host ended at once: {_last_line(log)}")
        time.sleep(0.1)
    child.terminate()
    raise HostError(f"the model host did not answer within {START_SECONDS:.0f} s")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _call(
    address: Address, path: str, body: Document | None, seconds: float = ANSWER_SECONDS
) -> Document:
    request = urllib.request.Request(
        f"{address.url}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {address.token}",
            "Content-Type": "application/json",
        },
    )
    try:
        with _open(request, timeout=seconds) as response:
            answer: Document = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise HostError(_said(error)) from error
    except TimeoutError as error:
        raise HostError(f"the model host did not answer within {seconds:.0f} s") from error
    except (OSError, ValueError) as error:
        raise HostError("the model host cannot be reached; try again") from error


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the model host failed with status {error.code}; its log stands beside its file"
