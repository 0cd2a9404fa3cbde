"""Calls of the live loop that follow from a seed, made on a folder whose every answer follows from them too.

The folder is a copy of one base, or not there yet, and its secret is the same each time. A run that was cut off and gone on with must end
with the very rows and the very state of one that was not.
"""

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from recsdk import Feedback
from recsdk.errors import LedgerError, RecsdkError
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.recommender import Recommender
from tests.live.shop import CATALOGUE, crash, open_recommender, request, state, tables

START = 1_700_000_000.0
WINDOW = 60.0
FEEDBACK = Feedback(window=WINDOW, default=-0.5, signals={"click": 1, "buy": 5}, caps={"click": 2}, start=-20.0, late=0.5)
SNAPSHOT_EVERY = 3
LOGS = ("items", "decisions", "signals", "rewards")
SCRATCH = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp")  # noqa: S108 -- a file system in memory, else the usual one


class Call(NamedTuple):
    """One call, and when it is made."""

    time: float
    name: str
    arguments: dict[str, Any]


def calls(seed: int, count: int) -> list[Call]:
    """Returns calls of every kind; seeds that are odd give rewards, the others signals."""
    rng, found, now, decided, named = random.Random(seed), list[Call](), START, 0, list[str]()
    for number in range(count):
        now += rng.choice([1.0, 2.0, 5.0, 25.0])
        name = (
            "decide"
            if not decided
            else rng.choice(["decide"] * 7 + ["earn"] * 7 + ["correct", "shown", "not_shown", "add", "remove", "snapshot"])
        )
        which = f"d{rng.randrange(max(1, decided))}"
        if name == "decide":
            arguments = {"number": decided, "size": rng.randint(1, 3), "deferred": rng.random() < 0.15, "decision_id": f"d{decided}"}
            decided += 1
        elif name == "earn":
            which = f"d{decided}" if rng.random() < 0.1 else which  # one that is still to come
            value = rng.choice([1.0, 0.0, -1.0, 0.3])
            named.append(f"e{number}")
            arguments = {
                "decision_id": which,
                "position": rng.randrange(2),
                "value": value,
                "id": f"e{number}",
                "kind": rng.choice(["click", "buy"]),
            }
        elif name == "correct":
            arguments = {"event_id": rng.choice([*named, "nobody's"]), "value": rng.choice([None, 2.0, 0.0])}
        elif name in ("shown", "not_shown"):
            arguments = {"decision_id": which}
        else:
            arguments = {"id": f"new-{rng.randrange(4)}", "price": float(number)}
        found.append(Call(now, name, arguments))
    return found


