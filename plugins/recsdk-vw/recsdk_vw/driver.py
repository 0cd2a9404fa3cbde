"""Vowpal Wabbit's own driver, as its command line runs it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from vowpalwabbit import Workspace

from recsdk.errors import InvalidValue

REPORT = re.compile(r"^(number of examples|weighted example sum|average loss)(?: per pass)? = (\S+)", re.MULTILINE)


class Drive(NamedTuple):
    """The driver's final report.

    Attributes:
        average_loss: progressive: of what was predicted before learning, by weight of the labelled examples; None when there were none.
            With several passes, VW's loss on what it held out, unless told `--holdout_off`.
        num_examples: those that VW took, in one pass.
        weight: sum of their importance weights, in float32 each, over all passes.
        messages: its warnings and errors. VW leaves out lines that it cannot read, often with no word.
    """

    average_loss: float | None
    num_examples: int
    weight: float
    messages: tuple[str, ...]


def drive(command: str | Sequence[str]) -> Drive:
    """Runs VW over files, on any of its problems: `drive("--cb_explore_adf --dsjson -d log.dsjson -c --passes 3 -f model")`.

    It is not a policy, and nothing in it is refused but what VW refuses itself. It writes what the command has it write: a model that it
    leaves may be where a `VW` begins, by `initial_regressor`.

    Args:
        command: VW's arguments, in one line or in words.

    Raises:
        InvalidValue: VW's reason not to, or a command that keeps it quiet.
    """
    words = shlex.split(command) if isinstance(command, str) else list(command)
    if "--quiet" in words:
        raise InvalidValue(f"command must not have --quiet, which keeps the loss from us, got {words}.")
    try:
        workspace = Workspace(arg_list=words, enable_logging=True)
    except RuntimeError as error:
        raise InvalidValue(f"command must be what Vowpal Wabbit takes, got {shlex.join(words)!r}: {error}.") from error
    workspace.finish()
    lines = workspace.get_log()
    report = dict(REPORT.findall("\n".join(lines)))
    loss = None if report["average loss"] == "n.a." else float(report["average loss"])
    messages = tuple(line for line in lines if line.startswith(("[warning]", "[error]", "[critical]")))
    return Drive(loss, int(report["number of examples"]), float(report["weighted example sum"]), messages)
