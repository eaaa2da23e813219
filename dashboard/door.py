"""Who may talk to the dashboard's server, and when it ends.

A page of somebody else's can have its own name lead to this machine, and its script then speaks to
whatever listens here; the browser tells by the headers Host and Origin. The server takes the names
that it is known by, and no others.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config

PARENT = "UNPACT_DASHBOARD_PARENT"  # id of the process to end with
NAMES = "UNPACT_DASHBOARD_NAMES"  # other names that this server is reached by, between commas
PRIVATE = "UNPACT_HOST_FILE"  # in a folder that goes with the parent
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 5.0  # for an orderly end


class Door:
    """Lets in requests and connections whose Host and Origin are this server's own names."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before an application.

        Args:
            app: behind the door.
        """
        self._app = app
        named = os.environ.get(NAMES, "").split(",")
        self._bound = str(config.get_option("server.address") or "")
        self._names = {*LOOPBACK, self._bound, *(name.strip() for name in named)} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is meant for this server; refuse the rest before it is read."""
        if scope["type"] not in ("http", "websocket") or self._lets_in(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "another host's page"})
        else:
            refusal = PlainTextResponse("the dashboard is not known by this name", 403)
            await refusal(scope, receive, send)

    def _lets_in(self, scope: Scope) -> bool:
        """Whether Host, and Origin where there is one, are names of this server."""
        told = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in scope["headers"]
        ]
        hosts = [value for name, value in told if name == "host"]
        origins = [value for name, value in told if name == "origin"]
        if len(hosts) != 1:
            return False
        return all(map(self._is_ours, [f"//{hosts[0]}", *origins]))

    def _is_ours(self, address: str) -> bool:
        try:
            name = urlsplit(address).hostname
        except ValueError:
            return False
        if name is None:
            return False
        if name in self._names:
            return True
        # who listens on every interface is reached by any address of it: a number cannot be made
        # to lead here by somebody else's server of names
        everywhere = self._bound in ("0.0.0.0", "::")
        return everywhere and (_is_number(name) or name == socket.gethostname().lower())


def _is_number(name: str) -> bool:
    """Whether a host is given by its address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def end_with_parent() -> None:
    """End this process when the one that PARENT names is gone; nothing where nobody is named."""
    given = os.environ.get(PARENT, "")
    if given.isdecimal():
        threading.Thread(target=_watch, args=(int(given),), daemon=True).start()


def _watch(parent: int) -> None:
    """Wait for the end of the parent, whose private folder nobody else takes away then."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    _take_away()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_SECONDS)  # connections that stay open hold up an orderly end
    os._exit(1)


def _take_away() -> None:
    """Delete the folder that the parent made for the model host's address."""
    folder = Path(os.environ.get(PRIVATE, "")).parent
    if folder.name.startswith("unpact-"):
        shutil.rmtree(folder, ignore_errors=True)
