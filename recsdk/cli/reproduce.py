"""`recsdk reproduce`: make a recommender's state again from its folder, and print its hash."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App
from rich.table import Table
from rich.text import Text

from recsdk.cli import COMMANDS
from recsdk.cli.output import JsonFlag, print_json, results
from recsdk.live.reproduce import Reproduced
from recsdk.live.reproduce import reproduce as again

reproduce = App(name="reproduce", help=COMMANDS["reproduce"], help_format="plaintext")
SAID = {
    "same": "the same to the last bit",
    "within rounding": "the same within 1e-6: the snapshot was made with other arithmetic",
    "different": "DIFFERENT from the fold",
    "no snapshot": "none at this reward to compare with",
}


@reproduce.default
def command(folder: Path, /, *, to: int | None = None, json: JsonFlag = False) -> None:
    """Fold the rewards of a folder anew, print a hash of the state, and compare it with the snapshot.

    The recommender may be open. Two runs print the same hash where `arithmetic` is the same, whatever the number of threads.
    Exit code 1 where the snapshot differs.

    Args:
        folder: The recommender's folder.
        to: Number of the last reward to learn; by default all are learned.
        json: Print the results as JSON.
    """
    found = again(folder, to=to)
    if json:
        print_json(found._asdict())
    else:
        results().print(_table(found))
    sys.exit(found.agreement == "different")


def _table(found: Reproduced) -> Table:
    table = Table(show_header=False, title="Reproduced", title_justify="left")
    table.add_row("policy", Text(found.policy))
    table.add_row("rewards", f"{found.num_learned:,}")
    table.add_row("state", Text(found.state))
    table.add_row("arithmetic", found.arithmetic)
    place = "" if found.snapshot is None else f"at reward {found.snapshot:,}: "
    table.add_row("snapshot", Text(place + SAID[found.agreement]))
    return table
