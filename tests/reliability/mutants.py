"""What the sweeps are worth: each protection of the ledger is taken away, and a sweep must find a fault."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from recsdk.ledger import SignalRecord, heads, records, sqlite
from recsdk.live import settlement
from recsdk.live.places import free
from tests.reliability import damage, kills, power


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


def _power() -> list[str]:
    return [fault for seed in range(4) for fault in power.sweep(seed, 20, 300, stop_early=True).faults]


def _kills() -> list[str]:
    return [fault for seed in range(4) for fault in kills.sweep(seed, 20, 30, stop_early=True).faults]


def _damage() -> list[str]:
    return damage.sweep(0, 200, 1, stop_early=True).faults


MUTANTS = (
    Mutant("sync of the ledger", ((sqlite, "_writing", _unsynced),), _power),
    Mutant("write beside, then rename", ((heads, "put", _in_place),), _kills),
    Mutant("checksum of records", ((records, "verify", lambda what, row: None),), _damage),
    Mutant(
        "repeated signals are noticed",
        ((settlement.Settlement, "_is_known", lambda *_: False), (sqlite.SqliteLedger, "add_signal", _under_another_name)),
        _kills,
    ),
)


def faults(mutant: Mutant) -> list[str]:
    """Returns the faults that are found without a protection."""
    with contextlib.ExitStack() as patched:
        for where, name, replacement in mutant.changes:
            patched.enter_context(mock.patch.object(where, name, replacement))
        return mutant.sweep()
