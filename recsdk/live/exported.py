"""What a recommender decides by at one moment, as a file: another process can then decide as that recommender would have.

A file has the fitted models, the policy's state, the items with their vectors, and the secret of the draws; no decision, and no pickle. Its
name is a hash of it. The ledger keeps the last few, since the recommender makes each decision again that comes from another process.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from recsdk.checks import require_number
from recsdk.data import items_from_stored
from recsdk.errors import CheckpointCorrupt, CheckpointMismatch, InvalidValue, LedgerMismatch, ModelRefused, Unknown
from recsdk.ledger import Ledger, RewardRecord
from recsdk.live import made, models
from recsdk.live.arithmetic import arithmetic
from recsdk.live.base import BASE, EXPORT
from recsdk.live.catalogue import Catalogue
from recsdk.live.deciding import Choice, Decider
from recsdk.live.evidence import Evidence
from recsdk.live.identity import identity
from recsdk.live.learner import Learner
from recsdk.live.models import Staged
from recsdk.live.parts import built, encoder_of, known_of, scorers_of
from recsdk.live.traffic import Arms

if TYPE_CHECKING:
    from recsdk.live.loop import Loop

R = TypeVar("R")
SCHEMA = 1
KEPT, OPEN = 4, 2
"""Exports that the ledger keeps, so that decisions by older ones are refused; and of these, that are open at once."""
INDEX = f"{EXPORT}index"
BYTES = "bytes/"
"""Where a file has what a ledger keeps by name."""


class Exported(NamedTuple):
    """An export that is open.

    Attributes:
        name: a hash of the file.
        decider: decides as the recommender did.
        learner: with the models and the items; it learns nothing.
        reward_range: of the folder; None for any.
    """

    name: str
    decider: Decider
    learner: Learner
    reward_range: tuple[float, float] | None

    def close(self) -> None:
        """Frees what native parts hold."""
        self.learner.close()
        self.learner.evidence.close()


def export(loop: Loop) -> bytes:
    """Returns what decides now, as a file, and keeps it in the ledger; in a turn.

    Raises:
        InvalidValue: a recommender of which another process would not know enough.
        ModelRefused: parts that another process could not make.
    """
    _require_plain(loop)
    data = _written(loop)
    try:
        found = opened(data)
    except (LedgerMismatch, CheckpointMismatch) as error:
        raise ModelRefused(f"Another process could not decide as this recommender does: {error}") from error
    names = [name for name in _names(loop.ledger) if name != found.name]
    with loop.ledger.transaction():
        loop.ledger.put(EXPORT + found.name, data)
        for old in names[: 1 - KEPT]:
            loop.ledger.put(EXPORT + old, b"")
        loop.ledger.put(INDEX, json.dumps([*names, found.name][-KEPT:]).encode())
    found.close()
    return data


def is_kept(ledger: Ledger, name: str) -> bool:
    """Tells whether the ledger keeps an export."""
    return name in _names(ledger)


class Exports:
    """The exports that a recommender has looked at lately. Threads may share it."""

    def __init__(self) -> None:
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
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def unknown(name: str) -> Unknown:
    """Returns the error of an export that is not kept."""
    return Unknown(
        f"No export {name!r:.200} is kept: the last {KEPT} are, and none from before a user was forgotten. Load a new one to decide by."
    )


def opened(data: bytes) -> Exported:
    """Opens an export. Only installed plugins and recsdk's own classes are imported, whatever is in it.

    Raises:
        CheckpointCorrupt: what is no export, or is damaged.
        CheckpointMismatch: an export of a newer recsdk, or of a process that rounds otherwise.
        LedgerMismatch: a part that is not installed here.
    """
    members = _read(data)
    try:
        header = json.loads(members.pop("header").tobytes())
        rows, vectors, active = json.loads(members.pop("rows").tobytes()), members.pop("vectors"), members.pop("active")
    except (KeyError, ValueError) as error:
        raise CheckpointCorrupt(f"The file is no export of a recommender: {error!r}.") from error
    if header.get("recsdk_export") != SCHEMA:
        raise CheckpointMismatch(f"The file must be an export of schema {SCHEMA}, got {header.get('recsdk_export')!r}: upgrade recsdk.")
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
    return Exported(_name(data), decider, learner, None if bounds is None else (bounds[0], bounds[1]))


def _require_plain(loop: Loop) -> None:
    """Refuses to export where decisions depend on what another process does not have."""
    arms, contest = loop.decider.arms, loop.learner.contest
    reasons = {
        "without a feedback: windows close in the order in which decisions are made": loop.settlement is not None,
        "without rules, which are functions of the application": bool(loop.options.choice.rules),
        "without sticky slates or a holdout, which need the log": bool(arms.traffic.sticky or arms.traffic.holdout),
        "after its burn-in": arms.num_drawn < arms.traffic.burn_in,
        "without a challenger that decides a share": contest is not None and contest.ramp is not None,
    }
    wanted = [told for told, is_wrong in reasons.items() if is_wrong]
    if wanted:
        raise InvalidValue(f"export needs a recommender {'; and '.join(wanted)}.")


def _written(loop: Loop) -> bytes:
    staged: Any = Staged(loop.ledger, {})
    loop.learner.keep_base(staged)
    model, shelf, choice = models.serving(loop.ledger, loop.learner, loop.decider), loop.catalogue.shelf, loop.options.choice
    given = loop.catalogue.given
    header = {
        "recsdk_export": SCHEMA,
        "choice": choice[1:],
        "retriever": None if given is None else identity(given),
        "reward_range": loop.reward_range,
        "arithmetic": arithmetic(loop.learner.policy),
    }
    states = {name: data for name, data in staged.fitted.items() if not name.startswith(f"{BASE}/challenger/")}
    kept_bytes = {**model.fitted, **states, "salt": loop.ledger.get("salt") or b"", "made": json.dumps(made.to_json(model.known)).encode()}
    rows = [model.rows[slot] for slot in range(len(shelf.active))]
    texts = {"header": json.dumps(header).encode(), "rows": json.dumps(rows).encode()}
    named = {**texts, **{f"{BYTES}{name}": data for name, data in kept_bytes.items()}}
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.frombuffer(data, np.uint8) for name, data in named.items()}
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


def _name(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _names(ledger: Ledger) -> list[str]:
    found: list[str] = json.loads(ledger.get(INDEX) or "[]")
    return found


def _no_history() -> NoReturn:
    raise LedgerMismatch("A part is not what it was in the process that exported it.")


class _Frozen:
    """A ledger of an export: named bytes, and a log of which all was learned and nothing is left."""

    def __init__(self, named: dict[str, bytes]) -> None:
        self._named = named
        self.header: dict[str, Any] = json.loads(self.get(f"{BASE}/header") or "{}")
        require_number("num_learned", self.header.get("num_learned"), at_least=0)

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