class Loop:
    """A shop that makes calls at their times.

    Args:
        folder: a copy of a base.
        seed: of the calls.
        durability: of the ledger.
        snapshot_every: rewards between snapshots.
    """

    def __init__(self, folder: Path, seed: int, durability: str = "power-loss", snapshot_every: int = SNAPSHOT_EVERY) -> None:
        self.now = START
        feedback = {} if seed % 2 else {"feedback": FEEDBACK}
        with mock.patch("secrets.token_bytes", bytes):
            self.shop: Recommender = open_recommender(
                folder,
                items=CATALOGUE[:5],
                encoder=None,
                scorers=["popularity"],
                policy=("lin-ts", "lin-ucb")[seed // 2 % 2],
                snapshot_every=snapshot_every,
                clock=lambda: self.now,
                ledger=Sqlite(durability=durability),
                **feedback,
            )
        self._earn = self._reward if seed % 2 else self._signal

    def make(self, call: Call) -> None:
        """Makes a call; one that is refused, such as a second one, changes nothing."""
        self.now = call.time
        methods: dict[str, Callable[..., Any]] = {
            "decide": self._decide,
            "earn": self._earn,
            "correct": self.shop.correct,
            "shown": self.shop.shown,
            "not_shown": self.shop.not_shown,
            "add": lambda id, price: self.shop.add_items([{"id": id, "topic": "new", "price": price}]),
            "remove": lambda id, price: self.shop.remove_items([id]),
            "snapshot": lambda **_: self.shop.snapshot(),
        }
        try:
            methods[call.name](**call.arguments)
        except LedgerError:
            raise
        except RecsdkError:
            pass

    def _decide(self, number: int, **arguments: Any) -> None:
        self.shop.recommend(request(number), **arguments)

    def _reward(self, decision_id: str, position: int, value: float, id: str, kind: str) -> None:
        self.shop.reward(decision_id, value, position=position, reward_id=id)

    def _signal(self, decision_id: str, position: int, value: float, id: str, kind: str) -> None:
        self.shop.signal(kind, decision_id=decision_id, position=position, value=value, signal_id=id)

    def settle(self, now: float) -> None:
        """Closes the windows that have ended."""
        self.now = now
        if self.shop._loop.settlement is not None:
            self.shop.settle()


class Reference(NamedTuple):
    """What a run that nothing disturbed has written.

    Attributes:
        seed: of its calls.
        calls: made.
        rows: of each log, in order.
        allowed: the numbers of rows of each log that a run may have stopped at, by how many calls were acknowledged.
        changed: whether each call has written anything.
        state: learned in the end.
    """

    seed: int
    calls: list[Call]
    rows: dict[str, list[tuple[Any, ...]]]
    allowed: list[set[tuple[int, ...]]]
    changed: list[bool]
    state: list[Any]


def base(folder: Path, seed: int) -> Path:
    """Makes the folder of which every run is a copy: one in three was closed, one is of a process that was killed, and one is not there."""
    if seed % 3 == 2:
        return folder
    shop = Loop(folder.with_name("made"), seed).shop
    if seed % 3 == 0:
        shop.close()
    shutil.copytree(folder.with_name("made"), folder, ignore=shutil.ignore_patterns("*-shm", "ledger.lock"))
    shop.close()
    shutil.rmtree(folder.with_name("made"))
    return folder


def copied(whole: Path, folder: Path) -> Path:
    """Copies a base to where a run works."""
    return Path(shutil.copytree(whole, folder)) if whole.exists() else folder


def reference(whole: Path, seed: int, count: int, folder: Path) -> Reference:
    """Runs without any fault."""
    copied(whole, folder)
    loop, sizes, allowed = Loop(folder, seed), [], list[set[tuple[int, ...]]]()
    sizes.append(counts(loop.shop._loop.ledger._db))
    for call in (made := calls(seed, count)):
        if call.name not in ("add", "remove", "snapshot"):  # the others close windows before anything else
            loop.settle(call.time)
        sizes.append(counts(loop.shop._loop.ledger._db))
        loop.make(call)
        sizes.append(counts(loop.shop._loop.ledger._db))
    assert loop.shop.audit()
    allowed = [set(sizes[2 * number : 2 * number + 3]) for number in range(count + 1)]
    if not whole.exists():
        allowed[0].add((0,) * len(LOGS))
    changed = [before != after for before, after in zip(sizes[1::2], sizes[2::2], strict=True)]
    found = Reference(seed, made, rows(folder), allowed, changed, state(loop.shop))
    crash(loop.shop)
    return found


def counts(db: Any) -> tuple[int, ...]:
    """Returns how many rows each log has."""
    return tuple(db.execute(f"SELECT COUNT(*) FROM {log}").fetchone()[0] for log in LOGS)  # noqa: S608 -- constants


def rows(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Returns the rows of each log, in order."""
    held = tables(folder)
    with contextlib.closing(Sqlite().read(folder)) as ledger:
        decisions = [(str([getattr(field, "tolist", lambda field=field: field)() for field in record]),) for record in ledger.decisions()]
    return {log: decisions if log == "decisions" else held[log] for log in LOGS}  # a decision's row changes when it is moved to a segment


def acknowledged(path: Path) -> int:
    """Returns how many calls a run has said are done."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def run(folder: Path, seed: int, count: int, told: Path, durability: str = "power-loss") -> Loop:
    """Makes the calls, and says in a file, at once, of each that it is done."""
    file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    loop = Loop(folder, seed, durability)
    for call in calls(seed, count):
        loop.make(call)
        os.write(file, b"\n")
    return loop


def run_and_compact(folder: Path, seed: int, count: int, told: Path, durability: str = "power-loss") -> None:
    """Makes the calls, closes the shop, and moves the older half of the decisions into a segment."""
    run(folder, seed, count, told, durability).shop.close()
    Sqlite().compact(folder, before=calls(seed, count)[count // 2].time)
    with told.open("ab") as file:
        file.write(b"\n")


def check(folder: Path, whole: Reference, done: int) -> None:
    """Opens what a run has left after `done` acknowledged calls, and goes on to the end.

    All that was acknowledged is there, as it was; of the rest at most the one call that was under way (I1, I2, I4, I8); the client repeats
    that and the one before, whose answer it may have missed, and nothing comes twice (I3, I12, I13); in the end the rows and the state are
    those of a run that nothing disturbed, and those that folding the log from its start gives (I6); at most one temporary file of a kind is
    left (I11).
    """
    loop = Loop(folder, whole.seed)
    try:
        found, held = counts(loop.shop._loop.ledger._db), rows(folder)
        assert found in whole.allowed[min(done, len(whole.allowed) - 1)], (done, found, whole.allowed[done])
        for log, size in zip(LOGS, found, strict=True):
            assert held[log] == whole.rows[log][:size], log
        again = done and whole.changed[done - 1] and whole.calls[done - 1].name in ("decide", "earn")  # which have a name of their own
        for call in whole.calls[done - 1 if again else done :]:
            loop.make(call)
        assert rows(folder) == whole.rows
        assert state(loop.shop) == whole.state
        assert loop.shop.audit()
        assert len(list(folder.glob("*.part"))) <= 1
    finally:
        with contextlib.suppress(LedgerError):
            crash(loop.shop)


def check_others(folder: Path, whole: Reference, done: int) -> None:
    """As `check`, but the client has lost the call that was under way and makes other ones: nothing may be left of it (I6, I9)."""
    for opening in range(2):
        loop = Loop(folder, whole.seed, snapshot_every=10**6)
        try:
            assert loop.shop.audit()
            if opening == 0:
                for call in whole.calls[done + 1 :]:
                    if call.name != "snapshot":
                        loop.make(call._replace(arguments={**call.arguments, **({"value": 0.125} if "value" in call.arguments else {})}))
        finally:
            with contextlib.suppress(LedgerError):
                crash(loop.shop)


def describe(whole: Reference) -> str:
    """Returns what kinds of rows a run has."""
    return json.dumps({log: len(found) for log, found in whole.rows.items()})
