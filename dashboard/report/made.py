"""A report on a results file, as text or as a new file."""

from __future__ import annotations

from pathlib import Path

from dashboard.report.document import About, ReportError, document
from dashboard.report.source import opened, sha256
from results_db import staging


def made(path: Path, run_id: str | None) -> str:
    """The report on a results file.

    Args:
        path: the results file.
        run_id: of the run that it is about; None: on all verdicts.

    Raises:
        ReportError: see `document`; or the results file changed while it was read.
    """
    before = sha256(path)
    with opened(path) as source:
        text = document(source, About(path.name, before, run_id))
    if sha256(path) != before:
        raise ReportError(f"{path} changed while it was read; ask again when no study works on it")
    return text


def write(path: Path, out: Path, run_id: str | None) -> None:
    """Write the report as one new HTML file.

    Args:
        path: the results file.
        out: the report, which must not be there.
        run_id: see `made`.

    Raises:
        ReportError: see `made`.
        TargetError: the report is there already.
    """
    text = made(path, run_id)
    with staging.staged(out) as place:
        place.write_text(text, encoding="utf-8")
