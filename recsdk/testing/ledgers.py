"""Laws of ledgers: what a store takes it gives back, all of a transaction or nothing, to one writer and any reader."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from recsdk.errors import LedgerCorrupt, LedgerError, LedgerLocked
from recsdk.ledger import LEVELS, PAGE, Corrects, DecisionRecord, Durable, ItemRecord, Ledger, RewardRecord, SignalRecord, Store


def check_folder(store: Store) -> None:
    """A folder is made when it is not there, and known by `holds` from then on; opened again, it has what was written."""
    with _folder() as folder:
        _that(store, "folder", not store.holds(folder), f"holds must say no of a new folder, and make nothing of {folder}")
        _refused(store, "folder", LedgerError, "read of a folder without a ledger", lambda: store.read(folder))
        with closing(store.open(folder)) as ledger:
            ledger.put("name", b"1")
        _that(store, "folder", store.holds(folder) and store.holds(str(folder)), "holds must say yes once a ledger was opened there")
        with closing(store.open(str(folder))) as ledger:
            _that(store, "folder", ledger.get("name") == b"1", "opened again, it must have what was written")
        with closing(store.open(folder.parent / "other")) as ledger:
            _that(store, "folder", ledger.get("name") is None, "another folder must be another ledger")


def check_records(store: Store) -> None:
    """Records of every kind come back to the bit, with the types of their arrays, in the order in which they were added."""
    decisions = [_decision(name, *sizes) for name, sizes in (("d", (3, 2)), ("e\0", (1, 1)), ("\N{GRINNING FACE}", (100, 5)))]
    decisions[1] = decisions[1]._replace(user="u\N{LATIN SMALL LETTER E WITH ACUTE}", features=np.ones((1, 1), np.float32))
    decisions[2] = decisions[2]._replace(marks='{"arm": "burn-in"}')
    items = [_item(1), _item(0)]
    rewards = [RewardRecord("r", "d", 1, 0.1, 13.0), RewardRecord("s", "e\0", 0, -1e300, 14.0), RewardRecord("q", "d", 0, 1 / 3, 15.0)]
    with _folder() as folder:
        with closing(store.open(folder)) as ledger:
            _fill(ledger, decisions, items, rewards)
            _compare(store, "as written", ledger, decisions, items, rewards)
        with closing(store.open(folder)) as ledger:
            _compare(store, "opened again", ledger, decisions, items, rewards)
        with closing(store.read(folder)) as ledger:
            _compare(store, "read", ledger, decisions, items, rewards)


def check_absence(store: Store) -> None:
    """A missing record reads as None, or as no rows, without an error."""
    with _opened(store) as ledger:
        found = [ledger.decision("d"), ledger.reward("r"), ledger.get("b")]
        _that(store, "absence", found == [None] * 3, f"must be None, got {found}")
        rows = [*ledger.decisions(), *ledger.items(), *ledger.outcomes(), *ledger.rewards(), *ledger.rewards_of("d"), ledger.num_rewards()]
        _that(store, "absence", rows == [0], f"must yield nothing, and count 0 rewards, got {rows}")
        ledger.put("b", b"")
        _that(store, "absence", ledger.get("b") == b"", "no bytes at all must not be None")


def check_names(store: Store) -> None:
    """A decision has its own id, a reward its own id, its own place and its decision; a refused record leaves nothing."""
    with _opened(store) as ledger:
        _refused(store, "names", LedgerError, "a reward without its decision", lambda: ledger.add_reward(_reward()))
        ledger.add_decision(_decision())
        ledger.add_reward(_reward())
        _refused(store, "names", LedgerError, "a second decision of one id", lambda: ledger.add_decision(_decision()))
        for again, what in ((_reward(position=1), "of one id"), (_reward("other"), "of one place")):
            _refused(store, "names", LedgerError, f"a second reward {what}", functools.partial(ledger.add_reward, again))
        counts = [len(list(ledger.decisions())), ledger.num_rewards(), len(ledger.rewards_of("d"))]
        _that(store, "names", counts == [1, 1, 1], f"one decision and one reward must remain, got {counts}")


def check_transaction(store: Store) -> None:
    """A transaction that ends by an exception has changed nothing, and the numbers of the rewards have no gap."""
    with _opened(store) as ledger:
        ledger.add_decision(_decision(rows=3))
        ledger.add_reward(_reward("a", 2))
        before = _contents(ledger)
        for error in (ValueError, KeyboardInterrupt, SystemExit):
            try:
                with ledger.transaction():
                    _fill(ledger, [_decision("lost")], [_item(0)], [_reward("lost", 1)])
                    ledger.put("b", b"1")
                    raise error
            except error:
                pass
            _that(store, "transaction", _same(_contents(ledger), before), f"ended by {error.__name__}, it must have changed nothing")
        with ledger.transaction():
            ledger.put("b", b"2")
            ledger.add_reward(_reward("b", 0))
        _that(store, "transaction", ledger.get("b") == b"2", "ended well, it must have happened")
        numbered = [[reward.reward_id for reward in ledger.rewards(start)] for start in range(4)]
        _that(store, "transaction", numbered == [["a", "b"], ["b"], [], []], f"rewards from number 0, 1, 2, 3 on, got {numbered}")
        outcomes = [(reward.reward_id, record.decision_id) for reward, record in ledger.outcomes(1)]
        _that(store, "transaction", outcomes == [("b", "d")], f"outcomes must be the rewards with their decisions, got {outcomes}")


def check_shown(store: Store) -> None:
    """An item is found as it was when a decision was made, and as it is now."""
    with _opened(store) as ledger:
        ledger.put_item(_item(0, "one"))
        ledger.add_decision(_decision("first"))
        ledger.put_item(_item(1, "beside"))
        ledger.put_item(_item(0, "two", active=False))
        ledger.add_decision(_decision("second"))
        ledger.put_item(_item(0, "three"))
        shown = [ledger.shown(name, 0).row for name in ("first", "second")]
        _that(store, "shown", shown == ["one", "two"], f"the item was 'one', then 'two', got {shown}")
        now = [record.row for record in ledger.items()]
        _that(store, "shown", now == ["three", "beside"], f"items must be as they are now, in order of slots, got {now}")
        _refused(store, "shown", LedgerCorrupt, "a slot that was empty then", lambda: ledger.shown("first", 1))


def check_signals(store: Store) -> None:
    """Signals come back to the bit, several of one item, in the order in which they were added; each has its own id and its decision."""
    signals = [
        SignalRecord("s", "d", 1, "click", 0.1, 13.0),
        SignalRecord("q", "d", 1, "\N{GRINNING FACE}", -1e300, 12.0),
        SignalRecord("z", "d", PAGE, "@retract", 0.0, 14.0, happened=12.5, about="s"),
    ]
    with _opened(store) as ledger:
        _refused(store, "signals", LedgerError, "a signal without its decision", lambda: ledger.add_signal(signals[0]))
        for name in ("d", "e"):
            ledger.add_decision(_decision(name))
        _that(store, "signals", ledger.signal("s") is None and ledger.signals_of("d") == [], "there must be none before the first")
        for signal in signals:
            ledger.add_signal(signal)
        _refused(store, "signals", LedgerError, "a second signal of one id", lambda: ledger.add_signal(signals[0]._replace(value=2.0)))
        last = SignalRecord("y", "e", 0, "click", 1.0, 15.0)
        ledger.add_signal(last)
        got = [ledger.signals_of("d"), ledger.signals_of("e"), ledger.signal("q"), list(ledger.signals()), list(ledger.signals(3))]
        wanted = [signals, [last], signals[1], [*signals, last], [last]]
        _that(store, "signals", _same(got, wanted), f"must be {wanted}, got {got}")


def check_corrections(store: Store) -> None:
    """A reward is replaced once, by one of its own place; all stay in the log, in order, and come back to the bit."""
    first, other = _reward("a", PAGE), _reward("b", 1)
    second = RewardRecord("c", "d", PAGE, 0.25, 14.0, replaces="a")
    third = RewardRecord("e", "d", PAGE, 0.0, 15.0, replaces="c", void=True)
    wrong = {"what is not there": "x", "one of another place": "b", "one that was replaced before": "a"}
    with _opened(store) as ledger:
        ledger.add_decision(_decision())
        for reward in (first, other, second, third):
            ledger.add_reward(reward)
        for what, name in wrong.items():
            again = second._replace(reward_id="again", replaces=name)
            _refused(store, "corrections", LedgerError, f"replacing {what}", functools.partial(ledger.add_reward, again))
        _refused(store, "corrections", LedgerError, "a second first reward", lambda: ledger.add_reward(_reward("f", PAGE)))
        wanted = [first, other, second, third]
        got = [ledger.rewards_of("d"), list(ledger.rewards()), [reward for reward, _ in ledger.outcomes()], ledger.reward("e")]
        _that(store, "corrections", _same(got, [wanted, wanted, wanted, third]), f"must be {wanted}, got {got}")
        if isinstance(ledger, Corrects):
            replaced = [ledger.replaced(start) for start in (0, 3, 4)]
            _that(store, "corrections", replaced == [{"a", "c"}, {"c"}, set()], f"replaced from 0, 3 and 4 on: 'a' and 'c', got {replaced}")


def check_users(store: Store) -> None:
    """The decisions of a user are found, newest first; those from a number on, oldest first."""
    users = {"a": "ann", "b": "bob", "c": "ann", "d": None}
    with _opened(store) as ledger:
        for name, user in users.items():
            ledger.add_decision(_decision(name)._replace(user=user))
        found = [[record.decision_id for record in ledger.decisions_of(user)] for user in ("ann", "bob", "eve")]
        _that(store, "users", found == [["c", "a"], ["b"], []], f"decisions of ann, bob and eve, got {found}")
        later = [[record.decision_id for record in ledger.decisions(start)] for start in (0, 3, 4)]
        _that(store, "users", later == [["a", "b", "c", "d"], ["d"], []], f"decisions from number 0, 3 and 4 on, got {later}")


def check_one_writer(store: Store) -> None:
    """A folder that is open is refused to a second writer, and free once it is closed."""
    with _folder() as folder:
        with closing(store.open(folder)):
            _refused(store, "one_writer", LedgerLocked, "a second opening", lambda: store.open(folder))
        store.open(folder).close()


def check_readers(store: Store) -> None:
    """A reader sees a snapshot of the ledger while the writer continues, and cannot write."""
    with _folder() as folder, closing(store.open(folder)) as ledger:
        ledger.add_decision(_decision("before"))
        with closing(store.read(folder)) as reading:
            ledger.add_decision(_decision("after"))
            ledger.put("b", b"1")
            seen = [record.decision_id for record in reading.decisions()], reading.get("b")
            _that(store, "readers", seen == (["before"], None), f"a reader must see the moment of its opening, got {seen}")
            for write in (lambda: reading.put("b", b"2"), lambda: reading.add_decision(_decision("x")), lambda: reading.put_item(_item(0))):
                _refused(store, "readers", LedgerError, "writing by a reader", write)
        with closing(store.read(folder)) as reading:
            seen = [record.decision_id for record in reading.decisions()], reading.get("b")
            _that(store, "readers", seen == (["before", "after"], b"1"), f"a later reader must see what was written, got {seen}")


def check_closing(store: Store) -> None:
    """Closing twice is no error; a closed ledger can be neither read nor written."""
    with _folder() as folder:
        ledger = store.open(folder)
        ledger.close()
        ledger.close()
        calls: tuple[Callable[[], Any], ...] = (
            lambda: ledger.get("b"),
            lambda: ledger.put("b", b""),
            lambda: ledger.decision("d"),
            lambda: list(ledger.items()),
        )
        for call in calls:
            _refused(store, "closing", LedgerError, "use after close", call)


def check_durability(store: Store) -> None:
    """A ledger that says its durability says one of the levels, always the same; what it has acknowledged lasts at least in the process.

    The process cannot show what survives it: kill one of your own for "process-crash", and the machine under it for "power-loss".
    """
    with _folder() as folder:
        found = []
        for number in range(2):
            with closing(store.open(folder)) as ledger:
                found.append(ledger.durability if isinstance(ledger, Durable) else LEVELS[0])
                _that(store, "durability", ledger.get(f"{number - 1}") is not None or not number, "what was acknowledged must be there")
                ledger.put(f"{number}", b"")
        _that(store, "durability", found[0] in LEVELS and found[0] == found[1], f"must be one of {LEVELS}, always the same, got {found}")


LEDGER_CHECKS: tuple[Callable[[Store], None], ...] = (
    check_folder,
    check_records,
    check_absence,
    check_names,
    check_transaction,
    check_shown,
    check_signals,
    check_corrections,
    check_users,
    check_one_writer,
    check_readers,
    check_closing,
    check_durability,
)
"""The laws of ledgers: each takes a store, and tries it in folders of its own."""


def _decision(name: str = "d", num_slots: int = 3, rows: int = 2) -> DecisionRecord:
    rng = np.random.default_rng(len(name))
    features = rng.standard_normal((num_slots, 4)).astype(np.float32)
    slots, action = np.arange(num_slots, dtype=np.int32) + 5, np.arange(rows, dtype=np.int32)
    return DecisionRecord(name, 12.5, '{"size": 2}', '{"policy": 1}', 7, slots, action, rng.random((rows, num_slots)), features)


def _item(slot: int, row: str = '{"id": "a"}', *, active: bool = True) -> ItemRecord:
    return ItemRecord(slot, row, np.array([1 / 3, -0.0], np.float32), active)


def _reward(name: str = "r", position: int = 0) -> RewardRecord:
    return RewardRecord(name, "d", position, 0.1, 13.0)


def _fill(ledger: Ledger, decisions: list[DecisionRecord], items: list[ItemRecord], rewards: list[RewardRecord]) -> None:
    for decision in decisions:
        ledger.add_decision(decision)
    for item in items:
        ledger.put_item(item)
    for reward in rewards:
        ledger.add_reward(reward)


def _contents(ledger: Ledger) -> list[Any]:
    return [*ledger.decisions(), *ledger.items(), *ledger.rewards(), ledger.get("b")]


def _compare(
    store: Store, when: str, ledger: Ledger, decisions: list[DecisionRecord], items: list[ItemRecord], rewards: list[RewardRecord]
) -> None:
    by_id = {record.decision_id: record for record in decisions}
    pairs = [pair for reward in rewards for pair in (reward, by_id[reward.decision_id])]
    found = [
        ("decisions", list(ledger.decisions()), decisions),
        ("decision", [ledger.decision(record.decision_id) for record in decisions], decisions),
        ("items", list(ledger.items()), sorted(items, key=lambda record: record.slot)),
        ("rewards", list(ledger.rewards()), rewards),
        ("reward", [ledger.reward(reward.reward_id) for reward in rewards], rewards),
        ("rewards_of", ledger.rewards_of("d"), [reward for reward in rewards if reward.decision_id == "d"]),
        ("outcomes", [record for outcome in ledger.outcomes() for record in outcome], pairs),
    ]
    for what, got, wanted in found:
        _that(store, "records", _same(got, wanted), f"{when}: {what} must be {wanted!r:.300}, got {got!r:.300}")


def _same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, (list, tuple)):
        return type(got) is type(wanted) and len(got) == len(wanted) and all(map(_same, got, wanted))
    if isinstance(wanted, np.ndarray):
        return isinstance(got, np.ndarray) and got.dtype == wanted.dtype and got.shape == wanted.shape and got.tobytes() == wanted.tobytes()
    return type(got) is type(wanted) and bool(got == wanted)


def _that(store: Store, law: str, holds: bool, message: str) -> None:
    assert holds, f"{law}: {store!r}: {message}"


def _refused(store: Store, law: str, error: type[Exception], what: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except error:
        return
    except Exception as other:
        raise AssertionError(f"{law}: {store!r}: {what} must raise {error.__name__}, got {type(other).__name__}: {other}") from other
    raise AssertionError(f"{law}: {store!r}: {what} must raise {error.__name__}, got no error")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as root:
        yield Path(root) / "shop"


@contextmanager
def _opened(store: Store) -> Iterator[Ledger]:
    with _folder() as folder, closing(store.open(folder)) as ledger:
        yield ledger
