"""Tasks: what is measured on a model beside its answers, its attributions and recovery.

`plain_text` has `score`, and is measured at every step of every run. Each other module has a frozen
dataclass `Task` with `measure(subject)`, is named in a plan's `[probe.tasks]`, and is measured on
the final weights: one row an example, or rows without a value that say why. One that has the model
read anything gives `readings(benchmark)` too, by which its time is estimated. Means, intervals and
statistics over them are SQL (`metric_value` and `run_metric` in results_db/summaries).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from engine import plugins

if TYPE_CHECKING:
    from engine.tasks.subject import Subject
    from results_db.records import Utility


class Task(Protocol):
    """A module of `tasks` exports one as `Task`: a frozen dataclass of settings."""

    def measure(self, subject: Subject) -> Iterable[Utility]:
        """Rows of this task, one for each example, or one that says why there is none."""
        ...


def planned(name: str, settings: dict[str, Any]) -> Task:
    """A task of a plan; one such as `lm_eval:NAME` is told which it is.

    Raises:
        UnknownNameError: if there is no such task.
        SettingsError: for a setting that it does not take.
    """
    of = name.partition(":")[2]
    task: Any = plugins.settings(plugins.load("tasks", name).Task, settings, name)
    found: Task = replace(task, of=of) if of else task
    return found
