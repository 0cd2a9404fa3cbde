"""Notices that a function which is a scorer was rewritten between two openings of a folder, which its name does not tell."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from recsdk.base import Scorer
from recsdk.errors import ChangedSetting, warn
from recsdk.ledger import Ledger
from recsdk.scorers.function import FunctionScorer

KEY = "functions"


def digest(function: Callable[..., Any]) -> str:
    """Returns a short name of a function's source, comments and layout left out; "" where the source is not known.

    What the function calls, and the variables around it, are no part of it.

    Example:
        >>> digest(print)
        ''
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # typed in a console, made in C, or a lambda amid an expression
        return ""
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def notice(ledger: Ledger, scorers: Sequence[Scorer[Any]]) -> None:
    """Warns of each function that was another one when the folder was last opened with it, and keeps what they are now."""
    kept: dict[str, str] = json.loads(ledger.get(KEY) or "{}")
    present = {scorer.columns[0]: digest(scorer.function) for scorer in scorers if isinstance(scorer, FunctionScorer)}
    for name, now in present.items():
        before = kept.get(name, "")
        if before and now and before != now:
            text = f"The function {name!r}, a scorer, was rewritten since this folder was last opened with it"
            warn(f"{text}: what was learned of its column was learned of the former one.", ChangedSetting)
    known = kept | {name: now for name, now in present.items() if now}
    if known != kept:
        ledger.put(KEY, json.dumps(known, sort_keys=True).encode())
