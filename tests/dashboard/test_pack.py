"""A pack: whole, found to be changed where it was, and the same bytes for the same results."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dashboard.report import pack
from dashboard.report.document import ReportError
from dashboard.report.pack import MANIFEST, REPORT, SETTINGS, TABLES, PackError
from dashboard.report.source import sha256
from results_db import store
from results_db.staging import TargetError
from tests.support import results_rows
from tests.support.program import unpact


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "study.duckdb"
    store.create(path)
    return results_rows.small_study(path)


@pytest.fixture(scope="module")
def packed(study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("packed") / "pack"
    return folder, pack.write(study, folder, "npo")


@pytest.fixture
def changed(packed: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(packed[0], tmp_path / "changed"))


def sign_again(folder: Path) -> None:
    """As somebody would who makes the manifest fit what was changed."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {name: sha256(folder / name) for name in manifest["files"]}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_pack_is_whole_and_its_root_is_the_manifests_hash(
    packed: tuple[Path, str], study: Path
) -> None:
    folder, root = packed
    assert root == sha256(folder / MANIFEST)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["results_sha256"] == sha256(study)
    assert {REPORT, SETTINGS, f"{TABLES}/run.parquet"} <= manifest["files"].keys()
    assert "npo" in json.loads((folder / SETTINGS).read_text())
    for given in (None, root, root.upper()):
        found = pack.check(folder, given)
        assert (found.problems, found.root, found.files) == ((), root, len(manifest["files"]))


def test_the_same_results_are_the_same_pack(
    packed: tuple[Path, str], study: Path, tmp_path: Path
) -> None:
    archives = [tmp_path / "a.zip", tmp_path / "b.zip"]
    assert [pack.write(study, archive, "npo") for archive in archives] == [packed[1]] * 2
    assert archives[0].read_bytes() == archives[1].read_bytes()
    assert pack.check(archives[0], packed[1]).problems == ()


def test_a_changed_digit_of_the_report_is_found(changed: Path) -> None:
    text = (changed / REPORT).read_text()
    begin, body, rest = text.partition("<body>")
    place = rest.index("0%")
    (changed / REPORT).write_text(begin + body + rest[:place] + "7" + rest[place + 1 :])
    hashed, figure = pack.check(changed).problems
    assert hashed.startswith(f"{REPORT}: its SHA-256 is")
    assert figure.startswith(f"{REPORT} says ")
    sign_again(changed)
    assert pack.check(changed).problems == (figure,)


def test_a_changed_row_is_found_and_by_the_root_even_where_all_was_signed_again(
    changed: Path, packed: tuple[Path, str]
) -> None:
    path = changed / TABLES / "answer.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("correct")
    flipped = pa.array([not value for value in table["correct"].to_pylist()])
    pq.write_table(table.set_column(place, table.schema.field(place), flipped), path)
    problems = pack.check(changed).problems
    assert problems[0].startswith(f"{TABLES}/answer.parquet: its SHA-256 is")
    assert any(problem.startswith(f"{REPORT} says") for problem in problems[1:])
    sign_again(changed)
    (first, *_) = pack.check(changed, packed[1]).problems
    assert first.startswith(f"{MANIFEST}: its root hash is")


def test_a_changed_weight_hash_is_found(changed: Path) -> None:
    path = changed / TABLES / "checkpoint.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("weight_hash")
    other = pa.array(["0" * 16] * len(table), table.schema.field(place).type)
    pq.write_table(table.set_column(place, table.schema.field(place), other), path)
    sign_again(changed)
    assert pack.check(changed).problems


def test_missing_and_added_files_are_named(changed: Path) -> None:
    (changed / SETTINGS).unlink()
    (changed / "note.txt").write_text("mine")
    assert pack.check(changed).problems == (
        f"{SETTINGS}: is missing", "note.txt: is not in the manifest",
    )  # fmt: skip


def test_a_link_is_refused_before_it_is_followed(changed: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text("{}")
    (changed / SETTINGS).unlink()
    (changed / SETTINGS).symlink_to(tmp_path / "outside.json")
    with pytest.raises(PackError, match="is a link"):
        pack.check(changed)


def test_rows_that_make_no_results_file_are_said(changed: Path) -> None:
    (changed / TABLES / "run.parquet").unlink()
    problems = pack.check(changed).problems
    assert problems[0] == f"{TABLES}/run.parquet: is missing"
    assert problems[1].startswith(f"{TABLES}: no report can be made of them")


def test_what_is_no_pack_is_refused_in_one_line(tmp_path: Path, study: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.zip").write_bytes(b"PK no")
    with zipfile.ZipFile(tmp_path / "list.zip", "w") as archive:
        archive.writestr(MANIFEST, "[]")
    for name in ("folder", "other.zip", "list.zip"):
        with pytest.raises(PackError, match=name):
            pack.check(tmp_path / name)
    with pytest.raises(ReportError, match="no finished run nobody"):
        pack.write(study, tmp_path / "new", "nobody")
    assert not (tmp_path / "new").exists()
    with pytest.raises(TargetError):
        pack.write(study, tmp_path / "list.zip", "npo")


def test_the_commands_pack_and_check(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "pack.zip"
    made = unpact("pack", study, "--verdicts", "--out", out)
    assert made.returncode == 0, made.stderr
    root = made.stdout.split()[-1]
    alone = unpact("verify-pack", out)
    assert alone.returncode == 0
    assert "self-consistent only" in alone.stdout
    assert "as it was signed" in unpact("verify-pack", out, "--root", root).stdout
    other = unpact("verify-pack", out, "--root", "0" * 64, "--json")
    assert other.returncode == 1
    assert json.loads(other.stdout)["problems"][0].startswith(MANIFEST)
    nothing = unpact("verify-pack", tmp_path / "none.zip")
    assert nothing.returncode == 2
    assert "Traceback" not in nothing.stderr
