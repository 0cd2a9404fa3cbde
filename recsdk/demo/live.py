"""The demo's live loop, which also runs in a process of its own so that it can be killed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from recsdk.demo.world import EXAMINED, Shop
from recsdk.live.recommender import Recommender
from recsdk.policies.drift import Discounted
from recsdk.policies.linear import LinTS
from recsdk.scorers.popularity import Popularity

HALF_DAY = 43_200.0
POPULARITY = Popularity(half_life=HALF_DAY)  # short, so that it notices the season
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
        policy=Discounted(policy=LinTS(), discount=0.9995),  # seasons turn: what is 2,000 rewards old counts for a third
        history=() if (folder / "ledger.sqlite").exists() else shop.history(),
        num_candidates=NUM_CANDIDATES,
        log_features="all",
        snapshot_every=5_000,
        clock=clock,
    )


def open_baseline(folder: Path, shop: Shop, policy: Any, clock: Clock) -> Recommender:
    """Opens a recommender without an encoder, for comparison."""
    clock.now = shop.time(0)
    return Recommender.open(
        folder, items=shop.items(), scorers=[POPULARITY], policy=policy, history=shop.history(), num_candidates=shop.num_items,
        floor=0, clock=clock,
    )  # fmt: skip


def serve(recommender: Recommender, shop: Shop, visits: Iterable[int], clock: Clock, done: Callable[[int], None]) -> np.ndarray:
    """Serves visits one by one: recommend, see what the visitor does, learn.

    Returns:
        f64[visits], the reward of each slate.
    """
    rewards = []
    for visit in visits:
        clock.now = shop.time(visit)
        slate = recommender.recommend(shop.request(visit), size=len(EXAMINED), decision_id=f"visit-{visit}")
        outcome = shop.rewards(visit, slate.ids)
        recommender.reward_slate(slate.decision_id, outcome)
        rewards.append(sum(outcome.values()))
        done(visit)
    return np.array(rewards)


def serve_aloud(folder: str, num_visits: int) -> None:
    """Serves every visit from the first, and prints the number of each once it is acknowledged."""
    shop, clock = Shop(num_visits=num_visits), Clock()
    with open_learner(Path(folder), shop, clock) as recommender:
        serve(recommender, shop, range(num_visits), clock, lambda visit: print(visit, flush=True))
