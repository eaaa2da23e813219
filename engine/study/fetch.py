"""Fetch checkpoints one after another, the next while one is measured, within a disk budget.

One thread fetches; weights that were measured and that no waiting run needs make room, the oldest
first, but only those that were fetched here: a folder of the user's, or what the hub's cache had
before, stays.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from engine.models import checkpoints, hub, package_index
from engine.study.disk_budget import DiskBudgetError
from engine.study.jobs import Event, FetchJob
from results_db import durable

OWNED = "fetched.json"  # beside the note: what was brought here and may be evicted


class Fetcher:
    """The one thread that fetches, and what it has brought."""

    def __init__(self, budget: int | None) -> None:
        """Nothing is fetched yet.

        Args:
            budget: bytes that fetched weights may take at once; None: no bound.
        """
        self.budget = budget
        self._pool = ThreadPoolExecutor(1, "fetch")
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._brought: dict[Path, int] = {}  # by note folder, the oldest first

    def submit(self, job: FetchJob, needed: Callable[[], Collection[Path]]) -> Future[Path]:
        """Start to fetch; the future gives the folder of the note.

        Args:
            job: what to fetch.
            needed: gives the folders that waiting and running runs need, and so may not go.
        """
        return self._pool.submit(self._fetch, job, needed)

    def stop(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def events(self) -> list[Event]:
        """What was said since the last call."""
        said = []
        while not self._events.empty():
            said.append(self._events.get())
        return said

    def _fetch(self, job: FetchJob, needed: Callable[[], Collection[Path]]) -> Path:
        size = self._to_bring(job)
        self._make_room(job, size, needed)
        name = f"fetch {job.checkpoint.adapter or job.checkpoint.source}"

        def progress(there: int, total: int) -> None:
            self._events.put(Event(job.spec.run_id, name, there >> 20, max(1, total >> 20)))

        if size:  # before the first byte, so that a killed study's weights can be evicted as well
            durable.write_json(job.folder / OWNED, {"bytes": size})
        folder = checkpoints.fetch(job.checkpoint, job.loading, job.folder, progress)
        if (owned := _owned(job.folder / OWNED)) is not None:
            self._brought[job.folder] = owned
        return folder

    def _to_bring(self, job: FetchJob) -> int:
        parts = checkpoints.places(job.checkpoint)
        return sum(checkpoints.to_fetch(part, job.loading) for part in parts)

    def _make_room(self, job: FetchJob, size: int, needed: Callable[[], Collection[Path]]) -> None:
        """Evict what was measured until the next one fits.

        Raises:
            DiskBudgetError: if it does not fit beside what is still needed.
        """
        if self.budget is None:
            return
        for folder in list(self._brought):
            if sum(self._brought.values()) + size <= self.budget:
                return
            if folder not in needed():
                self._evict(folder)
        taken = sum(self._brought.values())
        if taken + size > self.budget:
            raise DiskBudgetError(
                f"{job.checkpoint.source}: {size / 1e9:.2f} GB to fetch, --disk-budget leaves "
                f"{(self.budget - taken) / 1e9:.2f} GB beside the models that are still needed; "
                "raise it"
            )

    def _evict(self, folder: Path) -> None:
        note = checkpoints.read_note(folder)
        model, adapter = note.spec["source"], note.spec["adapter"]
        for name, part in ((model, note.model), (adapter, note.adapter)):
            if part is not None and part.commit is not None and not package_index.is_source(name):
                hub.evict(name, part.commit)
        (folder / OWNED).unlink()
        del self._brought[folder]

    def fits(self, job: FetchJob, needed: Collection[Path]) -> bool:
        """Whether it can be fetched now; else a run must end first. Asks the hub for sizes."""
        if self.budget is None:
            return True
        kept = sum(size for folder, size in self._brought.items() if folder in needed)
        return kept + self._to_bring(job) <= self.budget


def _owned(noted: Path) -> int | None:
    """Give the bytes that were brought here; None where nothing was, or its note is damaged."""
    try:
        return int(durable.read_json(noted)["bytes"])
    except FileNotFoundError:
        return None
    except durable.DamagedError as error:
        durable.give_up(noted, error, "what was fetched stays on the disk")
        return None
