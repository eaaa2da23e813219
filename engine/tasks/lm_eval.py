"""A task of lm-evaluation-harness by the harness itself: `lm_eval:NAME`, one row a document.

The harness puts the questions, as NAME says, to the model as it is loaded here: no chat template,
its own few shots, its own metrics. A group such as `mmlu` is all of its tasks. Rows are named
TASK/DOCUMENT and belong to no split. Its data are read from this machine: where NAME's file says,
or where they were fetched to before; nothing is asked of a hub.

Source: Gao et al. 2021, lm-evaluation-harness 0.4.13.
Needs: `pip install 'unpact[lm-eval]'`.
Differs: not where a document has one number; metrics of whole corpora (perplexity a word, BLEU)
have none, and are NULL with that reason.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from engine import plugins
from engine.errors import PlanError, one_line
from engine.models.lm import LM
from engine.tasks.subject import Metric, Subject
from results_db.records import Utility

NAME = "lm_eval"
PINNED = "0.4.13"
FRACTIONS = ("acc", "acc_norm", "acc_bytes", "exact_match", "em", "f1")
OWN_UNIT = "as lm-eval has it"
NO_NUMBER = "the harness has no number for one document"
LONGEST = 300  # characters of a reason


@dataclass(frozen=True)
class Task:
    """Settings of one task of the harness.

    folder: with task files (YAML) beside the harness's own. limit: documents of each task; None:
    all. num_fewshot: solved questions in front; None: as the task says.
    """

    folder: str = ""
    limit: int | None = None
    num_fewshot: int | None = None
    of: str = plugins.later("")  # the NAME of `lm_eval:NAME`

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """Rows of each metric for each document; one that says so where the data are not here."""
        name = f"{NAME}:{self.of}"
        try:
            with _reads_only_this_machine():
                manager = _manager(self.folder)
                manager.load([self.of])
        except (OSError, ValueError, ImportError) as error:
            reason = f"its data are not at hand: {one_line(error)}"[:LONGEST]
            yield from subject.missing(Metric(name, "all", OWN_UNIT, higher_is_better=True), reason)
            return
        found = self._evaluated(subject.lm, manager)
        for task, samples in found["samples"].items():
            better = found["higher_is_better"].get(task, {})
            for sample in samples:
                yield from _rows(subject, name, task, sample, better)

    def _evaluated(self, lm: LM, manager: Any) -> dict[str, Any]:  # noqa: ANN401 - of the harness
        models = importlib.import_module("lm_eval.models.huggingface")
        harness = importlib.import_module("lm_eval")
        with _reads_only_this_machine(), _leaves_no_trace(lm):
            wrapped = models.HFLM(
                pretrained=lm.model, tokenizer=copy.deepcopy(lm.tokenizer), batch_size=1
            )
            found: dict[str, Any] = harness.simple_evaluate(
                model=wrapped, tasks=[self.of], num_fewshot=self.num_fewshot, limit=self.limit,
                task_manager=manager, bootstrap_iters=0, log_samples=True,
            )  # fmt: skip
        return found


def require(name: str, folder: str, where: str) -> None:
    """Check that the harness is installed and has a task or group of this name.

    Args:
        name: of the task.
        folder: with more task files; may be empty.
        where: it stands in the plan.

    Raises:
        PlanError: saying what to install, or which names are close.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise PlanError(
            f"{where}: lm-eval is not installed: pip install 'unpact[lm-eval]' (lm-eval {PINNED})"
        )
    if (found := version("lm-eval")) != PINNED:
        raise PlanError(f"{where}: lm-eval {found} is installed, {PINNED} is wanted: its numbers")
    if folder and not Path(folder).is_dir():
        raise PlanError(f"{where}: folder {folder}: no folder there")
    known = list(_manager(folder).all_tasks)
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise PlanError(f"{where}: lm-eval has no task {name!r}{hint}; folder adds some")


@cache  # it reads thousands of files
def _manager(folder: str) -> Any:  # noqa: ANN401 - of the harness
    """The harness's list of tasks, with those of a folder."""
    tasks = importlib.import_module("lm_eval.tasks")
    return tasks.TaskManager(include_path=folder or None)


def _rows(
    subject: Subject, name: str, task: str, sample: dict[str, Any], better: dict[str, Any]
) -> Iterator[Utility]:
    """A row for each metric of one document."""
    for metric in sample["metrics"]:
        kind = sample.get("filter", "none")
        shown = metric if kind == "none" else f"{metric} {kind}"
        unit = "fraction" if metric in FRACTIONS else OWN_UNIT
        of = Metric(name, shown, unit, higher_is_better=better.get(metric) is not False)
        value = sample.get(metric)
        is_number = isinstance(value, bool | int | float | np.number)
        yield subject.row(
            of, f"{task}/{sample['doc_id']}", float(value) if is_number else None,  # type: ignore[arg-type]
            None if is_number else NO_NUMBER,
        )  # fmt: skip


@contextmanager
def _reads_only_this_machine() -> Iterator[None]:
    """Have data read from folders and from what was fetched before."""
    places = (
        (importlib.import_module("huggingface_hub.constants"), "HF_HUB_OFFLINE"),
        (importlib.import_module("datasets").config, "HF_HUB_OFFLINE"),
        (importlib.import_module("datasets").config, "HF_DATASETS_OFFLINE"),
    )
    before = [vars(module)[name] for module, name in places]
    for module, name in places:
        setattr(module, name, True)
    try:
        yield
    finally:
        for (module, name), value in zip(places, before, strict=True):
            setattr(module, name, value)


@contextmanager
def _leaves_no_trace(lm: LM) -> Iterator[None]:
    """Keep the weights from being tied anew, and draws elsewhere from being seeded, by the harness.

    It ties embeddings that an adapter or unlearning may have parted.
    """
    import torch

    model: Any = lm.model
    python, numpy = random.getstate(), np.random.get_state()
    model.tie_weights = lambda *_args, **_more: None  # over that of its class
    try:
        with torch.random.fork_rng():
            yield
    finally:
        del model.tie_weights
        random.setstate(python)
        np.random.set_state(numpy)
