"""Parts that fail while a decision is made: what is decided without them, and when they are asked again."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

import attrs

from recsdk import states
from recsdk.checks import integer, number
from recsdk.errors import InvalidRequest, InvalidValue
from recsdk.live.guard import named
from recsdk.live.observe import LOGGER, Failed

R = TypeVar("R")
Errors = tuple[type[Exception], ...]


@attrs.frozen(kw_only=True)
class Fallback:
    """What becomes of a decision when a part fails while it is made.

    A part fails when it raises, answers what it may not, such as NaN, or is late. The decision is then made without it: a scorer's columns
    and a request's vector are 0 for all candidates; candidates that a retriever should have found are drawn at random; and where the policy
    fails, all candidates that are left have the same probability. The record names the parts that failed, and has the probabilities that
    were drawn from. Outcomes of decisions without all evidence are neither learned nor evaluated: 0 is not what the part would have said.

    A rule is never left out: where it raises, so does `recommend`. A request that a part refuses with `InvalidRequest` is the caller's
    fault, and no failure.

    Attributes:
        deadline: seconds that a part has for an answer; None for as long as it takes. With a deadline, parts are asked in threads of their
            own. Nothing can stop a thread of Python: a late one goes on, is not waited for, and its answer is thrown away. A `Native` part
            is asked in the caller's thread, and found to be late when it has answered.
        failures: in a row, after which a part rests. At most so many late answers of a part are under way; it is not asked before one ends.
        rest: seconds for which a part is left out, by the recommender's clock. Then one request tries it.

    Example:
        >>> import recsdk
        >>> def broken(request, candidates):
        ...     raise ConnectionError("no answer")
        >>> drinks = [{"id": "tea"}, {"id": "coffee"}]
        >>> with recsdk.Recommender.open("bar", items=drinks, scorers=[broken], fallback=recsdk.Fallback(deadline=0.5)) as bar:
        ...     bar.recommend({}).propensities
        (0.5,)
    """

    deadline: float | None = attrs.field(default=None, validator=attrs.validators.optional(number(above=0)))
    failures: int = attrs.field(default=5, validator=integer(at_least=1))
    rest: float = attrs.field(default=60.0, validator=number(at_least=0))


class Late(Exception):
    """An answer that came too late, or has not come yet."""


class _Unanswered(Exception):
    """A part has failed, or rests."""


class Asking:
    """Asks the parts for one decision.

    Attributes:
        failed: names of the parts that failed or rest. Such a part is not asked again for this decision.

    Args:
        faults: counts failures; None lets all errors pass.
        now: seconds since the epoch.
    """

    def __init__(self, faults: Faults | None = None, now: float = 0.0) -> None:
        self.failed: dict[str, None] = {}
        self._faults = faults
        self._now = now

    def __call__(self, name: str, part: Any, call: Callable[[], R], instead: Callable[[], R], passing: Errors = ()) -> R:
        """Returns the answer of a part.

        Args:
            name: of the part, as marks have it.
            part: itself, whose input cannot be written to; None for what is no part: it is asked in the caller's thread, for as long as it
                takes.
            call: asks it, and checks the answer. It may go on after it was given up.
            instead: gives what is used where the part fails.
            passing: errors that are no failure, but the caller's to deal with.
        """
        if self._faults is None:
            try:
                return call()
            except (TypeError, ValueError) as error:
                if (told := named(part, error)) is error:
                    raise
                raise told from error
        if name not in self.failed:
            try:
                return self._faults.answer(name, part, call, self._now, (InvalidRequest, *passing))
            except _Unanswered:
                self.failed[name] = None
        return instead()

    def again(self) -> Asking:
        """Returns what asks for another decision at the same time."""
        return self if self._faults is None else Asking(self._faults, self._now)


STRICT = Asking()
"""Lets all errors pass."""


class _Breaker:
    """Whether a part may be asked."""

    def __init__(self) -> None:
        self.num_failures = 0  # in a row
        self.num_late = 0  # calls that were given up and still go on
        self.rests_from: float | None = None
        self.is_trying = False  # one request, after a rest
        self.is_told = False

    def admits(self, now: float, terms: Fallback) -> bool:
        if self.is_trying or self.num_late >= terms.failures:
            return False
        if self.rests_from is not None:
            self.is_trying = abs(now - self.rests_from) >= terms.rest  # a clock that was set back ends the rest, too
            return self.is_trying
        return True


class Faults:
    """Counts the failures of the parts of a recommender. Threads may share it.

    Args:
        terms: as set; None lets all errors pass.
    """

    def __init__(self, terms: Fallback | None) -> None:
        if not isinstance(terms, Fallback | None):
            raise InvalidValue(f"fallback must be a recsdk.Fallback, or None to let errors pass, got {terms!r}.")
        self._terms = terms
        self._breakers: dict[str, _Breaker] = {}
        self._notices = deque[Failed]()
        self._lock = threading.Lock()
        self._workers = _Workers(self._lock)

    def asking(self, now: float) -> Asking:
        """Returns what asks the parts for a decision at the time `now`."""
        return STRICT if self._terms is None else Asking(self, now)

    def renew(self) -> None:
        """Forgets the failures so far: other parts serve from now on."""
        with self._lock:
            self._breakers.clear()

    def told(self) -> list[Failed]:
        """Returns the failures since the last call."""
        if not self._notices:
            return []
        with self._lock:
            found = list(self._notices)
            self._notices.clear()
        return found

    def close(self) -> None:
        """Ends the threads, but for those that are late; these end when they have answered."""
        self._workers.close()

    def answer(self, name: str, part: Any, call: Callable[[], R], now: float, passing: Errors) -> R:
        """Returns a part's answer, for `Asking`.

        Raises:
            _Unanswered: it has failed, or rests.
        """
        assert self._terms is not None  # noqa: S101 -- nothing asks through it then
        found = self._breakers.get(name)
        if found is not None and not found.num_failures and not found.num_late and self._terms.deadline is None:
            try:
                return call()
            except passing:
                raise
            except Exception as error:
                self._count(name, found, named(part, error), is_trial=False, now=now)
                raise _Unanswered from error
        with self._lock:
            breaker = self._breakers.setdefault(name, _Breaker())
            if not breaker.admits(now, self._terms):
                raise _Unanswered
            is_trial = breaker.is_trying
        try:
            answer = self._called(part, call, self._terms.deadline, breaker)
        except passing:
            raise
        except Exception as error:
            self._count(name, breaker, named(part, error), is_trial=is_trial, now=now)
            raise _Unanswered from error
        else:
            if breaker.num_failures:
                self._welcome(name, breaker)
            return answer
        finally:
            if is_trial:
                breaker.is_trying = False

    def _called(self, part: Any, call: Callable[[], R], deadline: float | None, breaker: _Breaker) -> R:
        if deadline is None or part is None:
            return call()
        if states.is_native(part):
            began = time.monotonic()
            answer = call()
            if time.monotonic() - began > deadline:
                raise Late(_too_late(deadline))
            return answer
        return self._workers.ask(call, deadline, breaker)

    def _count(self, name: str, breaker: _Breaker, error: Exception, *, is_trial: bool, now: float) -> None:
        terms = self._terms or Fallback()
        with self._lock:
            breaker.num_failures += 1
            rests = is_trial or breaker.num_failures == terms.failures
            if rests:
                breaker.rests_from = now
            is_first, breaker.is_told = not breaker.is_told, True
            reason = "late" if isinstance(error, Late) else "error"
            self._notices.append(Failed(name, reason, f"{type(error).__name__}: {error}", breaker.num_failures, rests))
        if is_first or (rests and not is_trial):
            rest = f" {terms.failures} times in a row, and is left out for {terms.rest:g} s" if rests else ""
            LOGGER.error("%s failed%s; decisions go on without it.", name, rest, exc_info=error)

    def _welcome(self, name: str, breaker: _Breaker) -> None:
        with self._lock:
            has_rested, breaker.rests_from, breaker.num_failures = breaker.rests_from is not None, None, 0
        if has_rested:
            LOGGER.warning("%s answers again.", name)


class _Job:
    """A call that a thread makes for another one, which waits for it until its deadline."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._context = contextvars.copy_context()
        self.done = threading.Lock()
        self.done.acquire()
        self.answer: Any = None
        self.error: BaseException | None = None
        self.given_up_by: _Breaker | None = None
        self.is_over = False

    def run(self) -> None:
        try:
            self.answer = self._context.run(self._call)
        except BaseException as error:  # for the thread that waits
            self.error = error


