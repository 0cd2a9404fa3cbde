"""`recsdk consume`: feed a recommender from a stream."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from recsdk.cli.output import JsonFlag, print_json, results
from recsdk.live.reopening import reopen
from recsdk_streams import addresses
from recsdk_streams.consumer import consume as consuming


def consume(
    folder: Path,
    /,
    *,
    source: Annotated[str, Parameter(name="--from")],
    sink: Annotated[str, Parameter(name="--to")],
    dead: str,
    block: int = 500,
    to_end: Annotated[bool, Parameter(negative=())] = False,
    json: JsonFlag = False,
) -> None:
    """Feed a recommender from a stream, and send its slates to another, until Ctrl-C or SIGTERM.

    The recommender is opened with the parts that its folder names; one with rules, a traffic or functions of yours is opened in Python.
    A stream is the path of a file, nats://HOST:PORT/STREAM or redis://HOST:PORT/DATABASE?stream=KEY; "$NAME" in it is replaced by that
    environment variable, which is the place for a password.

    Args:
        folder: The recommender's folder.
        source: The stream that is read.
        sink: Takes the slates; of NATS it is a subject.
        dead: Takes messages that cannot count, with the reason.
        block: How many messages are fed at once, at most.
        to_end: Stop where the stream has nothing more.
        json: Print the results as JSON.
    """
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stopped.append(number))
    with contextlib.ExitStack() as opened:
        streams: list[Any] = [addresses.source(source), addresses.sink(sink), addresses.sink(dead)]
        for stream in streams:
            opened.callback(stream.close)
        shop = opened.enter_context(reopen(folder))
        found = consuming(shop, *streams, block=block, stop=lambda: bool(stopped), to_end=to_end)
    if json:
        print_json(found._asdict())
    else:
        told = ", ".join(f"{value:,} {name.removeprefix('num_')}" for name, value in found._asdict().items())
        results().print(told, highlight=False)
