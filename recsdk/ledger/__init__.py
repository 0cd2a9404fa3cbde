"""The contract of ledgers: the append-only log of decisions and rewards, of which every learned state is a fold.

A plugin of the kind `ledgers` is a `Store`. What it opens is a `Ledger`, and nothing in recsdk reads or writes a log past these two.
`recsdk.testing.LEDGER_CHECKS` holds a store to the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

PAGE = -1
"""The position of signals and rewards that are about a whole slate."""
LEVELS = ("memory", "process-crash", "power-loss")
"""What of the acknowledged may be lost: all once the process ends, the last moments once the machine stops, nothing."""


class DecisionRecord(NamedTuple):
    """One decision, with all that is needed to recompute it and to learn from it.

    Attributes:
        decision_id: unique in the ledger.
        time: seconds since the epoch.
        payload: canonical JSON of the request, the size and the candidates asked for: the same id with another payload is a conflict.
        parts: JSON of what decided: policy, encoder, scorers with their columns, retriever, draw scheme. It rarely changes: store it once.
        num_learned: rewards that the policy's state had been folded over.
        slots: i32[K], catalogue slots of the candidates, in the order of `probs`.
        action: i32[L], indices of the shown candidates, from the top.
        probs: f64[L, K], per position the distribution drawn from: zero on what stands above.
        features: f32[L, D] of the shown candidates, or f32[K, D] of all: phi, which is float32 by construction.
        user: the user's key; None where the application gave none.
        marks: JSON of what else decided: which arm, which positions were pinned or promoted, which decision is served again. None for a
            draw by the policy from all candidates.

    Example:
        >>> one = np.ones((1, 1))
        >>> record = DecisionRecord("d1", 0.0, "{}", "{}", 0, np.array([7]), np.array([0]), one, one.astype(np.float32), user="u17")
        >>> record.slots[record.action].tolist(), record.user
        ([7], 'u17')
    """

    decision_id: str
    time: float
    payload: str
    parts: str
    num_learned: int
    slots: np.ndarray
    action: np.ndarray
    probs: np.ndarray
    features: np.ndarray
    user: str | None = None
    marks: str | None = None


class RewardRecord(NamedTuple):
    """The reward of one shown item or of a whole slate; or a correction of one.

    Attributes:
        reward_id: unique in the ledger.
        decision_id: the decision that showed the item.
        position: where in the slate, from 0; `PAGE` for the whole slate.
        value: finite.
        time: seconds since the epoch at which it arrived.
        replaces: id of the earlier reward of this position that this one corrects; None for a first one.
        void: whether this takes the reward of the position back; `value` means nothing then.

    Example:
        >>> first = RewardRecord("d1/0", "d1", position=0, value=1.0, time=0.0)
        >>> first._replace(reward_id="d1/0/1", value=0.5, time=60.0, replaces="d1/0").replaces
        'd1/0'
    """

    reward_id: str
    decision_id: str
    position: int
    value: float
    time: float
    replaces: str | None = None
    void: bool = False


class SignalRecord(NamedTuple):
    """Something that happened to a shown item or slate: an event, which a `recsdk.Feedback` turns into a reward.

    Attributes:
        signal_id: unique in the ledger.
        decision_id: the decision that showed the item.
        position: where in the slate, from 0; `PAGE` for the whole slate.
        name: which kind of signal, such as "click"; names that begin with "@" are the recommender's own, such as "@retract".
        value: finite; what it is worth before the weight of its name.
        time: seconds since the epoch at which it arrived.
        happened: seconds since the epoch at which it happened, where the application said so; None for `time`.
        about: id of the signal that this one corrects; None for one of its own.

    Example:
        >>> SignalRecord("s1", "d1", position=0, name="click", value=1.0, time=60.0).name
        'click'
    """

    signal_id: str
    decision_id: str
    position: int
    name: str
    value: float
    time: float
    happened: float | None = None
    about: str | None = None


class ItemRecord(NamedTuple):
    """An item as it was last added.

    Attributes:
        slot: its number for good.
        row: JSON of its id, features and time of entry.
        vector: f32[dim], its embedding, kept so that a recovered catalogue is the same to the bit.
        active: false once removed.

    Example:
        >>> ItemRecord(0, '{"id": "apple"}', np.zeros(2, np.float32), active=True).row
        '{"id": "apple"}'
    """

    slot: int
    row: str
    vector: np.ndarray
    active: bool


class Ledger(Protocol):
    """A log of decisions and rewards, the catalogue beside it, and named bytes. One process at a time has it open for writing.

    Every call outside `transaction` is durable when it returns. Numbers, text, arrays and their types come back to the bit, or
    `LedgerCorrupt` is raised.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> ledger = Sqlite().open("shop")
        >>> with ledger.transaction():
        ...     ledger.put("salt", b"123")
        >>> ledger.get("salt"), ledger.num_rewards()
        (b'123', 0)
        >>> ledger.close()
    """

    def transaction(self) -> AbstractContextManager[None]:
        """Groups calls: all of them happen, or with an exception none."""

    def get(self, name: str) -> bytes | None:
        """Returns the bytes kept under a name: models, snapshots, what the folder was made with."""

    def put(self, name: str, data: bytes) -> None:
        """Keeps bytes under a name, in place of earlier ones."""

    def add_decision(self, record: DecisionRecord) -> None:
        """Appends a decision; `LedgerError` when its id is taken."""

    def decision(self, decision_id: str) -> DecisionRecord | None:
        """Returns a decision."""

    def decisions(self, start: int = 0) -> Iterator[DecisionRecord]:
        """Yields the decisions from number `start` on, oldest first."""

    def decisions_of(self, user: str) -> Iterator[DecisionRecord]:
        """Yields the decisions of a user, newest first."""

    def add_signal(self, record: SignalRecord) -> None:
        """Appends a signal; `LedgerError` when its id is taken, or its decision is not there."""

    def signal(self, signal_id: str) -> SignalRecord | None:
        """Returns a signal."""

    def signals(self, start: int = 0) -> Iterator[SignalRecord]:
        """Yields the signals from number `start` on, in order of arrival."""

    def signals_of(self, decision_id: str) -> list[SignalRecord]:
        """Returns the signals about a decision, in order of arrival."""

    def add_reward(self, record: RewardRecord) -> None:
        """Appends a reward; `LedgerError` when its id is taken, its decision is not there, or its place is taken.

        One that `replaces` another comes to the same place; `LedgerError` when that one is not there, is of another place, or has been
        replaced before. Both stay in the log.
        """

    def reward(self, reward_id: str) -> RewardRecord | None:
        """Returns a reward."""

    def rewards(self, start: int = 0) -> Iterator[RewardRecord]:
        """Yields the rewards from number `start` on, in order of arrival."""

    def rewards_of(self, decision_id: str) -> list[RewardRecord]:
        """Returns the rewards of a decision, in order of arrival."""

    def outcomes(self, start: int = 0) -> Iterator[tuple[RewardRecord, DecisionRecord]]:
        """Yields what `rewards` yields, each with its decision."""

    def num_rewards(self) -> int:
        """Returns how many rewards there are."""

    def put_item(self, record: ItemRecord) -> None:
        """Appends a new version of an item; from now on `items` yields this version for its slot."""

    def items(self) -> Iterator[ItemRecord]:
        """Yields every item as it is now, in order of slots."""

    def shown(self, decision_id: str, slot: int) -> ItemRecord:
        """Returns an item as it was when a decision was made; `LedgerCorrupt` when the slot was empty then."""

    def close(self) -> None:
        """Releases the folder. Closing twice is no error; any other call after it raises `LedgerError`."""


@runtime_checkable
class Whole(Protocol):
    """A `Ledger` that can also yield what its other readers leave out, so that another ledger can be made of it.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> ledger = Sqlite().open("shop")
        >>> ledger.put("salt", b"123")
        >>> ledger.names(), list(ledger.events())
        (['salt'], [])
        >>> ledger.close()
    """

    def names(self) -> list[str]:
        """Returns the names under which bytes are kept, sorted."""

    def events(self) -> Iterator[ItemRecord | DecisionRecord]:
        """Yields every version of every item, and every decision, in the order in which they were appended."""


@runtime_checkable
class Corrects(Protocol):
    """A `Ledger` that can tell which rewards were corrected without a look at all of them, so that recovery reads them once.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> ledger = Sqlite().open("shop")
        >>> ledger.replaced()
        frozenset()
        >>> ledger.close()
    """

    def replaced(self, start: int = 0) -> frozenset[str]:
        """Returns the ids of the rewards that are replaced by rewards from number `start` on."""


@runtime_checkable
class YieldsFields(Protocol):
    """A `Ledger` that can also yield outcomes without making their decisions, of which a fold needs little: it is quicker then.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> ledger = Sqlite().open("shop")
        >>> list(ledger.outcome_fields())
        []
        >>> ledger.close()
    """

    def outcome_fields(self, start: int = 0) -> Iterator[tuple[RewardRecord, Sequence[Any]]]:
        """Yields what `outcomes` yields, each with what `recsdk.ledger.records.decision` makes its decision of, checked as that."""


class Store(Protocol):
    """A kind of ledger: it knows its folders and opens them. The config class that an entry point of `recsdk.ledgers` names is one.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> store = Sqlite()
        >>> store.open("shop").close()
        >>> store.holds("shop"), store.holds("elsewhere")
        (True, False)
        >>> reading = store.read("shop")
        >>> reading.num_rewards()
        0
        >>> reading.close()
    """

    def holds(self, folder: str | Path) -> bool:
        """Tells whether a folder has a ledger of this kind; it makes nothing, and opens as little as it can."""

    def open(self, folder: str | Path) -> Ledger:
        """Opens a folder for one writer, and makes it when it is not there; `LedgerLocked` while another has it open."""

    def read(self, folder: str | Path) -> Ledger:
        """Opens a folder as it is at this moment, also while a writer goes on; what writes raises `LedgerError`."""


@runtime_checkable
class Copies(Protocol):
    """A `Store` that can also copy a ledger: for backups, and to restore them.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> Sqlite().open("shop").close()
        >>> Sqlite().copy("shop", "backup")
        >>> Sqlite().holds("backup")
        True
    """

    def copy(self, folder: str | Path, destination: str | Path) -> None:
        """Copies the ledger in a folder as it is at this moment, also while a writer goes on, into a folder that is empty or not there.

        Raises:
            LedgerError: no ledger in the folder, or a destination that holds something.
            LedgerCorrupt: a ledger that is damaged.
        """


class Verified(NamedTuple):
    """What a `Store` found in the files of a ledger.

    Attributes:
        num_records: it looked at.
        problems: in words; none when all is well.

    Example:
        >>> Verified(5, ()).problems
        ()
    """

    num_records: int
    problems: tuple[str, ...]


@runtime_checkable
class Verifies(Protocol):
    """A `Store` that can also check its own files, which the records alone do not show: their order, and that none is missing.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> Sqlite().open("shop").close()
        >>> Sqlite().verify("shop")
        Verified(num_records=0, problems=())
    """

    def verify(self, folder: str | Path) -> Verified:
        """Reads all of a ledger, also while a writer goes on, and returns what is wrong.

        Raises:
            LedgerError: no ledger in the folder.
            LedgerCorrupt: a ledger that is too damaged to be opened.
        """


@runtime_checkable
class Durable(Protocol):
    """A `Ledger` that says what survives of what it has acknowledged: one of `LEVELS`.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> ledger = Sqlite(durability="power-loss").open("shop")
        >>> ledger.durability
        'power-loss'
        >>> ledger.close()
    """

    @property
    def durability(self) -> str:
        """The level of this ledger."""


class Redacted(NamedTuple):
    """The records that were emptied.

    Attributes:
        decisions: how many; the same for the others.
        signals: about these decisions.
        rewards: of these decisions.

    Example:
        >>> Redacted(decisions=2).rewards
        0
    """

    decisions: int = 0
    signals: int = 0
    rewards: int = 0


@runtime_checkable
class Redacts(Protocol):
    """A `Ledger` whose records can be emptied, so that nothing of them is left: to forget a user, or to drop what is old.

    An emptied record keeps its number, its time and its place in the chain of hashes, which goes over the records' checksums and not their
    content. All else goes: its id becomes a made-up one, a decision has no candidates and shows nothing, a signal is "@forgotten" about the
    whole slate, and a reward is void.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> ledger = Sqlite().open("shop")
        >>> with ledger.transaction():
        ...     ledger.redact(["d1", "d2"], drop=("snapshot/",))
        Redacted(decisions=0, signals=0, rewards=0)
        >>> ledger.scrub()
        >>> ledger.close()
    """

    def redact(self, decision_ids: Iterable[str], *, drop: tuple[str, ...], named: Callable[[str], str] | None = None) -> Redacted:
        """Empties decisions with the signals and rewards about them, inside a transaction; after it, `scrub` is due.

        Args:
            decision_ids: those that are not there are left out.
            drop: named bytes whose names begin with one of these are deleted.
            named: gives each emptied record its id, from the one that it had, unless that is taken; None makes all ids up.
        """

    def scrub(self) -> None:
        """Removes the bytes of what was emptied from wherever they may be left, outside a transaction. `open` does so too when it is due.

        Raises:
            LedgerError: a reader still has the ledger open as it was; call again when it is closed.
        """


class Lost(NamedTuple):
    """The records that a repair gave up.

    Attributes:
        decisions: how many; the same for the others.
        signals: of rewards to come.
        rewards: the learned state goes back with them.
        items: as they were added, changed or removed.

    Example:
        >>> Lost(rewards=2)
        Lost(decisions=0, signals=0, rewards=2, items=0)
    """

    decisions: int = 0
    signals: int = 0
    rewards: int = 0
    items: int = 0


@runtime_checkable
class Repairs(Protocol):
    """A `Store` that can also accept a ledger which lacks acknowledged records.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> Sqlite().open("shop").close()
        >>> Sqlite().repair("shop")
        Lost(decisions=0, signals=0, rewards=0, items=0)
    """

    def repair(self, folder: str | Path, *, backup: str | Path | None = None) -> Lost:
        """Accepts the records that are there, where `open` says that acknowledged ones are missing.

        Args:
            folder: that nobody has open.
            backup: where all files are copied before, as they are: an empty folder, or one that is made.

        Returns:
            How many records are lost for good.

        Raises:
            LedgerLocked: when a recommender has it open.
            LedgerCorrupt: when it cannot be read: restore a backup.
            LedgerError: when there is no ledger, or the backup's folder holds something.
        """


@runtime_checkable
class CompactsOpen(Protocol):
    """A `Ledger` that can also move old decisions while it is written to, as `Compacts` does where nobody has it open.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> ledger = Sqlite().open("shop")
        >>> ledger.compact(1e9, None, reading=ledger, turn=lambda work: work())
        0
        >>> ledger.close()
    """

    def compact(self, before: float, limit: int | None, reading: Ledger, turn: Callable[[Callable[[], None]], None]) -> int:
        """Moves decisions, from the first on, as long as they are older than a moment; their room is used again, not given back.

        No decision may be emptied meanwhile. Killed anywhere, all of them are still there.

        Args:
            before: seconds since the epoch.
            limit: number of the last decision that may be moved; None for all.
            reading: the same ledger, opened to be read: where the decisions are taken from, so that writing goes on meanwhile.
            turn: calls what it is given, a short write, while nobody else writes.

        Returns:
            How many were moved.

        Raises:
            LedgerError: a disk that fails.
            MissingExtra: a library that is not installed.
        """


@runtime_checkable
class Compacts(Protocol):
    """A `Store` that can also move old decisions into files of their own, which its ledgers read as if they were not moved.

    Example:
        >>> from recsdk.ledger.sqlite import Sqlite
        >>> Sqlite().open("shop").close()
        >>> Sqlite().compact("shop", before=1e9)
        0
    """

    def compact(self, folder: str | Path, *, before: float, limit: int | None = None) -> int:
        """Moves decisions, from the first on, as long as they are older than a moment. Killed anywhere, all of them are still there.

        Args:
            folder: that nobody has open.
            before: seconds since the epoch.
            limit: number of the last decision that may be moved; None for all.

        Returns:
            How many were moved.

        Raises:
            LedgerLocked: when a recommender has it open.
            LedgerError: no ledger in the folder, or a disk that fails.
            MissingExtra: a library that is not installed.
        """
