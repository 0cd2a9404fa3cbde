"""Power cuts, simulated from what a real process asked of the disk.

One run is traced, with the bytes of every write. A cut is a moment of the trace and a legal disk after it: what was synced is there, and of
what was not, any part: nothing, some writes, a write in parts of 512 bytes, zeros in its place; of the folder's names that were not synced,
the first few. Each such disk is opened, and what was acknowledged must be there.
"""

import os
import random
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from recsdk.errors import LostRecords
from recsdk.ledger import heads
from recsdk.ledger.sqlite import Sqlite
from tests.reliability.kills import fault_of, in_child, scratch
from tests.reliability.script import LOGS, Reference, base, check, counts, reference, rows, run

CALLS = "openat,lseek,write,pwrite64,fdatasync,fsync,ftruncate,rename,unlink"
SECTOR = 512
LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")


class Cuts(NamedTuple):
    """How many power cuts were simulated.

    Attributes:
        moments: in the traces at which the power was cut.
        disks: that were opened.
        gone_on: of them, those on which the calls were made to the end.
        faults: what was wrong.
    """

    moments: int
    disks: int
    gone_on: int
    faults: list[str]


class Step(NamedTuple):
    """Something that a process asked of the disk.

    Attributes:
        what: "write", "sync", "truncate", "create", "rename", "unlink", "sync folder" or "told".
        name: of the file.
        offset: of a write; or the size of a truncated file.
        data: that was written; or the new name of a renamed file.
    """

    what: str
    name: str = ""
    offset: int = 0
    data: bytes = b""


class File:
    """A file: what is synced, and what was written since."""

    def __init__(self, data: bytes = b"") -> None:
        self.synced = data
        self.pending: list[Step] = []

    def whole(self) -> bytes:
        """Returns what a reader sees now."""
        return apply(self.synced, self.pending)

    def cut(self, rng: random.Random) -> bytes:
        """Returns what may be left after a power cut."""
        how = rng.choice(["nothing", "all", "first", "some", "some", "zeros"])
        if how == "nothing" or not self.pending:
            return self.synced
        if how == "all":
            return self.whole()
        if how == "first":
            kept = self.pending[: rng.randint(0, len(self.pending))]
            return apply(self.synced, [*kept[:-1], *(torn(step, rng) for step in kept[-1:])])
        kept = [step for step in self.pending if rng.random() < 0.5]
        return apply(self.synced, [self._zeros(step) if how == "zeros" and rng.random() < 0.5 else step for step in kept])

    def _zeros(self, step: Step) -> Step:
        """Returns a write that has come as zeros, as it may where the file has grown; a sector that was there is old or new."""
        return step._replace(data=bytes(len(step.data))) if step.offset >= len(self.synced) else step


