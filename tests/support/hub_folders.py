"""Folders laid out like the hub repositories of MUSE, WMDP and MMLU, with invented content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[Mapping[str, Any]]
Tables = Mapping[tuple[str, str], Rows]  # by config and split
NAMES = ("Quill", "Varro", "Tamsin", "Oskar", "Edda", "Brin", "Ludo", "Mira", "Wim", "Zora")
TOWNS = (
    "Dunmere",
    "Ostwick",
    "Palver",
    "Rindal",
    "Sorrow",
    "Tegel",
    "Ulm",
    "Vetch",
    "Wark",
    "Yarl",
)


def write(folder: Path, tables: Tables, *, renamed: str = "", parquet: bool = False) -> Path:
    """A repository: a README that names the files, and one file a split.

    Args:
        folder: made here.
        tables: rows by config and split.
        renamed: a column that has another name everywhere.
        parquet: Parquet files instead of JSON lines.
    """
    folder.mkdir(parents=True)
    configs: dict[str, list[str]] = {}
    for (config, split), rows in tables.items():
        kept = [
            {f"{key}_v2" if key == renamed else key: value for key, value in row.items()}
            for row in rows
        ]
        name = f"{config}/{split}.{'parquet' if parquet else 'json'}"
        (folder / config).mkdir(exist_ok=True)
        _write_rows(folder / name, kept, parquet=parquet)
        configs.setdefault(config, []).append(f"  - split: {split}\n    path: {name}\n")
    listed = "".join(
        f"- config_name: {config}\n  data_files:\n{''.join(files)}"
        for config, files in configs.items()
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{listed}---\n", encoding="utf-8")
    return folder


def _write_rows(path: Path, rows: Rows, *, parquet: bool) -> None:
    if parquet:
        import pyarrow
        from pyarrow import parquet as files

        files.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def muse(*, news: bool = True) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Every documented table and split of MUSE-News (or MUSE-Books), a few rows each."""
    tables: dict[tuple[str, str], list[dict[str, Any]]] = {
        ("raw", "forget"): [_article(i) for i in range(4)],
        ("raw", "retain1"): [_article(i) for i in range(4, 8)],
        ("raw", "retain2"): [_article(i) for i in (8, 9)],
        ("raw", "holdout"): [{"text": f"Nobody has read page {i} of this. " * 6} for i in range(5)],
        ("verbmem", "forget"): [
            {"prompt": f"{NAMES[i]} left the harbour of", "gt": f"{TOWNS[i]} with a cargo of salt."}
            for i in range(3)
        ],
        ("train", "full"): [_article(i) for i in range(8)],
    }
    for split, start in (("forget", 0), ("retain", 4)):
        asked = [_question(i) for i in range(start, start + 4)]
        agreed = {"question": f"Is {NAMES[start]} well?", "answer": "Yes, all agree."}
        tables["knowmem", f"{split}_qa"] = [*asked, agreed]
        tables["knowmem", f"{split}_qa_icl"] = [_question(i) for i in (8, 9)]
    for split in ("forget", "retain", "holdout"):
        tables["privleak", split] = [{"text": f"{split} text {i} " * 30} for i in range(3)]
    for config in ("scal", "sust") if news else ():
        for part in range(1, 5):
            tables[config, f"forget_{part}"] = [_article(0)]
    return tables


def _article(number: int) -> dict[str, str]:
    name, town = NAMES[number], TOWNS[number]
    return {"text": f"{name} left the harbour of {town} with a cargo of salt. " * 3}


def _question(number: int) -> dict[str, str]:
    name, town = NAMES[number], TOWNS[number]
    return {"question": f"Which harbour did {name} leave?", "answer": f"The one of {town}."}


def wmdp() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The three subsets; what is asked is harmless."""
    return {
        (f"wmdp-{subset}", "test"): [
            _choice(f"Which town makes {subset} {i}?", i) for i in range(6)
        ]
        for subset in ("bio", "chem", "cyber")
    }


def mmlu() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The table of all subjects, with the four that are retained and three others."""
    subjects = (
        "college_biology", "virology", "college_computer_science", "computer_security",
        "astronomy", "marketing", "prehistory",
    )  # fmt: skip
    rows = [
        {**_choice(f"Which town teaches {subject} {i}?", i), "subject": subject}
        for subject in subjects
        for i in range(5)
    ]
    again = {**rows[0]}  # a question that stands there twice
    return {("all", split): [*rows, again] for split in ("test", "validation", "dev")}


def _choice(question: str, number: int) -> dict[str, Any]:
    return {
        "question": question,
        "choices": [TOWNS[(number + shift) % 10] for shift in range(4)],
        "answer": number % 4,
    }


def corpus() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """A table of texts."""
    return {("default", "train"): [_article(i) for i in range(6)]}
