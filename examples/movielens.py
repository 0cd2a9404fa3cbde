"""MovieLens 100K as a stream: a two-tower model is fitted to the past, and the live loop recommends and learns on what came after.

In each round a user is offered ten films that the user rated later, so what every choice earns is known: 1 for a rating of 4 or 5.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import recsdk
from recsdk.datasets import read_movielens
from recsdk.encoders.two_tower import TwoTower

SHARED = Path(os.environ.get("RECSDK_SHARED", Path(__file__).parents[2] / "shared"))
SCORERS = ("popularity", "item-knn")
ENCODER = TwoTower(dim=16, epochs=2, user_features=("user_id", "age", "gender", "occupation"))


def part(events: recsdk.Events, rows: slice) -> recsdk.Events:
    requests = {name: column[rows] for name, column in events.requests.items()}
    return events._replace(requests=requests, item=events.item[rows], reward=events.reward[rows], time=events.time[rows])


def offers(events: recsdk.Events) -> list[np.ndarray]:
    """Returns the rows of each round, ten of one user's, in order of time; each rating is offered once."""
    users = events.requests["user_id"]
    own = [np.flatnonzero(users == user) for user in dict.fromkeys(users)]
    return sorted((rows[start : start + 10] for rows in own for start in range(0, len(rows) - 9, 10)), key=lambda rows: rows[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, default=SHARED / "data" / "ml-100k", help="folder with ml-100k.inter, .item and .user")
    path = parser.parse_args().path
    if not (path / "ml-100k.inter").is_file():
        sys.exit(f"There is no ml-100k.inter in {path}: give the folder of MovieLens 100K in RecBole's atomic files by --path.")
    items, events = read_movielens(path)
    events = events._replace(reward=(events.reward >= 4).astype(float))
    past, later = part(events, slice(60_000, 90_000)), part(events, slice(90_000, None))
    chosen, now = [], [later.time[0]]
    with (
        tempfile.TemporaryDirectory() as folder,
        recsdk.Recommender.open(folder, items=items, encoder=ENCODER, scorers=SCORERS, history=past, clock=lambda: now[0]) as cinema,
    ):
        for rows in offers(later):
            now[0] = later.time[rows[-1]]
            reward = dict(zip(items.ids[later.item[rows]].tolist(), later.reward[rows].tolist(), strict=True))
            shown = cinema.recommend({name: column[rows[0]] for name, column in later.requests.items()}, candidates=list(reward))
            cinema.reward(shown.decision_id, reward[shown.ids[0]])
            chosen.append(reward[shown.ids[0]])
    print(f"{len(chosen)} rounds of 10 films each, in order of time")
    print(f"liked: {np.mean(chosen):.1%} of what was recommended, {later.reward[offers(later)].mean():.1%} of what was on offer")


if __name__ == "__main__":
    main()
