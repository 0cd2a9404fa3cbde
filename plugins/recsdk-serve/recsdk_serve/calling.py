"""How the service is called: when a call is repeated, and what its answer says. Nothing is sent here.

A call is a generator of steps: it yields what is to be sent, or for how many seconds to wait, and is sent what came back. So clients with
and without threads, which send and wait in two ways, do the same.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

import attrs
import msgspec

from recsdk import errors
from recsdk.checks import require_number
from recsdk.errors import InvalidRequest, RecsdkError
from recsdk_serve import messages as m
from recsdk_serve.operations import ONCE, Operation

R = TypeVar("R")
AWAY = (429, 502, 503, 504)
"""Statuses of a service, or of a proxy before it, that may answer soon."""
OWN = frozenset(
    ("Busy", "NotReady", *(name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, RecsdkError)))
)
"""Names of errors by which the service itself says that it has done nothing."""


LONG = 60.0
"""Seconds that a call which takes long waits for the network."""


class ServiceError(RecsdkError):
    """An answer that refuses a call, and is no error of recsdk's own.

    Attributes:
        status: of HTTP.
        error: its kind, such as "NoKey".
        field: that it is about; None for none.
        decision_id: of the decision that was asked for; None for another call.

    Example:
        >>> ServiceError("Give a key.", status=401, error="NoKey").status
        401
    """

    decision_id: str | None = None

    def __init__(self, message: str, *, status: int = 0, error: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.error, self.field = status, error, field


class Unanswered(RecsdkError, ConnectionError):
    """No answer of the service came in time.

    Attributes:
        may_be_done: whether it may have done what it was asked for all the same.
        decision_id: of the decision that was asked for, by which it can be asked for again; None for another call.

    Example:
        >>> Unanswered("no answer").may_be_done
        True
    """

    decision_id: str | None = None

    def __init__(self, message: str, *, may_be_done: bool = True) -> None:
        super().__init__(message)
        self.may_be_done = may_be_done


@attrs.frozen(kw_only=True)
class Retry:
    """How long a call is repeated when no answer comes, or the service says that it is busy.

    A call is repeated with the same ids, so that it counts once. One that would count twice, such as `add_items`, is repeated only where
    nothing was done.

    Attributes:
        within: seconds from the first try after which none is begun.
        timeout: seconds that a try waits for the network: to connect, and for each piece of the answer; no longer than what is left of
            `within`. Calls that take long, such as `publish` and `export`, wait for a minute at least.
        first: seconds before the second try; then twice as many each time. Up to half of them are taken off by chance, so that many
            clients do not come back at once.
        longest: seconds between two tries at most, where the service does not ask for more.

    Example:
        >>> Retry(within=0.2).first
        0.1
    """

    within: float = 10.0
    timeout: float = 5.0
    first: float = 0.1
    longest: float = 5.0

    def __attrs_post_init__(self) -> None:
        """Refuses what is no time."""
        require_number("within", self.within, at_least=0)
        for name in ("timeout", "first", "longest"):
            require_number(name, getattr(self, name), above=0)

    def wait(self, turn: int) -> float:
        """Returns seconds before the next try, after `turn` others."""
        return float(min(self.longest, self.first * 2.0 ** min(turn, 60)) * (1 - random.random() / 2))


class Ask(NamedTuple):
    """A request to be sent.

    Attributes:
        method: of HTTP.
        path: where.
        content: the body; None for none.
        timeout: see `Retry`.
    """

    method: str
    path: str
    content: bytes | None
    timeout: float


class Got(NamedTuple):
    """What came of a request.

    Attributes:
        status: of HTTP; 0 where no answer came.
        content: the body, or what went wrong.
        retry_after: seconds that the service asks to wait.
        may_be_done: whether the service may have got it, where no answer came.
    """

    status: int
    content: bytes
    retry_after: float = 0.0
    may_be_done: bool = True


class Failure(NamedTuple):
    """A call that was not answered as it should be.

    Attributes:
        error: to be raised.
        is_away: whether the service may answer later.
        may_be_done: whether it may have done what it was asked for.
        status: of HTTP.
    """

    error: RecsdkError
    is_away: bool
    may_be_done: bool
    status: int = 0


Steps = Generator[Ask | float, Got, R]


def exchange(operation: Operation, asked: Any, retry: Retry, clock: Callable[[], float]) -> Steps[Any]:
    """Returns the answer of an operation, or a `Failure`.

    Args:
        operation: what is asked for.
        asked: the message that it takes.
        retry: how long it is repeated.
        clock: seconds that only grow.
    """
    content = None if operation.method == "GET" else encoded(asked)
    until, may_be_done = clock() + retry.within, False
    for turn in itertools.count():
        left = until - clock() if retry.within else retry.timeout
        timeout = max(retry.timeout, LONG) if operation.lane == "slow" else min(retry.timeout, left)
        got = yield Ask(operation.method, operation.path, content, timeout)
        try:
            if got.status == 200:
                return msgspec.json.decode(got.content, type=operation.gives)
            failure = failed(got)
        except msgspec.MsgspecError as error:
            wrong = ServiceError(f"The service has answered what {operation.name!r} does not: {error}", status=got.status)
            failure = Failure(wrong, is_away=False, may_be_done=True)
        may_be_done |= failure.may_be_done
        wait = max(got.retry_after, retry.wait(turn))
        may_repeat = failure.is_away and (operation.name not in ONCE or not may_be_done)
        if not may_repeat or clock() + wait >= until:
            break
        yield wait
    if isinstance(failure.error, Unanswered):
        failure.error.may_be_done = may_be_done
    return failure._replace(may_be_done=may_be_done)


class Following:
    """A stream that is followed through interruptions: where it goes on, and when.

    Args:
        retry: as for calls, where the first try is the first after an interruption.
        last: id of the event after which it goes on; "" for what comes.
        clock: seconds that only grow.
    """

    def __init__(self, retry: Retry, last: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._retry, self._last, self._clock = retry, last, clock
        self._turn, self._until = 0, 0.0
        self._begun: float | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What says where the stream goes on."""
        return {"last-event-id": self._last} if self._last else {}

    def begun(self) -> None:
        """Notes that the service has begun to answer."""
        self._begun = self._clock()

    def taken(self, event_id: str) -> None:
        """Notes an event."""
        self._turn, self._last = 0, event_id or self._last

    def wait(self, got: Got) -> float:
        """Returns after how many seconds to ask again.

        Raises:
            RecsdkError: the service refuses it, or was away for too long.
        """
        if self._begun is not None and self._clock() - self._begun > self._retry.longest:  # it stood for long, without an event
            self._turn = 0
        self._begun = None
        failure, wait = failed(got), max(got.retry_after, self._retry.wait(self._turn))
        if self._turn == 0:
            self._until = self._clock() + self._retry.within
        if not failure.is_away or self._clock() + wait >= self._until:
            raise failure.error
        self._turn += 1
        return wait


