"""Decisions in another process, by what a recommender has exported: with true propensities, sent later, counted once.

The recommender makes each of them again, see `recsdk.live.elsewhere`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from recsdk.checks import require_integer
from recsdk.errors import (
    Conflict,
    DecisionConflict,
    EarlyDecision,
    InvalidAnswer,
    InvalidRequest,
    InvalidValue,
    LedgerError,
    RecsdkError,
    RewardConflict,
    Unknown,
    UnknownDecision,
)
from recsdk.ledger import PAGE, DecisionRecord
from recsdk.ledger.records import arrays_of
from recsdk.live import answering, asking, exported, intake, places
from recsdk.live.deciding import Slate
from recsdk.live.exported import Exported
from recsdk.live.outbox import Call, Outbox

AT_ONCE, SIZE = 500, 100_000
"""Calls of one batch, and their characters."""
LONGEST_NAME, LONGEST_TEXT, MOST_FEATURES, LARGEST = 1_024, 4_096, 4_096, 200_000
"""Characters of a user or a feature's name, and of a text; features of a request; characters of all that is asked for, as JSON."""
PAIRS = ("pinned", "promoted")
FAULTS = (LedgerError, InvalidAnswer)
"""Errors of who takes a call, which is to be sent again."""
R = TypeVar("R")

Answer = bool | RecsdkError
"""What became of a call: whether it was new, or by what it was refused."""


class LocalDecision(NamedTuple):
    """A decision that another process has made.

    Attributes:
        export: name of the export that it was made by.
        decision_id: of the decision.
        time: of the request, in seconds since the epoch.
        arguments: of `Recommender.recommend`, by name, but for `decision_id`.
        digest: of the candidates, the slate and the distributions.

    Example:
        >>> LocalDecision("5f", "visit-1", 1_700_000_000.0, {"request": {}}, "a0").decision_id
        'visit-1'
    """

    export: str
    decision_id: str
    time: float
    arguments: Mapping[str, Any]
    digest: str


class LocalReward(NamedTuple):
    """A reward of such a decision: the arguments of `Recommender.reward`.

    Example:
        >>> LocalReward("visit-1", 1.0, 0, "visit-1/0").place()
        {'position': 0, 'reward_id': 'visit-1/0'}
    """

    decision_id: str
    value: float
    position: int | Literal["page"]
    reward_id: str

    def place(self) -> dict[str, Any]:
        """Returns the arguments that say where it belongs, by name."""
        return {"position": self.position, "reward_id": self.reward_id}


class Batch(NamedTuple):
    """Calls that wait, in their order: the decisions first, since rewards are about them.

    Example:
        >>> Batch((), (), ()).decisions
        ()
    """

    decisions: tuple[LocalDecision, ...]
    rewards: tuple[LocalReward, ...]
    numbers: tuple[int, ...]


class Sent(NamedTuple):
    """A report of what became of calls that were sent.

    Attributes:
        num_new: that count from now on.
        num_known: that had been taken before, since an answer was lost.
        refused: each with the error; they count for nothing, and are not sent again. Too early decisions and their rewards wait.

    Example:
        >>> Sent(2, 0, ()).num_new
        2
    """

    num_new: int
    num_known: int
    refused: tuple[tuple[LocalDecision | LocalReward, RecsdkError], ...]

    def plus(self, other: Sent) -> Sent:
        """Returns what became of these calls and of others."""
        return Sent(self.num_new + other.num_new, self.num_known + other.num_known, self.refused + other.refused)


class Takes(Protocol):
    """What takes decisions and rewards: a `Recommender`."""

    def take(self, decisions: Sequence[LocalDecision]) -> list[Answer]:
        """Takes decisions."""

    def reward(
        self, decision_id: str, value: float, *, position: int | Literal["page"] | None = None, reward_id: str | None = None
    ) -> bool:
        """Takes a reward."""


