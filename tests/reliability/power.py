"""Power cuts, simulated from what a real process asked of the disk.

One run is traced, with the bytes of every write: it makes its folder or finds one, and in the end moves decisions into a segment. A cut is
a moment of the trace and a legal disk after it: what was synced is there, and of what was not, any part: nothing, some writes, a write in
parts of 512 bytes, zeros in its place; of the names in a folder that were not synced, the first few. Each such disk is opened, and what was
acknowledged must be there. After each sync the process dies and not the machine: all is left, and the calls that follow are other ones.
"""

import os
import random
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from recsdk.errors import LostRecords
from recsdk.ledger import heads
from recsdk.ledger.sqlite import Sqlite
from tests.reliability.kills import fault_of, in_child, scratch
from tests.reliability.script import LOGS, Reference, base, check, check_others, copied, counts, reference, rows, run_and_compact

SHOP = "shops/tea"
"""Where the run has its folder, below one that is there."""
CALLS = "mkdir,openat,lseek,write,pwrite64,fdatasync,fsync,ftruncate,rename,unlink"
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
        what: "write", "sync", "truncate", "create", "rename", "unlink", "make folder", "sync folder" or "told".
        name: of the file or folder, with those above it.
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
        elif step.what == "write":
            held = held.ljust(step.offset, b"\0") if len(held) < step.offset else held
            held[step.offset : step.offset + len(step.data)] = step.data
    return bytes(held)


class Folder:
    """A folder: the names that are synced, and what they were after each change since."""

    def __init__(self) -> None:
        self.names: dict[str, File | Folder] = {}
        self.synced: dict[str, File | Folder] = {}
        self.since: list[dict[str, File | Folder]] = []

    def changed(self) -> None:
        """Notes the names after a change."""
        self.since.append(dict(self.names))

    def sync(self) -> None:
        """Makes the names of now durable."""
        self.synced, self.since = dict(self.names), []

    def put(self, path: Path, rng: random.Random, *, whole: bool) -> None:
        """Makes a folder of what may be left; of all that is there, where it is the process only that has died."""
        path.mkdir()
        for name, held in (self.names if whole else rng.choice([self.synced, *self.since])).items():
            if isinstance(held, Folder):
                held.put(path / name, rng, whole=whole)
            else:
                (path / name).write_bytes(held.whole() if whole else held.cut(rng))


class Disk:
    """Folders and files that are synced or not.

    Args:
        root: what is in it is synced.
    """

    def __init__(self, root: Path) -> None:
        self._root = _read(root)
        self.told = 0

    def take(self, step: Step) -> None:
        """Does what a process asked."""
        if step.what == "told":
            self.told += 1
            return
        *above, name = step.name.split("/")
        folder = self._folder(above)
        if step.what == "sync folder":
            self._folder([*above, name]).sync()
        elif step.what in ("create", "make folder", "rename", "unlink"):
            if step.what == "rename":
                folder.names[step.data.decode()] = folder.names.pop(name)
            elif step.what == "unlink":
                del folder.names[name]
            else:
                folder.names[name] = File() if step.what == "create" else Folder()
            folder.changed()
        else:
            file = folder.names[name]
            assert isinstance(file, File)
            file.pending.append(step)
            if step.what == "sync":
                file.synced, file.pending = file.whole(), []

    def _folder(self, names: list[str]) -> Folder:
        found = self._root
        for name in filter(None, names):
            inner = found.names[name]
            assert isinstance(inner, Folder)
            found = inner
        return found

    def has(self, path: str) -> bool:
        """Tells whether a file or folder is there now."""
        *above, name = path.split("/")
        return name in self._folder(above).names

    def is_folder(self, path: str) -> bool:
        """Tells whether what is there now is a folder."""
        *above, name = path.split("/")
        return not name or isinstance(self._folder(above).names[name], Folder)

    def put(self, folder: Path, rng: random.Random, *, whole: bool) -> None:
        """Makes a folder of what may be left after a power cut now, or of all, as where it is the process only that has died."""
        self._root.put(folder, rng, whole=whole)


