"""Measures what a decision takes on the disk: `python benchmarks/disk.py`, some seconds.

One row for a policy, a number of candidates K and of shown items L. A third of the decisions is rewarded. All files of the closed folder
count, less what they had before the first decision.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import recsdk

CASES = [(policy, k, size) for policy in ("lin-ts", "boltzmann") for k in (20, 100, 500) for size in (1, 5)]
PARTS = {"scorers": ["popularity"], "snapshot_every": 1_000_000_000}
OWN = 1_000
"""More candidates than any case has, so that those of two decisions differ."""


class Measured(NamedTuple):
    """What a decision takes.

    Attributes:
        policy: its name.
        num_candidates: K.
        size: L, of the slate.
        num_bytes: of one decision with its share of the rewards and of the indices.
    """

    policy: str
    num_candidates: int
    size: int
    num_bytes: float


def limit(num_candidates: int) -> float:
    """Returns how many bytes a decision that shows one item may take."""
    return 400 + 12 * num_candidates


def measure(folder: Path, policy: str, num_candidates: int, size: int, *, num_decisions: int, num_trained: int = 0) -> Measured:
    """Returns what a decision takes in a folder that is made.

    Args:
        folder: is not there.
        policy: by name.
        num_candidates: K.
        size: L.
        num_decisions: how many are measured.
        num_trained: how many are made and rewarded before, so that the probabilities are not those of a policy that knows nothing.
    """
    items = [{"id": f"item-{number}", "price": float(number % 7)} for number in range(2 * OWN)]
    _serve(folder, {**PARTS, "items": items, "policy": policy, "num_candidates": num_candidates}, size, num_trained)
    before = _size(folder)
    _serve(folder, {**PARTS, "policy": policy, "num_candidates": num_candidates}, size, num_decisions)
    return Measured(policy, num_candidates, size, (_size(folder) - before) / num_decisions)


def _serve(folder: Path, options: dict[str, object], size: int, num_decisions: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with recsdk.Recommender.open(folder, **options) as shop:  # type: ignore[arg-type]
            for number in range(num_decisions):
                slate = shop.recommend({"user_id": f"user-{number % 50}", "device": "phone"}, size=size)
                if number % 3 == 0:
                    shop.reward(slate.decision_id, float(number % 2), item=slate.ids[0])


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each case, and fails when one that shows a single item is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for policy, num_candidates, size in CASES:
            shop = Path(folder) / "shop"
            found.append(measure(shop, policy, num_candidates, size, num_decisions=1_000, num_trained=300))
            shutil.rmtree(shop)
    if chosen.json:
        print(json.dumps([one._asdict() for one in found]))
    else:
        print(f"{'policy':10} {'K':>5} {'L':>3} {'bytes':>8} {'400 + 12 K':>11}")
        for one in found:
            print(f"{one.policy:10} {one.num_candidates:5} {one.size:3} {one.num_bytes:8,.0f} {limit(one.num_candidates):11,.0f}")
    sys.exit(any(one.num_bytes > limit(one.num_candidates) for one in found if one.size == 1))


if __name__ == "__main__":
    main()
