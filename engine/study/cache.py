"""Where trained models are kept: one folder each, named by the hash of what made it."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

from engine import plugins
from engine.benchmarks.benchmark import Benchmark, content_hash
from engine.benchmarks.sources.hub_files import DataError
from engine.specs import BenchmarkSpec, CheckpointSpec, ExistingModel, LoadingSpec, RunSpec, digest

STATES = "states-2"  # the states are pickles: where a module moved, the next number
OLD_STATES = "states"  # pickled before the modules had rooms
RECIPE = 1  # raised when engine/study/base_models.py changes what it makes of the same spec


def default_folder() -> Path:
    """`UNPACT_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("UNPACT_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "unpact"


def set_aside_old_states(cache_folder: Path) -> int:
    """Put the training states of an earlier layout aside, where no run looks for them.

    Returns:
        How many there were; their runs start anew.
    """
    old = cache_folder / OLD_STATES
    count = len(list(old.glob("*.pt")))
    if count:
        old.rename(cache_folder / f"{OLD_STATES}.set-aside-{uuid4().hex[:8]}")
    return count


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
    for kept in (_load_benchmark, _limited, _content, _corpus_hash):
        kept.cache_clear()


@lru_cache(maxsize=4)
def _limited(name: str, settings: str, limit: int | None) -> Benchmark:
    return _load_benchmark(name, settings).limited(limit, 0)


@lru_cache(maxsize=16)
def _content(name: str, settings: str, limit: int | None) -> str:
    return content_hash(_limited(name, settings, limit))


@lru_cache(maxsize=16)
def _corpus_hash(name: str, settings: str) -> str:
    return digest(repr(_load_benchmark(name, settings).corpus))


def model_folder(cache: Path, run: RunSpec, *, with_forget: bool) -> Path:
    """The folder of a trained model, named by a hash of corpus, spec, seed and torch version.

    Raises:
        NoCorpusError: if the benchmark has nothing to train on.
    """
    if isinstance(run.model, ExistingModel):
        raise TypeError(f"{run.model_name} is not trained here")
    benchmark(run.benchmark).require_corpus()
    corpus = _corpus_hash(run.benchmark.name, json.dumps(run.benchmark.arguments(), sort_keys=True))
    model = run.model.model_dump_json()
    made_of = [RECIPE, corpus, model, run.seed, with_forget, version("torch")]
    role = "base" if with_forget else "retain"
    return cache / "models" / f"{run.model.architecture}-{role}-{digest(json.dumps(made_of))[:16]}"


def checkpoint_folder(cache: Path, spec: CheckpointSpec, loading: LoadingSpec) -> Path:
    """The folder that notes how a model made elsewhere is loaded, once it is fetched."""
    made_of = [spec.model_dump(mode="json"), loading.model_dump(mode="json")]
    return cache / "checkpoints" / digest(json.dumps(made_of, sort_keys=True))[:16]
