"""`recsdk ledger`: look into a recommender's folder, check it, back it up, forget a user, and more."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text

from recsdk.checks import require_integer
from recsdk.cli import COMMANDS
from recsdk.cli.facts import facts_of, facts_table, statistics, told_of
from recsdk.cli.output import JsonFlag, print_error, print_json, print_notes, results
from recsdk.cli.tail import EVERYTHING, PAUSE, Seen, lines_after
from recsdk.errors import LedgerCorrupt, LedgerError
from recsdk.ledger import Copies, Repairs
from recsdk.ledger.stores import store
from recsdk.live.checking import Finding, check_ledger
from recsdk.live.records import RECORDS, Name

CALLED = {"item": "versions of items", "decision": "decisions", "signal": "signals", "reward": "rewards", "bytes": "other entries"}
"""What the kinds of records are called."""

ledger = App(name="ledger", help=COMMANDS["ledger"], help_format="plaintext")


@ledger.command
def show(folder: Path, decision: str | None = None, /, *, json: JsonFlag = False) -> None:
    """Print what a recommender's folder holds, or one of its decisions. The recommender may be open.

    Args:
        folder: The recommender's folder.
        decision: The id of a decision; all that is known of it is printed.
        json: Print the results as JSON.
    """
    with closing(store(folder).read(folder)) as reading:
        facts = facts_of(reading) if decision is None else told_of(reading, decision)
    if decision is None:
        facts["bytes"] = _bytes(folder)
    if json:
        print_json(facts)
    else:
        results().print(facts_table(facts, "Ledger" if decision is None else "Decision"))


@ledger.command
def stats(folder: Path, /, *, json: JsonFlag = False) -> None:
    """Print how a recommender decides and what it hears: candidates, propensities, rewards, signals, bytes.

    Args:
        folder: The recommender's folder.
        json: Print the results as JSON.
    """
    with closing(store(folder).read(folder)) as reading:
        facts = statistics(reading)
    facts["bytes_per_decision"] = round(_bytes(folder) / facts["decisions"], 1) if facts["decisions"] else None
    if json:
        print_json(facts)
    else:
        results().print(facts_table(facts, "Statistics"))


@ledger.command
def check(folder: Path, /, *, json: JsonFlag = False) -> None:
    """Check every record, their order, what they mean together, and that propensities are true. The recommender may be open.

    Exit code 1 when something is wrong.

    Args:
        folder: The recommender's folder.
        json: Print the results as JSON.
    """
    findings = check_ledger(folder)
    if json:
        print_json([finding._asdict() for finding in findings])
    else:
        results().print(_findings(findings))
    sys.exit(any(finding.num_problems for finding in findings))


@ledger.command
def tail(folder: Path, /, *, num: int = 10, follow: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Print the last decisions, signals and rewards, a line each, in order of their time. The recommender may be open.

    Args:
        folder: The recommender's folder.
        num: How many decisions, signals and rewards are printed at first, of each kind so many.
        follow: Go on with what comes, until Ctrl-C.
    """
    require_integer("num", num, at_least=0)
    console, seen = results(), Seen()
    with suppress(KeyboardInterrupt):
        while True:
            with closing(store(folder).read(folder)) as reading:
                lines, seen = lines_after(reading, seen, num)
            for line in lines:
                console.print(Text(line), soft_wrap=True)
            if not follow:
                return
            num = EVERYTHING
            time.sleep(PAUSE)


