"""Models that stay in memory between questions, the least recently used one given up first."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.doctor.loading import load_examined
from engine.live.probe import LoadedModel, ModelChoice
from engine.live.turns import QuestionCancelledError
from engine.models import checkpoints, gguf
from results_db import read

CAPACITY = 4  # base, unlearned, retain, and the unlearned one before


class UnknownModelError(LookupError):
    """A model that is neither a saved run of the results file nor a folder that was offered."""


@dataclass(frozen=True)
class Models:
    """What may be loaded, and where to."""

    database: Path
    folders: tuple[str, ...]  # offered beside the runs of the file
    device: str
    allow: tuple[str, ...] = ()  # checks that a model may fail
    trust_remote_code: bool = False  # run Python files where a plan let them run

    def find(self, names: Sequence[str]) -> list[ModelChoice]:
        """Saved runs of the results file by their ids, or folders as they were offered.

        Raises:
            UnknownModelError: for any other name, a path of an existing model included.
        """
        known = {folder: ModelChoice(_name(folder), Path(folder)) for folder in self.folders}
        if self.database.is_file():
            for row in read.query(self.database, "saved_models").itertuples():
                known[row.run_id] = ModelChoice(f"{row.model} {row.method}", Path(row.path))
        for name in names:
            if name not in known:
                raise UnknownModelError(f"{name!r} is no run with saved weights in {self.database}")
        return [known[name] for name in names]


class Residents:
    """The models in memory, by folder and by when its files were last changed."""

    def __init__(self, models: Models, capacity: int = CAPACITY) -> None:
        """Nothing is loaded yet."""
        self.models = models
        self._capacity = capacity
        self.stop = threading.Event()  # set: whoever computes with one of the models is to end
        self._loaded: OrderedDict[tuple[ModelChoice, int], LoadedModel] = OrderedDict()

    def __len__(self) -> int:
        """How many models are in memory."""
        return len(self._loaded)

    def get(self, names: Sequence[str]) -> list[LoadedModel]:
        """The models of these names, in this order; loads those that are not in memory.

        Raises:
            UnknownModelError: before anything is loaded.
            ModelLoadError: if a folder does not hold a model, or one that fails a check.
        """
        return [self._get(choice) for choice in self.models.find(names)]

    def unload(self) -> int:
        """Give all memory back; how many models there were."""
        count = len(self._loaded)
        self._loaded.clear()
        _free()
        return count

    def _end_if_cancelled(self, *_: object) -> None:
        """Before each forward pass of a model."""
        if self.stop.is_set():
            raise QuestionCancelledError("the question was cancelled")

    def _get(self, choice: ModelChoice) -> LoadedModel:
        key = (choice, _changed(choice.folder))
        if key not in self._loaded:
            while len(self._loaded) >= self._capacity:
                self._loaded.popitem(last=False)
                _free()
            if not self.models.trust_remote_code:
                checkpoints.refuse_trusted(choice.folder)
            examined = load_examined(choice.folder, self.models.device, (), self.models.allow)
            examined.lm.model.register_forward_pre_hook(self._end_if_cancelled)
            self._loaded[key] = LoadedModel(choice.name, examined.lm)
        self._loaded.move_to_end(key)
        return self._loaded[key]


def _name(folder: str) -> str:
    """As pages call it: a GGUF file by the title that says how it was rounded."""
    path = Path(folder)
    return gguf.title(path) if gguf.is_file(path) else folder


def _changed(folder: Path) -> int:
    """When a file of the folder, or a GGUF file, was last changed, in ns; 0 without any."""
    files = [folder] if folder.is_file() else folder.glob("*")
    return max((file.stat().st_mtime_ns for file in files), default=0)


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
