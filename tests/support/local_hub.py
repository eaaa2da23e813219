"""A small hub on loopback: repositories with revisions, for the real client to talk to.

It answers what the client asks: information on a revision, the list of models, and files with
ranges. A repository can be made gated, and files truncated, slow, or cut off in the middle.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants


@dataclass
class Repository:
    """Commits of a repository: each a folder; branches and tags name them."""

    folders: dict[str, Path]  # commit -> folder
    references: dict[str, str]  # branch or tag -> commit
    gated: bool = False
    extra_names: tuple[str, ...] = ()  # listed though no such file is there


@dataclass
class LocalHub:
    """What the server serves, and how it misbehaves."""

    models: dict[str, Repository] = field(default_factory=dict)
    datasets: dict[str, Repository] = field(default_factory=dict)
    truncated: set[str] = field(default_factory=set)  # names of files that come too short
    cut_once: set[str] = field(default_factory=set)  # whose connection breaks in the middle, once
    delay: float = 0.0  # seconds before each answer
    requests: list[str] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)  # that clients keep open
    url: str = ""

    def add(self, name: str, *folders: Path, kind: str = "models", gated: bool = False) -> str:
        """A repository whose commits are these folders, the last one on `main`; its commit."""
        commits = {commit_of(name, i): folder for i, folder in enumerate(folders)}
        last = commit_of(name, len(folders) - 1)
        references = {"main": last, **{f"v{i}": c for i, c in enumerate(commits)}}
        getattr(self, kind)[name] = Repository(commits, references, gated)
        return last


def commit_of(name: str, number: int) -> str:
    """A commit id as the hub has them: 40 hex digits."""
    return hashlib.sha1(f"{name} {number}".encode()).hexdigest()


@contextmanager
def serving(hub: LocalHub, port: int = 0) -> Iterator[LocalHub]:
    """The hub, answering on 127.0.0.1 until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for connection in hub.connections:
            with suppress(OSError):  # that its client closed before
                connection.shutdown(socket.SHUT_RDWR)
        hub.connections.clear()


def environment(hub: LocalHub, home: Path, **more: str) -> dict[str, str]:
    """For a child process whose hub this is, with a cache of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "UNPACT_"))}
    return {
        **kept,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "OMP_NUM_THREADS": "1",
        **more,
    }


def _handler(hub: LocalHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            hub.connections.append(self.connection)

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            time.sleep(hub.delay)
            url = urlsplit(self.path)
            hub.requests.append(f"{self.command} {url.path}")
            parts = [unquote(part) for part in url.path.strip("/").split("/")]
            if parts == ["api", "models"]:
                self.listing(parse_qs(url.query))
            elif parts[0] == "api" and parts[1] not in ("models", "datasets"):
                self.json({"error": "Not found"}, 404)
            elif parts[0] == "api":
                self.information(parts[1], "/".join(parts[2:4]), parts[4:])
            else:
                kind, rest = (
                    ("datasets", parts[1:]) if parts[0] == "datasets" else ("models", parts)
                )
                self.file(kind, "/".join(rest[:2]), rest[3], "/".join(rest[4:]))

        def listing(self, query: dict[str, list[str]]) -> None:
            owner, search = query.get("author", [""])[0], query.get("search", [""])[0]
            found = [n for n in hub.models if n.startswith(f"{owner}/") and search in n]
            self.json([{"id": name, "modelId": name} for name in found])

        def information(self, kind: str, name: str, rest: list[str]) -> None:
            repository = self.repository(kind, name)
            if repository is None:
                return
            revision = rest[1] if rest[:1] == ["revision"] else "main"
            commit = repository.references.get(revision, revision)
            if commit not in repository.folders:
                self.json({"error": "Invalid rev"}, 404, "RevisionNotFound")
                return
            paths = [p for p in sorted(repository.folders[commit].rglob("*")) if p.is_file()]
            folder = repository.folders[commit]
            siblings = [
                {"rfilename": p.relative_to(folder).as_posix(), "size": p.stat().st_size}
                for p in paths
            ]
            siblings += [{"rfilename": extra, "size": 1} for extra in repository.extra_names]
            self.json({"id": name, "modelId": name, "sha": commit, "siblings": siblings})

        def repository(self, kind: str, name: str) -> Repository | None:
            found = getattr(hub, kind).get(name)
            if found is None:
                self.json({"error": "Repository not found"}, 401, "RepoNotFound")
            elif found.gated:
                self.json({"error": "Access is restricted"}, 401, "GatedRepo")
                found = None
            return found

        def file(self, kind: str, name: str, revision: str, file: str) -> None:
            repository = self.repository(kind, name)
            if repository is None:
                return
            commit = repository.references.get(revision, revision)
            path = repository.folders.get(commit, Path("/nowhere")) / file
            if not path.is_file():
                self.json({"error": "Entry not found"}, 404, "EntryNotFound")
                return
            self.content(file, path.read_bytes(), commit)

        def content(self, file: str, content: bytes, commit: str) -> None:
            tag = hashlib.sha256(content).hexdigest()
            if file in hub.truncated:
                content = content[: len(content) // 2]
            start = 0
            asked = self.headers.get("Range")
            if asked:
                start = int(asked.removeprefix("bytes=").split("-")[0])
            self.send_response(206 if asked else 200)
            self.send_header("ETag", f'"{tag}"')
            self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", str(len(content) - start))
            if asked:
                end = len(content) - 1
                self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
            self.end_headers()
            if self.command == "HEAD":
                return
            if file in hub.cut_once:
                hub.cut_once.discard(file)
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True
                return
            self.wfile.write(content[start:])

        def json(self, document: object, status: int = 200, code: str | None = None) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if code is not None:
                self.send_header("X-Error-Code", code)
                self.send_header("X-Error-Message", str(document))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler


def use(found: LocalHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client of this process ask that hub."""
    template = found.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", found.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