def encoded(asked: Any) -> bytes:
    """Returns a message as JSON.

    Raises:
        InvalidRequest: a number that is not finite, which JSON has not, or what is no plain value.
    """
    try:
        return json.dumps(msgspec.to_builtins(asked), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(
            f"What is sent must be finite numbers, text, booleans, lists and None, got {asked!r:.200}: {error}."
        ) from error


def retry_after(value: str | None) -> float:
    """Returns the seconds of a Retry-After; 0 for a date or another text."""
    return float(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 9 else 0.0


def failed(got: Got) -> Failure:
    """Returns what is wrong with an answer that is not the one wanted."""
    is_away = got.status == 0 or got.status in AWAY
    try:
        problem = msgspec.json.decode(got.content, type=m.Problem) if got.status else None
    except msgspec.DecodeError:
        problem = None
    is_own = problem is not None and problem.error in OWN
    may_be_done = is_away and got.may_be_done and got.status != 429 and not (got.status == 503 and is_own)
    if problem is None and is_away:
        what = got.content.decode("utf-8", "replace") if not got.status else f"status {got.status}"
        return Failure(Unanswered(f"The service did not answer: {what}.", may_be_done=may_be_done), True, may_be_done)
    if problem is None:
        text = got.content[:200].decode("utf-8", "replace")
        return Failure(
            ServiceError(f"The service answered with status {got.status}: {text!r}.", status=got.status), False, False, got.status
        )
    return Failure(error_of(problem, got.status), is_away, may_be_done, got.status)


def error_of(problem: m.Problem, status: int = 0) -> RecsdkError:
    """Returns the error that a problem tells of: recsdk's own of that name, or the service's."""
    known = getattr(errors, problem.error, None)
    if isinstance(known, type) and issubclass(known, RecsdkError):
        return known(problem.message)
    return ServiceError(problem.message, status=status, error=problem.error, field=problem.field)
