"""A compaction in a process of its own, to be killed at a step: `python -m tests.ledger.segments FOLDER STRIDE`.

For each step, or every STRIDE-th, before it and after it, there is a child that compacts a copy of the folder and is killed there.
"""

import os
import shutil
import signal
import sys
from functools import partial
from itertools import count
from pathlib import Path

from recsdk.ledger import _ledger, _mark, _segments
from recsdk.ledger.sqlite import Sqlite


class Dying:
    """A connection, and functions, of which one call is the last."""

    def __init__(self, place, after):
        self._place, self._after, self._calls = place, after, count()

    def around(self, function, *arguments, **options):
        here = next(self._calls) == self._place
        if here and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = function(*arguments, **options)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)
        return found


class Connection:
    def __init__(self, db, dying):
        self._db, self._dying = db, dying

    def __getattr__(self, name):
        return getattr(self._db, name)

    def execute(self, statement, *values):
        if statement.split()[0] in ("BEGIN", "INSERT", "UPDATE", "DELETE", "COMMIT", "VACUUM"):
            return self._dying.around(self._db.execute, statement, *values)
        return self._db.execute(statement, *values)


def arm(dying):
    """Makes each write to a file, sync, rename, deletion and statement of this process a step."""
    for module, name in ((os, "fsync"), (_segments, "sync"), (_mark, "clear"), (Path, "replace"), (Path, "unlink")):
        setattr(
            module, name, partial_method(dying, getattr(module, name)) if module is Path else partial(dying.around, getattr(module, name))
        )
    init = _segments.Segments.__init__
    _segments.Segments.__init__ = lambda self, db, folder: init(self, Connection(db, dying), folder)


def partial_method(dying, function):
    return lambda self, *arguments, **options: dying.around(function, self, *arguments, **options)


def work(folder):
    """Compacts all but the last decisions, most of them while the ledger is open, and then takes one out of its segment."""
    Sqlite().compact(folder, before=1_000_012.0, limit=4)
    ledger = Sqlite().open(folder)
    reading = Sqlite().read(folder)
    ledger.compact(1_000_012.0, None, reading, lambda work: work())
    reading.close()
    ledger._segments.rewrite({3})
    ledger.close()


def main(folder, stride):
    for after in (False, True):
        for place in range(after, 1_000, stride):
            copy = folder / f"{'after' if after else 'before'}-{place}"
            shutil.copytree(folder / "shop", copy)
            child = os.fork()
            if child == 0:
                _ledger.NUM_ROWS = 4
                arm(Dying(place, after))
                work(copy)
                os._exit(0)
            if os.waitpid(child, 0)[1] == 0:
                shutil.rmtree(copy)
                break


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
