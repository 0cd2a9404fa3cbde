"""Turns at the ledger: one thread at a time writes, for all that wait, in one transaction.

A call that comes while nobody writes does its own work at once, in its own thread. Calls that come meanwhile wait; the first of them then
does the work of all. So a sync of the disk, which takes milliseconds, is shared by as many decisions and rewards as were waiting for it,
no thread is handed work that it could have done itself, and nobody is answered before his work is durable.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar

from recsdk.errors import LedgerError, RecsdkError
from recsdk.ledger import Ledger
from recsdk.live.learner import Learner
from recsdk.live.observe import LOGGER

R = TypeVar("R")
CLOSED = "This recommender is closed: open the folder again."
Kind = Literal["reads", "appends", "learns", "writes", "alone"]


class _Job:
    def __init__(self, work: Callable[[], Any], kind: Kind) -> None:
        self.work = work
        self.kind = kind
        self.leads = False  # its thread is to work for all that wait
        self.done = False
        self.wake: threading.Lock | None = None
        self.result: Any = None
        self.error: BaseException | None = None

    def end(self, result: Any, error: BaseException | None = None) -> None:
        self.result, self.error, self.done = result, error, True

    def answer(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


class Block:
    """Many calls that share one transaction, see `Turns.together`.

    Attributes:
        time: of the call under way, in seconds since the epoch.
        torn: what was raised by a work of the call under way, which may have written a part of what it was to write.
        fault: what was raised by what the call under way did beside its own work, and for which it cannot be refused.
        held: what the state is to take once all is durable, before anybody else has a turn.
        after: what is to be told once all is durable.
        latest: where the settlement's time goes back to, should all of it be rolled back; the same for the next.
        num_drawn: slates that were drawn before.
    """

    def __init__(self, latest: float, num_drawn: int) -> None:
        self.time = 0.0
        self.torn: Exception | None = None
        self.fault: Exception | None = None
        self.held: list[Callable[[], Any]] = []
        self.after: list[Callable[[], Any]] = []
        self.latest, self.num_drawn = latest, num_drawn


def done(calls: Iterable[Callable[[], Any]]) -> None:
    """Makes calls of which none can take back what is durable, nor stop the next: what fails is logged."""
    for call in calls:
        try:
            call()
        except Exception:
            LOGGER.exception("A block of calls is durable, and %r failed after it.", call)


class _Failing:
    """Calls a function with an error that passes; in a fifth of the time of a generator."""

    __slots__ = ("_note",)

    def __init__(self, note: Callable[[BaseException], None]) -> None:
        self._note = note

    def __enter__(self) -> None:
        """Does nothing."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Looks at the error."""
        if error is not None:
            self._note(error)


