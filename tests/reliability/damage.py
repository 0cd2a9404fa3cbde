"""Bits that flip and files that are cut: a reader gets every record as it was written, or `LedgerCorrupt`."""

import random
import shutil
from pathlib import Path
from typing import NamedTuple

from recsdk.errors import LedgerCorrupt
from recsdk.ledger.sqlite import Sqlite
from tests.reliability.kills import fault_of, scratch
from tests.reliability.script import Loop, calls

FILE, LOG = "ledger.sqlite", "ledger.sqlite-wal"


class Damaged(NamedTuple):
    """How many damaged folders were read.

    Attributes:
        flips: with one bit changed.
        cuts: with a file cut.
        refused: of all of them.
        faults: what was wrong.
    """

    flips: int
    cuts: int
    refused: int
    faults: list[str]


def sweep(seed: int, flips: int, cuts: int | None, *, stop_early: bool = False) -> Damaged:
    """Damages copies of a closed folder and of a killed one.

    Args:
        seed: of the calls, and of where the damage is.
        flips: how many in each.
        cuts: how many in the last records of the killed one; None for at every byte.
        stop_early: whether the first fault is enough.
    """
    with scratch() as folder:
        before = _make(folder, seed)
        held = contents(shutil.copytree(folder / "killed", folder / "read"))
        end = (folder / "killed" / LOG).stat().st_size
        rng = random.Random(seed)
        sizes = range(before, end) if cuts is None else sorted(rng.sample(range(before, end), cuts))
        places = [
            (which, name, rng.randrange((folder / which / name).stat().st_size))
            for which, name in (("closed", FILE), ("killed", LOG))
            for _ in range(flips)
        ]
        refused, faults, number_of_cuts, number_of_flips = 0, list[str](), 0, 0
        for which, name, place in [*places, *(("killed", LOG, -size) for size in sizes)]:
            copy = shutil.copytree(folder / which, folder / "damaged")
            data = bytearray((copy / name).read_bytes())
            if place < 0:
                number_of_cuts += 1
                del data[-place:]
            else:
                number_of_flips += 1
                data[place] ^= 1 << rng.randrange(8)
            (copy / name).write_bytes(data)
            found: list[object] = []
            fault = fault_of(lambda copy=copy, found=found: found.append(_same(copy, held)))
            refused += found == [False]
            faults += [f"seed {seed}, {which} {name} {'cut to' if place < 0 else 'flipped at'} {abs(place)}: {fault}"] if fault else []
            shutil.rmtree(copy)
            if faults and stop_early:
                break
        return Damaged(number_of_flips, number_of_cuts, refused, faults)


def _make(folder: Path, seed: int, count: int = 20) -> int:
    """Makes the two folders; returns how long the write-ahead log was before the last three calls."""
    loop = Loop(folder / "closed", seed)
    made = calls(seed, count)
    for call in made[:-3]:
        loop.make(call)
    before = (folder / "closed" / LOG).stat().st_size
    for call in made[-3:]:
        loop.make(call)
    shutil.copytree(folder / "closed", folder / "killed", ignore=shutil.ignore_patterns("*-shm", "ledger.lock"))
    loop.shop.close()
    return before


def contents(folder: Path) -> list[str]:
    """Returns all records of a folder."""
    ledger = Sqlite().read(folder)
    try:
        logs = (ledger.items(), ledger.decisions(), ledger.signals(), ledger.rewards())
        return [repr([field.tobytes() if hasattr(field, "tobytes") else field for field in record]) for log in logs for record in log]
    finally:
        ledger.close()


def _same(folder: Path, held: list[str]) -> bool:
    """Tells whether a folder has these records; False when it is refused."""
    try:
        found = contents(folder)
    except LedgerCorrupt:
        return False
    assert found == held, "other records than were written"
    return True