def _read(path: Path) -> Folder:
    """Returns a folder of which all is synced."""
    found = Folder()
    for inner in path.iterdir():
        found.names[inner.name] = _read(inner) if inner.is_dir() else File(inner.read_bytes())
    found.sync()
    return found


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
        go_on: on each so-manieth disk, and after each death of the process, the calls are made to the end.
        stop_early: whether the first fault is enough.
    """
    rng, faults, number, gone_on = random.Random(seed), list[str](), 0, 0
    with scratch() as folder:
        whole = reference(base(folder / "base", seed), seed, count, folder / "reference")
        made = list(traced(folder, seed, count, durability))
        disk = Disk(_begun(folder / "begun", folder / "base"))
        for moment, step in enumerate(made):
            disk.take(step)
            killed = step.what == "sync"
            while number * len(made) < (moment + 1) * disks and not (faults and stop_early):
                disk.put(folder / "cut", rng, whole=killed)
                checking = check_others if killed else check if number % go_on == 0 else None
                fault = fault_of(partial(look, folder / "cut" / SHOP, whole, disk.told, durability, checking))
                faults += [f"seed {seed}, moment {moment}, disk {number}: {fault}"] if fault else []
                gone_on += checking is not None
                number, killed = number + 1, False
                shutil.rmtree(folder / "cut")
    return Cuts(len(made), number, gone_on, faults)


def _begun(root: Path, whole: Path) -> Path:
    """Returns the folder that a run begins with, made anew."""
    root.mkdir()
    if whole.exists():
        (root / SHOP).parent.mkdir()
        copied(whole, root / SHOP)
    return root


def traced(folder: Path, seed: int, count: int, durability: str) -> Iterator[Step]:
    """Yields what a run asks of the disk."""
    root, told, log = _begun(folder / "traced", folder / "base"), folder / "told", folder / "trace"
    disk = Disk(root)
    watched = ["-xx", "-y", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(log)]
    assert in_child(lambda: run_and_compact(root / SHOP, seed, count, told, durability), traced=watched) == 0
    yield from steps(log, root, told, disk)


def look(folder: Path, whole: Reference, told: int, durability: str, checking: Callable[[Path, Reference, int], None] | None) -> None:
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
            told = min(told, len(whole.calls))
            done = next((number for number in range(told if safe else 0, told + 1) if found in whole.allowed[number]), -1)
            assert done >= 0, f"after {told} calls there are {found} rows"
            if checking:
                checking(folder, whole, done)
    finally:
        heads.boot = boot


def steps(log: Path, root: Path, told: Path, disk: Disk) -> Iterator[Step]:
    """Yields the steps of a trace that was taken with paths and bytes."""
    where: dict[str, int] = {}
    for call, arguments, result in _lines(log):
        for step in _steps(call, arguments, result, root, told, disk, where):
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


def _steps(call: str, arguments: str, result: int, root: Path, told: Path, disk: Disk, where: dict[str, int]) -> Iterator[Step]:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in TEXT.findall(arguments)]
    if call in ("mkdir", "openat", "rename", "unlink"):
        yield from _of_name(call, arguments, [Path(os.fsdecode(text)) for text in texts[:2]], root, disk, where)
        return
    match = DESCRIPTOR.match(arguments)
    path = Path(bytes.fromhex(match[1].replace("\\x", "")).decode() if match and "\\x" in match[1] else match[1] if match else "")
    if path == told:
        if call == "write":
            yield Step("told")
    elif path.is_relative_to(root) and not path.name.endswith("-shm"):
        name = "" if path == root else str(path.relative_to(root))
        numbers = [int(text) for text in re.findall(r", (\d+)(?=,|$)", arguments)]
        if call == "lseek":
            where[name] = result
        elif call == "pwrite64":
            yield Step("write", name, numbers[-1], texts[0][:result])
        elif call == "write":
            yield Step("write", name, where[name], texts[0][:result])
            where[name] += result
        elif call == "ftruncate":
            yield Step("truncate", name, numbers[-1])
        else:
            yield Step("sync folder" if disk.is_folder(name) else "sync", name)


def _of_name(call: str, arguments: str, paths: list[Path], root: Path, disk: Disk, where: dict[str, int]) -> Iterator[Step]:
    """Yields what a call that names files or folders asks."""
    if not paths[0].is_relative_to(root) or paths[0] == root or paths[0].name.endswith("-shm"):
        return
    name = str(paths[0].relative_to(root))
    if call == "rename":
        assert paths[0].parent == paths[1].parent
        yield Step("rename", name, data=paths[1].name.encode())
    elif call in ("unlink", "mkdir"):
        yield Step("make folder" if call == "mkdir" else "unlink", name)
    else:
        where[name] = 0
        if "O_CREAT" in arguments and not disk.has(name):
            yield Step("create", name)
        elif "O_TRUNC" in arguments:
            yield Step("truncate", name, 0)
