"""Real processes, killed by a real SIGKILL at each system call that touches the disk, again while they recover, and then gone on with.

`strace` kills at the N-th call. Where it is not allowed, the process kills itself at the N-th statement of SQLite and the N-th call of
Python that writes, syncs or renames.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from recsdk.ledger import heads
from recsdk.ledger.sqlite import SqliteLedger
from tests.reliability.script import SCRATCH, Loop, acknowledged, base, check, check_others, copied, reference, run

DISK = "write,pwrite64,fdatasync,fsync,ftruncate,rename,renameat,renameat2,unlink,unlinkat"
"""The system calls that change what is on the disk."""


POINTS = {
    "statement": (SqliteLedger, "_write"),
    "head": (heads.HeadFile, "_put"),
    "new head": (heads.HeadFile, "_create"),
    "sync": (os, "fsync"),
    "replace": (os, "replace"),
}
"""What stands for them where strace is not allowed."""


class Place(NamedTuple):
    """A place at which a process is killed.

    Attributes:
        call: of the system, one of `DISK`, or one of `POINTS`.
        number: from 1.
    """

    call: str
    number: int


class Killed(NamedTuple):
    """How many processes were killed.

    Attributes:
        working: while they made calls.
        recovering: while they opened the folder of one that had been killed.
        faults: what was wrong afterwards.
    """

    working: int
    recovering: int
    faults: list[str]

    @property
    def total(self) -> int:
        return self.working + self.recovering


def sweep(seed: int, count: int, points: int | None = None, *, only: str = "", stop_early: bool = False) -> Killed:
    """Kills one process at each point, or at `points` that lie evenly, and every third a second time, while it recovers.

    Args:
        seed: of the calls.
        count: of the calls.
        points: at how many points; None for every one.
        only: at which call of the system; by default at all of `DISK`.
        stop_early: whether the first fault is enough.
    """
    with scratch() as folder:
        whole = reference(base(folder / "base", seed), seed, count, folder / "reference")
        places = [place for place in _places(folder, seed, count) if only in place.call]
        checks = (check, check_others) if only else (check, check_others, check, check)
        step = 1 if points is None else max(1.0, len(places) / points)
        working, recovering, faults = 0, 0, list[str]()
        for number, place in enumerate([places[int(step * n)] for n in range(int(len(places) / step))]):
            shop, told = folder / f"shop-{number}", folder / f"told-{number}"
            copied(folder / "base", shop)
            ends = [_end(lambda shop=shop, told=told: run(shop, seed, count, told), place)]
            if number % 3 == 0:
                ends.append(_end(lambda shop=shop: Loop(shop, seed), Place(place.call, 1 + number // 3 % 6)))
            working += ends[0] == signal.SIGKILL
            recovering += ends[1:] == [signal.SIGKILL]
            fault = fault_of(partial(checks[number % len(checks)], shop, whole, acknowledged(told)))
            fault = fault or ("" if {*ends} <= {0, signal.SIGKILL} else "the process has ended with an error")
            faults += [f"seed {seed}, killed at {place.call} number {place.number}: {fault}"] if fault else []
            shutil.rmtree(shop)
            if faults and stop_early:
                break
        return Killed(working, recovering, faults)


def _places(folder: Path, seed: int, count: int) -> list[Place]:
    """Returns every place at which a run can be killed, in order."""
    copied(folder / "base", folder / "counted")
    log = folder / "trace"
    if can_trace():
        in_child(lambda: run(folder / "counted", seed, count, folder / "told"), traced=["-e", f"trace={DISK}", "-o", str(log)])
        made = [words[1].partition("(")[0] for words in map(str.split, log.read_text().splitlines())]
    else:
        in_child(lambda: run(folder / "counted", seed, count, folder / "told"), lambda: _die_at(None, log))
        made = log.read_text().split()
    seen, found = Counter[str](), list[Place]()
    for call in made:
        if call in DISK.split(",") or call in POINTS:
            seen[call] += 1
            found.append(Place(call, seen[call]))
    return found


def _end(work: Callable[[], object], place: Place) -> int:
    """Lets a child work until it is killed at a place; returns how it ended, as `in_child` does."""
    if can_trace():
        at = ["-e", f"trace={place.call}", "-e", f"inject={place.call}:signal=KILL:when={place.number}", "-o", "/dev/null"]
        return in_child(work, traced=at)
    return in_child(work, lambda: _die_at(place))


def in_child(work: Callable[[], object], change: Callable[[], object] = lambda: None, traced: list[str] | None = None) -> int:
    """Works in a child, under strace if asked; returns how it ended: 0, the number of the signal, or above 255 an error."""
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(ready, 1)
        try:
            change()
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.close(ready)
    with contextlib.ExitStack() as opened:
        if traced is not None:
            command = ["strace", "-f", "-p", str(child), *traced]
            tracer = opened.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))  # noqa: S603 -- our own command
            assert "attached" in (said := tracer.stderr.readline()), said
        os.close(go)
        _, status = os.waitpid(child, 0)
        return status & 0x7F or (status >> 8) << 8


def forked(work: Callable[[], Any]) -> Any:
    """Returns what a child has found, which must be plain JSON: what it loads and the threads that it starts end with it."""
    with scratch() as folder:
        assert in_child(lambda: (folder / "found").write_text(json.dumps(work()))) == 0
        return json.loads((folder / "found").read_text())


def fault_of(checking: Callable[[], None]) -> str:
    """Returns what a check has found, in one line; nothing when all is well."""
    try:
        checking()
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}".replace("\n", " ")
    return ""


def _die_at(place: Place | None, told: Path | None = None) -> None:
    """Kills this process before one of `POINTS`; with `told`, names each of them in a file."""
    seen = Counter[str]()

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def dying(*args: object, **kwargs: object) -> object:
            seen[name] += 1
            if told is not None:
                with told.open("a") as file:
                    file.write(f"{name}\n")
            if place == (name, seen[name]):
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return dying

    for name, (where, attribute) in POINTS.items():
        setattr(where, attribute, counted(name, getattr(where, attribute)))


@cache
def can_trace() -> bool:
    """Tells whether strace is here and may look at a process."""
    if shutil.which("strace") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            return in_child(lambda: time.sleep(0.01), traced=["-o", f"{folder}/trace"]) == 0
        except AssertionError:
            return False


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Gives a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=SCRATCH, prefix="recsdk-") as folder:
        yield Path(folder)