class LocalRecommender:
    """Decides by what a recommender has exported, in another process, and keeps what it decided until that recommender has it.

    Slates have the propensities that they would have there, to the last bit. It learns nothing: a newer export knows more. Threads may
    share it.

    Example:
        >>> import recsdk
        >>> shop = recsdk.Recommender.open("shop", items=[{"id": "tea"}, {"id": "coffee"}], policy="lin-ts")
        >>> with LocalRecommender.load(shop.export()) as kiosk:
        ...     slate = kiosk.recommend({"user_id": "ann"})
        ...     _ = kiosk.reward(slate.decision_id, 1.0)
        ...     kiosk.send(shop)
        Sent(num_new=2, num_known=0, refused=())
        >>> shop.num_learned, shop.audit()
        (1, True)
        >>> shop.close()
    """

    def __init__(self, export: Exported, outbox: Outbox, clock: Callable[[], float]) -> None:
        """Use `LocalRecommender.load`."""
        self._export, self._outbox, self._clock = export, outbox, clock

    @classmethod
    def load(
        cls,
        export: bytes | str | Path,
        *,
        outbox: str | Path | None = None,
        most_waiting: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> LocalRecommender:
        """Opens an export.

        Args:
            export: from `Recommender.export`, or the file that has it.
            outbox: a file for what waits to be sent, which a killed process loses nothing of; each process needs its own. None for memory:
                then it loses all that waits.
            most_waiting: decisions and rewards that may wait; more are refused.
            clock: a function that gives the seconds since the epoch.

        Raises:
            CheckpointCorrupt, CheckpointMismatch: what is no export, or one of another kind of processor or version of NumPy or recsdk.
            LedgerMismatch: a part that is not installed here.
            LedgerLocked: the outbox is open in another process.

        Example:
            >>> import recsdk
            >>> with recsdk.Recommender.open("depot", items=[{"id": "tea"}, {"id": "coffee"}], policy="lin-ts") as depot:
            ...     data = depot.export()
            >>> with LocalRecommender.load(data, outbox="kiosk.db") as kiosk:
            ...     _ = kiosk.recommend({})
            >>> with LocalRecommender.load(data, outbox="kiosk.db") as again:  # goes on where it stopped
            ...     again.num_waiting
            1
        """
        require_integer("most_waiting", most_waiting, at_least=1)
        checked = intake.clock(clock)
        found = exported.opened(export if isinstance(export, bytes) else Path(export).read_bytes())
        try:
            return cls(found, Outbox(outbox, most_waiting), checked)
        except BaseException:
            found.close()
            raise

    @property
    def name(self) -> str:
        """The name of the export."""
        return self._export.name

    @property
    def num_waiting(self) -> int:
        """How many decisions and rewards are still to be sent."""
        num: int = self._outbox.num_waiting
        return num

    def recommend(
        self,
        request: Mapping[str, Any],
        *,
        size: int = 1,
        at_most: bool = False,
        candidates: Sequence[str] | None = None,
        seen: Iterable[str] = (),
        pinned: Mapping[int, str] | None = None,
        promoted: Mapping[int, Sequence[str]] | None = None,
        chosen: Sequence[str] | None = None,
        user: str | None = None,
        decision_id: str | None = None,
    ) -> Slate:
        """Chooses what to show; the decision is in the outbox when this returns. Arguments are those of `Recommender.recommend`.

        Raises:
            InvalidValue, UnknownItem, DecisionConflict: as `Recommender.recommend`; also a clock from before the export was made, and a
                request that is too large for the service.
            LedgerError: the outbox is full.
            Exception: what a part raises that fails: nothing takes its place here.

        Example:
            >>> import recsdk
            >>> with recsdk.Recommender.open("attic", items=[{"id": "tea"}, {"id": "coffee"}], policy="lin-ts") as attic:
            ...     data = attic.export()
            >>> with LocalRecommender.load(data) as kiosk:
            ...     kiosk.recommend({"user_id": "ann"}).propensities
            (0.5,)
        """
        wanted: dict[str, Any] = {"pinned": pinned, "promoted": promoted, "chosen": chosen}
        named: dict[str, Any] = {"user": None if user is None else intake.user(user, {}), "decision_id": decision_id}
        asked = asking.asked(request, size=size, at_most=at_most, candidates=candidates, seen=seen, **named, **wanted)
        text = intake.canonical(asked.fields)
        fields, same = json.loads(text), hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        _require_small(fields)
        with self._outbox:
            known = self._outbox.find("decision", asked.decision_id) if asked.is_named else None
            if known is not None:
                if known["same"] != same:
                    raise DecisionConflict(f"decision_id {asked.decision_id!r} was used before for another request: give each its own.")
                return Slate(asked.decision_id, tuple(known["ids"]), tuple(known["propensities"]))
            now = intake.seconds(self._clock())
            exported.require_after(self._export, "clock", now)
            ready = answering.made_alone(self._export.decider, asked, now)
            if ready is None:
                return Slate(asked.decision_id, (), ())
            slate = self._export.decider.slate(ready.record)
            told = {"export": self.name, "time": now, "fields": fields, "digest": digest(ready.record), "user": asked.user, "same": same}
            self._outbox.add("decision", slate.decision_id, told | {"ids": slate.ids, "propensities": slate.propensities})
            return slate

    def reward(
        self,
        decision_id: str,
        value: float,
        *,
        item: str | None = None,
        position: int | Literal["page"] | None = None,
        reward_id: str | None = None,
    ) -> bool:
        """Keeps the reward of a decision that was made here, for the recommender to learn. Arguments are those of `Recommender.reward`.

        Returns:
            False when this reward was given before, which changes nothing.

        Raises:
            UnknownDecision: no decision of this outbox, or one that was sent so long ago that it is not remembered.
            UnknownItem, InvalidValue, InvalidReward, RewardConflict: as `Recommender.reward`.
            LedgerError: the outbox is full.

        Example:
            >>> import recsdk
            >>> with recsdk.Recommender.open("cellar", items=[{"id": "tea"}, {"id": "coffee"}], policy="lin-ts") as cellar:
            ...     data = cellar.export()
            >>> with LocalRecommender.load(data) as kiosk:
            ...     name = kiosk.recommend({}).decision_id
            ...     kiosk.reward(name, 1.0), kiosk.reward(name, 1.0), kiosk.num_waiting
            (True, False, 2)
        """
        intake.reward(value, self._export.reward_range)
        place = intake.position(position)
        with self._outbox:
            known = self._outbox.find("decision", decision_id) if intake.is_name(decision_id) else None
            if known is None:
                raise UnknownDecision(f"No decision {decision_id!r:.200} is in this outbox: give the decision_id that recommend returned.")
            where = places.place(decision_id, known["ids"], item, place)
            name = places.place_name(decision_id, where) if reward_id is None else intake.name("reward_id", reward_id)
            told = {"decision_id": decision_id, "value": float(value) + 0.0, "position": where, "reward_id": name}
            same = self._outbox.find("reward", name)
            if same == told:
                return False
            others = [
                other for other in self._outbox.rewards_of(decision_id) if PAGE in (where, other["position"]) or other["position"] == where
            ]
            if same is not None or others:
                raise RewardConflict(f"One shown item or page has one reward, there is {same or others[0]}, got {told} too.")
            self._outbox.add("reward", name, told, about=decision_id)
            return True

    def forget(self, user: str) -> int:
        """Deletes what waits of a user: decisions and their rewards; what was sent has no user here. Returns how many.

        Call it in each process when the recommender forgets the user, and load a new export then.

        Raises:
            LedgerError: the outbox fails.

        Example:
            >>> import recsdk
            >>> with recsdk.Recommender.open("loft", items=[{"id": "tea"}, {"id": "coffee"}], policy="lin-ts") as loft:
            ...     data = loft.export()
            >>> with LocalRecommender.load(data) as kiosk:
            ...     _ = kiosk.reward(kiosk.recommend({"user_id": "ann"}).decision_id, 1.0)
            ...     kiosk.forget("ann"), kiosk.num_waiting
            (2, 0)
        """
        num: int = self._outbox.forget(str(intake.user(user, {})))
        return num

    def batch(self, after: Batch | None = None) -> Batch | None:
        """Returns the calls that wait, as many as fit a request; None where none does. They wait until `done` says what became of them.

        Args:
            after: the batch before, so that what waits on is not sent again at once.
        """
        calls = self._outbox.waiting(AT_ONCE, SIZE, 0 if after is None else max(after.numbers))
        if not calls:
            return None
        decisions, rewards = ([call for call in calls if call.kind == kind] for kind in ("decision", "reward"))
        numbers = tuple(call.number for call in (*decisions, *rewards))
        return Batch(tuple(map(_decision, decisions)), tuple(map(_reward, rewards)), numbers)

    def done(self, batch: Batch, answers: Sequence[Answer]) -> Sent:
        """Notes what became of a batch: one answer for each decision and then for each reward.

        Raises:
            RecsdkError: an answer that is an error of the recommender, such as a disk that is full; that call waits on.
        """
        calls: list[LocalDecision | LocalReward] = [*batch.decisions, *batch.rewards]
        with self._outbox:
            num = len(batch.decisions)
            wait = [isinstance(answer, (EarlyDecision, *FAULTS)) for answer in answers]
            self._outbox.sent([number for number, waits in zip(batch.numbers[:num], wait[:num], strict=True) if not waits])
            for place, one in enumerate(batch.rewards, num):  # whose decision waits cannot be known yet
                wait[place] |= isinstance(answers[place], UnknownDecision) and self._outbox.is_waiting("decision", one.decision_id)
            self._outbox.sent([number for number, waits in zip(batch.numbers[num:], wait[num:], strict=True) if not waits])
        for answer in answers:
            if isinstance(answer, FAULTS):
                raise answer
        refused = tuple((call, answer) for call, answer in zip(calls, answers, strict=True) if isinstance(answer, RecsdkError))
        return Sent(sum(answer is True for answer in answers), sum(answer is False for answer in answers), refused)

    def send(self, shop: Takes) -> Sent:
        """Sends all that waits to the recommender, in the same process; over HTTP a `recsdk_serve.Client` does.

        What is interrupted can be sent again: each call counts once.
        """
        total, batch = Sent(0, 0, ()), None
        while (batch := self.batch(batch)) is not None:
            rewards = [functools.partial(shop.reward, one.decision_id, one.value, **one.place()) for one in batch.rewards]
            total = total.plus(self.done(batch, [*shop.take(batch.decisions), *map(tried, rewards)]))
        return total

    def close(self) -> None:
        """Closes it; what waits stays in the outbox's file."""
        self._outbox.close()
        self._export.close()

    def __enter__(self) -> LocalRecommender:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()


def digest(record: DecisionRecord) -> str:
    """Returns a hash of the candidates, the slate and the distributions of a decision."""
    return hashlib.blake2b(b"/".join(arrays_of(record)[:3]), digest_size=16).hexdigest()


def tried(work: Callable[[], R]) -> R | RecsdkError:
    """Returns what a work returns, or the error by which it is refused."""
    try:
        return work()
    except (InvalidValue, Unknown, Conflict) as error:
        if isinstance(error, InvalidAnswer):
            raise
        return error


def _require_small(fields: Mapping[str, Any]) -> None:
    """Refuses what the service would not read.

    Raises:
        InvalidRequest: with the field.
    """
    request = fields["request"]
    texts = [text for value in request.values() for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
    sizes = (
        ("user", LONGEST_NAME, "characters", len(str(fields.get("user", "")))),
        ("names of features", LONGEST_NAME, "characters", max(map(len, request), default=0)),
        ("texts of the request", LONGEST_TEXT, "characters", max(map(len, texts), default=0)),
        ("request", MOST_FEATURES, "features", len(request)),
        ("arguments", LARGEST, "characters as JSON", len(json.dumps(fields))),
    )
    for field, most, unit, num in sizes:
        if num > most:
            raise InvalidRequest(f"{field} must have at most {most:,} {unit}, so that the service can read it, got {num:,}.")


def _decision(call: Call) -> LocalDecision:
    told, fields = call.told, call.told["fields"]
    arguments = fields | {name: dict(fields[name]) for name in PAIRS if name in fields}
    return LocalDecision(told["export"], call.name, told["time"], arguments, told["digest"])


def _reward(call: Call) -> LocalReward:
    told = call.told
    return LocalReward(told["decision_id"], told["value"], "page" if told["position"] == PAGE else told["position"], told["reward_id"])
