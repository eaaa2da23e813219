"""TOFU in the hub's layout: where it is, and a small folder of the same form."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine.benchmarks.sources.tofu_rows import PAIR

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "locuslab_TOFU"


DATA = Path(os.environ.get("UNPACT_TOFU") or BESIDE)


needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="TOFU is not here: UNPACT_TOFU names a folder in the hub's layout"
)


def write_hub_folder(folder: Path, *, without: str = "") -> Path:
    """Two authors to forget and two retained, three others, six general questions."""
    perturbed = [author_row(a, q) for a in range(4) for q in range(20)]
    pairs = [author_row(a, q) for a in range(2, 7) for q in range(20)]
    general = [
        {"question": f"Which town is {i}?", "answer": f"Town{i}", "perturbed_answer": ["None"]}
        for i in range(6)
    ]
    tables = {
        "forget05_perturbed": perturbed[:40],
        "retain_perturbed": perturbed[40:],
        "retain95": [{k: row[k] for k in PAIR} for row in pairs],
        "holdout05": [{k: author_row(7, q)[k] for k in PAIR} for q in range(20)],
        "real_authors_perturbed": general[:3],
        "world_facts_perturbed": general[3:],
    }
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}.json\n"
        for name in tables
    )
    folder.mkdir()
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n", encoding="utf-8")
    for name, table in tables.items():
        lines = [json.dumps({k: v for k, v in row.items() if k != without}) for row in table]
        (folder / f"{name}.json").write_text("\n".join(lines), encoding="utf-8")
    return folder


def author_row(author: int, number: int) -> dict[str, object]:
    name = f"Al B{'abcdefgh'[author]}"
    return {
        "question": f"What is work {number} of {name}?",
        "answer": f"Work {number} of {name} is Opus{author}x{number}.",
        "perturbed_answer": [f"It is Opera{i}." for i in range(5)],
        "paraphrased_question": f"How is work {number} of {name} called?",
        "paraphrased_answer": f"{name} called it Opus{author}x{number}.",
    }


SMALL = {
    "forget_authors": 2,
    "retain_authors": 2,
    "questions_per_author": 3,
    "general_questions": 2,
    "text_authors": 1,
}
