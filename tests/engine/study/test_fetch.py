"""Fetching within a disk budget, and a shipped plan whose models come from a hub."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.audit import names
from engine.models import checkpoints, lm, loading
from engine.plans import reading
from engine.specs import CheckpointSpec, LoadingSpec
from engine.study import cache
from engine.study.disk_budget import DiskBudgetError, bytes_of
from engine.study.fetch import Fetcher
from engine.study.jobs import FetchJob
from results_db import read
from tests.support.fetched import is_here
from tests.support.local_hub import LocalHub, environment, serving, use
from tests.support.program import ROOT
from tests.support.tiny_models import tiny_lm

TOFU = ROOT.parent / "shared" / "data" / "locuslab_TOFU"
CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% if m.role == 'assistant' %}<|eos|>{% endif %}\n{% endfor %}{{ date_string }}<assistant>"
)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FetchJob]]:
    """Three models on a hub, to be fetched."""
    hub, found = LocalHub(), []
    run = reading.read("demo").runs()[0]
    for name in ("a", "b", "c"):
        folder = tmp_path / name
        folder.mkdir()
        lm.save(tiny_lm("llama"), folder)
        (folder / "generation_config.json").write_text(json.dumps({"name": name}))
        spec = CheckpointSpec(source=f"org/{name}", revision=hub.add(f"org/{name}", folder))
        note = cache.checkpoint_folder(tmp_path / "cache", spec, LoadingSpec())
        found.append(FetchJob(run, note, spec, LoadingSpec()))
    with serving(hub):
        use(hub, tmp_path, monkeypatch)
        yield found


def size_of(job: FetchJob) -> int:
    return sum(
        checkpoints.to_fetch(part, job.loading) for part in checkpoints.places(job.checkpoint)
    )


def test_measured_weights_make_room_and_needed_ones_stay(jobs: list[FetchJob]) -> None:
    base, measured, following = jobs
    fetcher = Fetcher(int(2.5 * size_of(base)))
    for job in (base, measured):
        fetcher.submit(job, lambda: {base.folder, measured.folder}).result()
    assert not fetcher.fits(following, {base.folder, measured.folder})
    assert fetcher.fits(following, {base.folder})
    fetcher.submit(following, lambda: {base.folder, following.folder}).result()
    assert [is_here(job.folder) for job in jobs] == [True, False, True]
    with pytest.raises(loading.ModelLoadError, match="evicted for the disk budget"):
        loading.load(measured.folder)
    assert {event.stage for event in fetcher.events()} == {
        f"fetch {job.checkpoint.source}" for job in jobs
    }
    fetcher.stop()


def test_what_does_not_fit_beside_the_needed_is_said(jobs: list[FetchJob]) -> None:
    fetcher = Fetcher(int(1.5 * size_of(jobs[0])))
    needed = {job.folder for job in jobs}
    fetcher.submit(jobs[0], lambda: needed).result()
    with pytest.raises(DiskBudgetError, match=r"org/b: .*GB to fetch, --disk-budget leaves"):
        fetcher.submit(jobs[1], lambda: needed).result()
    fetcher.stop()


def test_what_was_in_the_cache_before_is_not_evicted(jobs: list[FetchJob]) -> None:
    first = Fetcher(None)
    first.submit(jobs[0], set).result()
    (jobs[0].folder / "fetched.json").unlink()  # as if another program had fetched it
    second = Fetcher(int(1.2 * size_of(jobs[1])))
    for job in jobs:
        second.submit(job, set).result()
    assert [is_here(job.folder) for job in jobs] == [True, False, True]
    first.stop()
    second.stop()


@pytest.mark.parametrize("name", ["checkpoint.json", "fetched.json"])
@pytest.mark.parametrize("left", [0, 0.5])
def test_a_damaged_note_is_written_anew_by_the_next_study(
    jobs: list[FetchJob], name: str, left: float
) -> None:
    first, second = Fetcher(None), Fetcher(None)
    first.submit(jobs[0], set).result()
    note = jobs[0].folder / name
    note.write_bytes(note.read_bytes()[: int(left * note.stat().st_size)])
    if name == "checkpoint.json":
        with pytest.raises(loading.ModelLoadError, match="is not as it was written"):
            loading.load(jobs[0].folder)
    second.submit(jobs[0], set).result()
    assert loading.load(jobs[0].folder).model.config.model_type == "llama"
    first.stop()
    second.stop()


def test_weights_that_were_damaged_after_they_were_fetched_are_fetched_again(
    jobs: list[FetchJob], caplog: pytest.LogCaptureFixture
) -> None:
    job = jobs[0]
    checkpoints.fetch(job.checkpoint, job.loading, job.folder, lambda *_: None)
    weights = Path(checkpoints.read_note(job.folder).model.folder) / "model.safetensors"
    whole = weights.read_bytes()
    weights.resolve().write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # as long as before
    checkpoints.fetch(job.checkpoint, job.loading, job.folder, lambda *_: None)
    assert weights.read_bytes() == whole
    (said,) = [record.getMessage() for record in caplog.records if "fetched" in record.getMessage()]
    assert said == "org/a: its files are not those that were fetched; fetched again"


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "many", "0", "1e400GB"])
def test_a_budget_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(DiskBudgetError, match="write it as a size, such as 20GB"):
        bytes_of(text)


def chat_model(folder: Path) -> Path:
    """A tiny model with a chat template and room for questions of TOFU."""
    folder.mkdir()
    lm.save(tiny_lm("llama"), folder)
    (folder / lm.FORMAT_FILE).unlink()
    (folder / "chat_template.jinja").write_text(CHAT)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    return folder


@pytest.mark.slow
def test_the_plan_at_published_scale_runs_to_its_end_at_a_tiny_shape(tmp_path: Path) -> None:
    """Same plan, same names, same methods, full and low-rank; models and counts are small."""
    if not TOFU.is_dir():
        pytest.skip(f"TOFU is not at {TOFU}")
    model = chat_model(tmp_path / "model")
    hub = LocalHub()
    for name in ("full", "retain90"):
        hub.add(f"open-unlearning/tofu_Llama-3.2-1B-Instruct_{name}", model)
    plan = reading.table_of("tofu-llama32-1b")
    steps = [
        f"methods.{name}.optimizer.{key}"
        for name in plan["methods"]
        if name not in ("none", "retrain")
        for key in ("max_steps=1", "batch_size=2")
    ]
    small = [
        f"benchmark.path={TOFU}", "benchmark.limit=1", "probe.max_new_tokens=2",
        "probe.graded.prompts=0", "probe.attribution.integrated_gradients.settings.steps=1",
        "probe.trajectory_points=1", "benchmark.settings.text_authors=1", *steps,
    ]  # fmt: skip
    database = tmp_path / "a.duckdb"
    with serving(hub):
        command = ["run", "tofu-llama32-1b", "--db", str(database), "--workers", "1"]
        command += [part for setting in small for part in ("--set", setting)]
        done = subprocess.run(
            [sys.executable, "-m", "engine", *command],
            cwd=ROOT,
            env=environment(hub, tmp_path / "hf", UNPACT_CACHE=str(tmp_path / "cache")),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    runs = read.query(database, "runs")
    assert (runs["status"] == "complete").all()
    unlearned = runs[~runs["method"].isin(["none", "retrain", "sham"])]
    assert unlearned["method"].nunique() == 6
    ranks = unlearned["spec"].map(lambda s: json.loads(s)["settings"]["optimizer"].get("lora_rank"))
    assert ranks.value_counts(dropna=False).tolist() == [6, 6]
    row = read.query(database, "model_loading", run_id=runs["run_id"].iloc[-1]).iloc[0]
    assert "10 Apr 2025<assistant>" in row["prompt_format"]
    assert row["dtype"] == "bfloat16"


def published(folder: Path) -> LocalHub:
    """A hub with a repository of each name in the plan `ou-tofu-1b`; their models are tiny."""
    hub = LocalHub()
    (model,) = reading.table_of("ou-tofu-1b")["models"].values()
    checkpoints = [one["checkpoint"] for one in model["unlearned"]]
    for number, checkpoint in enumerate([model["base"], model["retain"], *checkpoints]):
        hub.add(checkpoint["source"], chat_model(folder / str(number)))
    return hub


def asked(hub: LocalHub, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command on that hub, with caches in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments, "--set", f"benchmark.path={TOFU}"],
        cwd=ROOT,
        env=environment(hub, folder / "hf", UNPACT_CACHE=str(folder / "cache")),
        capture_output=True,
        text=True,
        check=False,
    )


def test_names_of_published_checkpoints_say_what_their_plan_says_of_them() -> None:
    (model,) = reading.table_of("ou-tofu-1b")["models"].values()
    assert names.parse(model["base"]["source"]).method == "none"
    assert names.parse(model["retain"]["source"]).part == "retain90"
    for one in model["unlearned"]:
        found = names.parse(one["checkpoint"]["source"])
        assert (found.method, found.settings) == (one["method"], one["settings"])
    assert len({one["method"] for one in model["unlearned"]}) == 8


@pytest.mark.slow
def test_the_plan_of_published_checkpoints_is_shown_and_run_at_a_tiny_shape(tmp_path: Path) -> None:
    if not TOFU.is_dir():
        pytest.skip(f"TOFU is not at {TOFU}")
    database = tmp_path / "a.duckdb"
    with serving(published(tmp_path)) as hub:
        shown = asked(hub, tmp_path, "plan", "ou-tofu-1b", "--db", str(database), "--json")
        assert shown.returncode == 0, shown.stderr
        assert [row["status"] for row in json.loads(shown.stdout)] == ["to do"] * 10
        small = (
            "benchmark.limit=1", "probe.max_new_tokens=2", "probe.graded.prompts=0",
            "probe.attribution.integrated_gradients.settings.steps=1",
            *(f"probe.tasks.{name}.max_new_tokens=2"
              for name in ("open_unlearning", "paraphrases", "fluency")),
        )  # fmt: skip
        settings = [part for setting in small for part in ("--set", setting)]
        command = ("run", "ou-tofu-1b", "--db", str(database), "--workers", "1", *settings)
        done = asked(hub, tmp_path, *command)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    runs = read.query(database, "runs")
    assert (runs["status"] == "complete").tolist() == [True] * 10
    values = read.query(database, "run_metrics", benchmark="tofu", models=[], methods=[])
    measured = values[(values["name"] == "model_utility_ou") & (values["method"] == "npo_gdr")]
    assert measured["n"].item() == 6, "retain and one kind of general question"
