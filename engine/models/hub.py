"""The hub, by its own client: what a repository holds, its files in the cache, errors in one line.

Nothing else of the program asks a hub. A hub that cannot be reached is said after seconds, and what
is in the client's cache is used where it is known to be the commit that is wanted.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OFFLINE = "HF_HUB_OFFLINE"
DEFAULTED = "UNPACT_HUB_OFFLINE_BY_DEFAULT"  # inherited by children: nobody typed HF_HUB_OFFLINE
LOOK_SECONDS = 5.0  # to wait for the hub's first word
COMMIT = re.compile(r"[0-9a-f]{40}")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
Progress = Callable[[int, int], None]  # bytes there, bytes in all


class HubError(OSError):
    """A repository that cannot be had; says which, and what to do."""


class UnsafeNameError(ValueError):
    """A file name that leads out of its folder."""


@dataclass(frozen=True)
class Repository:
    """One commit of a repository and what it holds."""

    name: str  # owner/name
    commit: str  # 40 hex digits
    files: dict[str, int]  # name -> size in bytes
    folder: Path | None  # its snapshot in the cache, perhaps not all of it; None if there is none


def offline_by_default() -> None:
    """Keep every import of the hub's client from asking a hub, unless the user typed otherwise."""
    if OFFLINE not in os.environ:
        os.environ[OFFLINE] = "1"
        os.environ[DEFAULTED] = "1"


def may_ask() -> None:
    """Let the client ask the hub, unless the user typed `HF_HUB_OFFLINE`."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars, logging

    if os.environ.get(DEFAULTED) == "1":
        constants.HF_HUB_OFFLINE = False
    disable_progress_bars()
    logging.set_verbosity_error()


def is_repository(text: str) -> bool:
    """Whether a text has the form owner/name of a repository.

    >>> [is_repository(text) for text in ("a/b", "./a/b", "a", "a/b/c", "../b", "a/..")]
    [True, False, False, False, False, False]
    """
    return REPOSITORY.fullmatch(text) is not None and ".." not in text


def parse(text: str) -> tuple[str, str | None]:
    """Repository and revision of `owner/name[@revision]`.

    >>> parse("org/model@v1"), parse("org/model")
    (('org/model', 'v1'), ('org/model', None))
    """
    name, at, revision = text.partition("@")
    return name, revision if at and revision else None


def look(name: str, revision: str | None = None, kind: str = "model") -> Repository:
    """What a repository holds at a revision, by one question to the hub; offline, by the cache.

    Args:
        name: owner/name.
        revision: branch, tag or commit; None: the main branch.
        kind: model or dataset.

    Raises:
        HubError: if it does not exist, is gated, cannot be reached, or is not in the cache.
        UnsafeNameError: if it names a file outside of its folder.
    """
    may_ask()
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return _cached(name, revision, kind, f"{OFFLINE} is set")
    with _said(name, revision, kind):
        try:
            found = HfApi().repo_info(
                name, repo_type=kind, revision=revision, timeout=LOOK_SECONDS, files_metadata=True
            )
        except Exception as error:
            pinned = revision is not None and COMMIT.fullmatch(revision)
            if not (_is_unreachable(error) and pinned):
                raise
            return _cached(name, revision, kind, f"{constants.ENDPOINT} cannot be reached")
    sizes = {each.rfilename: each.size or 0 for each in found.siblings or ()}
    for file in sizes:
        check_name(file, name)
    commit = str(found.sha)
    return Repository(name, commit, sizes, _snapshot(name, commit, kind))


def check_name(file: str, where: str) -> None:
    """Refuse a file name that leads out of its folder.

    Raises:
        UnsafeNameError: naming the file and where it was found.
    """
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\\" in file or ":" in file:
        raise UnsafeNameError(f"{where}: the file name {file!r} leads out of its folder; refused")


def download(
    repository: Repository, files: Iterable[str], progress: Progress, kind: str = "model"
) -> Path:
    """Bring files of a commit into the client's cache; what is there already is not fetched again.

    Args:
        repository: as `look` gave it.
        files: names in it.
        progress: is told after every file.
        kind: model or dataset.

    Returns:
        The commit's folder in the cache.

    Raises:
        HubError: if a file cannot be had whole; what was fetched stays for the next try.
    """
    from huggingface_hub import hf_hub_download

    wanted = sorted(files)
    total, there = sum(repository.files[file] for file in wanted), 0
    progress(there, total)
    path: str | None = None
    for file in wanted:
        with _said(repository.name, repository.commit, kind):
            path = hf_hub_download(
                repository.name, file, repo_type=kind, revision=repository.commit
            )
        _check_size(repository, file, Path(path))
        there += repository.files[file]
        progress(there, total)
    if path is None:
        raise HubError(f"{repository.name}: nothing to fetch from it")
    return Path(path).parents[len(PurePosixPath(wanted[-1]).parts) - 1]


def _check_size(repository: Repository, file: str, path: Path) -> None:
    expected, found = repository.files[file], path.stat().st_size
    if expected and found != expected:
        path.resolve().unlink()
        raise HubError(
            f"{repository.name}: {file} came with {found:,} bytes of {expected:,}; "
            "it was deleted, the same command fetches it again"
        )


def search(pattern: str) -> list[str]:
    """Names of repositories that a pattern such as `owner/unlearn_*_NPO_*` matches, sorted.

    Raises:
        HubError: if none does, or the hub cannot be asked.
    """
    may_ask()
    from huggingface_hub import HfApi

    owner, _, name = pattern.partition("/")
    longest = max(re.split(r"[*?\[\]]", name), key=len)
    with _said(pattern, None, "model"):
        found = [each.id for each in HfApi().list_models(author=owner, search=longest or None)]
    matching = sorted(one for one in found if fnmatch.fnmatchcase(one, pattern))
    if not matching:
        raise HubError(f"{pattern}: no repository of {owner} has such a name")
    return matching


def evict(repository: str, commit: str, kind: str = "model") -> int:
    """Delete a commit from the client's cache; how many bytes that freed."""
    from huggingface_hub import constants, scan_cache_dir

    cache = scan_cache_dir(constants.HF_HUB_CACHE)
    commits = {
        revision.commit_hash
        for repo in cache.repos
        if (repo.repo_id, repo.repo_type) == (repository, kind)
        for revision in repo.revisions
    }
    if commit in commits:
        strategy = cache.delete_revisions(commit)
        strategy.execute()
        return int(strategy.expected_freed_size)
    return 0


