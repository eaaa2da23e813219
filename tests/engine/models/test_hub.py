"""The hub's own client against a small hub on loopback: what it gives, and what it fails at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from engine.models import hub
from engine.models.hub import HubError
from tests.support.local_hub import LocalHub, Repository, serving, use

MODEL, DATA = "org/model", "org/data"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub with a model of two commits, and a client whose hub it is, its cache empty."""
    for version in ("first", "second"):
        folder = tmp_path / version
        folder.mkdir()
        (folder / "config.json").write_text(f'{{"version": "{version}"}}')
        (folder / "model.safetensors").write_bytes(version.encode() * 20_000)
    with serving(LocalHub()) as found:
        found.add(MODEL, tmp_path / "first", tmp_path / "second")
        use(found, tmp_path, monkeypatch)
        yield found


def fetched(name: str = MODEL, revision: str | None = None) -> Path:
    found = hub.look(name, revision)
    return hub.download(found, found.files, lambda *_: None)


def test_a_revision_is_a_commit_with_its_own_files(served: LocalHub) -> None:
    newest, oldest = hub.look(MODEL), hub.look(MODEL, "v0")
    assert newest.commit == served.models[MODEL].references["main"] != oldest.commit
    assert newest.files["model.safetensors"] == len("second") * 20_000
    assert '"second"' in (fetched() / "config.json").read_text()
    assert '"first"' in (fetched(revision="v0") / "config.json").read_text()
    assert '"first"' in (fetched(revision=oldest.commit) / "config.json").read_text()


def test_progress_counts_bytes_and_what_is_here_is_not_fetched_again(served: LocalHub) -> None:
    found, said = hub.look(MODEL), []
    hub.download(found, found.files, lambda *counts: said.append(counts))
    total = sum(found.files.values())
    assert said[0] == (0, total)
    assert said[-1] == (total, total)
    before = len(served.requests)
    hub.download(found, found.files, lambda *_: None)
    assert len(served.requests) == before


def test_a_gated_a_missing_and_a_wrong_revision_are_told_apart(served: LocalHub) -> None:
    served.models["org/gated"] = Repository({}, {}, gated=True)
    with pytest.raises(HubError, match=r"org/gated: is gated: ask for access.*HF_TOKEN"):
        hub.look("org/gated")
    with pytest.raises(HubError, match="org/absent: no such model on the hub"):
        hub.look("org/absent")
    with pytest.raises(HubError, match="org/model@v9: the repository has no such revision"):
        hub.look(MODEL, "v9")


def test_datasets_are_looked_up_among_datasets(served: LocalHub, tmp_path: Path) -> None:
    served.add(DATA, tmp_path / "first", kind="datasets")
    found = hub.look(DATA, kind="dataset")
    folder = hub.download(found, ["config.json"], lambda *_: None, kind="dataset")
    assert '"first"' in (folder / "config.json").read_text()
    with pytest.raises(HubError, match="org/model: no such dataset"):
        hub.look(MODEL, kind="dataset")


def test_a_truncated_file_is_refused_and_fetched_again_the_next_time(served: LocalHub) -> None:
    served.truncated.add("model.safetensors")
    with pytest.raises(HubError, match=r"org/model: model.safetensors came with 60,000 bytes of"):
        fetched()
    served.truncated.clear()
    assert (fetched() / "model.safetensors").read_bytes() == b"second" * 20_000


def test_a_connection_that_breaks_in_the_middle_is_taken_up_again(served: LocalHub) -> None:
    served.cut_once.add("model.safetensors")
    assert (fetched() / "model.safetensors").read_bytes() == b"second" * 20_000
    assert served.cut_once == set()


def test_a_slow_hub_is_waited_for_and_a_silent_one_is_not(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.delay = 0.2
    assert (fetched() / "model.safetensors").is_file()
    monkeypatch.setattr(hub, "LOOK_SECONDS", 0.2)
    served.delay, start = 3.0, time.monotonic()
    with pytest.raises(HubError, match=r"org/model: .* cannot be reached .*HF_HUB_OFFLINE=1"):
        hub.look(MODEL)
    assert time.monotonic() - start < 2.5
    served.delay = 0.0


def test_a_hub_that_dies_is_said_at_once_and_gone_on_with_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "files" / name).write_text(name)
    found = LocalHub()
    with serving(found):
        commit = found.add(MODEL, tmp_path / "files")
        use(found, tmp_path, monkeypatch)
        repository = hub.look(MODEL)
        hub.download(repository, ["config.json"], lambda *_: None)
    start = time.monotonic()
    with pytest.raises(HubError, match=r"org/model: http://127.0.0.1:\d+ cannot be reached"):
        hub.look(MODEL)
    assert time.monotonic() - start < 5
    assert hub.look(MODEL, commit).files == {"config.json": 11}  # of the cache: it is that commit
    with serving(found, int(found.url.rpartition(":")[2])):
        assert (fetched() / "model.safetensors").read_text() == "model.safetensors"


def test_offline_gives_what_the_cache_has_and_says_what_it_has_not(
    served: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = fetched()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(served.requests)
    found = hub.look(MODEL, warm.name)
    assert found.folder == warm
    assert set(found.files) == {"config.json", "model.safetensors"}
    with pytest.raises(
        HubError, match=r"org/other: HF_HUB_OFFLINE is set, and .* does not have it"
    ):
        hub.look("org/other")
    assert len(served.requests) == before


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "a/../../b", "C:\\x", "a\\..\\b"])
def test_a_file_name_out_of_the_folder_is_refused(served: LocalHub, name: str) -> None:
    served.models[MODEL].extra_names = (name,)
    with pytest.raises(hub.UnsafeNameError, match=r"org/model: .*leads out of its folder; refused"):
        hub.look(MODEL)


def test_a_pattern_finds_repositories_of_its_owner(served: LocalHub) -> None:
    for name in ("org/un_a_NPO", "org/un_b_NPO", "org/un_c_RMU", "you/un_d_NPO"):
        served.models[name] = Repository({}, {})
    assert hub.search("org/un_*_NPO") == ["org/un_a_NPO", "org/un_b_NPO"]
    with pytest.raises(HubError, match=r"org/x_\*: no repository of org has such a name"):
        hub.search("org/x_*")


def test_an_evicted_commit_leaves_the_other_ones(served: LocalHub) -> None:
    old, new = fetched(revision="v0"), fetched()
    assert hub.evict(MODEL, old.name) > 100_000
    assert not old.is_dir()
    assert (new / "model.safetensors").is_file()
    assert hub.evict(MODEL, old.name) == 0
