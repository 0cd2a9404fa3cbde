"""What the sweeps are worth: each protection of the ledger is taken away, and a sweep must find a fault."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from recsdk.ledger import SignalRecord, _schema, _segments, heads, records, sqlite
from recsdk.live import places, settlement
from recsdk.live.learner import Learner
from recsdk.live.places import free
from tests.reliability import damage, kills, power
from tests.reliability.script import SNAPSHOT_EVERY


class Mutant(NamedTuple):
    """A protection that is taken away.

    Attributes:
        name: of the protection.
        changes: patches, and what takes the place of what is patched.
        sweep: returns the faults that it finds.
    """

    name: str
    changes: tuple[tuple[Any, str, Any], ...]
    sweep: Callable[[], list[str]]


def _unsynced(folder: Path, synchronous: str, *rest: Any, writing: Any = sqlite._writing) -> Any:
    return writing(folder, "OFF", *rest)


def _in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    heads.sync(path.parent)


def _under_another_name(self: sqlite.SqliteLedger, record: SignalRecord, adding: Any = sqlite.SqliteLedger.add_signal) -> None:
    taken = self.signal(record.signal_id) is not None
    adding(self, record._replace(signal_id=free(record.signal_id, self.signal)) if taken else record)


def _snapshot_first(self: Learner, *args: Any, learning: Any = Learner.learn) -> None:
    learning(self, *args)
    last = json.loads(self._ledger.get("snapshot/header") or '{"num_learned": 0}')["num_learned"]
    if self.num_learned != SNAPSHOT_EVERY or last >= SNAPSHOT_EVERY:
        return
    within = self._ledger._db.in_transaction  # a reward by itself needs none
    if within:
        self._ledger._db.execute("COMMIT")
    self.snapshot()
    if within:
        self._ledger._db.execute("BEGIN IMMEDIATE")


def _power() -> list[str]:
    return _first(lambda seed: power.sweep(seed, 20, 500, stop_early=True).faults)


def _kills() -> list[str]:
    return _first(lambda seed: kills.sweep(seed, 20, 30, stop_early=True).faults)


def _damage() -> list[str]:
    return damage.sweep(0, 200, 1, stop_early=True).faults


def _first(sweep: Callable[[int], list[str]]) -> list[str]:
    """Returns the faults of the first of some seeds that has any; each sweep in a process of its own, since it forks."""
    return next(filter(None, (kills.forked(lambda seed=seed: sweep(seed)) for seed in range(6))), [])


def _without_uniqueness(schema: str) -> str:
    for unique, plain in (
        ("id TEXT NOT NULL UNIQUE, decision", "id TEXT NOT NULL, decision"),
        ("UNIQUE REFERENCES rewards (id)", "UNIQUE"),
        ("UNIQUE INDEX rewards_of_place", "INDEX rewards_of_place"),
    ):
        schema = schema.replace(unique, plain)
    return schema


MUTANTS = (
    Mutant("sync of the ledger", ((sqlite, "_writing", _unsynced),), _power),
    Mutant("sync of folders", ((heads, "sync", lambda folder: None), (_segments, "sync", lambda folder: None)), _power),
    Mutant("sync of new folders", ((heads, "make", lambda folder: folder.mkdir(parents=True, exist_ok=True)),), _power),
    Mutant("sync of moved decisions", ((_segments, "sync", lambda folder: None),), _power),
    Mutant("write beside, then rename", ((heads, "put", _in_place),), _kills),
    Mutant("checksum of records", ((records, "verify", lambda what, row: None),), _damage),
    Mutant("state and rewards in one commit", ((Learner, "learn", _snapshot_first),), _power),
    Mutant(
        "repeated signals are noticed",
        ((settlement.Settlement, "_is_known", lambda *_: False), (sqlite.SqliteLedger, "add_signal", _under_another_name)),
        _kills,
    ),
    Mutant(
        "repeated rewards are noticed",
        ((places, "is_new", lambda *_: True), (_schema, "SCHEMA", _without_uniqueness(_schema.SCHEMA))),
        _kills,
    ),
)


def faults(mutant: Mutant) -> list[str]:
    """Returns the faults that are found without a protection."""
    with contextlib.ExitStack() as patched:
        for where, name, replacement in mutant.changes:
            patched.enter_context(mock.patch.object(where, name, replacement))
        return mutant.sweep()
