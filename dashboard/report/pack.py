"""A pack to sign: report, rows, settings and a manifest of hashes, which anybody can check again.

The root is the SHA-256 of the manifest, which holds the SHA-256 of every other file. Who signs the
root signs all of it. Checking makes the report again from the packed rows and compares it.
"""

from __future__ import annotations

import difflib
import html
import json
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dashboard.report.document import About, ReportError, document, program_version
from dashboard.report.source import Source, opened, sha256
from results_db import staging, transfer

MANIFEST, REPORT, SETTINGS, TABLES = "manifest.json", "report.html", "runs.json", "tables"
MOST_BYTES = 1 << 33  # that a ZIP file may unpack to
MOST_SAID = 10  # differences that are listed
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in a ZIP: the same pack is the same bytes
ABOUT = ("results_file", "results_sha256", "run_id", "unpact")  # keys of a manifest beside `files`


class PackError(ValueError):
    """What is to be checked is no pack, or what is to be packed changed meanwhile."""


@dataclass(frozen=True)
class Checked:
    """What checking a pack found."""

    root: str  # SHA-256 of its manifest, 64 hex digits
    files: int  # in its manifest
    problems: tuple[str, ...]  # one line each; (): it is as it was packed


def write(path: Path, out: Path, run_id: str | None) -> str:
    """Write a pack of a results file as a new folder, or a new ZIP file.

    Args:
        path: the results file.
        out: a folder, or a file that ends in .zip; not there yet.
        run_id: of the run that the report is about; None: on all verdicts.

    Returns:
        The root hash.

    Raises:
        ReportError: see `document`.
        PackError: the results file changed while it was read.
        TargetError: `out` is there already.
    """
    before = sha256(path)
    about = About(path.name, before, run_id)
    with TemporaryDirectory(prefix="unpact-") as place, opened(path) as source:
        folder = Path(place) / "pack"
        _fill(folder, source, about)
        if sha256(path) != before:
            raise PackError(f"{path} changed while it was read; pack it when no study works on it")
        with staging.staged(out) as target:
            if out.suffix == ".zip":
                _zip(folder, target)
            else:
                shutil.copytree(folder, target)
        return sha256(folder / MANIFEST)


def _fill(folder: Path, source: Source, about: About) -> None:
    """Write all files of a pack, the manifest last."""
    folder.mkdir()
    transfer.export(source.path, folder / TABLES)
    (folder / REPORT).write_text(document(source, about), encoding="utf-8")
    runs = source.rows("runs")
    specs = zip(runs["run_id"], runs["spec"], strict=True)
    settings = {str(run): json.loads(spec) for run, spec in specs if isinstance(spec, str)}
    _write_json(folder / SETTINGS, settings)
    files = {str(file.relative_to(folder)): sha256(file) for file in _files(folder)}
    beside = (about.name, about.sha256, about.run_id, program_version())
    _write_json(folder / MANIFEST, {**dict(zip(ABOUT, beside, strict=True)), "files": files})


def check(pack: Path, root: str | None = None) -> Checked:
    """Check hashes, and make the report again from the rows.

    Args:
        pack: a folder or a ZIP file that `write` made.
        root: the root hash that was signed; None: only whether the pack fits itself.

    Raises:
        PackError: it is no pack, or cannot be read.
    """
    with _unpacked(pack) as folder:
        if links := [path for path in folder.rglob("*") if path.is_symlink()]:
            raise PackError(f"{links[0]} is a link, which no pack has: pack the results file again")
        manifest = _manifest(folder, pack)
        found = sha256(folder / MANIFEST)
        problems = list(_hash_problems(folder, manifest["files"]))
        if root is not None and root.casefold() != found:
            problems.insert(0, f"{MANIFEST}: its root hash is {found}, not {root.casefold()}")
        different = list(_report_problems(folder, manifest))
        if different and manifest["unpact"] != program_version():
            problems.append(
                f"packed by unPact {manifest['unpact']}, checked by {program_version()}, which may "
                "compute or word figures otherwise"
            )
        problems += different
    return Checked(found, len(manifest["files"]), tuple(problems))


