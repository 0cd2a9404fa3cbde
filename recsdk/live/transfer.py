"""A ledger as files that other programs read, and back without loss: JSON Lines, or a folder of Parquet.

Every record of every kind is in them, so what is imported is the same ledger: its state, its hashes and its next decision.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from recsdk.datasets.files import import_polars, refuse_twice, text_lines
from recsdk.errors import InvalidLog, InvalidValue, LedgerError
from recsdk.ledger import DecisionRecord, ItemRecord, Ledger, RewardRecord, SignalRecord, Store, Whole
from recsdk.ledger.stores import folder_path, store

SCHEMA = 1
RECORDS: dict[str, type] = {"item": ItemRecord, "decision": DecisionRecord, "signal": SignalRecord, "reward": RewardRecord}
ARRAYS = {"slots": np.int32, "action": np.int32, "probs": np.float64, "features": np.float32, "vector": np.float32}
NUM_ROWS = 10_000
"""Of one Parquet file."""
MANIFEST = "manifest.json"
Row = dict[str, Any]


def export_ledger(folder: str | Path, path: str | Path, *, ledger: Any = None) -> dict[str, int]:
    """Writes all of a ledger into a file or a folder, which is there when it is whole. The recommender may be open.

    Args:
        folder: the recommender's.
        path: a new `.jsonl` or `.jsonl.gz` file, or a new folder whose name ends in `.parquet`, which needs `recsdk[parquet]`.
        ledger: the kind of ledger, by name or as a config; None looks which installed one the folder holds.

    Returns:
        How many records of each kind were written.

    Raises:
        InvalidValue: a path of another kind.
        LedgerError: no ledger in the folder, one of a kind that cannot be exported, or a path where something is.
        LedgerCorrupt: when a record is not what was written.
        MissingExtra: Parquet without polars.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("forge", items=[{"id": "nail"}, {"id": "hook"}]) as forge:
        ...     _ = forge.reward(forge.recommend({}).decision_id, 1.0)
        >>> export_ledger("forge", "forge.jsonl")["decision"]
        1
        >>> import_ledger("forge.jsonl", "forge-again")["reward"]
        1
    """
    path = Path(path)
    write = _write_parquet if _is_parquet(path) else _write_lines
    if path.exists():
        raise LedgerError(f"{str(path)!r} is there: give another path, so that nothing is overwritten.")
    with contextlib.closing(store(folder, ledger).read(folder)) as stored:
        if not isinstance(stored, Whole):
            raise LedgerError(f"The ledger in {str(folder)!r} is of a kind that cannot be exported.")
        counts = Counter[str]()
        part = path.with_name(f"{path.name}.part")
        _remove(part)
        try:
            write(part, _counted(_rows(stored), counts))
            part.rename(path)
        finally:
            _remove(part)
    return dict(counts)


def import_ledger(path: str | Path, folder: str | Path, *, ledger: Any = "sqlite") -> dict[str, int]:
    """Makes a recommender's folder from what `export_ledger` wrote: all of it, or none.

    Args:
        path: the file, or the folder of Parquet.
        folder: a new one.
        ledger: the kind of ledger to make, by name or as a config.

    Returns:
        How many records of each kind were read.

    Raises:
        InvalidLog: a file that is cut, or has a line that is no record; by its number.
        InvalidValue: a path of another kind.
        LedgerError: a folder that is there, or records that do not go together.
        MissingExtra: Parquet without polars.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("loom", items=[{"id": "silk"}]) as loom:
        ...     _ = loom.recommend({})
        >>> _ = export_ledger("loom", "loom.jsonl.gz")
        >>> import_ledger("loom.jsonl.gz", "loom-again")["item"]
        1
    """
    path, folder = Path(path), folder_path(folder)
    read = _read_parquet if _is_parquet(path) else _read_lines
    if folder.exists():
        raise LedgerError(f"{str(folder)!r} is there: give a new folder, so that nothing is mixed or lost.")
    from recsdk import plugins

    kind: Store = plugins.load("ledgers", ledger) if isinstance(ledger, str) else ledger
    counts = Counter[str]()
    part = folder.with_name(f"{folder.name}.part")
    _remove(part)
    try:
        with contextlib.closing(kind.open(part)) as made, made.transaction():
            for number, row in enumerate(_counted(read(path), counts), start=1):
                _add(made, row, f"{path}, record {number}")
        part.rename(folder)
    finally:
        _remove(part)
    return dict(counts)


def _is_parquet(path: Path) -> bool:
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return False
    if path.name.endswith(".parquet"):
        import_polars("Parquet")
        return True
    raise InvalidValue(f"path must end in .jsonl, .jsonl.gz or .parquet, got {str(path)!r}.")


def _rows(stored: Any) -> Iterator[Row]:
    """Yields every record as plain values: first those that others refer to."""
    kinds = {kind: name for name, kind in RECORDS.items()}
    for record in itertools.chain(stored.events(), stored.signals(), stored.rewards()):
        fields = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in record._asdict().items()}
        yield {"kind": kinds[type(record)], **fields}
    for name in stored.names():
        yield {"kind": "bytes", "name": name, "data": base64.b64encode(stored.get(name)).decode()}


def _add(ledger: Ledger, row: Row, where: str) -> None:
    fields = dict(row)
    kind = fields.pop("kind", None)
    adders: dict[str, Callable[[Any], None]] = {
        "item": ledger.put_item,
        "decision": ledger.add_decision,
        "signal": ledger.add_signal,
        "reward": ledger.add_reward,
    }
    try:
        if kind == "bytes":
            ledger.put(fields["name"], base64.b64decode(fields["data"], validate=True))
            return
        arrays = {name: np.array(fields[name], kind) for name, kind in ARRAYS.items() if name in fields}
        arrays |= {name: arrays[name].reshape(0, 1) for name in ("probs", "features") if name in arrays and not arrays[name].size}
        record = RECORDS[kind](**fields | arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidLog(f"{where}: must be a record of a ledger, got {str(row)!r:.100}: {error!r}.") from error
    try:
        adders[kind](record)
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InvalidLog(f"{where}: must be a record of a ledger, got {str(row)!r:.100}: {error}.") from error


def _counted(rows: Iterable[Row], counts: Counter[str]) -> Iterator[Row]:
    for row in rows:
        yield row
        counts[str(row.get("kind"))] += 1


def _write_lines(path: Path, rows: Iterable[Row]) -> None:
    num = 0
    with _opened(path) as file:
        file.write(json.dumps({"recsdk_ledger": SCHEMA}) + "\n")
        for row in rows:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            num += 1
        file.write(json.dumps({"end": num}) + "\n")
    _sync(path)


def _opened(path: Path) -> IO[str]:
    zipped = path.name.removesuffix(".part").endswith(".gz")
    return gzip.open(path, "wt", encoding="utf-8", compresslevel=1) if zipped else path.open("w", encoding="utf-8")


def _read_lines(path: Path) -> Iterator[Row]:
    num = -1
    for number, line in enumerate(text_lines(path), start=1):
        try:
            row = json.loads(line, object_pairs_hook=refuse_twice)
        except ValueError as error:
            raise InvalidLog(f"{path}, line {number}: must be JSON, got {line!r:.100}: {error}.") from error
        if not isinstance(row, dict):
            raise InvalidLog(f"{path}, line {number}: must be a record, got {line!r:.100}.")
        if number == 1:
            _require_schema(path, row)
        elif "end" in row:
            if row["end"] != num:
                raise InvalidLog(f"{path} must have {row['end']} records, got {num}.")
            return
        else:
            yield row
        num += 1
    raise InvalidLog(f"{path} was cut: it has no last line that says how many records there are, after {max(num, 0)} records.")


def _require_schema(path: Path, head: Row) -> None:
    if head.get("recsdk_ledger") != SCHEMA:
        raise InvalidLog(f'{path} must begin with {{"recsdk_ledger": {SCHEMA}}}, as `recsdk ledger export` writes it, got {head!r:.100}.')


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    polars: Any = import_polars("Parquet")
    path.mkdir()
    counts, numbered = Counter[str](), enumerate(rows)
    for part in itertools.count():
        by_kind: dict[str, list[Row]] = {}
        for number, row in itertools.islice(numbered, NUM_ROWS):
            by_kind.setdefault(row["kind"], []).append({"number": number, **row})
        if not by_kind:
            break
        for kind, found in by_kind.items():
            counts[kind] += len(found)
            file = path / f"{kind}-{part:06}.parquet"
            polars.DataFrame(found, schema={name: _type(polars, name) for name in found[0]}).write_parquet(file)
            _sync(file)
    (path / MANIFEST).write_text(json.dumps({"recsdk_ledger": SCHEMA, "end": counts.total(), "records": counts}))
    _sync(path / MANIFEST)


def _read_parquet(path: Path) -> Iterator[Row]:
    polars: Any = import_polars("Parquet")
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise InvalidLog(f"{path} must have a {MANIFEST}, as `recsdk ledger export` writes it last.")
    head = json.loads(manifest.read_text())
    _require_schema(manifest, head)
    num = 0
    for part in itertools.count():
        files = sorted(path.glob(f"*-{part:06}.parquet"))
        if not files:
            break
        # Records of two kinds alternate, and which came first matters: so each has its number.
        for row in sorted((row for file in files for row in polars.read_parquet(file).to_dicts()), key=lambda row: row["number"]):
            if row.pop("number") != num:
                raise InvalidLog(f"{path} lacks record {num}, which one of its files should have.")
            yield row
            num += 1
    if num != head["end"]:
        raise InvalidLog(f"{path} must have {head['end']} records, got {num}.")


def _type(polars: Any, name: str) -> Any:
    """Returns the type of a column; text, where none is named here."""
    types = {
        **dict.fromkeys(("number", "num_learned", "slot", "position"), polars.Int64),
        **dict.fromkeys(("time", "value", "happened"), polars.Float64),
        **dict.fromkeys(("active", "void"), polars.Boolean),
        **dict.fromkeys(("slots", "action"), polars.List(polars.Int32)),
        "probs": polars.List(polars.List(polars.Float64)),
        "features": polars.List(polars.List(polars.Float32)),
        "vector": polars.List(polars.Float32),
    }
    return types.get(name, polars.String)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    """Takes away what an export or import that was cut off has left."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