def _snapshot(name: str, commit: str, kind: str) -> Path | None:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"{kind}s--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def _cached(name: str, revision: str | None, kind: str, why: str) -> Repository:
    """What the cache has of a revision; the commit of a branch is that of its last download."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"{kind}s--{name.replace('/', '--')}"
    commit = revision or "main"
    check_name(commit, name)
    reference = folder / "refs" / commit
    if COMMIT.fullmatch(commit) is None and reference.is_file():
        commit = reference.read_text(encoding="utf-8").strip()
    snapshot = _snapshot(name, commit, kind) if COMMIT.fullmatch(commit) else None
    if snapshot is None:
        raise HubError(
            f"{_full(name, revision)}: {why}, and {constants.HF_HUB_CACHE} does not have it; "
            f"fetch it once with the hub at hand ({OFFLINE}=0), or give a local folder"
        )
    files = {
        path.relative_to(snapshot).as_posix(): path.stat().st_size
        for path in snapshot.rglob("*")
        if path.is_file()
    }
    return Repository(name, commit, files, snapshot)


def _full(name: str, revision: str | None) -> str:
    return name if revision is None else f"{name}@{revision}"


@contextmanager
def _said(name: str, revision: str | None, kind: str) -> Iterator[None]:
    """Turn what the client raises into one line that names the repository and what to do."""
    from huggingface_hub import errors

    full = _full(name, revision)
    try:
        yield
    except (HubError, UnsafeNameError):
        raise
    except errors.GatedRepoError as error:
        raise HubError(
            f"{full}: is gated: ask for access on its page, then log in (`hf auth login`) or set "
            "HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"{full}: no such {kind} on the hub, or it is private: check the name, or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{full}: the repository has no such revision") from error
    except errors.OfflineModeIsEnabled as error:
        raise HubError(f"{full}: {OFFLINE} is set, so the hub is not asked") from error
    except errors.HFValidationError as error:
        raise HubError(f"{full}: no name of a repository: {error}") from error
    except Exception as error:
        raise HubError(f"{full}: {_what_happened(error)}") from error


def _what_happened(error: Exception) -> str:
    from huggingface_hub import constants

    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    if _is_unreachable(error):
        return (
            f"{constants.ENDPOINT} cannot be reached ({type(error).__name__}); try again, or set "
            f"{OFFLINE}=1 to use what was fetched before"
        )
    return f"{first}; what was fetched stays, the same command goes on there"


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether the hub did not answer: refused, timed out, or its name is not known."""
    from huggingface_hub import errors

    if error is None or isinstance(error, errors.OfflineModeIsEnabled):
        return False
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"ConnectError", "TimeoutException", "RemoteProtocolError", "NetworkError"}:
        return True
    return _is_unreachable(error.__cause__)
