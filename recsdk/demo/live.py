"""The demo's live loop, which can run in a process of its own and be killed there, and the two policies it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.demo.world import EXAMINED, Shop
from recsdk.live.recommender import Recommender
from recsdk.policies.drift import Discounted
from recsdk.policies.linear import LinTS
from recsdk.scorers.popularity import Popularity

HALF_DAY = 43_200.0
POPULARITY = Popularity(half_life=HALF_DAY)  # short, so that it follows the season
NUM_CANDIDATES = 20


class Clock:
    """The shop's time, set by the visit."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Returns seconds since the epoch."""
        return self.now


def open_learner(folder: Path, shop: Shop, clock: Clock) -> Recommender:
    """Opens the recommender that learns; the first time it trains the encoder on the shop's history."""
    from recsdk.encoders.two_tower import TwoTower

    clock.now = shop.time(0)
    return Recommender.open(
        folder,
        items=shop.items(),
        encoder=TwoTower(dim=16),
        scorers=[POPULARITY, "recency", "item-knn"],
        policy=Discounted(policy=LinTS(), discount=0.9995),  # the season turns: a reward 2,000 rewards ago counts a third
        history=() if (folder / "ledger.sqlite").exists() else shop.history(),
        num_candidates=NUM_CANDIDATES,
        log_features="all",
        snapshot_every=5_000,
        clock=clock,
    )


def serve(recommender: Recommender, shop: Shop, visits: Iterable[int], clock: Clock, done: Callable[[int], None]) -> None:
    """Serves visits one by one: recommends, sees what the visitor does, learns."""
    for visit in visits:
        clock.now = shop.time(visit)
        slate = recommender.recommend(shop.request(visit), size=len(EXAMINED), decision_id=f"visit-{visit}")
        recommender.reward_slate(slate.decision_id, shop.rewards(visit, slate.ids))
        done(visit)


def play_most_popular(shop: Shop, done: Callable[[int], None]) -> np.ndarray:
    """Shows every visitor the items that have earned most lately. A baseline: it keeps no ledger.

    Returns:
        f64[visits], what the item at the top earned.
    """
    items = items_from_rows(shop.items())
    state = POPULARITY.fit(events_from_rows(items, shop.history()))
    earned = np.zeros(shop.num_visits)
    for visit in range(shop.num_visits):
        request = Request(shop.request(visit), shop.time(visit))
        order = np.argsort(-POPULARITY.score(state, request, items)[:, 0], kind="stable")[: len(EXAMINED)]
        outcome = shop.rewards(visit, items.ids[order].tolist())
        for place in order:
            state = POPULARITY.update(state, request, take(items, [place]), outcome.get(items.ids[place], 0.0))
        earned[visit] = outcome.get(items.ids[order[0]], 0.0)
        done(visit)
    return earned


def play_uniform(shop: Shop, done: Callable[[int], None], *, seed: int = 0) -> np.ndarray:
    """Shows every visitor items drawn uniformly at random, for comparison.

    Returns:
        f64[visits], what the item at the top earned.
    """
    top = np.random.default_rng(seed).integers(shop.num_items, size=shop.num_visits).tolist()
    earned = np.zeros(shop.num_visits)
    for visit, item in enumerate(top):
        earned[visit] = shop.rewards(visit, [f"item-{item}"]).get(f"item-{item}", 0.0)
        done(visit)
    return earned


def serve_aloud(folder: str, num_visits: int) -> None:
    """Serves every visit from the first, and prints the number of each once it is acknowledged."""
    shop, clock = Shop(num_visits=num_visits), Clock()
    with open_learner(Path(folder), shop, clock) as recommender:
        serve(recommender, shop, range(num_visits), clock, lambda visit: print(visit, flush=True))
