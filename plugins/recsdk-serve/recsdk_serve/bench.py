"""`recsdk bench-serve`: how many calls a second a service answers, and how long they take."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from recsdk.checks import require_integer, require_number
from recsdk.cli.output import JsonFlag, print_json, results
from recsdk.errors import InvalidValue, one_of


class Wire(asyncio.Protocol):
    """A connection that sends a call and waits for its answer; nothing but the status is looked at, so it takes little of the processor."""

    def __init__(self) -> None:
        self.data = b""
        self.answer: asyncio.Future[bytes] | None = None
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Keeps the connection."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Collects an answer, which has a length."""
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found or self.answer is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) >= length:
            self.data, answer, self.answer = b"", self.answer, None
            answer.set_result(head[9:12] + body)

    def connection_lost(self, error: Exception | None) -> None:
        """Ends the call that waits."""
        if self.answer is not None:
            self.answer.set_exception(error or ConnectionError("the service has closed the connection"))

    async def ask(self, call: bytes) -> bytes:
        """Returns the status and the body of the answer."""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(call)
        return await self.answer


class Result(NamedTuple):
    """What came out of one rate.

    Attributes:
        asked: calls that were to be made a second.
        answered: calls, or decisions of a batch, that were answered with 200 a second.
        p50, p99, most: milliseconds from when a call was due until its answer was there.
        refused: calls answered otherwise than with 200.
    """

    asked: float
    answered: float
    p50: float
    p99: float
    most: float
    refused: int


def bench_serve(
    url: str,
    /,
    *,
    call: Literal["decide", "decide:batch", "reward"] = "decide",
    rate: float = 1000.0,
    seconds: float = 10.0,
    connections: int = 32,
    batch: int = 32,
    request: str = "{}",
    key: str = "",
    json: JsonFlag = False,
) -> None:
    """Measure how long a service takes to answer at a fixed rate of calls.

    Calls are due whether or not those before were answered. The time of a call runs from when it was due, so a service that stalls is
    charged for all that should have been asked meanwhile (no coordinated omission). It decides, and rewards with 0, in earnest: give it a
    copy of a folder.

    Args:
        url: Where the service is, such as http://127.0.0.1:8000.
        call: What to ask for; rewards are of decisions that are made before it begins.
        rate: Calls that are due a second.
        seconds: How long.
        connections: Connections that are open.
        batch: Requests of a batch.
        request: Features of each request, as JSON; user_id is set to one of 1,000 users.
        key: A key with the scopes decide and reward.
        json: Print the results as JSON.
    """
    one_of("call", call, ("decide", "decide:batch", "reward"))
    require_number("rate", rate, above=0)
    require_number("seconds", seconds, above=0)
    require_integer("connections", connections, at_least=1)
    require_integer("batch", batch, at_least=1)
    found = asyncio.run(_measured(url, call, rate, seconds, connections, batch, request, key))
    if json:
        print_json(found._asdict())
    else:
        times = f"p50 {found.p50:.2f} ms, p99 {found.p99:.2f} ms, at most {found.most:.1f} ms"
        results().print(f"{call}: {found.answered:,.0f} a second; {times}; {found.refused} refused", highlight=False)


async def _measured(url: str, call: str, rate: float, seconds: float, connections: int, batch: int, request: str, key: str) -> Result:
    place, loop = urlsplit(url), asyncio.get_running_loop()
    if place.scheme != "http" or not place.hostname:
        raise InvalidValue(f"url must be that of a service, such as http://127.0.0.1:8000, got {url!r}.")
    wires = [(await loop.create_connection(Wire, place.hostname, place.port or 80))[1] for _ in range(connections)]
    num = math.ceil(rate * seconds)
    features = json.loads(request)

    def written(path: str, body: Any) -> bytes:
        data = json.dumps(body).encode()
        head = f"POST /v1/{path} HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n"
        return f"{head}{f'authorization: Bearer {key}{chr(13)}{chr(10)}' if key else ''}\r\n".encode() + data

    def asked(number: int) -> dict[str, Any]:
        return {"request": {**features, "user_id": str(number % 1_000)}}

    if call == "decide":
        calls: Iterable[bytes] = [written("decide", asked(number)) for number in range(num)]
    else:
        many = [written("decide:batch", {"requests": [asked(number + one) for one in range(batch)]}) for number in range(0, num, batch)]
        calls = (many * batch)[:num]
    if call == "reward":
        slates = [slate for one in many for slate in json.loads((await wires[0].ask(one))[3:])["slates"]]
        calls = [written("reward", {"decision_id": slate["decision_id"], "position": 0, "value": 0}) for slate in slates[:num]]
    times, refused, took = await _at_rate(wires, list(calls), rate)
    times.sort()
    good = (len(times) - refused) * (batch if call == "decide:batch" else 1)
    p50, p99 = (1e3 * times[min(int(len(times) * share), len(times) - 1)] for share in (0.5, 0.99))
    for wire in wires:
        wire.transport.close()
    return Result(rate, good / took, p50, p99, 1e3 * times[-1], refused)


async def _at_rate(wires: list[Wire], calls: list[bytes], rate: float) -> tuple[list[float], int, float]:
    """Makes each call when it is due, or as soon as a connection is free.

    Returns:
        The seconds that each took since it was due; how many were refused; how long all took.
    """
    times, refused, following = list[float](), 0, iter(enumerate(calls))
    began = time.perf_counter() + 0.05

    async def work(wire: Wire) -> None:
        nonlocal refused
        for number, call in following:
            due = began + number / rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            answer = await wire.ask(call)
            times.append(time.perf_counter() - due)
            refused += not answer.startswith(b"200")

    await asyncio.gather(*map(work, wires))
    return times, refused, time.perf_counter() - began
