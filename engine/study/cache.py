"""Where trained models are kept: one folder each, named by the hash of what made it."""

from __future__ import annotations

import fcntl
import json
import re
import time
from collections.abc import Collection
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from engine import plugins
from engine.benchmarks.benchmark import Benchmark, content_hash
from engine.benchmarks.sources.hub_files import DataError
from engine.models import package_index
from engine.specs import (
    BenchmarkSpec,
    CheckpointSpec,
    ExistingModel,
    FineTunedModel,
    LoadingSpec,
    RunSpec,
    digest,
)
from results_db import durable
from results_db.records import Split

STATES = "states-3"  # of trainings, by their id; pickles: where a module moved, the next number
OLD_STATES = ("states", "states-2")  # one file a run
MEASURED = "measured"  # stages of measuring, by run id
KNOWN = "known"  # of selections: ids of the questions that count, by the base run's id
TRIED = "tried"  # what finished candidates measured, by base run, run and steps between
IN_USE = "in_use"  # in a run's folder there: locked by whoever measures it
OLDER_LEFT = (  # as versions without locks named what they wrote
    "models/.staging-*", "states-2/*.[0-9]*", "checkpoints/*/checkpoint.json.[0-9]*",
)  # fmt: skip
DAY_SECONDS = 86_400.0  # after which nobody writes to one of them any more
RECIPE = 1  # raised when engine/study/base_models.py changes what it makes of the same spec
TUNING_RECIPE = 1  # the same, of a fine-tuned model
CONTENT = re.compile(r"[0-9a-f]{40}|sha256:[0-9a-f]{64}")  # a revision that is one content


def default_folder() -> Path:
    """`UNPACT_CACHE`, else the user's cache folder."""
    return package_index.cache_folder()


def set_aside_old_states(cache_folder: Path) -> int:
    """Put the training states of an earlier layout aside, where no run looks for them.

    Returns:
        How many there were; their runs start anew.
    """
    count = 0
    for old in (cache_folder / name for name in OLD_STATES):
        if there := len(list(old.glob("*.pt"))):
            durable.set_aside(old)
        count += there
    return count


def remove_leftovers(cache_folder: Path) -> int:
    """Remove what writers that died left in the cache, under names that nothing reads.

    Returns:
        How many files and folders there were.
    """
    rooms = [cache_folder / name for name in ("models", "runs", KNOWN)]
    for name in ("checkpoints", STATES, MEASURED, TRIED):
        rooms += (cache_folder / name).glob("[!.]*")
    before = time.time() - DAY_SECONDS
    older = [path for names in OLDER_LEFT for path in cache_folder.glob(names)]
    dead = [path for path in older if path.stat().st_mtime < before]
    for path in dead:
        durable.remove(path)
    return len(dead) + sum(durable.remove_leftovers(room) for room in rooms)


def drop_measured(cache_folder: Path, finished: Collection[str]) -> None:
    """Forget the stages of runs that were finished when their process died, unless one is at it.

    Args:
        cache_folder: they are in.
        finished: ids of runs that the results file has.
    """
    for folder in (cache_folder / MEASURED / run_id for run_id in finished):
        with suppress(OSError), (folder / IN_USE).open("rb") as lock:  # not there; a worker has it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            durable.remove(folder)


@lru_cache(maxsize=4)
def _load_benchmark(name: str, settings: str) -> Benchmark:
    load = plugins.load("benchmarks", name).load
    benchmark: Benchmark = plugins.call(load, json.loads(settings), f"benchmarks.{name}")
    return benchmark


