"""A ledger as files that other programs read, and back without loss: JSON Lines, Parquet, and Vowpal Wabbit's decision-service logs.

Every record of every kind is in them, so what is imported is the same ledger: its state, its hashes and its next decision. A log as the
Open Bandit Dataset has it cannot hold that much: it is written, and never imported.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from recsdk.checks import require_number
from recsdk.datasets.files import import_polars
from recsdk.errors import InvalidLog, InvalidValue, LedgerError, one_of
from recsdk.ledger import Store, Whole
from recsdk.ledger.stores import folder_path, store
from recsdk.live import decision_service, open_bandit
from recsdk.live.log import Judging
from recsdk.live.records import SCHEMA, Name, Row, add, lines, opened, parsed, require_schema, rows, sync, whole

NUM_ROWS = 10_000
"""Of one Parquet file."""
MANIFEST = "manifest.json"


def export_ledger(
    folder: str | Path,
    path: str | Path,
    *,
    format: Name | None = None,
    default_reward: float | None = None,
    window: float | None = None,
    ledger: Any = None,
) -> dict[str, int]:
    """Writes all of a ledger into a file or a folder, which is there when it is whole. The recommender may be open.

    A "dsjson" is a decision-service log, from which Vowpal Wabbit learns: by `--cb_explore_adf` where every slate has one item, else by
    `--ccb_explore_adf`. A line is a decision with the rewards, propensities and features of `read_ledger`, and each position that has
    them; it also has recsdk's record, which Vowpal Wabbit passes over. Lines that nothing can be learned from, since nothing was drawn,
    shown or rewarded, say `_skipLearn`. "open-bandit" has the top positions only, and only of decisions among all items: see
    the how-to.

    Args:
        folder: the recommender's. For "dsjson" and "open-bandit" it must have been opened with `log_features="all"`.
        path: a new file, gzipped where its name ends in .gz; for "parquet", which needs `recsdk[parquet]`, and "open-bandit" a new folder.
        format: "jsonl", "parquet", "dsjson" or "open-bandit"; None takes it from the end of the path's name.
        default_reward: for "dsjson" and "open-bandit", as for `read_ledger`.
        window: the same.
        ledger: the kind of ledger, by name or as a config; None looks which installed one the folder holds.

    Returns:
        How many records of each kind were written; of "dsjson" and "open-bandit", also how many decisions and positions can be learned
        from, and how many are left out, by reason.

    Raises:
        InvalidValue: a path of another kind; a reward that the format cannot say.
        LedgerError: no ledger in the folder, one of a kind that cannot be exported, or a path where something is.
        LedgerMismatch: features of the shown candidates only.
        LedgerCorrupt: when a record is not what was written.
        MissingExtra: Parquet without polars.

    Warns:
        OpenDecisions: as `read_ledger`.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("forge", items=[{"id": "nail"}, {"id": "hook"}], log_features="all") as forge:
        ...     _ = forge.reward(forge.recommend({}).decision_id, 1.0)
        >>> export_ledger("forge", "forge.jsonl")["decision"]
        1
        >>> import_ledger("forge.jsonl", "forge-again")["reward"]
        1
        >>> export_ledger("forge", "forge.dsjson")["decisions to learn from"]
        1
    """
    path = Path(path)
    written, judging = _format(path, format), Judging(default_reward, window)
    if default_reward is not None:
        require_number("default_reward", default_reward)
    if written.name in ("jsonl", "parquet") and judging != Judging():
        raise InvalidValue(f"default_reward and window are for dsjson and open-bandit, {written.name} has the rewards themselves.")
    if path.exists():
        raise LedgerError(f"{str(path)!r} is there: give another path, so that nothing is overwritten.")
    with contextlib.closing(store(folder, ledger).read(folder)) as stored:
        if not isinstance(stored, Whole):
            raise LedgerError(f"The ledger in {str(folder)!r} is of a kind that cannot be exported.")
        counts = Counter[str]()
        part = path.with_name(f"{path.name}.part")
        _remove(part)
        try:
            counts.update(written.write(part, stored, _counted(rows(stored), counts), judging) or {})
            part.rename(path)
        finally:
            _remove(part)
    return dict(counts)


def import_ledger(path: str | Path, folder: str | Path, *, format: Name | None = None, ledger: Any = "sqlite") -> dict[str, int]:
    """Makes a recommender's folder from what `export_ledger` wrote: all of it, or none.

    Args:
        path: the file, or the folder of Parquet.
        folder: a new one.
        format: as for `export_ledger`.
        ledger: the kind of ledger to make, by name or as a config.

    Returns:
        How many records of each kind were read.

    Raises:
        InvalidLog: a file that is cut, was changed, or has a line that is no record, by its number; a decision-service log of another
            program, or one of Open Bandit, which lack what a folder needs.
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
    read = _format(path, format).read
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
                add(made, row, f"{path}, record {number}")
        part.rename(folder)
    finally:
        _remove(part)
    return dict(counts)


class _Format(NamedTuple):
    """A kind of file: how a ledger is written and read; what is written returns how much can be learned from it."""

    name: str
    write: Callable[[Path, Any, Iterable[Row], Judging], dict[str, int] | None]
    read: Callable[[Path], Iterator[Row]]


def _format(path: Path, name: str | None) -> _Format:
    if name is None:
        found = [each for each in ("jsonl", "parquet", "dsjson") if path.name.removesuffix(".gz").endswith(f".{each}")]
        if not found or path.name.endswith(".parquet.gz"):
            told = "path must end in .jsonl, .jsonl.gz or .parquet, or in .dsjson or .dsjson.gz, or its format be given"
            raise InvalidValue(f"{told}, got {str(path)!r}.")
        (name,) = found
    one_of("format", name, get_args(Name))
    if name == "parquet":
        import_polars("Parquet")
    return {
        "jsonl": _Format(name, _write_lines, _read_lines),
        "parquet": _Format(name, _write_parquet, _read_parquet),
        "dsjson": _Format(name, decision_service.write, decision_service.read),
        "open-bandit": _Format(name, open_bandit.write, open_bandit.read),
    }[name]


def _counted(rows: Iterable[Row], counts: Counter[str]) -> Iterator[Row]:
    for row in rows:
        yield row
        counts[str(row.get("kind"))] += 1


def _write_lines(path: Path, stored: Any, rows: Iterable[Row], judging: Judging) -> None:
    del stored, judging
    num = 0
    with opened(path) as file:
        file.write(json.dumps({"recsdk_ledger": SCHEMA}) + "\n")
        for row in rows:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            num += 1
        file.write(json.dumps({"end": num}) + "\n")
    sync(path)


def _read_lines(path: Path) -> Iterator[Row]:
    return whole(path, (parsed(path, number, line) for number, line in lines(path)))


def _write_parquet(path: Path, stored: Any, rows: Iterable[Row], judging: Judging) -> None:
    del stored, judging
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
            sync(file)
    (path / MANIFEST).write_text(json.dumps({"recsdk_ledger": SCHEMA, "end": counts.total(), "records": counts}))
    sync(path / MANIFEST)


def _read_parquet(path: Path) -> Iterator[Row]:
    polars: Any = import_polars("Parquet")
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise InvalidLog(f"{path} must have a {MANIFEST}, as `recsdk ledger export` writes it last.")
    head = json.loads(manifest.read_text())
    require_schema(manifest, head)
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


def _remove(path: Path) -> None:
    """Takes away what an export or import that was cut off has left."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
