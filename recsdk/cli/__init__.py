"""The `recsdk` command: one module for each subcommand, imported when it runs.

Distributions add subcommands of their own by entry points in the group `recsdk.commands`: a function or a `cyclopts.App`.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 the command's own finding
(`doctor` found something broken) or output that nobody reads on, 2 a bad argument, a `RecsdkError` or a file that cannot be read, told in
one line.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recsdk.errors import RecsdkError, RecsdkWarning

if TYPE_CHECKING:
    from cyclopts import App

COMMANDS = {
    "demo": "Simulate a shop, learn from its visitors, and write a report.",
    "doctor": "Check this installation, and load each plugin in its own process.",
    "evaluate": "Estimate from a log what other policies would have earned.",
    "ledger": "Look into a folder; check it, back it up, forget a user, and more.",
    "plugins": "List the installed policies, scorers, encoders and other parts.",
    "rank-eval": "Measure how well models rank what users took next.",
    "reproduce": "Make a recommender's state again from its folder; print its hash.",
    "status": "Show how a recommender does, once or all the time, with alarms.",
    "sweep": "Try policies and settings on a log, or in a simulated world.",
    "train": "Fit an encoder or a scorer to a log, and compare it with counting.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code.

    Args:
        arguments: without the program's name; None takes them from the command line.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words in ([], ["--help"], ["-h"]):  # at once: what reads arguments takes a third of a second to load
        print(_help())
        sys.exit()
    from cyclopts import CycloptsError

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _note
            _app(words[0])(words, exit_on_error=False)
        sys.stdout.flush()
    except CycloptsError:  # already printed
        sys.exit(2)
    except BrokenPipeError:  # who reads has heard enough, as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (RecsdkError, OSError) as error:
        from recsdk.cli.output import print_error

        print_error(error)
        sys.exit(2)


def _note(message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: str | None = None) -> None:
    """Prints a warning of recsdk as a note, without the line of ours that gave it."""
    from recsdk.cli.output import print_notes

    is_ours = issubclass(category, RecsdkWarning)
    print_notes([str(message) if is_ours else warnings.formatwarning(message, category, filename, lineno, line)])


def _help() -> str:
    from textwrap import shorten

    from recsdk.plugins import installed, summary

    others = {plugin.name: summary(plugin) for plugin in installed("commands") if plugin.name not in COMMANDS}

    def table(title: str, commands: dict[str, str]) -> str:
        width = max(map(len, commands), default=0)
        rows = [f"  {name:{width}}  {shorten(text, 76 - width, placeholder=' ...')}\n" for name, text in commands.items()]
        return "".join([f"{title}:\n", *rows, "\n"]) if rows else ""

    return (
        "Usage: recsdk COMMAND\n\nRecommendation that learns from every reward.\n\n"
        f"{table('Commands', COMMANDS)}{table('Commands of other distributions', others)}"
        "recsdk COMMAND --help shows a command's options, recsdk --version the version."
    )


def _app(asked: str) -> App:
    """Returns the program; what others have installed is looked for only where it is asked for."""
    from cyclopts import App

    # "plaintext": the help has no markup, and reading it as such would import a parser that takes 0.1 s.
    app = App(name="recsdk", help="Recommendation that learns from every reward.", help_format="plaintext", version=_version)
    for name, summary in COMMANDS.items():
        function = name.replace("-", "_")
        app.command(f"recsdk.cli.{function}:{function}", name=name, help=summary)
    if asked not in COMMANDS and not asked.startswith("-"):
        from recsdk import plugins

        bare = asked.rpartition(":")[2]
        if any(plugin.name == bare for plugin in plugins.installed("commands")):
            app.command(plugins.resolve(plugins.find("commands", asked)), name=asked)
    return app


def _version() -> str:
    from importlib import metadata

    return metadata.version("recsdk")
