"""Where the commands print: results on standard output, the rest on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]


def results() -> Console:
    """Returns a console on standard output."""
    return Console()


def notes() -> Console:
    """Returns a console on standard error, for progress, warnings and errors."""
    return Console(stderr=True)


def print_json(value: Any) -> None:
    """Prints strict JSON on standard output, the same whether a terminal reads it or a program."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_error(error: Exception) -> None:
    """Prints an error's message on one line of standard error, in red on a terminal."""
    notes().print(Text(" ".join(str(error).split()), style="red"), soft_wrap=True)


def print_notes(lines: Iterable[str]) -> None:
    """Prints what a user should know beside the results, on standard error."""
    for line in lines:
        notes().print(Text(line, style="yellow"), soft_wrap=True)
