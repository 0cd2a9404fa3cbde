"""A shop in a process of its own, to be killed: at any moment, or at a statement that it writes.

Run as `python -m tests.live.process serve|sweep|settle|promote|swap FOLDER`. Every call that was acknowledged is told in a file.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from recsdk import Feedback
from recsdk.ledger.sqlite import SqliteLedger
from recsdk.live.recommender import Recommender
from tests.live.shop import CATALOGUE, TopicTally, crash, open_recommender, request

NUM_STEPS = 6
START, WINDOW = 1_700_000_000.0, 60.0


def open_shop(folder: Path, **options: object) -> Recommender:
    """Opens the shop, which takes a snapshot after every fifth reward; its policy has no kernels, which each process would have to load."""
    parts = {"items": CATALOGUE[:4], "encoder": None, "scorers": ["popularity", TopicTally()], "policy": "disjoint-lin-ts"}
    return open_recommender(folder, **parts | {"snapshot_every": 5} | options)


def open_waiting_shop(folder: Path, now: float) -> Recommender:
    """Opens a shop in which silence earns -0.5 and a click 1, at a time that stands still."""
    return open_shop(folder, feedback=Feedback(window=WINDOW, default=-0.5, signals={"click": 1}), clock=lambda: now)


def step(shop: Recommender, number: int, tell: Callable[..., None]) -> None:
    """Decides, rewards, and now and then changes the catalogue; repeating a step that was begun is no error."""
    slate = shop.recommend(request(number), size=1 + number % 3, candidates=[row["id"] for row in CATALOGUE[:4]], decision_id=f"d{number}")
    tell("decision", number, slate.decision_id, slate.ids, slate.propensities)
    if number % 2:
        shop.reward(f"d{number}", number / 7, item=slate.ids[0], reward_id=f"r{number}")
        tell("rewards", number, {0: number / 7})
    else:
        shop.reward_slate(f"d{number}", {slate.ids[-1]: number / 7}, others=-0.5)
        tell("rewards", number, {**dict.fromkeys(range(len(slate.ids)), -0.5), len(slate.ids) - 1: number / 7})
    if number % 3 == 1:
        if not shop.catalogue.knows(f"new-{number}"):
            shop.add_items([{"id": f"new-{number}", "topic": "new", "price": number}])
        tell("added", number)
    if number % 3 == 2:
        if f"new-{number - 1}" in shop.catalogue:
            shop.remove_items([f"new-{number - 1}"])
        tell("removed", number - 1)


def told(folder: Path) -> list:
    """Returns what was acknowledged; a line that was cut off was not."""
    path = folder / "told"
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []


def teller(folder: Path) -> Callable[..., None]:
    """Returns a function that tells, at once, what was acknowledged."""
    file = os.open(folder / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    return lambda *words: os.write(file, json.dumps(words).encode() + b"\n") and None


def serve(folder: Path, numbers: Iterable[int]) -> None:
    """Opens the shop and takes steps, from the last one on that was told."""
    shop, tell = open_shop(folder), teller(folder)
    for number in numbers:
        step(shop, number, tell)
    shop.close()


def next_step(folder: Path) -> int:
    """Returns the number of the last step that was begun, or 0."""
    return max((words[1] for words in told(folder) if words[0] == "decision"), default=0)


def die_at(place: int, *, after: bool) -> None:
    """Kills this process before the statement of this number, or after the one with which it became durable."""
    write, count = SqliteLedger._write, iter(range(1_000_000))

    def dying(self: SqliteLedger, statement: str, *values: object) -> None:
        durable = statement == "COMMIT" or (not self._db.in_transaction and statement.startswith("INSERT"))
        here = (durable or not after) and next(count) == place
        if here and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, statement, *values)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)

    SqliteLedger._write = dying  # type: ignore[method-assign]


def take_steps(folder: Path, dying: Callable[[], None]) -> None:
    """Makes a shop and takes some steps; any statement may be the last."""
    dying()
    serve(folder, range(NUM_STEPS))


def settle(folder: Path, dying: Callable[[], None]) -> None:
    """Shows three slates of two and hears of one click; then all windows close, and any statement may be the last."""
    shop = open_waiting_shop(folder, START)
    slates = [shop.recommend(request(number), size=2, decision_id=f"d{number}") for number in range(3)]
    shop.signal("click", decision_id="d1", item=slates[1].ids[1])
    crash(shop)
    shop = open_waiting_shop(folder, START + WINDOW + 1)
    dying()
    shop.settle()
    shop.close()


def promote(folder: Path, dying: Callable[[], None]) -> None:
    """Promotes a challenger that is proven; any statement may be the last."""
    from tests.live.test_trials import BETTER, shop_with

    shutil.copytree(folder.parent.parent / "before", folder, dirs_exist_ok=True)
    shop = shop_with(folder, {"new": BETTER}, level=0.5)
    dying()
    shop.promote("new")
    crash(shop)


def swap(folder: Path, dying: Callable[[], None]) -> None:
    """Changes the models of a shop for others; any statement may be the last."""
    from tests.live.test_models import HISTORY, SMALL

    shutil.copytree(folder.parent.parent / "before", folder, dirs_exist_ok=True)
    shop = open_recommender(folder, **SMALL)
    dying()
    shop.swap(history=HISTORY[:2])
    crash(shop)


def sweep(folder: Path, live: Callable[[Path, Callable[[], None]], None]) -> None:
    """Lives in one process after the other, each killed at the next statement, until one is not."""
    for after in (False, True):
        for place in range(1_000_000):
            shop = folder / f"{'after' if after else 'before'}-{place}"
            shop.mkdir()
            child = os.fork()
            if child == 0:
                try:
                    live(shop, partial(die_at, place, after=after))
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if status == 0:
                break
            if status != -signal.SIGKILL:
                raise SystemExit(status)


if __name__ == "__main__":
    what, where = sys.argv[1], Path(sys.argv[2])
    if what == "serve":
        serve(where, range(next_step(where), 1_000_000))
    else:
        sweep(where, {"sweep": take_steps, "settle": settle, "promote": promote, "swap": swap}[what])