def _hash_problems(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    there = {str(file.relative_to(folder)): file for file in _files(folder)}
    for name in sorted(files.keys() - there.keys()):
        yield f"{name}: is missing"
    for name in sorted(there.keys() - files.keys() - {MANIFEST}):
        yield f"{name}: is not in the manifest"
    for name in sorted(files.keys() & there.keys()):
        if (found := sha256(there[name])) != files[name]:
            yield f"{name}: its SHA-256 is {found}, the manifest says {files[name]}"


def _report_problems(folder: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """What the report says otherwise than one that is made of the packed rows now."""
    name, digest, run_id = (manifest[key] for key in ABOUT[:3])
    with TemporaryDirectory(prefix="unpact-") as place:
        path = Path(place) / "rows.duckdb"
        try:
            transfer.import_folder(folder / TABLES, path)
            again = document(Source(path), About(name, digest, run_id))
        except (ReportError, ValueError, OSError) as error:
            yield f"{TABLES}: no report can be made of them: {str(error).splitlines()[0]}"
            return
    try:
        said = (folder / REPORT).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return  # its hash is a problem already
    if said != again:
        yield from _differences(said, again)


def _differences(said: str, again: str) -> Iterator[str]:
    """Each place where two reports differ, in the words around it."""
    one, other = _texts(said), _texts(again)
    changed = [
        (" ".join(one[a:b]), " ".join(other[c:d]))
        for kind, a, b, c, d in difflib.SequenceMatcher(None, one, other, False).get_opcodes()
        if kind != "equal"
    ]
    for left, right in changed[:MOST_SAID]:
        yield f"{REPORT} says {_short(left)!r}, the rows say {_short(right)!r}"
    if len(changed) > MOST_SAID:
        yield f"{REPORT}: {len(changed) - MOST_SAID} more differences"
    if not changed:
        yield f"{REPORT}: its words are those of the rows, its form is another"


def _texts(document: str) -> list[str]:
    body = document.partition("<body>")[2]
    pieces = (html.unescape(piece).strip() for piece in re.split(r"<[^>]*>", body))
    return list(chain.from_iterable(piece.splitlines() for piece in pieces if piece))


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:119]}…"


def _manifest(folder: Path, pack: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PackError(f"{pack}: no pack: {MANIFEST} cannot be read: {error}") from error
    whole = isinstance(found, dict) and {*ABOUT, "files"} <= found.keys()
    if not whole or not isinstance(found["files"], dict):
        raise PackError(f"{pack}: no pack: {MANIFEST} has not the keys {', '.join(ABOUT)}, files")
    return dict(found)


@contextmanager
def _unpacked(pack: Path) -> Iterator[Path]:
    """The folder of a pack; a ZIP file is unpacked for the block."""
    if pack.is_dir():
        yield pack
        return
    with TemporaryDirectory(prefix="unpact-") as place:
        try:
            with zipfile.ZipFile(pack) as archive:
                _refuse_large(archive, pack)
                archive.extractall(place)  # names that lead out are cut by zipfile
        except (OSError, zipfile.BadZipFile) as error:
            raise PackError(f"{pack}: neither the folder nor the ZIP file of a pack") from error
        yield Path(place)


def _refuse_large(archive: zipfile.ZipFile, pack: Path) -> None:
    if (size := sum(info.file_size for info in archive.infolist())) > MOST_BYTES:
        raise PackError(f"{pack}: unpacks to {size / 1e9:.1f} GB; unpack it yourself to check it")


def _zip(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in _files(folder):
            info = zipfile.ZipInfo(str(file.relative_to(folder)), EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, file.read_bytes())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write_json(path: Path, table: Mapping[str, Any]) -> None:
    text = json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
