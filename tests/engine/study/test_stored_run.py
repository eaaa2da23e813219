"""A run end to end that is trained in float32, by adapters, and measured as it is stored."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.models.loading import load
from tests.support.encoded import answer_ids
from tests.support.program import ROOT, unpact

METHODS = """
[methods.none]

[methods.ga.optimizer]
learning_rate = [1e-5, 3e-3]
max_steps = 4
warmup_steps = 0
precision = "bfloat16"

[methods.npo.optimizer]
learning_rate = 1e-2
max_steps = 4
lora_rank = 2
store = "bfloat16"
rounding = "stochastic"
"""

Row = tuple[str, str, float, str | None, str]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crumb study, with runs that are stored in bfloat16."""
    folder = tmp_path_factory.mktemp("stored")
    text = (ROOT / "tests" / "fixtures" / "crumb.toml").read_text(encoding="utf-8")
    start, end = text.index("[methods.none]"), text.index("[probe]")
    plan = folder / "stored.toml"
    plan.write_text(text[:start] + METHODS + text[end:], encoding="utf-8")
    path = folder / "stored.duckdb"
    done = unpact("run", plan, "--db", path, "--cache", folder / "cache", "--workers", "1")
    assert done.returncode == 0, done.stderr
    return path


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True, config={"threads": 1}) as connection:
        found: list[tuple[object, ...]] = connection.sql(sql).fetchall()
        return found


def mean_logprob(folder: Path, asked: list[tuple[str, str]]) -> float:
    """Over the questions, one forward each, of the saved weights in float64."""
    lm = load(folder)
    lm.model.double()
    found = []
    for question, answer in asked:
        prompt, wanted = lm.encode_prompt(question).ids, answer_ids(lm, answer)
        with torch.no_grad():
            logits = lm.model(torch.tensor([[*prompt, *wanted]])).logits[0].double()
        lines = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        found.append(float(np.mean([lines[k, token].item() for k, token in enumerate(wanted)])))
    return float(np.mean(found))


def test_runs_are_measured_as_they_are_stored(database: Path) -> None:
    asked = [
        (str(q), str(a))
        for q, a in rows(database, "SELECT prompt, answer FROM example WHERE split = 'forget'"
                         " AND form = 'question' ORDER BY example_id")
    ]  # fmt: skip
    runs = rows(database, "SELECT run_id, method, path, dtype FROM run JOIN checkpoint USING"
                          " (run_id) WHERE is_final")  # fmt: skip
    (base,) = (Path(str(path)) for _, method, path, _ in runs if method == "none")
    before = mean_logprob(base, asked)
    kept = load_file(base / "model.safetensors")
    for run_id, method, path, dtype in runs:
        if method == "none":
            continue
        weights = load_file(Path(str(path)) / "model.safetensors")
        assert dtype == "bfloat16"
        assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
        found = dict(
            rows(database, f"SELECT name, estimate FROM statistic WHERE run_id = '{run_id}'"
                           " AND scope LIKE 'trained=float32 stored=bfloat16%'")
        )  # fmt: skip
        drop = before - mean_logprob(Path(str(path)), asked)
        assert found["effect_stored"] == pytest.approx(drop, abs=0.02), "bfloat16 products"
        moved = sum(int((w != kept[name].bfloat16()).sum()) for name, w in weights.items())
        total = sum(weight.numel() for weight in weights.values())
        assert found["weights_changed_stored"] == pytest.approx(moved / total, abs=1e-9)
        if found["effect_left_stored"] is not None:
            share = found["effect_stored"] / found["effect_trained"]
            assert found["effect_left_stored"] == pytest.approx(share)


def test_answers_of_the_trained_model_are_kept_beside_those_of_the_stored_one(
    database: Path,
) -> None:
    counts = rows(
        database,
        "SELECT method, count(*) FILTER (name = 'correct_trained' AND scope LIKE 'split=%'),"
        " count(*) FILTER (scope LIKE '%adapters=folded%' AND scope LIKE '%stochastic%')"
        " FROM run LEFT JOIN statistic USING (run_id) GROUP BY ALL ORDER BY ALL",
    )
    assert counts == [("ga", 6, 0), ("none", 0, 0), ("npo", 3, 9)]
    twice = "SELECT count(*) - count(DISTINCT (run_id, step, example_id)) FROM answer"
    assert rows(database, twice) == [(0,)]
