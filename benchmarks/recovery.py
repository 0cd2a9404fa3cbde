"""How long it takes to learn a whole log again, beside the arithmetic alone: `python benchmarks/recovery.py`, half a minute.

lin-ts with 64 features and a scorer that learns online, with the extra `fast` where it is installed, and without. By hand, arrays in
memory are folded by NumPy; nothing is read or checked. Seconds are those of a core, so that others on the machine count little.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import command
import loop_contestants
import numpy as np
import report
import timing

import recsdk
from recsdk import fast
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.reproduce import reproduce

NUM_ITEMS, NUM_DRAWN = 1_000, 1_000
HAND, OPEN, AUDIT, AGAIN = "by hand, of arrays", "open without a snapshot", "audit", "reproduce"
SCORERS = [loop_contestants.cheapness, loop_contestants.closeness, "popularity"]


def open_shop(folder: Path, **options: Any) -> recsdk.Recommender:
    """Opens a recommender whose third scorer learns online."""
    return loop_contestants.open_shop(folder, policy="lin-ts", scorers=SCORERS, **options)


def make(folder: Path, num_rewards: int) -> None:
    """Makes a folder with so many rewards and no snapshot. After the first thousand, decisions are those again under other names."""
    num_drawn = min(NUM_DRAWN, num_rewards)
    now, visits = time.time(), loop_contestants.requests(7)
    history = [{"item": "0", "user_id": "0", "age": 0.5, "time": now - 3600}]
    with open_shop(folder, items=loop_contestants.rows(NUM_ITEMS, now), history=history) as shop:
        for number, request in enumerate(itertools.islice(visits, num_drawn)):
            shop.reward(shop.recommend(request).decision_id, float(number % 10 == 0))
    ledger = Sqlite().open(folder)
    outcomes = list(ledger.outcomes())
    with ledger.transaction():
        for number in range(num_drawn, num_rewards):
            reward, record = outcomes[number % num_drawn]
            name = f"{record.decision_id}/{number}"
            ledger.add_decision(record._replace(decision_id=name))
            ledger.add_reward(reward._replace(decision_id=name, reward_id=f"{name}/0"))
        ledger.put("snapshot/header", b"{}")
    ledger.close()


class ByHand:
    """The same fold by NumPy alone: the ridge regression of lin-ts, and the decayed sums of rewards of popularity."""

    def __init__(self, folder: Path) -> None:
        ledger = Sqlite().read(folder)
        outcomes = list(ledger.outcomes())
        ledger.close()
        self.x = np.array([record.features[0] for _, record in outcomes], np.float64)
        self.value = [reward.value for reward, _ in outcomes]
        self.slot = [int(record.slots[record.action[0]]) for _, record in outcomes]
        self.time = [record.time for _, record in outcomes]
        self.mean = np.zeros(0)

    def __call__(self) -> None:
        """Folds from the start."""
        learner, sums, reference = loop_contestants.ByHand(0, None, None), np.zeros(NUM_ITEMS), self.time[0]
        for x, value, slot, moment in zip(self.x, self.value, self.slot, self.time, strict=True):
            learner.learn(x, value)
            sums[slot] += value * 2.0 ** ((moment - reference) / loop_contestants.WEEK)
            np.abs(sums).sum()
        self.mean = learner.mean


def measure(num_rewards: int, rounds: int) -> list[dict[str, Any]]:
    """Lets all take turns, and returns a row for each."""
    with tempfile.TemporaryDirectory() as given:
        folder, copies = Path(given), itertools.count()
        make(folder / "made", num_rewards)
        by_hand, opened = ByHand(folder / "made"), list[recsdk.Recommender]()

        def again() -> None:
            opened.append(open_shop(folder / f"{next(copies)}"))

        def audit() -> None:
            assert opened[-1].audit()  # noqa: S101 -- else it was no recovery

        runs: dict[str, Callable[[], object]] = {
            HAND: by_hand, OPEN: again, AUDIT: audit,
            AGAIN: lambda: reproduce(folder / "made", scorers=SCORERS, encoder=loop_contestants.Numbered()),
        }  # fmt: skip
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(rounds):
            shutil.copytree(folder / "made", folder / f"{number}")
            for name, run in runs.items():
                start = time.process_time()
                run()
                taken[name].append(time.process_time() - start)
            state = opened[-1]._loop.learner.state
            assert np.allclose(state.mean, by_hand.mean), "they have learned different things"  # noqa: S101
            opened.pop().close()
    return [
        {
            "contestant": name,
            "fast": fast.enabled(),
            "num_rewards": num_rewards,
            **timing.quartiles([1e6 * value / num_rewards for value in seconds])._asdict(),
            "ratio": timing.ratio(seconds, taken[HAND]),
        }
        for name, seconds in taken.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row for each, and returns the exit code."""
    machine = report.machine(("recsdk", "numpy", "numba"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rewards", type=int, default=10_000, help="how many, such as 100000")
    parser.add_argument("--rounds", type=int, default=3, help="at least 2")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table, of this process alone")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 2:
        parser.error(f"--rounds must be at least 2, got {chosen.rounds}")
    rows = measure(chosen.rewards, chosen.rounds)
    if chosen.json:
        print(json.dumps({"machine": machine, "rows": rows}, indent=1))
        return 0
    if fast.enabled():
        rows += _without(chosen.rewards, chosen.rounds)
    titles = [f"{chosen.rewards:,} rewards", "`fast`", "µs each", "s per 100,000", "of by hand"]
    table = "\n".join([report.described(machine), "", *report.header(titles, left=2), *map(_line, rows)])
    print(table)
    if chosen.write:
        report.write(command.DOCS, "recovery", table)
    return 0


def _without(num_rewards: int, rounds: int) -> list[dict[str, Any]]:
    """Measures in a process without the extra."""
    told = [sys.executable, __file__, "--json", "--rewards", str(num_rewards), "--rounds", str(rounds)]
    ended = subprocess.run(told, env={**os.environ, "RECSDK_FAST": "0"}, check=True, capture_output=True, text=True)  # noqa: S603
    found: list[dict[str, Any]] = json.loads(ended.stdout)["rows"]
    return found


def _line(row: dict[str, Any]) -> str:
    low, median, high = (report.rounded(row[name]) for name in ("low", "median", "high"))
    seconds, is_fast = report.rounded(row["median"] / 10), "no" if not row["fast"] or row["contestant"] == HAND else "yes"
    return report.line([row["contestant"], is_fast, f"{median} ({low} to {high})", seconds, report.rounded(row["ratio"])])


if __name__ == "__main__":
    sys.exit(main())