@ledger.command
def repair(folder: Path, backup: Path, /, *, yes: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Accept a ledger that lacks acknowledged records, and say how many are lost. Nobody may have it open.

    Without --yes it only says what is wrong: exit code 1 when something is. Restoring a backup may lose less.

    Args:
        folder: The recommender's folder.
        backup: An empty folder, or one that is made: its files are copied there first, as they are.
        yes: Do it.
    """
    found = store(folder)
    try:
        found.read(folder).close()
    except LedgerCorrupt as error:
        if not isinstance(found, Repairs):
            raise
        if not yes:
            print_error(error)
            print_notes([f"Nothing was changed. To accept what is there: recsdk ledger repair {folder} {backup} --yes"])
            sys.exit(1)
        lost = found.repair(folder, backup=backup)
        told = ", ".join(f"{number:,} {table}" for table, number in lost._asdict().items())
        results().print(Text(f"{folder} can be opened. Lost are {told}. All files as they were are in {backup}."), soft_wrap=True)
    else:
        results().print(Text(f"{folder} lacks nothing: there is nothing to repair."))


@ledger.command
def backup(folder: Path, destination: Path, /) -> None:
    """Copy a recommender's folder as it is at this moment. The recommender may be open.

    Args:
        folder: The recommender's folder.
        destination: An empty folder, or one that is made.
    """
    _copy(folder, destination)
    results().print(Text(f"{folder} is backed up to {destination}."))


@ledger.command
def restore(backup: Path, folder: Path, /) -> None:
    """Make a recommender's folder from a backup.

    Args:
        backup: A folder that `recsdk ledger backup` made.
        folder: An empty folder, or one that is made.
    """
    _copy(backup, folder)
    results().print(Text(f"{folder} is restored from {backup}."))


@ledger.command
def export(
    folder: Path, path: Path, /, *, format: Name | None = None, default_reward: float | None = None, window: float | None = None
) -> None:
    """Write all of a ledger into a file that other programs read; `import` makes the same ledger of it. The recommender may be open.

    Args:
        folder: The recommender's folder.
        path: A new file .jsonl or .dsjson, with .gz or without, or a new folder .parquet.
        format: jsonl, parquet, dsjson or open-bandit, which is for reading only; by default what the path ends in.
        default_reward: What a decision is worth of which nothing was heard, for dsjson and open-bandit.
        window: Seconds that a reward may take, for these: younger decisions are left out; 0 leaves out none.
    """
    from recsdk.live.transfer import export_ledger

    counts = export_ledger(folder, path, format=format, default_reward=default_reward, window=window)
    results().print(Text(f"{path} is written:\n  {_counts(counts)}"), soft_wrap=True)
    print_notes([f"{name}: {number:,}" for name, number in counts.items() if name not in (*RECORDS, "bytes")])


@ledger.command(name="import")
def import_(path: Path, folder: Path, /, *, format: Name | None = None, ledger: str = "sqlite") -> None:
    """Make a recommender's folder from an export: all of it, or nothing.

    Args:
        path: What `recsdk ledger export` wrote.
        folder: A new folder.
        format: As for export.
        ledger: The kind of ledger to make.
    """
    from recsdk.live.transfer import import_ledger

    counts = import_ledger(path, folder, format=format, ledger=ledger)
    results().print(Text(f"{folder} is made:\n  {_counts(counts)}"), soft_wrap=True)


@ledger.command
def compact(folder: Path, /, *, days: float = 30.0) -> None:
    """Move old, settled decisions into Parquet files in the folder, where everything reads them as before. Nobody may have it open.

    Args:
        folder: The recommender's folder.
        days: How old a decision must be.
    """
    from recsdk.live.keeping import compact as move

    before = _bytes(folder)
    num = move(folder, days=days)
    results().print(Text(f"{num:,} decisions are moved; {folder} had {before:,} bytes, and has {_bytes(folder):,}."), soft_wrap=True)


@ledger.command
def drop(folder: Path, /, *, days: float, json: JsonFlag = False) -> None:
    """Drop decisions that are old, with all that is about them; what was learned of them stays. Nobody may have the folder open.

    While it is open, call `Recommender.drop`.

    Args:
        folder: The recommender's folder. Its parts must be plugins; with a function as a scorer, call `Recommender.drop`.
        days: How old a decision must be, and all that was told of it.
        json: Print the results as JSON.
    """
    from recsdk.live.reopening import reopen

    with reopen(folder) as recommender:
        _report(recommender.drop(days=days)._asdict(), "Dropped", json=json)


@ledger.command
def forget(folder: Path, user: str, /, *, json: JsonFlag = False) -> None:
    """Forget a user: delete what was decided for them, and what was learned of it. Nobody may have the folder open.

    While it is open, call `Recommender.forget`. A user who is not there is no error: nothing is forgotten then, and the state is "nothing".

    Args:
        folder: The recommender's folder. Its parts must be plugins; with a function as a scorer, call `Recommender.forget`.
        user: The user's key.
        json: Print the results as JSON.
    """
    from recsdk.live.reopening import reopen

    with reopen(folder) as recommender:
        _report(recommender.forget(user)._asdict(), "Forgotten", json=json)


def _report(done: dict[str, Any], title: str, *, json: bool) -> None:
    """Prints what was done."""
    if json:
        print_json(done)
    else:
        results().print(facts_table({name.removeprefix("num_"): value for name, value in done.items()}, title))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts.get(kind, 0):,} {name}" for kind, name in CALLED.items())


def _copy(folder: Path, destination: Path) -> None:
    found = store(folder)
    if not isinstance(found, Copies):
        raise LedgerError(f"The ledger in {str(folder)!r} is kept by {found!r}, which cannot copy: use its own tools.")
    found.copy(folder, destination)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _findings(findings: Sequence[Finding]) -> Table:
    table = Table("check", "looked at", "found", title="Check", title_justify="left")
    table.columns[1].justify = "right"
    for finding in findings:
        more = finding.num_problems - len(finding.problems)
        lines = [*finding.problems, *[f"and {more:,} more"] * bool(more)]
        said = Text("\n".join(lines), style="red") if lines else Text("all well")
        table.add_row(finding.check, f"{finding.num:,}", said)
    return table
