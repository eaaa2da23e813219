"""Load a model to measure it: examined first, refused where a number would be wrong.

The one door through which runs, selections, probes and the live page get their models.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.doctor import adapter, border, causal, weights
from engine.doctor.check import Check, with_allowed
from engine.doctor.examine import examine, failing_at_once
from engine.models.adapter_loading import AdapterMismatchError
from engine.models.asked import say_once
from engine.models.checkpoint_files import NotCausalError, WeightMismatchError
from engine.models.checkpoints import Note, read_note
from engine.models.lm import LM
from engine.models.loading import is_noted, load
from engine.specs import LoadingSpec

REMEMBERED = 16  # models whose checks are known in this process
Asked = Sequence[tuple[str, str]]
_known: OrderedDict[tuple[object, ...], tuple[Check, ...]] = OrderedDict()


@dataclass(frozen=True)
class Examined:
    """A model that may be measured, with what was found of it."""

    lm: LM
    checks: tuple[Check, ...]


def load_examined(
    folder: Path, device: str = "cpu", asked: Asked = (), allow: Collection[str] = ()
) -> Examined:
    """Load a model and run the checks, unless these weights were examined in this process.

    Args:
        folder: see `loading.load`.
        device: a torch device.
        asked: questions with gold answers that will be asked.
        allow: names of checks that may fail, beside those that its plan allows.

    Raises:
        RefusedModelError: naming each check that fails and may not.
        ModelLoadError, PromptError: for a model that cannot be loaded or asked.
    """
    note = _note(folder)
    lm, checks = _examined(folder, note, device, asked)
    loading = LoadingSpec() if note is None else LoadingSpec(**note.loading)
    where = str(folder) if note is None else str(note.spec["adapter"] or note.spec["source"])
    # what could not be loaded cannot be allowed either: there is nothing to measure
    may = () if lm is None else {*allow, *loading.allow}
    marked = with_allowed(checks, where, may)
    assert lm is not None, checks  # a model without weights fails a check
    for one in marked:
        if one.name == border.NAME and one.passed and one.figure:
            say_once(f"{where}: {one.note}")
    return Examined(lm, tuple(marked))


def diagnose(folder: Path, device: str = "cpu", asked: Asked = ()) -> list[Check]:
    """Load a model and run the checks; a model that cannot be loaded as one fails its check.

    Raises:
        ModelLoadError, PromptError: for what no check is about, such as a file that is missing.
    """
    return list(_examined(folder, _note(folder), device, asked)[1])


def _examined(
    folder: Path, note: Note | None, device: str, asked: Asked
) -> tuple[LM | None, Sequence[Check]]:
    """The model with its checks; None and the check that it fails where it cannot be one."""
    try:
        lm = load(folder, device)
    except NotCausalError as error:
        return None, failing_at_once(causal.NAME, error.what)
    except AdapterMismatchError as error:
        return None, failing_at_once(adapter.NAME, str(error))
    except WeightMismatchError as error:
        return None, failing_at_once(weights.NAME, str(error))
    choice = None if note is None else LoadingSpec(**note.loading).tokenizer_choice
    key = (*_state(folder, note), device, str(lm.prompt_format), tuple(asked))
    if key not in _known:
        _known[key] = tuple(examine(lm, folder=folder, asked=asked, choice=choice))
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
    return lm, _known[key]


def _note(folder: Path) -> Note | None:
    return read_note(folder) if is_noted(folder) else None


def _state(folder: Path, note: Note | None) -> tuple[object, ...]:
    """The files of a model: folders or files, and when the last of them was changed, ns."""
    parts = [] if note is None else [part for part in (note.model, note.adapter) if part]
    places = [folder.resolve(), *(Path(part.folder).resolve() for part in parts)]
    return tuple((place, _changed(place)) for place in places)


def _changed(place: Path) -> int:
    """When a file, or the last file of a folder, was changed, in ns."""
    inside = place.iterdir() if place.is_dir() else [place]
    return max((file.stat().st_mtime_ns for file in inside if file.is_file()), default=0)
