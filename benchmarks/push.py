"""Measures how soon a subscriber has a fresh slate: `python benchmarks/push.py`, half a minute.

Users follow their slates by Server-Sent Events, each over a connection of its own. Rewards are due at a fixed rate, each of a user drawn at
random, and are timed from when they were due until that user's slate is there, so who stalls is charged for it. Client and server share the
machine.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import asyncio
import json
import random
import resource
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import report
from loop_contestants import K, cheapness, open_shop, rows
from serve import processor, serve, serving

SCORERS = [cheapness, "popularity", "recency"]
PACKAGES = ("recsdk", "recsdk-serve", "uvicorn", "uvloop", "numpy")


class Pushed(NamedTuple):
    """What became of the rewards.

    Attributes:
        seconds: from when each was due until the slate was there.
        processor: seconds that the server's processor took meanwhile.
    """

    seconds: list[float]
    processor: float


class Subscriber:
    """A user who follows the slates; `fresh` is set when one comes."""

    def __init__(self, user: str) -> None:
        self.user, self.fresh, self.turn = user, asyncio.Event(), asyncio.Lock()

    async def follow(self, port: int, begun: asyncio.Semaphore) -> None:
        """Reads the stream until it is cancelled."""
        async with begun:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /v1/events/slates?user={self.user}&size=5 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
            await self._until(reader, b"event: slate")
        while True:
            await self._until(reader, b"event: slate")

    async def _until(self, reader: asyncio.StreamReader, line: bytes) -> None:
        while (found := await reader.readline()).strip() != line:
            if not found or found.startswith(b"event: problem"):
                raise RuntimeError(f"The stream of {self.user} has ended or has a problem: {await reader.readline()!r}")
        self.fresh.set()


class Caller:
    """A connection that is kept, for one call after the other."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def post(self, path: str, body: dict) -> dict:
        """Makes a call, which must succeed."""
        async with self._turn:
            self._streams = self._streams or await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            data = json.dumps(body).encode()
            head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
            writer.write(head.encode() + data)
            lines = list(iter((await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()))
            length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
            answer = json.loads(await reader.readexactly(length))
            if " 200 " not in lines[0]:
                raise RuntimeError(f"{path}: {lines[0]} {answer}")
            return answer


async def push(pid: int, port: int, num: int, rate: float, num_rewards: int) -> Pushed:
    """Lets `num` users follow, and rewards some of them."""
    users, begun = [Subscriber(str(number)) for number in range(num)], asyncio.Semaphore(50)
    async with asyncio.TaskGroup() as group:
        following = [group.create_task(user.follow(port, begun)) for user in users]
        for user in users:
            await user.fresh.wait()
        callers, rng = [Caller(port) for _ in range(8)], random.Random(0)
        drawn = [rng.choice(users) for _ in range(num_rewards)]
        visits = [{"decision_id": f"push-{rate}-{number}", "request": {"user_id": user.user}} for number, user in enumerate(drawn)]
        for visit in visits:
            await callers[0].post("/v1/decide", visit)
        before, start, found = processor(pid), time.perf_counter() + 0.1, list[float]()

        async def one(number: int) -> None:
            due = start + number / rate
            await asyncio.sleep(due - time.perf_counter())
            async with drawn[number].turn:  # or the slate for one reward would answer the next
                drawn[number].fresh.clear()
                answered = callers[number % len(callers)].post("/v1/reward", {"decision_id": visits[number]["decision_id"], "value": 1.0})
                await asyncio.gather(answered, drawn[number].fresh.wait())
            found.append(time.perf_counter() - due)

        await asyncio.gather(*map(one, range(num_rewards)))
        took = processor(pid) - before
        for task in following:
            task.cancel()
    return Pushed(found, took)


def measured(nums: list[int], rates: list[float], seconds: float) -> Iterator[list[str]]:
    """Yields a line for each number of subscribers and each rate, with a service of its own."""
    for num in nums:
        with tempfile.TemporaryDirectory() as place, socket.create_server(("127.0.0.1", 0), backlog=1_024) as listening:
            folder, now = Path(place) / "shop", time.time()
            history = [{"item": "0", "user_id": "0", "time": now - 3_600}]
            open_shop(folder, items=rows(1_000, now), history=history, policy="lin-ts", scorers=SCORERS).close()
            with serving(__file__, folder, listening) as process:
                for rate in rates:
                    made = asyncio.run(push(process.pid, listening.getsockname()[1], num, rate, max(round(rate * seconds), 20)))
                    cuts = statistics.quantiles(made.seconds, n=100, method="inclusive")
                    each = 1e3 * made.processor / len(made.seconds)
                    yield [f"{num:,}", f"{rate:g}", *(f"{1e3 * cuts[place]:.1f}" for place in (49, 89, 98)), f"{each:.1f}"]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few subscribers and rewards, and rough")
    parser.add_argument("--write", action="store_true", help="put the table into docs/how-to/serve.md")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(Path(arguments.serve[0]), int(arguments.serve[1]), {"user_id": "1"}, scorers=SCORERS)
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    nums, rates, seconds = ([50], [20.0], 1.0) if arguments.quick else ([10, 1_000], [5.0, 20.0, 50.0], 10.0)
    where = report.described(report.machine(PACKAGES))
    titles = ["subscribers", "rewards a second", "p50 ms", "p90 ms", "p99 ms", "server's CPU for each, ms"]
    table = [*report.header(titles, left=0), *(report.line(cells) for cells in measured(nums, rates, seconds))]
    about = f"`python benchmarks/push.py` on {where}. K = {K}, D = 64, lin-ts, process-crash; the median is to be at most 20 ms."
    text = "\n".join([about, "", *table])
    print(text)
    if arguments.write:
        report.write(Path(__file__).parents[1] / "docs" / "how-to" / "serve.md", "push", text)


if __name__ == "__main__":
    main()
