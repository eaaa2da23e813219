"""`python -m dashboard.report FILE`: write the report on a results file as `unpact report` asks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dashboard.report.document import ReportError
from dashboard.report.made import write


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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dashboard.report")
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
