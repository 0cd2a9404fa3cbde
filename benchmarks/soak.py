"""Kills a service again and again, and looks for rewards that were lost: `python benchmarks/soak.py`, ten minutes.

Clients decide and reward all the time, and say each call again, with the same ids, until it is answered. The process of the server is
killed by SIGKILL at random moments and started again. In the end every reward that was answered must be in the ledger once, and the
state must be the fold of the log.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import contextlib
import http.client
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import report
from loop_contestants import K, make, open_shop
from serve import serve, serving

from recsdk.ledger.stores import store

CLIENTS = 4
PACKAGES = ("recsdk", "recsdk-serve", "uvicorn", "numpy")


class Soaked(NamedTuple):
    """What became of a service that was killed.

    Attributes:
        kills: how often.
        answered: rewards that were answered.
        lost: of these, those that the ledger does not have.
        twice: decisions that have more than one reward.
        repeats: calls that were made again.
        failed: answers of status 500.
        ready: the longest time from a kill until the service was ready again, in seconds.
        is_the_fold: whether the state is that of the log.
    """

    kills: int
    answered: int
    lost: int
    twice: int
    repeats: int
    failed: int
    ready: float
    is_the_fold: bool


class Visitor(threading.Thread):
    """Decides and rewards until it is told to stop."""

    def __init__(self, port: int, number: int, stop: threading.Event) -> None:
        super().__init__(name=f"visitor-{number}")
        self._port, self._number, self._stop_at = port, number, stop
        self._connection: http.client.HTTPConnection | None = None
        self.answered, self.counts = list[str](), Counter[str]()

    def run(self) -> None:
        """Visits."""
        rng = random.Random(self._number)
        for turn in range(sys.maxsize):
            name, request = f"{self._number}-{turn}", {"user_id": str(rng.randrange(10_000)), "age": rng.random()}
            for path, body in (
                ("/v1/decide", {"decision_id": name, "request": request}),
                ("/v1/reward", {"decision_id": name, "value": float(rng.random() < 0.2), "reward_id": f"reward-{name}"}),
            ):
                while not self._said(path, json.dumps(body)):
                    self.counts["repeats"] += 1
                    if self._stop_at.wait(0.05):
                        return
            self.answered.append(name)
            if self._stop_at.is_set():
                return

    def _said(self, path: str, body: str) -> bool:
        """Makes a call; tells whether it was answered."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            self._connection.request("POST", path, body, {"content-type": "application/json"})
            answer = self._connection.getresponse()
            told = answer.read()
        except (OSError, http.client.HTTPException):
            with contextlib.suppress(OSError):
                self._connection.close()  # type: ignore[union-attr]
            self._connection = None
            return False
        self.counts["failed"] += answer.status == 500
        if 400 <= answer.status < 429:
            raise RuntimeError(f"{path} of {body} was refused: {answer.status} {told!r}")
        return answer.status == 200


def soak(folder: Path, seconds: float, kills: int, seed: int = 0) -> Soaked:
    """Serves a folder, kills the server, and reads what is left.

    Args:
        folder: of a recommender that nobody has open.
        seconds: how long clients call.
        kills: how often the server is killed.
        seed: of the moments of the kills.
    """
    rng, stop, slowest = random.Random(seed), threading.Event(), 0.0
    moments = sorted(rng.uniform(0.05, 0.95) * seconds for _ in range(kills))
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        visitors = [Visitor(listening.getsockname()[1], number, stop) for number in range(CLIENTS)]
        start = killed = time.monotonic()
        for end in [*moments, seconds]:
            with serving(__file__, folder, listening) as process:
                slowest = max(slowest, time.monotonic() - killed)
                for visitor in visitors if end == moments[0] else ():
                    visitor.start()
                time.sleep(max(start + end - time.monotonic(), 0.05))
                if end == seconds:
                    stop.set()
                    for visitor in visitors:
                        visitor.join()
                else:
                    process.kill()
                    killed = time.monotonic()
    return read(folder, visitors)._replace(kills=kills, ready=slowest)


def read(folder: Path, visitors: list[Visitor]) -> Soaked:
    """Compares what was answered with what the ledger has."""
    with contextlib.closing(store(folder).read(folder)) as stored:
        found = Counter(reward.decision_id for reward in stored.rewards())
    answered = [name for visitor in visitors for name in visitor.answered]
    counts: Counter[str] = sum((visitor.counts for visitor in visitors), Counter())
    lost, twice = sum(found[name] == 0 for name in answered), sum(num > 1 for num in found.values())
    with open_shop(folder, policy="lin-ts") as shop:
        is_the_fold = shop.audit()
    return Soaked(0, len(answered), lost, twice, counts["repeats"], counts["failed"], 0.0, is_the_fold)


def told(found: Soaked) -> list[tuple[str, Any]]:
    """Returns the columns of the table."""
    counts = [("kills", found.kills), ("rewards answered", f"{found.answered:,}"), ("lost", found.lost), ("taken twice", found.twice)]
    more = [("calls made again", found.repeats), ("answers of status 500", found.failed), ("ready again within", f"{found.ready:.1f} s")]
    return [*counts, *more, ("state is the fold of the log", "yes" if found.is_the_fold else "no")]


def main() -> None:
    """Prints the table; exit code 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute and three kills")
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--kills", type=int, default=None)
    parser.add_argument("--write", action="store_true", help="put the table into docs/how-to/serve.md")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(Path(arguments.serve[0]), int(arguments.serve[1]))
        return
    seconds, kills = (60.0, 3) if arguments.quick else (600.0, 20)
    seconds, kills = arguments.seconds or seconds, arguments.kills or kills
    where = report.described(report.machine(PACKAGES))
    with tempfile.TemporaryDirectory() as place:
        make(Path(place) / "shop", 1_000)
        found = soak(Path(place) / "shop", seconds, kills)
    about = (
        f"`python benchmarks/soak.py{' --quick' * arguments.quick}` on {where}. K = {K}, D = 64, lin-ts, process-crash, {CLIENTS} clients."
    )
    columns = [("seconds", f"{seconds:g}"), *told(found)]
    header = report.header([name for name, _ in columns], left=0)
    text = "\n".join([about, "", *header, report.line([value for _, value in columns])])
    print(text)
    if arguments.write:
        report.write(Path(__file__).parents[1] / "docs" / "how-to" / "serve.md", "soak", text)
    sys.exit(int(bool(found.lost or found.twice or found.failed or not found.is_the_fold)))


if __name__ == "__main__":
    main()
