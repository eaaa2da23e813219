"""`python -m dashboard.report FILE`: write the report on a results file as `unpact report` asks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dashboard.report.document import About, ReportError, document
from dashboard.report.source import opened, sha256
from results_db import staging


def main() -> int:
    """Write one report; exit status 0, or 1 with what is wrong in one line."""
    asked = _arguments()
    try:
        write(asked.file, asked.out, asked.run)
    except (ReportError, OSError, ValueError) as error:
        print(f"unpact: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    print(asked.out)
    return 0


def write(path: Path, out: Path, run_id: str | None) -> None:
    """Write the report on a results file as one new HTML file.

    Args:
        path: the results file.
        out: the report, which must not be there.
        run_id: of the run that it is about; None: on all verdicts.

    Raises:
        ReportError: see `document`; or the results file changed while it was read.
        TargetError: the report is there already.
    """
    before = sha256(path)
    with opened(path) as source:
        text = document(source, About(path.name, before, run_id))
    if sha256(path) != before:
        raise ReportError(f"{path} changed while it was read; ask again when no study works on it")
    with staging.staged(out) as place:
        place.write_text(text, encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dashboard.report")
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
