"""One thread that works for all clients: what waits is done together, and more than may wait is refused at once."""

from __future__ import annotations

import asyncio
import collections
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from recsdk_serve.guard import Refused


class Job(NamedTuple):
    """A call that waits.

    Attributes:
        asked: what for.
        future: its answer.
    """

    asked: Any
    future: asyncio.Future[Any]


class Lane:
    """A thread and the calls that wait for it.

    Nobody waits for company: while the thread works calls gather, and it takes them all, so that a busy service has larger batches.

    Args:
        work: returns an answer, or an exception, for each of those it is given.
        name: of the thread.
        waiting: calls that may wait.
        most: calls that are taken at once.
    """

    def __init__(self, work: Callable[[Sequence[Any]], Sequence[Any]], name: str, *, waiting: int, most: int) -> None:
        self._work, self._most_waiting, self._most = work, waiting, most
        self._jobs: collections.deque[Job] = collections.deque()
        self._there = threading.Condition()
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def ask(self, asked: Any) -> Any:
        """Returns the answer.

        Raises:
            Refused: 429, where too many wait.
        """
        if len(self._jobs) >= self._most_waiting or self._ended:
            raise Refused(429, "Busy", f"{self._most_waiting} calls are waiting: try again.", headers={"retry-after": "1"})
        job = Job(asked, self._loop.create_future())
        with self._there:
            self._jobs.append(job)
            self._there.notify()
        return await job.future

    def end(self) -> None:
        """Does what waits, and ends the thread."""
        with self._there:
            self._ended = True
            self._there.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._there:
                self._there.wait_for(lambda: self._jobs or self._ended)
                if not self._jobs:
                    return
                taken = [self._jobs.popleft() for _ in range(min(len(self._jobs), self._most))]
            jobs = [job for job in taken if not job.future.cancelled()]  # who has left is not served
            if not jobs:
                continue
            try:
                answers = self._work([job.asked for job in jobs])
            except Exception as error:
                answers = [error] * len(jobs)
            self._loop.call_soon_threadsafe(_answer, jobs, answers)


def _answer(jobs: Sequence[Job], answers: Sequence[Any]) -> None:
    for job, answer in zip(jobs, answers, strict=True):
        if job.future.done():
            continue  # its client has left
        if isinstance(answer, Exception):
            job.future.set_exception(answer)
        else:
            job.future.set_result(answer)
