"""The records of a ledger as plain values and back, for files that other programs read."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from recsdk.datasets.files import json_object, text_lines
from recsdk.errors import InvalidLog
from recsdk.ledger import DecisionRecord, ItemRecord, Ledger, RewardRecord, SignalRecord

SCHEMA = 1
RECORDS: dict[str, type] = {"item": ItemRecord, "decision": DecisionRecord, "signal": SignalRecord, "reward": RewardRecord}
ARRAYS = {"slots": np.int32, "action": np.int32, "probs": np.float64, "features": np.float32, "vector": np.float32}
Row = dict[str, Any]
Name = Literal["jsonl", "parquet", "dsjson", "open-bandit"]


def rows(stored: Any) -> Iterator[Row]:
    """Yields every record as plain values: first those that others refer to."""
    kinds = {kind: name for name, kind in RECORDS.items()}
    for record in itertools.chain(stored.events(), stored.signals(), stored.rewards()):
        fields = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in record._asdict().items()}
        yield {"kind": kinds[type(record)], **fields}
    for name in stored.names():
        yield {"kind": "bytes", "name": name, "data": base64.b64encode(stored.get(name)).decode()}


def add(ledger: Ledger, row: Row, where: str) -> None:
    """Puts a record into a ledger.

    Raises:
        InvalidLog: what is no record, saying where.
    """
    adders: dict[str, Callable[[Any], None]] = {
        "item": ledger.put_item,
        "decision": ledger.add_decision,
        "signal": ledger.add_signal,
        "reward": ledger.add_reward,
    }
    try:
        if row.get("kind") == "bytes":
            ledger.put(row["name"], base64.b64decode(row["data"], validate=True))
        else:
            made = record(row)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidLog(f"{where}: must be a record of a ledger, got {str(row)!r:.100}: {error!r}.") from error
    if row["kind"] == "bytes":
        return
    try:
        adders[row["kind"]](made)
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InvalidLog(f"{where}: must be a record of a ledger, got {str(row)!r:.100}: {error}.") from error


def record(row: Row) -> Any:
    """Returns the record of plain values."""
    fields = {name: value for name, value in row.items() if name != "kind"}
    arrays = {name: np.array(fields[name], kind) for name, kind in ARRAYS.items() if name in fields}
    arrays |= {name: arrays[name].reshape(0, 1) for name in ("probs", "features") if name in arrays and not arrays[name].size}
    return RECORDS[row["kind"]](**fields | arrays)


def opened(path: Path) -> IO[str]:
    """Opens a text file to write, gzipped if its name, without a last `.part`, ends in .gz."""
    zipped = path.name.removesuffix(".part").endswith(".gz")
    return gzip.open(path, "wt", encoding="utf-8", compresslevel=1) if zipped else path.open("w", encoding="utf-8")


def sync(path: Path) -> None:
    """Waits until a file that was written and closed is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of a text file, gzipped if its name ends in .gz, with their numbers from 1."""
    return enumerate(text_lines(path), start=1)


def parsed(path: Path, number: int, text: str) -> Row:
    """Returns a line's object.

    Raises:
        InvalidLog: naming the line.
    """
    try:
        return json_object(text)
    except InvalidLog as error:
        raise InvalidLog(f"{path}, line {number}: {error}") from error


def whole(path: Path, found: Iterable[Row], *, hint: str = "") -> Iterator[Row]:
    """Yields the records between a first row, which has the schema, and a last, which says how many there are.

    Args:
        path: of the file, for errors.
        found: all rows.
        hint: what else the file may be, and how that is read.

    Raises:
        InvalidLog: other rows, fewer or more.
    """
    num = -1
    for row in found:
        if num < 0:
            require_schema(path, row, hint)
        elif "end" in row:
            if row["end"] != num:
                raise InvalidLog(f"{path} must have {row['end']} records, got {num}.")
            return
        else:
            yield row
        num += 1
    raise InvalidLog(f"{path} was cut: it has no last line that says how many records there are, after {max(num, 0)} records.")


def require_schema(path: Path, head: Row, hint: str = "") -> None:
    """Refuses a file of something else, or of a newer recsdk."""
    if head.get("recsdk_ledger") != SCHEMA:
        text = f'{path} must begin with {{"recsdk_ledger": {SCHEMA}}}, as `recsdk ledger export` writes it, got {json.dumps(head)!r:.100}.'
        raise InvalidLog(text + hint)