class _Workers:
    """Threads that ask parts, so that nobody waits for a late answer. One that answers late ends; others take the next call."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._idle: list[SimpleQueue[_Job | None]] = []
        self._closed = False

    def ask(self, call: Callable[[], R], deadline: float, breaker: _Breaker) -> R:
        job = _Job(call)
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = SimpleQueue()
            threading.Thread(target=self._work, args=(inbox,), name="recsdk-part", daemon=True).start()
        inbox.put(job)
        try:
            job.done.acquire(timeout=deadline)
        finally:  # an interrupt, too
            with self._lock:
                if not job.is_over:
                    job.given_up_by = breaker
                    breaker.num_late += 1
        if job.given_up_by is not None:
            raise Late(_too_late(deadline))
        if job.error is not None:
            raise job.error
        answer: R = job.answer
        return answer

    def _work(self, inbox: SimpleQueue[_Job | None]) -> None:
        while (job := inbox.get()) is not None:
            job.run()
            with self._lock:
                job.is_over = True
                if job.given_up_by is not None:
                    job.given_up_by.num_late -= 1
                    return
                if self._closed:
                    inbox.put(None)
                else:
                    self._idle.append(inbox)
            job.done.release()

    def close(self) -> None:
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for inbox in idle:
            inbox.put(None)


def _too_late(deadline: float) -> str:
    return f"no answer within {deadline:g} s"