class Turns:
    """Gives threads their turns at a ledger and at the state that is learned from it.

    Attributes:
        num_works: works that may have written, done or tried so far; who had his turn before can tell whether anybody had one since.

    Args:
        ledger: nothing else may use it while threads take turns.
        learner: what works change beside the ledger.
        mend: is called after a transaction was rolled back, with whether the learned state may be ahead of the ledger.
    """

    def __init__(self, ledger: Ledger, learner: Learner, mend: Callable[[bool], None]) -> None:
        self._ledger = ledger
        self._learner = learner
        self._mend = mend
        self._mutex = threading.Lock()
        self._queue: list[_Job] = []
        self._busy = False
        self._leader: int | None = None
        self.num_works = 0
        self._block: Block | None = None
        self._ended = False
        self._refusal: RecsdkError | None = None

    def read(self, work: Callable[[], R]) -> R:
        """Returns what `work` reads from the ledger, once all that it saw is durable."""
        return self._done(_Job(work, "reads"))  # type: ignore[no-any-return]

    def append(self, work: Callable[[], R]) -> R:
        """Is `write` for a work that writes one record at most and learns nothing: by itself it needs no transaction."""
        return self._done(_Job(work, "appends"))  # type: ignore[no-any-return]

    def learn(self, work: Callable[[], R]) -> R:
        """Is `append` for a work that also learns what it writes, and writes it last: after an error, the state is mended."""
        return self._done(_Job(work, "learns"))  # type: ignore[no-any-return]

    def write(self, work: Callable[[], R]) -> R:
        """Returns what `work` returns, once what it wrote is durable.

        It may share a transaction with other works, and be called again after that was rolled back.
        """
        return self._done(_Job(work, "writes"))  # type: ignore[no-any-return]

    def alone(self, work: Callable[[], R]) -> R:
        """Returns what `work` returns, which makes transactions of its own."""
        return self._done(_Job(work, "alone"))  # type: ignore[no-any-return]

    @property
    def block(self) -> Block | None:
        """The block of the calls that this thread makes; None where each call is by itself."""
        return self._block if self._block is not None and self._leader == threading.get_ident() else None

    def later(self, call: Callable[..., Any], *arguments: Any) -> bool:
        """Keeps a call of a function for when the block that this thread is in is durable; tells whether it is in one."""
        block = self.block
        if block is not None:
            block.after.append(functools.partial(call, *arguments))
        return block is not None

    def hold(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Calls a function once what this thread wrote is durable: now, or after the block that it is in; in the same turn."""
        block = self.block
        if block is None:
            call(*arguments)
        else:
            block.held.append(functools.partial(call, *arguments))

    def together(self, begin: Callable[[], Block], work: Callable[[Block], R]) -> tuple[R, list[Callable[[], Any]]]:
        """Is `alone` for a work that makes many calls: all that they write is one transaction; returns also what is to be told then.

        It raises nothing once that is durable.
        """

        def joined() -> tuple[R, list[Callable[[], Any]]]:
            self._block = block = begin()
            try:
                with self._mending(), self._ledger.transaction():
                    found = work(block)
            finally:
                self._block = None
            done(block.held)
            return found, block.after

        return self.alone(joined)

    def is_refusal(self, error: Exception) -> bool:
        """Tells whether an error was raised where nothing was written yet, see `refusing`."""
        return error is self._refusal

    def follow(self, learner: Learner) -> None:
        """Watches another learner from now on; for the thread that has the turn."""
        self._learner = learner

    def end(self) -> None:
        """Refuses all works from now on; for the thread that has the turn."""
        self._ended = True

    def refusing(self) -> AbstractContextManager[None]:
        """Says of a part of a work that nothing was written yet: what it refuses is then no matter for the works beside it."""
        return _Failing(self._refused)

    def _refused(self, error: BaseException) -> None:
        if isinstance(error, RecsdkError):
            self._refusal = error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Is a transaction of the ledger, for the thread that has the turn; after an error, the state is mended."""
        if self.block is not None:  # it is a part of that one
            yield
            return
        with self._mending(), self._ledger.transaction():
            yield

    def _mending(self) -> AbstractContextManager[None]:
        before = self._learner.mark()
        return _Failing(lambda error: self._mend(self._learner.is_ahead(before, error)))

    def _done(self, job: _Job) -> Any:
        if self._leader == threading.get_ident():
            return self._nested(job)
        with self._mutex:
            if self._busy:
                self._queue.append(job)
                job.wake = threading.Lock()
                job.wake.acquire()
            else:
                self._busy = True
        if job.wake is None:
            self._lead(job, [job])
        else:
            self._wait(job, job.wake)
            if not job.done:
                self._lead(job, [])
        return job.answer()

    def _nested(self, job: _Job) -> Any:
        block = self._block
        if block is None or job.kind == "reads":
            return job.work()
        try:
            return job.work()
        except Exception as error:
            block.torn = block.torn or error
            raise

    def _wait(self, job: _Job, wake: threading.Lock) -> None:
        try:
            wake.acquire()
        except BaseException:  # interrupted: what is under way goes on without this caller
            with self._mutex:
                if job in self._queue:
                    self._queue.remove(job)
                    if job.leads:
                        self._appoint()
            raise

    def _lead(self, own: _Job, jobs: list[_Job]) -> None:
        """Works for those that wait, or for itself alone where nobody did when it came: then `jobs` are its own."""
        self._leader = threading.get_ident()
        try:
            if not jobs:
                with self._mutex:
                    jobs = self._taken()
            self._run(jobs)
        except Exception as error:  # it could not be mended
            for job in jobs:
                job.end(None, error)
        except BaseException as error:  # an interrupt is for this thread alone: the others have another lead
            own.end(None, error)
        finally:
            self._leader = None
            with self._mutex:
                self._queue[:0] = [job for job in jobs if not job.done]
                self._appoint()
            for job in jobs:
                if job.done and job.wake is not None and job is not own:
                    job.wake.release()

    def _taken(self) -> list[_Job]:
        """Takes from the queue what can share a transaction."""
        alone = (place for place, job in enumerate(self._queue) if job.kind == "alone")
        end = max(1, next(alone, len(self._queue)))
        jobs, self._queue = self._queue[:end], self._queue[end:]
        return jobs

    def _appoint(self) -> None:
        self._busy = bool(self._queue)
        if self._queue:
            self._queue[0].leads = True
            if self._queue[0].wake is not None:
                self._queue[0].wake.release()

    def _run(self, jobs: list[_Job]) -> None:
        if self._ended:
            raise LedgerError(CLOSED)
        if (len(jobs) == 1 and jobs[0].kind != "writes") or all(job.kind == "reads" for job in jobs):
            for job in jobs:
                self._attempt(job)
            return
        try:
            with self.transaction():
                outcomes = [self._outcome(job, among=len(jobs)) for job in jobs]
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].end(None, error)
            for job in jobs if len(jobs) > 1 else []:  # one of them may be at fault, and each then meets its own error
                self._run([job])
            return
        for job, (result, refusal) in zip(jobs, outcomes, strict=True):
            job.end(result, refusal)

    def _attempt(self, job: _Job) -> None:
        try:
            if job.kind == "learns":
                with self._mending():
                    job.end(job.work())
            else:
                job.end(job.work())
        except Exception as error:
            job.end(None, error)
        finally:
            self.num_works += job.kind != "reads"

    def _outcome(self, job: _Job, among: int) -> tuple[Any, RecsdkError | None]:
        before = self._learner.num_learned
        try:
            return job.work(), None
        except RecsdkError as error:
            if among == 1 or error is not self._refusal or isinstance(error, LedgerError) or self._learner.num_learned != before:
                raise
            return None, error
        finally:
            self.num_works += job.kind != "reads"
