"""What a recommender decides by at one moment, as a file: another process can then decide as that recommender would have.

A file has the fitted models, the policy's state, the items with their vectors, and the secret of the draws; no decision, and no pickle. Its
name is a hash of it. The ledger keeps the last few, since the recommender makes each decision again that comes from another process.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from recsdk.data import items_from_stored
from recsdk.errors import CheckpointCorrupt, CheckpointMismatch, InvalidValue, LedgerMismatch, RecsdkError, Unknown
from recsdk.ledger import Ledger, RewardRecord
from recsdk.live.arithmetic import arithmetic
from recsdk.live.base import BASE, EXPORT
from recsdk.live.catalogue import Catalogue
from recsdk.live.deciding import Choice, Decider
from recsdk.live.evidence import Evidence
from recsdk.live.learner import Learner
from recsdk.live.parts import built, encoder_of, known_of, scorers_of
from recsdk.live.shelf import Shelf
from recsdk.live.traffic import Arms

R = TypeVar("R")
SCHEMA = 1
KEPT, OPEN = 4, 2
"""Exports that the ledger keeps where nothing else is said; decisions by older ones are refused. And of these, that are open at once."""
INDEX = f"{EXPORT}index"
SKEW = 60.0
"""Seconds by which the clock of another process may differ."""
BYTES = "bytes/"
"""Where a file has what a ledger keeps by name."""


class Exported(NamedTuple):
    """An export that is open.

    Attributes:
        name: a hash of the file.
        decider: decides as the recommender did.
        learner: with the models and the items; it learns nothing.
        reward_range: of the folder; None for any.
        time: when it was made, in seconds since the epoch.
    """

    name: str
    decider: Decider
    learner: Learner
    reward_range: tuple[float, float] | None
    time: float

    def close(self) -> None:
        """Frees what native parts hold."""
        self.learner.close()
        self.learner.evidence.close()


def keep(ledger: Ledger, found: Exported, data: bytes, num: int) -> None:
    """Keeps an export in the ledger, beside the `num` - 1 newest of the others; in a turn."""
    others = {name: entry for name, entry in _index(ledger).items() if name != found.name}
    left = dict([*others.items()][max(0, len(others) - num + 1) :])
    used = {place for _, place in left.values()}
    place = next(place for place in itertools.count() if place not in used)
    with ledger.transaction():
        for old in {old for _, old in _index(ledger).values()} - used:
            ledger.put(f"{EXPORT}{old}", b"")
        ledger.put(f"{EXPORT}{place}", data)
        ledger.put(INDEX, json.dumps({**left, found.name: (found.time, place)}).encode())


def kept(ledger: Ledger) -> dict[str, float]:
    """Returns when each export was made that the ledger keeps, the newest last."""
    return {name: time for name, (time, _) in _index(ledger).items()}


def is_kept(ledger: Ledger, name: str) -> bool:
    """Tells whether the ledger keeps an export."""
    return name in _index(ledger)


def read(ledger: Ledger, name: str) -> bytes | None:
    """Returns an export; None where it is not kept."""
    _, place = _index(ledger).get(name, (0.0, None))
    return None if place is None else ledger.get(f"{EXPORT}{place}")


def _index(ledger: Ledger) -> dict[str, tuple[float, int]]:
    """Returns the time and the place of each export that the ledger keeps."""
    found: dict[str, tuple[float, int]] = json.loads(ledger.get(INDEX) or "{}")
    return found


def require_after(found: Exported, field: str, time: float) -> None:
    """Refuses a time from before an export was made, so that a wrong clock makes no old decisions.

    Raises:
        InvalidValue: with the field.
    """
    if time < found.time - SKEW:
        raise InvalidValue(f"{field} must be at least {found.time}, when export {found.name!r} was made, got {time!r}: set the clock.")


class Exports:
    """The exports that a recommender has looked at lately. Threads may share it.

    Attributes:
        num_cleared: how often all were closed.
    """

    def __init__(self) -> None:
        self.num_cleared = 0
        self._open: OrderedDict[str, Exported] = OrderedDict()
        self._lock = threading.Lock()

    def made(self, name: str, read: Callable[[], bytes | None], decide: Callable[[Exported], R]) -> R:
        """Returns what an export decides.

        Args:
            name: of the export.
            read: gives the file; None where it is not kept.
            decide: asks it; one at a time.

        Raises:
            Unknown: it is not kept.
        """
        while True:
            data = b"" if name in self._open else read()  # without the lock: who has the turn may wait for that
            if data is None:
                raise unknown(name)
            with self._lock:
                if name not in self._open and data:
                    self._open[name] = opened(data)
                if name in self._open:
                    self._open.move_to_end(name)
                    if len(self._open) > OPEN:
                        self._open.popitem(last=False)[1].close()
                    return decide(self._open[name])

    def clear(self) -> None:
        """Closes all."""
        self.num_cleared += 1
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def unknown(name: str) -> Unknown:
    """Returns the error of an export that is not kept."""
    return Unknown(
        f"No export {name!r:.200} is kept: the newest are, and none from before a user was forgotten. Load a new one to decide by."
    )


def opened(data: bytes) -> Exported:
    """Opens an export. Only installed plugins and recsdk's own classes are imported, whatever is in it.

    Raises:
        CheckpointCorrupt: what is no export, or is damaged.
        CheckpointMismatch: an export of a newer recsdk, or of a process that rounds otherwise.
        LedgerMismatch: a part that is not installed here.
    """
    try:
        return _opened(data, _read(data))
    except RecsdkError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointCorrupt(f"The file is no export of a recommender: {error!r}.") from error


def _opened(data: bytes, members: dict[str, np.ndarray]) -> Exported:
    header = json.loads(members.pop("header").tobytes())
    if header["recsdk_export"] != SCHEMA:
        raise CheckpointMismatch(f"The file must be an export of schema {SCHEMA}, got {header['recsdk_export']!r}: upgrade recsdk.")
    rows, vectors, active = json.loads(members.pop("rows").tobytes()), members.pop("vectors"), members.pop("active")
    ledger: Any = _Frozen({name.removeprefix(BYTES): array.tobytes() for name, array in members.items()})
    known = known_of(ledger)
    evidence = Evidence(encoder_of(known), scorers_of(known))
    evidence.settle(known, _no_history, ledger)
    catalogue = Catalogue(evidence.dim, header["retriever"] and built(header["retriever"]))
    if rows:
        catalogue.hold(catalogue.joined(items_from_stored(map(json.loads, rows)), vectors, active))
    learner = Learner(built(ledger.header["policy"]), evidence, catalogue, ledger)
    learner.recover()
    if learner.beginning().state is None:
        raise CheckpointMismatch("The export's policy has not learned over the features that its models make here.")
    if header["arithmetic"] != (here := arithmetic(learner.policy)):
        told = f"The export is of a process that rounds otherwise, {header['arithmetic']} and not {here}"
        raise CheckpointMismatch(
            f"{told}: install the same versions of NumPy and recsdk, with the same extras, on the same kind of processor."
        )
    decider = Decider(learner, Choice((), *header["choice"]), Arms(None))
    decider.start(ledger)
    bounds = header["reward_range"]
    return Exported(name(data), decider, learner, None if bounds is None else (bounds[0], bounds[1]), header["time"])


def written(header: dict[str, Any], named: dict[str, bytes], rows: Sequence[str], shelf: Shelf, time: float) -> bytes:
    """Returns an export as a file.

    Args:
        header: the settings.
        named: what a ledger keeps by name: models, states, the secret of the draws.
        rows: of all items, by slot.
        shelf: with their vectors.
        time: in seconds since the epoch.
    """
    texts = {"header": json.dumps({"recsdk_export": SCHEMA, "time": time, **header}).encode(), "rows": json.dumps(rows).encode()}
    arrays: dict[str, Any] = {
        name: np.frombuffer(data, np.uint8) for name, data in (texts | {f"{BYTES}{name}": data for name, data in named.items()}).items()
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, vectors=shelf.vectors, active=shelf.active)
    return buffer.getvalue()


def _read(data: bytes) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > len(data):  # nothing in it is compressed
            raise CheckpointCorrupt(f"The export's {len(data):,} bytes would unpack to {size:,}.")
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except CheckpointCorrupt:
        raise
    except Exception as error:  # damaged bytes make the readers of zip and npy fail in any way
        raise CheckpointCorrupt(f"The file is no export of a recommender, or is damaged: {type(error).__name__}: {error}.") from error


def name(data: bytes) -> str:
    """Returns the name of an export."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _no_history() -> NoReturn:
    raise LedgerMismatch("A part is not what it was in the process that exported it.")


class _Frozen:
    """A ledger of an export: named bytes, and a log of which all was learned and nothing is left."""

    def __init__(self, named: dict[str, bytes]) -> None:
        self._named = named
        self.header: dict[str, Any] = json.loads(named[f"{BASE}/header"])

    def get(self, name: str) -> bytes | None:
        return self._named.get(name)

    def num_rewards(self) -> int:
        return int(self.header["num_learned"])

    def rewards(self, start: int = 0) -> Iterator[RewardRecord]:
        del start
        return iter(())

    outcomes = decisions = rewards

    def replaced(self, start: int = 0) -> frozenset[str]:
        del start
        return frozenset()
