"""The report: one file that asks nobody for anything, with every figure's SQL and every hash."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from dashboard.report.document import ReportError
from dashboard.report.made import write
from results_db import read, store
from results_db.sentences import verdicts
from results_db.staging import TargetError
from tests.support import hostile_rows, results_rows
from tests.support.program import unpact

QUOTED = re.compile(r'"[^"]*"')
OUTSIDE = re.compile(r"<(?:a|img|script|link|iframe|object|embed)\b|\bsrc=|url\(|@import", re.I)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "study.duckdb"
    store.create(path)
    return results_rows.small_study(path)


def made(path: Path, out: Path, run_id: str | None = None) -> str:
    write(path, out, run_id)
    return out.read_text(encoding="utf-8")


def tags_of(shown: str) -> list[str]:
    """Tags with the names of their attributes, without what is quoted."""
    return re.findall(r"<[^>]*>", QUOTED.sub("", shown))


def text_of(shown: str) -> str:
    """What a reader reads of HTML."""
    return " ".join(re.sub(r"<[^>]+>", " ", shown).split()).replace("&#x27;", "'")


@pytest.mark.parametrize("run_id", [None, "npo", "base"])
def test_a_report_asks_no_host_for_anything(
    study: Path, tmp_path: Path, run_id: str | None
) -> None:
    report = made(study, tmp_path / "report.html", run_id)
    assert OUTSIDE.search("".join(tags_of(report.partition("<body>")[2]))) is None
    style = report.partition("<style>")[2].partition("</style>")[0]
    assert OUTSIDE.search(style) is None
    assert "default-src 'none'; style-src 'unsafe-inline'" in report
    assert "size: A4" in style


def test_it_says_the_same_of_a_run_as_the_queries(study: Path, tmp_path: Path) -> None:
    said = text_of(made(study, tmp_path / "report.html", "npo"))
    judged = read.query(
        study, "verdict", benchmark="people", models=[], methods=[], max_effect=0.10,
        min_utility=0.90,
    ).set_index("run_id")  # fmt: skip
    row = judged.loc["npo"]
    assert verdicts.of_run(row.to_dict(), 0.10, 0.90) in said
    assert str(row["verdict"]).capitalize() in said
    prompts = read.query(study, "run_prompts", run_id="npo", attribution_method="leave_one_out",
                         minimum_nats=0.05)  # fmt: skip
    assert all(str(prompt) in said for prompt in prompts["prompt"])
    assert "Claim 1, focus moves away from the keywords: not enough evidence" in said


def test_every_figure_comes_with_its_sql_settings_hashes_and_versions(
    study: Path, tmp_path: Path
) -> None:
    said = made(study, tmp_path / "report.html", "npo")
    assert hashlib.sha256(study.read_bytes()).hexdigest() in said
    for name in ("verdict", "claim_focus", "claim_emphasis", "claim_penalty", "run_prompts",
                 "recovery_rates", "utility_values", "run_metrics", "overview"):  # fmt: skip
        assert f"<h3>{name}</h3>" in said
        assert read.sql_of(name).splitlines()[0].removeprefix("-- ") in text_of(said)
    assert "max_effect = 0.1" in said
    loading = read.query(study, "model_loading", run_id="npo")
    assert str(loading["weight_hash"].iloc[0]) in said
    assert results_rows.DATA in said
    assert "&quot;torch&quot;: &quot;2.13&quot;" in said
    assert "&quot;alpha&quot;: 0.2" in said, "the run's spec"


def test_the_same_file_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    first, second = (made(study, tmp_path / f"{n}.html") for n in "ab")
    assert first == second


def test_text_from_data_stays_text(tmp_path: Path) -> None:
    path = hostile_rows.study(tmp_path / "hostile.duckdb")
    runs = read.query(path, "runs")
    unlearned = runs[(runs["status"] == "complete") & ~runs["method"].isin(("none", "retrain"))]
    report = made(path, tmp_path / "report.html", str(unlearned["run_id"].iloc[0]))
    assert OUTSIDE.search("".join(tags_of(report.partition("<body>")[2]))) is None


def test_a_run_that_is_not_there_and_a_file_that_is_are_refused(
    study: Path, tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match="no finished run nobody; there are: base, ga, npo"):
        write(study, tmp_path / "report.html", "nobody")
    empty = tmp_path / "empty.duckdb"
    store.create(empty)
    with pytest.raises(ReportError, match=r"empty.duckdb: no unlearning run is finished"):
        write(empty, tmp_path / "report.html", None)
    made(study, tmp_path / "report.html")
    with pytest.raises(TargetError, match="is there already"):
        write(study, tmp_path / "report.html", None)


def test_the_command_writes_it_and_wants_to_know_about_what(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    told = unpact("report", study, "--run", "ga", "--out", out)
    assert told.stdout.strip() == str(out)
    assert "run ga" in text_of(out.read_text(encoding="utf-8"))
    refused = unpact("report", study)
    assert refused.returncode == 2
    assert "--run ID or --verdicts" in refused.stderr
    missing = unpact("report", study, "--run", "nobody", "--out", tmp_path / "b.html")
    assert missing.returncode == 2
    assert missing.stderr.startswith("unpact: study.duckdb: no finished run nobody")
