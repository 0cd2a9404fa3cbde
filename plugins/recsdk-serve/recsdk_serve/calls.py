"""Every call of the service as steps, and what is shown when none is answered: one place for both clients."""

from __future__ import annotations

import contextlib
import itertools
import math
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from recsdk import LocalRecommender
from recsdk.checks import require_number
from recsdk.errors import InvalidValue
from recsdk.live.local import Answer, LocalDecision, Sent
from recsdk_serve import messages as m
from recsdk_serve.calling import AWAY, Ask, Failure, Retry, ServiceError, Steps, Unanswered, encoded, error_of, exchange
from recsdk_serve.operations import OPERATIONS
from recsdk_serve.service import arguments

MOST_USERS, MOST_UNSHOWN = 10_000, 1_000
SLOW, AWAY_FOR = 0.5, 3.0
"""Seconds after which a failure was slow: then the service is taken to be away for as long again, but no longer than this."""
TELLING, TELL_EVERY = 0.25, 10.0
"""Seconds that a slate waits at most while it is told that another was not shown; and between two tries of that, where it fails."""
REFUSED = (400, 413, 422)
"""Statuses of a body that is at fault itself."""
BY_NAME = {operation.name: operation for operation in OPERATIONS}


class Served(NamedTuple):
    """The items to show, and where they come from.

    Attributes:
        decision_id: to be given back with the reward; None for a slate of the fallback that nobody has logged, and that earns nothing.
        ids: of the items, from the top.
        propensities: of each item at its position, given those above it; None where nothing was drawn.
        repeats: id of the decision whose slate this is, where it is served again.
        source: "service"; "kept" for the slate that the user had before; "fallback".

    Example:
        >>> Served("visit-1", ("tea",), (0.5,)).source
        'service'
    """

    decision_id: str | None
    ids: tuple[str, ...]
    propensities: tuple[float, ...] | None
    repeats: str | None = None
    source: Literal["service", "kept", "fallback"] = "service"


Fallback = Callable[[m.Decide], Sequence[str] | Served] | Sequence[str] | None