def torn(step: Step, rng: random.Random) -> Step:
    """Returns a write of which the first sectors only were written."""
    return step._replace(data=step.data[: SECTOR * rng.randint(0, len(step.data) // SECTOR)]) if len(step.data) > SECTOR else step


def apply(data: bytes, steps: list[Step]) -> bytes:
    """Returns the bytes of a file after some writes."""
    held = bytearray(data)
    for step in steps:
        if step.what == "truncate":
            held = held[: step.offset].ljust(step.offset, b"\0")
        else:
            held = held.ljust(step.offset, b"\0") if len(held) < step.offset else held
            held[step.offset : step.offset + len(step.data)] = step.data
    return bytes(held)


class Disk:
    """A folder whose files and names are synced or not.

    Args:
        files: of the folder, all synced.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self._now = {name: File(data) for name, data in files.items()}
        self._synced = dict(self._now)
        self._pending: list[Step] = []
        self._made: list[dict[str, File]] = []
        self.told = 0

    def take(self, step: Step) -> None:
        """Does what a process asked."""
        if step.what == "told":
            self.told += 1
        elif step.what == "sync folder":
            self._synced, self._made = dict(self._now), []
        elif step.what in ("create", "rename", "unlink"):
            self._name(step)
        elif step.what == "sync":
            file = self._now[step.name]
            file.synced, file.pending = file.whole(), []
        else:
            self._now[step.name].pending.append(step)

    def _name(self, step: Step) -> None:
        if step.what == "create":
            self._now[step.name] = File()
        elif step.what == "rename":
            self._now[step.data.decode()] = self._now.pop(step.name)
        else:
            del self._now[step.name]
        self._made.append(dict(self._now))

    def has(self, name: str) -> bool:
        """Tells whether a file is there now."""
        return name in self._now

    def size(self, name: str) -> int:
        """Returns how many bytes a file has now."""
        return len(self._now[name].whole())

    def put(self, folder: Path, rng: random.Random) -> None:
        """Makes a folder of what may be left after a power cut now."""
        folder.mkdir()
        names = rng.choice([self._synced, *self._made])
        for name, file in names.items():
            (folder / name).write_bytes(file.cut(rng))


def sweep(
    seed: int,
    count: int,
    disks: int,
    durability: str = "power-loss",
    *,
    go_on: int = 20,
    stop_early: bool = False,
) -> Cuts:
    """Traces a run and cuts the power `disks` times, at moments that lie evenly.

    Args:
        seed: of the calls, and of what is left on the disks.
        count: of the calls.
        disks: how many.
        durability: of the ledger.
        go_on: on each so-manieth disk the calls are made to the end.
        stop_early: whether the first fault is enough.
    """
    rng, faults, number, gone_on = random.Random(seed), list[str](), 0, 0
    with scratch() as folder:
        whole = reference(base(folder / "base", seed), seed, count, folder / "reference")
        shop, told, log = shutil.copytree(folder / "base", folder / "shop"), folder / "told", folder / "trace"
        assert (
            in_child(
                lambda: run(shop, seed, count, told, durability),
                traced=["-xx", "-y", "-s", "100000", "-e", f"trace={CALLS}", "-o", str(log)],
            )
            == 0
        )
        made = list(steps(log, shop, told))
        disk = Disk({path.name: path.read_bytes() for path in (folder / "base").iterdir()})
        for moment, step in enumerate(made):
            disk.take(step)
            while number * len(made) < (moment + 1) * disks and not (faults and stop_early):
                disk.put(folder / "cut", rng)
                goes_on = number % go_on == 0
                fault = fault_of(lambda goes_on=goes_on: look(folder / "cut", whole, disk.told, durability, goes_on))
                faults += [f"seed {seed}, moment {moment}, disk {number}: {fault}"] if fault else []
                gone_on += goes_on
                number += 1
                shutil.rmtree(folder / "cut")
    return Cuts(len(made), number, gone_on, faults)


def look(folder: Path, whole: Reference, told: int, durability: str, goes_on: bool) -> None:
    """Opens what a power cut has left, and checks it; at "process-crash" the last calls may be lost, in order."""
    boot, heads.boot = heads.boot, lambda: b"another start..."
    safe = durability == "power-loss"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error" if safe else "ignore", LostRecords)
            ledger = Sqlite(durability=durability).open(folder)
            try:
                found = counts(ledger._db)
            finally:
                ledger._db.close()  # as a process that is killed
                ledger.close()
            held = rows(folder)
            for log, size in zip(LOGS, found, strict=True):
                assert held[log] == whole.rows[log][:size], f"other {log} than were written"
            done = next((number for number in range(told if safe else 0, told + 1) if found in whole.allowed[number]), -1)
            assert done >= 0, f"after {told} calls there are {found} rows"
            if goes_on:
                check(folder, whole, done)
    finally:
        heads.boot = boot


def steps(log: Path, folder: Path, told: Path) -> Iterator[Step]:
    """Yields the steps of a trace that was taken with paths and bytes."""
    disk = Disk({path.name: path.read_bytes() for path in folder.parent.joinpath("base").iterdir()})
    where: dict[str, int] = {}
    for call, arguments, result in _lines(log):
        for step in _steps(call, arguments, result, folder, told, disk, where):
            disk.take(step)
            yield step


def _lines(log: Path) -> Iterator[tuple[str, str, int]]:
    """Yields each call; one that was interrupted by a call of another thread is put together again."""
    begun: dict[str, str] = {}
    for line in log.read_text().splitlines():
        thread, _, rest = line.partition(" ")
        if "<unfinished ...>" in rest:
            begun[thread] = rest.replace(" <unfinished ...>", "").strip()
            continue
        if "resumed>" in rest:
            rest = begun.pop(thread) + rest.partition("resumed>")[2]
        match = LINE.match(f"{thread} {rest.strip()}")
        if match and int(match[3]) >= 0:
            yield match[1], match[2], int(match[3])


def _steps(call: str, arguments: str, result: int, folder: Path, told: Path, disk: Disk, where: dict[str, int]) -> Iterator[Step]:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in TEXT.findall(arguments)]
    if call in ("openat", "rename", "unlink"):
        paths = [Path(os.fsdecode(text)) for text in texts]
        if paths[0].parent != folder or paths[0].name.endswith("-shm"):
            return
        name = paths[0].name
        if call == "rename":
            yield Step("rename", name, data=paths[1].name.encode())
        elif call == "unlink":
            yield Step("unlink", name)
        else:
            where[name] = 0
            if "O_CREAT" in arguments and not disk.has(name):
                yield Step("create", name)
            elif "O_TRUNC" in arguments:
                yield Step("truncate", name, 0)
        return
    match = DESCRIPTOR.match(arguments)
    path = Path(bytes.fromhex(match[1].replace("\\x", "")).decode() if match and "\\x" in match[1] else match[1] if match else "")
    if path == folder:
        yield Step("sync folder")
    elif path == told:
        yield Step("told")
    elif path.parent == folder and not path.name.endswith("-shm"):
        name, numbers = path.name, [int(text) for text in re.findall(r", (\d+)(?=,|$)", arguments)]
        if call == "lseek":
            where[name] = result
        elif call == "pwrite64":
            yield Step("write", name, numbers[-1], texts[0])
        elif call == "write":
            yield Step("write", name, where[name], texts[0])
            where[name] += result
        elif call == "ftruncate":
            yield Step("truncate", name, numbers[-1])
        else:
            yield Step("sync", name)
