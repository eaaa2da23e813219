"""`python -m dashboard.report`: write a report or a pack, or check a pack, as `unpact` asks."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from dashboard.report import made, pack
from dashboard.report.document import ReportError

WRONG = 2  # exit status: nothing could be written or checked


def main() -> int:
    """Do what is asked for; exit status 0, 1 for a pack that differs, 2 for wrong input."""
    asked = _arguments()
    try:
        return int(asked.do(asked))
    except (ReportError, OSError, ValueError) as error:
        print(f"unpact: {str(error).splitlines()[0]}", file=sys.stderr)
        return WRONG


def _report(asked: argparse.Namespace) -> int:
    made.write(asked.file, asked.out, asked.run)
    print(asked.out)
    return 0


def _pack(asked: argparse.Namespace) -> int:
    root = pack.write(asked.file, asked.out, asked.run)
    print(f"{asked.out}\nroot {root}")
    return 0


def _check(asked: argparse.Namespace) -> int:
    found = pack.check(asked.file, asked.root)
    if asked.json:
        print(json.dumps({**asdict(found), "compared_root": asked.root}))
        return int(bool(found.problems))
    for problem in found.problems:
        print(problem)
    if found.problems:
        return 1
    sure = "as it was signed" if asked.root else "self-consistent only: compare it by --root"
    print(f"{found.files} files and every figure of the report are as packed; {sure}")
    print(f"root {found.root}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dashboard.report")
    parser.set_defaults(do=_report)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--run")
    parser.add_argument("--root")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pack", dest="do", action="store_const", const=_pack)
    parser.add_argument("--check", dest="do", action="store_const", const=_check)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
