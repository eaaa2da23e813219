"""`unpact doctor`: examine a model before anything is measured on it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine import console
from engine.commands.options import Database, Device, Json, TokenizerOption, database_path
from engine.specs import CheckpointSpec, Dtype, LoadingSpec

if TYPE_CHECKING:
    from engine.doctor.check import Check

FAILED = 1  # exit status
RESULTS = {True: "passes", False: "FAILS", None: "not examined"}


@dataclass(frozen=True)
class Examination:
    """What was found of one model."""

    model: str
    checks: tuple[Check, ...]
    seconds: float  # wall time of loading and of the checks


def doctor(  # noqa: PLR0917 - Typer reads its options from the signature
    model: Annotated[
        str, typer.Argument(help="A folder, GGUF file, hub id, or run id of the results file.")
    ],
    adapter: Annotated[
        str | None, typer.Option("--adapter", help="A PEFT adapter on it: folder or hub id.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="A second model; must be comparable.")
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option("--benchmark", help="Whose questions are read: NAME or NAME:PART.")
    ] = None,
    tokenizer: TokenizerOption = "agreed",
    dtype: Annotated[Dtype, typer.Option("--dtype", help="auto: as stored.")] = "auto",
    db: Database = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Examine a model: exit 0 every check passes, 1 a number measured on it would be wrong."""
    from engine.models import devices

    asked = _asked(benchmark)
    loading, where = LoadingSpec(dtype=dtype, tokenizer=tokenizer), devices.resolve(device)
    wanted = [(model, adapter), *([(against, None)] if against is not None else [])]
    found, apart = [], []
    with tempfile.TemporaryDirectory(prefix="unpact-") as private:
        folders = [
            _folder(*one, loading, Path(private) / str(place), database_path(db))
            for place, one in enumerate(wanted)
        ]
        for (name, on_top), folder in zip(wanted, folders, strict=True):
            found.append(_examine(name if on_top is None else on_top, folder, where, asked))
        if against is not None:
            apart = _differences(folders, loading)
    show(found, apart, as_json=as_json)
    if apart or any(one.passed is not True for each in found for one in each.checks):
        raise typer.Exit(FAILED)


def show(found: Sequence[Examination], apart: Sequence[str], *, as_json: bool) -> None:
    """Print the checks of each model.

    Args:
        found: of one model, or of two.
        apart: in what two models differ that must be alike.
        as_json: one document instead.
    """
    if as_json:
        models = [
            {**asdict(one), "passed": all(check.passed for check in one.checks)} for one in found
        ]
        console.show_json({"models": models, "differences": list(apart)})
        return
    for each in found:
        lines = [
            (
                one.name,
                RESULTS[one.passed],
                None if one.figure is None else f"{one.figure:.3g}",
                one.note,
            )
            for one in each.checks
        ]
        title = f"{each.model} (loaded and examined in {each.seconds:.1f} s)"
        console.show_table(title, ("check", "", "figure", "note"), lines)
    if apart:
        names = " and ".join(one.model for one in found)
        console.say(f"{names} cannot be compared token by token: {'; '.join(apart)}")


def _examine(name: str, folder: Path, device: str, asked: Sequence[tuple[str, str]]) -> Examination:
    from engine.doctor.loading import diagnose

    start = time.perf_counter()
    checks = diagnose(folder, device, asked)
    return Examination(name, tuple(checks), time.perf_counter() - start)


def _folder(
    model: str, adapter: str | None, loading: LoadingSpec, private: Path, database: Path
) -> Path:
    """A folder that `load` takes: with a note of the model, or the saved weights of a run."""
    from engine.live import probe
    from engine.models import checkpoints, hub

    here = Path(model).expanduser()
    if not here.exists() and not hub.is_repository(model.partition("@")[0]):
        return probe.find_model(model, database).folder
    source, revision = (model, None) if here.exists() else hub.parse(model)
    spec = CheckpointSpec(source=source, revision=revision)
    if adapter is not None:
        of, at = (adapter, None) if Path(adapter).expanduser().exists() else hub.parse(adapter)
        spec = spec.model_copy(update={"adapter": of, "adapter_revision": at})
    return checkpoints.fetch(spec, loading, private, lambda *_: None)


def _asked(benchmark: str | None) -> list[tuple[str, str]]:
    """Questions and gold answers of a benchmark."""
    if benchmark is None:
        return []
    from engine import plugins
    from engine.specs import BenchmarkSpec
    from engine.study import cache

    name, _, part = benchmark.partition(":")
    settings = {}
    if part:
        parts = vars(plugins.load("benchmarks", name)).get("PARTS", {})
        plugins.check(part, sorted(parts) or ["(no parts)"], f"--benchmark {name}")
        settings = parts[part]
    whole = cache.benchmark(BenchmarkSpec(name=name, settings=settings))
    return [(one.prompt, one.answer) for one in whole.questions("forget", "retain", "general")]


def _differences(folders: Sequence[Path], loading: LoadingSpec) -> list[str]:
    """In what two models differ that must be alike in a comparison token by token."""
    from engine.models import compatibility
    from engine.models.checkpoints import read_note
    from engine.models.loading import is_noted

    natures = []
    for folder in folders:
        weights = Path(read_note(folder).model.folder) if is_noted(folder) else folder
        natures.append(compatibility.nature(weights, str(weights)))
    return natures[0].differences(natures[1], loading)