def benchmark(spec: BenchmarkSpec) -> Benchmark:
    """The benchmark of a spec, made once a process.

    Raises:
        SettingsError: for a setting that it does not take; and whatever its `load` raises.
        DataError: if the spec states a content, and what it gives is another one.
    """
    asked = (spec.name, json.dumps(spec.arguments(), sort_keys=True), spec.limit)
    found = _content(*asked)
    if spec.content not in (None, found):
        place = spec.arguments().get("path")
        raise DataError(
            f"{spec.name}{f': {place}' if place else ''}: the data have the content {found}, "
            f"{spec.content} is asked for: they were changed since; the same command again makes "
            "the runs on the data as they are (a plan that states benchmark.content keeps to it)"
        )
    return _limited(*asked)


def content(spec: BenchmarkSpec) -> str:
    """Hash of everything that the benchmark of a spec gives; raises as `benchmark`."""
    benchmark(spec)
    return _content(spec.name, json.dumps(spec.arguments(), sort_keys=True), spec.limit)


def forget_benchmarks() -> None:
    """Let every benchmark be read anew."""
    for kept in (_load_benchmark, _limited, _content, _corpus_hash, _taught_hash):
        kept.cache_clear()


@lru_cache(maxsize=4)
def _limited(name: str, settings: str, limit: int | None) -> Benchmark:
    return _load_benchmark(name, settings).limited(limit, 0)


@lru_cache(maxsize=16)
def _content(name: str, settings: str, limit: int | None) -> str:
    return content_hash(_limited(name, settings, limit))


@lru_cache(maxsize=16)
def _taught_hash(name: str, settings: str) -> str:
    """Hash of what fine-tuning is on, and of the questions that say how far it came."""
    data = _load_benchmark(name, settings)
    splits: tuple[Split, ...] = ("forget", "retain")
    taught = [data.unlearning_texts(split) for split in splits]
    return digest(repr((taught, data.questions(*splits))))


@lru_cache(maxsize=16)
def _corpus_hash(name: str, settings: str) -> str:
    return digest(repr(_load_benchmark(name, settings).corpus))


def model_folder(cache: Path, run: RunSpec, *, with_forget: bool) -> Path:
    """The folder of a trained model, named by a hash of data, spec, seed and torch version.

    Raises:
        NoCorpusError: if the benchmark has nothing to train on.
        HubError, UnusableCheckpointError: for a start of fine-tuning that is not to be had.
    """
    if isinstance(run.model, ExistingModel):
        raise TypeError(f"{run.model_name} is not trained here")
    benchmark(run.benchmark).require_corpus()
    data = run.benchmark.name, json.dumps(run.benchmark.arguments(), sort_keys=True)
    made_of = [run.seed, with_forget, version("torch")]
    role = "base" if with_forget else "retain"
    if isinstance(run.model, FineTunedModel):
        model = pinned(run.model).model_dump_json()
        made_of += [TUNING_RECIPE, _taught_hash(*data), model, run.probe.max_new_tokens]
        return cache / "models" / f"fine-tuned-{role}-{digest(json.dumps(made_of))[:16]}"
    made_of = [RECIPE, _corpus_hash(*data), run.model.model_dump_json(), *made_of]
    return cache / "models" / f"{run.model.architecture}-{role}-{digest(json.dumps(made_of))[:16]}"


def pinned(model: FineTunedModel) -> FineTunedModel:
    """The model with its start named by its content: a digest, a commit or a hash of local files.

    Raises:
        HubError, UnusableCheckpointError: for a start that is not to be had.
    """
    from engine.models import checkpoints  # late: what trains nothing does without

    start = model.start
    named = [start.revision, *([start.adapter_revision] if start.adapter else [])]
    if start.content is not None or all(CONTENT.fullmatch(one or "") for one in named):
        return model
    return model.model_copy(update={"start": checkpoints.pinned(start, checkpoints.places(start))})


def checkpoint_folder(cache: Path, spec: CheckpointSpec, loading: LoadingSpec) -> Path:
    """The folder that notes how a model made elsewhere is loaded, once it is fetched."""
    made_of = [spec.model_dump(mode="json"), loading.model_dump(mode="json")]
    return cache / "checkpoints" / digest(json.dumps(made_of, sort_keys=True))[:16]
