"""The process of the model host: its port, its token file, and its end."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

import psutil
import uvicorn

from engine.live.host import create_app
from engine.live.residents import Models, Residents

__all__ = ["Models", "ServeError", "serve"]
LOOPBACK = "127.0.0.1"
LOOK_SECONDS = 1.0


class ServeError(OSError):
    """The model host cannot listen."""


def serve(models: Models, port: int, token_file: Path | None, parent: int | None) -> None:
    """Answer on the loopback interface until interrupted, or until the parent process is gone.

    Args:
        models: which may be loaded.
        port: 0 for a free one.
        token_file: gets {"url", "token", "pid"} with mode 0600; None: one in a private folder.
        parent: id of a process to end with, or None.

    Raises:
        ServeError: if the port is taken.
    """
    token = secrets.token_urlsafe(32)
    listening = _listen(port)
    url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
    private = None if token_file else Path(tempfile.mkdtemp(prefix="unpact-"))
    file = token_file or Path(str(private)) / "host.json"
    app = create_app(Residents(models), token)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    if parent is not None:
        threading.Thread(target=_end_with, args=(server, parent), daemon=True).start()
    signal.signal(signal.SIGTERM, _leave)
    _write_private(file, {"url": url, "token": token, "pid": os.getpid()})
    print(f"Model host: {url}  (token in {file}; Ctrl-C ends it)", flush=True)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        file.unlink(missing_ok=True)
        if private is not None:
            shutil.rmtree(private, ignore_errors=True)


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
    except OSError as error:
        listening.close()
        raise ServeError(
            f"cannot listen on {LOOPBACK}:{port}: {error.strerror}; choose another --port"
        ) from error
    listening.listen()  # before the address is told to anybody
    return listening


def _write_private(file: Path, document: dict[str, object]) -> None:
    """Write at once and for this user only: nobody sees half of it, or a wider mode."""
    part = file.with_name(f"{file.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        json.dump(document, opened)
    part.replace(file)


def _end_with(server: uvicorn.Server, parent: int) -> None:
    try:
        process = psutil.Process(parent)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(LOOK_SECONDS)
    except psutil.NoSuchProcess:
        pass
    server.should_exit = True


def _leave(number: int, _: FrameType | None) -> None:
    """Turn SIGTERM into an ordinary exit, so that the token file is taken away."""
    raise SystemExit(128 + number)
