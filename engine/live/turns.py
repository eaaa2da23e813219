"""Whose turn it is: questions are answered one at a time, by a thread of their own.

Whoever waits holds no thread, so that health and cancelling are answered at once however many do.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

BUSY_SECONDS = 60.0  # for which a question waits for its turn
LONGEST_QUEUE = 100  # questions
LOOK_SECONDS = 1.0  # between two looks whether the asker is still there
Document = dict[str, Any]
Gone = Callable[[], Awaitable[bool]]


class BusyError(RuntimeError):
    """Other questions take too long."""


class QuestionCancelledError(RuntimeError):
    """The question was taken back, or its asker is gone."""


class Turns:
    """Questions that are open, the first of them at work."""

    def __init__(self, stop: threading.Event) -> None:
        """Nobody asks yet.

        Args:
            stop: set while the question at work is to end; whoever computes looks at it.
        """
        self._stop = stop
        self._worker = ThreadPoolExecutor(1, "question")
        self._open: dict[str, Future[Document]] = {}
        self._at_work: str | None = None
        self._lock = threading.Lock()

    @property
    def working(self) -> bool:
        """Whether a question is at work."""
        return self._at_work is not None

    @property
    def waiting(self) -> int:
        """How many questions wait for their turn."""
        return max(0, len(self._open) - self.working)

    async def take(self, name: str, work: Callable[[], Document], gone: Gone) -> Document:
        """The answer to a question, when its turn comes.

        Args:
            name: by which it can be cancelled; its own.
            work: gives the answer.
            gone: whether nobody waits for the answer any more.

        Raises:
            BusyError: if too many wait, or its turn does not come in time.
            QuestionCancelledError: if it was cancelled, or nobody waits for it.
            Whatever work raises.
        """
        if self.waiting >= LONGEST_QUEUE:
            raise BusyError(f"{self.waiting} questions wait for the model host; try again later")
        if name in self._open:
            raise BusyError(f"a question {name!r} is asked already")
        self._open[name] = future = self._worker.submit(self._run, name, work)
        try:
            return await self._answer(future, name, gone)
        finally:
            del self._open[name]

    async def _answer(self, future: Future[Document], name: str, gone: Gone) -> Document:
        answer = asyncio.wrap_future(future)
        loop = asyncio.get_running_loop()
        end = loop.time() + BUSY_SECONDS
        while not (await asyncio.wait({answer}, timeout=LOOK_SECONDS))[0]:
            if await gone():
                self.cancel(name)
            elif loop.time() > end and future.cancel():
                others = self.waiting - 1
                raise BusyError(
                    f"the model host is busy with another question, {others} others wait; try again"
                )
        if answer.cancelled():
            raise QuestionCancelledError("the question was cancelled")
        return answer.result()

    def _run(self, name: str, work: Callable[[], Document]) -> Document:
        with self._lock:
            self._at_work = name
        try:
            return work()
        finally:
            with self._lock:
                self._at_work = None
                self._stop.clear()

    def cancel(self, name: str) -> bool:
        """Take a question back: one that waits at once, one at work at its next forward pass.

        Returns:
            Whether there is such a question.
        """
        future = self._open.get(name)
        if future is None or future.done():
            return False
        if not future.cancel():
            with self._lock:
                if self._at_work == name:
                    self._stop.set()
        return True

    def close(self) -> None:
        """Take all questions back; the thread ends."""
        for name in list(self._open):
            self.cancel(name)
        self._worker.shutdown(wait=False, cancel_futures=True)