class Calls:
    """The calls of a client. Threads may share it.

    Args:
        retry: how long calls are repeated.
        fallback: see `Client`.
        sticky: see `Client`.
        clock: seconds that only grow.
    """

    def __init__(self, retry: Retry, fallback: Fallback, sticky: float, clock: Callable[[], float] = time.monotonic) -> None:
        require_number("sticky", sticky, at_least=0)
        self.retry, self._sticky, self._clock = retry, sticky, clock
        self._fallback = fallback if fallback is None or callable(fallback) else _Listed(_checked_ids(fallback))
        self._kept: OrderedDict[tuple[Any, ...], tuple[float, Served]] = OrderedDict()
        self._unshown: deque[str] = deque(maxlen=MOST_UNSHOWN)
        self._tell_at = self._away_until = -math.inf
        self._lock = threading.Lock()

    def decide(self, asked: m.Decide) -> Steps[Served]:
        """Returns what to show: from the service or, where that is away, what was kept or what the fallback gives."""
        asked, began = _named(asked), self._clock()
        name = str(asked.decision_id)
        if began < self._away_until and (instead := self._instead(asked)) is not None:
            return instead
        try:
            found = yield from exchange(BY_NAME["decide"], asked, self.retry, self._clock)
            if not isinstance(found, Failure):
                with contextlib.suppress(ValueError, IndexError):
                    self._unshown.remove(name)  # of an earlier try by this name
                served = Served(found.decision_id, found.ids, found.propensities, found.repeats)
                self._keep(asked, served)
                yield from self._tell_unshown()
                return served
        except GeneratorExit:  # nobody waits for it any more
            self._unshown.append(name)
            raise
        return self._away(asked, name, found, began)

    def _away(self, asked: m.Decide, name: str, found: Failure, began: float) -> Served:
        """Returns what is shown in place of a slate that did not come.

        Raises:
            RecsdkError: there is nothing.
        """
        now = self._clock()
        if found.is_away and now - began >= SLOW:  # who comes next need not wait as long
            self._away_until = now + min(now - began, AWAY_FOR)
        instead = self._instead(asked) if found.is_away else None
        if found.may_be_done and (instead is None or instead.decision_id != name):
            self._unshown.append(name)
        if instead is None:
            if isinstance(found.error, (Unanswered, ServiceError)):
                found.error.decision_id = name
            raise found.error
        return instead

    def decide_batch(self, asked: Sequence[m.Decide]) -> Steps[list[m.Slate]]:
        """Returns the slates of many requests."""
        found: m.Slates = yield from self._answer("decide_batch", m.DecideBatch(requests=list(map(_named, asked))))
        return found.slates

    def reward(self, asked: m.Reward) -> Steps[bool]:
        """Tells whether a reward was new."""
        found: m.Rewarded = yield from self._answer("reward", asked)
        return found.new

    def reward_batch(self, asked: Sequence[m.Reward]) -> Steps[list[m.Result]]:
        """Returns what became of many rewards."""
        found: m.Results = yield from self._answer("reward_batch", m.RewardBatch(rewards=list(asked)))
        return found.results

    def signal(self, asked: m.Signal) -> Steps[str]:
        """Returns the receipt; a signal about a user gets an id, since by a second try the user may have another decision."""
        is_named = asked.signal_id is not None or asked.user is None
        return (yield from self.receipt("signal", asked if is_named else msgspec.structs.replace(asked, signal_id=secrets.token_hex(16))))

    def receipt(self, name: str, asked: m.Signal | m.Correct | m.Shown) -> Steps[str]:
        """Returns the receipt of a message about a decision."""
        found: m.Received = yield from self._answer(name, asked)
        return found.receipt

    def items(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Steps[int]:
        """Adds or changes items, and returns how many there are."""
        found: m.Catalogue = yield from self._answer(name, m.Items(items=list(map(dict, rows))))
        return found.num_items

    def remove_items(self, ids: Iterable[str]) -> Steps[int]:
        """Removes items, and returns how many there are."""
        found: m.Catalogue = yield from self._answer("remove_items", m.ItemIds(ids=list(ids)))
        return found.num_items

    def forget(self, user: str) -> Steps[dict[str, Any]]:
        """Returns the report; what was kept of the user is forgotten, too."""
        found: m.Forgotten = yield from self._answer("forget", m.Forget(user=user))
        with self._lock:
            for place in [place for place in self._kept if place[0] == user]:
                del self._kept[place]
        return found.report

    def models(self, name: str, asked: m.Nothing | m.Publish) -> Steps[m.Models]:
        """Returns what serves, after a change of that name, or without one."""
        found: m.Models = yield from self._answer(name, asked)
        return found

    def status(self) -> Steps[m.Status]:
        """Returns how the recommender does."""
        found: m.Status = yield from self._answer("status", m.Nothing())
        return found

    def export(self, keep: int) -> Steps[bytes]:
        """Returns what decides now."""
        found: m.Export = yield from self._answer("export", m.Exporting(keep=keep))
        return found.data

    def take(self, decisions: Sequence[LocalDecision]) -> Steps[list[Answer]]:
        """Returns what became of decisions that were made elsewhere."""
        told = m.LocalDecisions(decisions=list(map(_elsewhere, decisions)))
        return (yield from self._each("take", told.decisions, lambda some: m.LocalDecisions(decisions=some)))

    def send(self, local: LocalRecommender) -> Steps[Sent]:
        """Sends what waits, and returns what became of it."""
        total, batch = Sent(0, 0, ()), None
        while (batch := local.batch(batch)) is not None:
            answers = (yield from self.take(batch.decisions)) if batch.decisions else []
            rewards = [m.Reward(decision_id=one.decision_id, value=one.value, **one.place()) for one in batch.rewards]
            answers += yield from self._each("reward_batch", rewards, lambda some: m.RewardBatch(rewards=some))
            total = total.plus(local.done(batch, answers))
        return total

    def _each(self, name: str, asked: list[Any], message: Callable[[list[Any]], Any]) -> Steps[list[Answer]]:
        """Returns what became of each; where the service cannot read one of them, they are sent one by one, so that it stops no other."""
        if not asked:
            return []
        found = yield from exchange(BY_NAME[name], message(asked), self.retry, self._clock)
        if not isinstance(found, Failure):
            return [one.new if one.problem is None else error_of(one.problem) for one in found.results]
        if found.status not in REFUSED:
            raise found.error
        if len(asked) == 1:
            return [found.error]
        answers = list[Answer]()
        for one in asked:
            answers += yield from self._each(name, [one], message)
        return answers

    def _answer(self, name: str, asked: Any) -> Steps[Any]:
        """Returns the answer of an operation, by its name.

        Raises:
            RecsdkError: the error by which it was refused, of the class of recsdk's of that name, else a `ServiceError`; or `Unanswered`.
        """
        found = yield from exchange(BY_NAME[name], asked, self.retry, self._clock)
        if isinstance(found, Failure):
            raise found.error
        return found

    def _tell_unshown(self) -> Steps[None]:
        """Tells the service of one decision that it may have made, and that nobody saw; where that fails, it is told later."""
        if self._clock() < self._tell_at:
            return
        try:
            name = self._unshown.popleft()
        except IndexError:
            return
        content, is_told = encoded(m.Shown(decision_id=name, shown=False)), False
        try:
            got = yield Ask("POST", BY_NAME["shown"].path, content, min(self.retry.timeout, TELLING))
            is_told = got.status != 0 and got.status not in AWAY
        finally:
            if not is_told:
                self._unshown.append(name)
                self._tell_at = self._clock() + TELL_EVERY

    def _keep(self, asked: m.Decide, served: Served) -> None:
        place = _place(asked)
        if not self._sticky or place is None or not served.ids:
            return
        with self._lock:
            self._kept[place] = (self._clock(), served)
            self._kept.move_to_end(place)
            if len(self._kept) > MOST_USERS:
                self._kept.popitem(last=False)

    def _instead(self, asked: m.Decide) -> Served | None:
        """Returns what is shown when the service is away; None where there is nothing."""
        place = _place(asked)
        with self._lock:
            since, kept = self._kept.get(place, (0.0, None)) if place is not None else (0.0, None)
        if kept is not None and self._clock() - since <= self._sticky and not set(kept.ids) & set(asked.seen):
            return kept._replace(repeats=kept.repeats or kept.decision_id, source="kept")
        if self._fallback is None or asked.chosen is not None:
            return None
        found = self._fallback(asked)
        if isinstance(found, Served):
            return found._replace(source="fallback")
        return Served(None, tuple(_checked_ids(found)), None, source="fallback") if found else None


class _Listed:
    """The fallback of a list: its first items that may be shown."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids

    def __call__(self, asked: m.Decide) -> Sequence[str]:
        """Returns as many as are asked for, with those pinned in their places; none where there are too few."""
        pinned = asked.pinned or {}
        hidden, among = {*asked.seen, *pinned.values()}, None if asked.candidates is None else set(asked.candidates)
        free = iter([item for item in self._ids if item not in hidden and (among is None or item in among)])
        found = [pinned.get(position) or next(free, None) for position in range(asked.size)]
        shown = list(itertools.takewhile(lambda item: item is not None, found))
        return [] if len(shown) < asked.size and not asked.at_most else shown  # type: ignore[return-value]  # None ends it


def locally(local: LocalRecommender) -> Callable[[m.Decide], Served | Sequence[str]]:
    """Returns a fallback that decides by an export, for `Client`: its slates have propensities, and are rewarded through `local`.

    Example:
        >>> import recsdk
        >>> from recsdk_serve import Client, Decide, Retry
        >>> with recsdk.Recommender.open("cafe", items=[{"id": "tea"}, {"id": "coffee"}], policy="lin-ts") as cafe:
        ...     local = recsdk.LocalRecommender.load(cafe.export())
        >>> with Client("http://localhost:1", retry=Retry(within=0), fallback=locally(local)) as client:
        ...     slate = client.decide(Decide(user="ann"))
        >>> slate.source, slate.propensities, local.reward(slate.decision_id, 1.0), local.num_waiting
        ('fallback', (0.5,), True, 2)
        >>> local.close()
    """

    def decided(asked: m.Decide) -> Served | Sequence[str]:
        told = arguments(asked)
        told.pop("decision_id", None)  # the service may have decided under that one
        if told.pop("deferred", False):
            return ()
        slate = local.recommend(**told)
        return Served(slate.decision_id, slate.ids, slate.propensities)

    return decided


def _elsewhere(one: LocalDecision) -> m.LocalDecision:
    asked = m.Decide(decision_id=one.decision_id, **one.arguments)
    return m.LocalDecision(asked=asked, export=one.export, time=one.time, digest=one.digest)


def _named(asked: m.Decide) -> m.Decide:
    """Returns a request for a decision with an id: repeated, it is the same decision."""
    return asked if asked.decision_id is not None else msgspec.structs.replace(asked, decision_id=secrets.token_hex(16))


def _place(asked: m.Decide) -> tuple[Any, ...] | None:
    """Returns what tells a user at a place of an application from others; None where a slate is not to be kept."""
    user = asked.request.get("user_id") if asked.user is None else asked.user
    if user is None or asked.deferred or asked.chosen is not None:
        return None
    return str(user), asked.size, asked.at_most, repr(asked.candidates), repr(asked.pinned), repr(asked.promoted)


def _checked_ids(given: Any) -> list[str]:
    if isinstance(given, str) or not all(isinstance(item, str) for item in given):
        raise InvalidValue(f"fallback must be or give a sequence of item ids, got {given!r:.200}.")
    return list(given)
