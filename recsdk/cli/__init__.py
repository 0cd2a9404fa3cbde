"""The `recsdk` command: one module for each subcommand, imported when it runs.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 the command's own finding
(`doctor` found something broken), 2 a bad argument or a `RecsdkError`, which is told in one line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recsdk.errors import RecsdkError

if TYPE_CHECKING:
    from cyclopts import App

COMMANDS = {
    "demo": "Simulate a shop, learn from its visitors, and write a report.",
    "doctor": "Check this installation and load every plugin in a process of its own.",
    "evaluate": "Estimate from a log what other policies would have earned, and say how far to believe it.",
    "ledger": "Look into a recommender's folder, back it up, or restore a backup.",
    "plugins": "List the installed policies, scorers, encoders and ledgers.",
    "sweep": "Try policies and settings on a log, or in a simulated world.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code.

    Args:
        arguments: without the program's name; None takes them from the command line.
    """
    from cyclopts import CycloptsError

    try:
        _app()(sys.argv[1:] if arguments is None else arguments, exit_on_error=False)
    except CycloptsError:  # already printed
        sys.exit(2)
    except RecsdkError as error:
        from recsdk.cli.output import print_error

        print_error(error)
        sys.exit(2)


def _app() -> App:
    from cyclopts import App

    # "plaintext": the help has no markup, and reading it as such would import a parser that takes 0.1 s.
    app = App(name="recsdk", help="Recommendation that learns from every reward.", help_format="plaintext", version=_version)
    for name, summary in COMMANDS.items():
        app.command(f"recsdk.cli.{name}:{name}", name=name, help=summary)
    return app


def _version() -> str:
    from importlib import metadata

    return metadata.version("recsdk")
