"""The law that a policy works in the live loop, where rewards come twice and processes stop."""

from __future__ import annotations

import tempfile
from typing import Any, ClassVar

import attrs
import numpy as np

from recsdk.base import Events, Items, Policy, Request
from recsdk.errors import InvalidValue, RewardConflict
from recsdk.live.recommender import Recommender
from recsdk.testing import states
from recsdk.testing.inputs import DIM
from recsdk.testing.states import name

NUM_ITEMS = 12
NUM_DECISIONS = 6


@attrs.frozen(kw_only=True)
class Sizes:
    """Scores a candidate by powers of its size: with the constant, as many features as the other laws have."""

    columns: ClassVar[tuple[str, ...]] = tuple(f"size^{power}" for power in range(1, DIM))

    def init(self) -> tuple[()]:
        """Returns nothing: there is nothing to learn."""
        return ()

    def fit(self, log: Events) -> tuple[()]:
        """Learns nothing."""
        del log
        return ()

    def score(self, state: tuple[()], request: Request, candidates: Items) -> np.ndarray:
        """Returns f32[K, 4]."""
        del state, request
        return (candidates.features["size"][:, None] ** np.arange(1, DIM)).astype(np.float32)


def check_live(policy: Policy[Any]) -> None:
    """Behind a `Recommender` a reward that comes twice counts once, a second one for an item is refused, and the folder has the state."""
    policy = states.on_numpy(policy)
    with tempfile.TemporaryDirectory() as folder:
        with _opened(policy, folder) as shop:
            for number in range(NUM_DECISIONS):
                decision_id = shop.recommend({}).decision_id
                shop.reward(decision_id, float(number % 2), reward_id=f"reward-{number}")
            kept = states.dumps(policy, shop._loop.learner.state)
            was_new = shop.reward(decision_id, float(number % 2), reward_id=f"reward-{number}")
            _assert_as_before(policy, shop, kept, "after the same reward came twice")
            assert not was_new, f"live: {name(policy)}: a reward that came twice must be told as known, got True for the second"
            try:
                shop.reward(decision_id, 1.0, reward_id="another")
            except RewardConflict:
                pass
            else:
                raise AssertionError(f"live: {name(policy)}: a second reward for one shown item must raise RewardConflict, it was accepted")
            _assert_as_before(policy, shop, kept, "after a second reward for one item")
        with _opened(policy, folder) as shop:
            _assert_as_before(policy, shop, kept, "after the folder was closed and opened again")


def _opened(policy: Policy[Any], folder: str) -> Recommender:
    items = [{"id": f"item-{number}", "size": number / NUM_ITEMS} for number in range(NUM_ITEMS)]
    try:
        return Recommender.open(folder, items=items, scorers=[Sizes()], policy=policy, floor=0.0)
    except InvalidValue as error:
        raise AssertionError(f"live: {name(policy)} must be a policy that a `Recommender` takes: {error}") from error


def _assert_as_before(policy: Policy[Any], shop: Recommender, kept: bytes, when: str) -> None:
    before = states.loads(policy, DIM, kept)
    difference = states.difference(policy, shop._loop.learner.state, before, DIM)
    assert shop.num_learned == NUM_DECISIONS, f"live: {name(policy)} {when} must have learned {NUM_DECISIONS}, got {shop.num_learned}"
    assert not difference, f"live: {name(policy)} {when}: the state must be as before, but {difference}"
    states.close(policy, before)
