"""Jobs on this machine: worker processes, each job with the threads that its plan gives it."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from engine.interrupt import SIGNALS, kept_from_children
from engine.study.jobs import Event, Finished, RunJob, TrainJob

PARENT_POLL_SECONDS = 0.5
_worker: dict[str, Any] = {}  # this process's event queue and device, set once by _start_worker


class LocalExecutor:
    """A pool of worker processes; each loads torch once and keeps it."""

    def __init__(self, workers: int, device: str, cores: int = 1) -> None:
        """Start the pool; workers are spawned when first needed.

        Args:
            workers: processes.
            device: a torch device, of all of them.
            cores: that their jobs share; from `devices.cores`.
        """
        self.slots, self.cores = workers, cores
        self._submitted: list[Future[Any]] = []
        context = multiprocessing.get_context("spawn")
        self._events: Queue[Event] = context.Queue()
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=_start_worker,
            initargs=(self._events, device, os.getpid()),
        )

    def submit_training(self, job: TrainJob) -> Future[Path]:
        """Start training a model."""
        with kept_from_children():  # the pool starts its workers here
            self._submitted.append(future := self._pool.submit(_train, job))
        return future

    def submit_run(self, job: RunJob) -> Future[Finished]:
        """Start a run."""
        with kept_from_children():
            self._submitted.append(future := self._pool.submit(_execute, job))
        return future

    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> set[Future[Any]]:
        """The futures that are done, after at most so many seconds."""
        waiting = list(futures)
        if not waiting:
            time.sleep(seconds)
            return set()
        return wait(waiting, timeout=seconds, return_when=FIRST_COMPLETED).done

    def events(self) -> list[Event]:
        """What workers said since the last call."""
        said = []
        while True:
            try:
                said.append(self._events.get_nowait())
            except queue.Empty:
                return said

    def stop(self) -> None:
        """End all workers at once; a job that runs loses the stage it is in, and no more.

        Idle workers leave by themselves: a killed one would leave its semaphores behind, of which
        Python warns on standard error.
        """
        if all(future.done() for future in self._submitted):
            self._pool.shutdown(wait=True)
        else:
            end(self._pool)
        self._events.close()
        self._events.cancel_join_thread()


def end(pool: ProcessPoolExecutor) -> None:
    """Kill the workers of a pool: they heed no other signal."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def _start_worker(events: Queue[Event], device: str, parent: int) -> None:
    prepare_worker(parent)
    events.cancel_join_thread()  # nobody reads them when the study is over
    _worker.update(events=events, device=device)


def prepare_worker(parent: int, threads: int = 1) -> None:
    """Make this process a worker: no signals of its own, gone with its parent, results repeat."""
    for number in SIGNALS:  # the parent has them too, and ends its workers
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os._exit(1)


def compute_with(threads: int) -> None:
    """Have torch compute with so many threads from now on: bits of a sum depend on the number."""
    import torch

    torch.set_num_threads(threads)


def _train(job: TrainJob) -> Path:
    from engine.study import run

    compute_with(job.threads)
    return run.train(job, _worker["device"], _reporter(job.spec.run_id))


def _execute(job: RunJob) -> Finished:
    from engine.study import run

    compute_with(job.threads)
    return run.finish(job, _worker["device"], _reporter(job.spec.run_id))


def _reporter(run_id: str) -> Any:  # noqa: ANN401 - engine.jobs.Report, a closure
    events = _worker["events"]

    def report(stage: str, done: int, total: int) -> None:
        events.put(Event(run_id, stage, done, total))

    return report
