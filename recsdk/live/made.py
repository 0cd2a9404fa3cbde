"""The parts that a folder knows: its encoder, and every scorer that was ever fitted in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from recsdk.base import Events, Scorer
from recsdk.errors import LedgerMismatch
from recsdk.ledger import Ledger
from recsdk.live.identity import differences
from recsdk.live.layout import Layout

SCHEMA = 2


class Fitted(NamedTuple):
    """A scorer that was fitted in a folder; number n in the list keeps its state under "fitted/scorer<n>".

    Attributes:
        part: its identity.
        columns: the names of its columns.
    """

    part: Any
    columns: tuple[str, ...]


class Made(NamedTuple):
    """The parts that a folder was made with, and those it has gained since.

    Attributes:
        encoder: identity of the encoder that is kept; None for none.
        version: of that encoder, "none" without one.
        vectors: version of the encoder that is used now; "none" without one.
        dim: width of these vectors.
        num_events: length of the history that the encoder was fitted to.
        history: digests of the histories that models were fitted to.
        scorers: all that were fitted, also those that are not used now.
        present: numbers of those that are used now, in their order.
        stored: version of the encoder from which the stored vectors of the items are; "" for that of `vectors`.
    """

    encoder: Any
    version: str
    vectors: str
    dim: int
    num_events: int
    history: tuple[str, ...]
    scorers: tuple[Fitted, ...]
    present: tuple[int, ...]
    stored: str = ""

    @property
    def columns(self) -> dict[int, tuple[str, ...]]:
        """The columns of each fitted scorer."""
        return {number: fitted.columns for number, fitted in enumerate(self.scorers)}

    @property
    def layout(self) -> Layout:
        """The layout of phi now."""
        return Layout(self.vectors, self.dim, tuple((number, name) for number in self.present for name in self.columns[number]))


def read(ledger: Ledger, scorers: Sequence[Scorer[Any]] = ()) -> Made | None:
    """Returns what a folder was made with; None for a new one.

    Args:
        ledger: of the folder.
        scorers: as given now; a folder of an older recsdk has no names of columns and takes them from here.

    Raises:
        LedgerMismatch: when a scorer that the columns' names are needed from is not among `scorers`; when a ledger with decisions does not
            say what it was made with.
    """
    data = ledger.get("made")
    if data is None:
        if next(iter(ledger.decisions()), None) is not None:
            raise LedgerMismatch("The ledger has decisions, and no 'made', which says with what parts: copy the folder back from a backup.")
        return None
    stored = json.loads(data)
    if "schema" not in stored:
        return _of_first_schema(stored, ledger, scorers)
    return from_json(stored)


def write(ledger: Ledger, made: Made) -> None:
    """Keeps what a folder was made with."""
    ledger.put("made", json.dumps(to_json(made), sort_keys=True, allow_nan=False).encode())


def to_json(made: Made) -> Any:
    """Returns it as plain JSON."""
    return made._asdict() | {"schema": SCHEMA, "scorers": [scorer._asdict() for scorer in made.scorers]}


def from_json(stored: Any) -> Made:
    """Reads what `to_json` gave."""
    fitted = tuple(Fitted(scorer["part"], tuple(scorer["columns"])) for scorer in stored["scorers"])
    fields = {name: stored[name] for name in ("encoder", "version", "vectors", "dim", "num_events")}
    rest = {"scorers": fitted, "present": tuple(stored["present"]), "stored": stored.get("stored", "")}
    return Made(**fields, history=tuple(stored["history"]), **rest)


def is_of_first_schema(ledger: Ledger) -> bool:
    """Tells whether an older recsdk, which kept no names of columns, had the folder last."""
    return "schema" not in json.loads(ledger.get("made") or "{}")


def digest(events: Events) -> str:
    """Returns a short name of a history: the same for the same events."""
    hashed = hashlib.sha256()
    columns = {"item": events.items.ids[events.item], "time": events.time, "reward": events.reward}
    for name, column in [*columns.items(), *sorted(events.requests.items())]:
        text = column.tobytes() if column.dtype != object else json.dumps(column.tolist(), default=str).encode()
        hashed.update(name.encode() + b"\0" + text)
    return hashed.hexdigest()[:16] if len(events.item) else ""


def version_of(encoder_state: bytes | None) -> str:
    """Returns the version of an encoder: a digest of its fitted state."""
    return "none" if encoder_state is None else hashlib.sha256(encoder_state).hexdigest()[:16]


def model_of(made: Made, ledger: Ledger) -> str:
    """Returns the version of the encoder and the scorers that are used now, together: a digest of their settings and fitted states."""
    encoder = [made.encoder, made.version] if made.vectors != "none" else None
    scorers = [[made.scorers[number].part, version_of(ledger.get(f"fitted/scorer{number}"))] for number in made.present]
    return hashlib.sha256(json.dumps([encoder, scorers], sort_keys=True).encode()).hexdigest()[:16]


def _of_first_schema(stored: Any, ledger: Ledger, scorers: Sequence[Scorer[Any]]) -> Made:
    fitted = []
    for text in stored["scorers"]:
        same = [scorer for scorer in scorers if not differences(text, scorer)]
        if not same:
            raise LedgerMismatch(
                f"The folder was made by an older recsdk with the scorers {stored['scorers']}, and {text} is not among those given now: "
                "open and close it once with the scorers it was made with, then change them."
            )
        fitted.append(Fitted(text, same[0].columns))
    encoder = None if stored["encoder"] == "None" else stored["encoder"]
    version = version_of(ledger.get("fitted/encoder"))
    num_events = int(ledger.get("fitted/num_events") or b"0")
    return Made(encoder, version, version, -1, num_events, (), tuple(fitted), tuple(range(len(fitted))))
