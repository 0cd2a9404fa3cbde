"""Kills a service again and again, and looks for rewards that were lost: `python benchmarks/soak.py`, ten minutes.

Clients decide and reward all the time, and say each call again, with the same ids, until it is answered. The process of the server is
killed by SIGKILL at random moments and started again. In the end every decision and reward that was answered must be in the ledger as it
was answered, once, and the state must be the fold of the log. A call that is refused is a fault: a decision that was answered and is gone
is one whose reward is refused.
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

from recsdk.ledger import Ledger
from recsdk.ledger.stores import store

CLIENTS = 4
AWAY = (429, 502, 503, 504)
"""Statuses of a service that may answer soon."""
PACKAGES = ("recsdk", "recsdk-serve", "uvicorn", "numpy")


class Soaked(NamedTuple):
    """What became of a service that was killed.

    Attributes:
        kills: how often.
        decisions: that were answered.
        rewards: that were answered.
        lost: of both, those that the ledger does not have, or has otherwise.
        twice: decisions that have more than one reward.
        repeats: calls that were made again.
        refused: calls that were answered by another status than 200, 429, 502, 503 and 504.
        ready: the longest time from a kill until the service was ready again, in seconds.
        is_the_fold: whether the state is that of the log.
    """

    kills: int
    decisions: int
    rewards: int
    lost: int
    twice: int
    repeats: int
    refused: int
    ready: float
    is_the_fold: bool


class Visitor(threading.Thread):
    """Decides and rewards until it is told to stop."""

    def __init__(self, port: int, number: int, stop: threading.Event) -> None:
        super().__init__(name=f"visitor-{number}")
        self._port, self._number, self._stop_at = port, number, stop
        self._connection: http.client.HTTPConnection | None = None
        self.shown, self.values, self.counts = dict[str, list[str]](), dict[str, float](), Counter[str]()
        self.error: Exception | None = None

    def run(self) -> None:
        """Visits; what fails is kept, and raised by `done`."""
        try:
            self._visit()
        except Exception as error:
            self.error = error

    def done(self) -> None:
        """Waits for the end, and raises what has failed."""
        self.join()
        if self.error is not None:
            raise self.error

    def _visit(self) -> None:
        rng = random.Random(self._number)
        for turn in range(sys.maxsize):
            name, request = f"{self._number}-{turn}", {"user_id": str(rng.randrange(10_000)), "age": rng.random()}
            value = float(rng.random() < 0.2)
            slate = self._answer("/v1/decide", {"decision_id": name, "request": request})
            if slate is not None:
                self.shown[name] = slate["ids"]
                if self._answer("/v1/reward", {"decision_id": name, "value": value, "reward_id": f"reward-{name}"}) is not None:
                    self.values[name] = value
            if self._stop_at.is_set():
                return

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Makes a call until it is answered; None where it is refused, or the end came first."""
        while (told := self._said(path, json.dumps(body))) is None:
            self.counts["repeats"] += 1
            if self._stop_at.wait(0.05):
                return None
        status, content = told
        if status == 200:
            return dict(json.loads(content))
        self.counts["refused"] += 1
        print(f"{path} of {body} was refused: {status} {content!r:.500}", file=sys.stderr)
        return None

    def _said(self, path: str, body: str) -> tuple[int, bytes] | None:
        """Makes a call; returns its status and answer, or None where it is to be made again."""
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
            return None
        return None if answer.status in AWAY else (answer.status, told)


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
                        visitor.done()
                else:
                    process.kill()
                    killed = time.monotonic()
    return read(folder, visitors)._replace(kills=kills, ready=slowest)


def read(folder: Path, visitors: list[Visitor]) -> Soaked:
    """Compares what was answered with what the ledger has."""
    with contextlib.closing(store(folder).read(folder)) as stored:
        shown, rewards = shown_in(stored), list(stored.rewards())
    values, twice = {reward.decision_id: reward.value for reward in rewards}, len(rewards) - len({one.decision_id for one in rewards})
    slates = [(name, ids) for visitor in visitors for name, ids in visitor.shown.items()]
    told = [(name, value) for visitor in visitors for name, value in visitor.values.items()]
    lost = sum(shown.get(name) != ids for name, ids in slates) + sum(values.get(name) != value for name, value in told)
    counts: Counter[str] = sum((visitor.counts for visitor in visitors), Counter())
    with open_shop(folder, policy="lin-ts") as shop:
        is_the_fold = shop.audit()
    return Soaked(0, len(slates), len(told), lost, twice, counts["repeats"], counts["refused"], 0.0, is_the_fold)


def shown_in(stored: Ledger) -> dict[str, list[str]]:
    """Returns the items that each decision has shown."""
    names = dict[int, str]()
    found = dict[str, list[str]]()
    for record in stored.decisions():
        slots = record.slots[record.action].tolist()
        for slot in slots:
            if slot not in names:
                names[slot] = json.loads(stored.shown(record.decision_id, slot).row)["id"]
        found[record.decision_id] = [names[slot] for slot in slots]
    return found


def told(found: Soaked) -> list[tuple[str, Any]]:
    """Returns the columns of the table."""
    answered = [("kills", found.kills), ("decisions answered", f"{found.decisions:,}"), ("rewards answered", f"{found.rewards:,}")]
    faults = [("lost or other", found.lost), ("taken twice", found.twice), ("calls refused", found.refused)]
    more = [("calls made again", found.repeats), ("ready again within", f"{found.ready:.1f} s")]
    return [*answered, *faults, *more, ("state is the fold of the log", "yes" if found.is_the_fold else "no")]


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
    sys.exit(int(bool(found.lost or found.twice or found.refused or not found.is_the_fold)))


if __name__ == "__main__":
    main()
