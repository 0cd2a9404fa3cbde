"""What a swap of the encoder earns: the log is folded again in the new space, and without that what was learned misleads."""

import attrs
import numpy as np

import recsdk
from recsdk.live.learner import Learner

DIM, NUM_ITEMS = 4, 12
WORTH = np.array([1.0, -1.0, 1.0, -1.0])
"""By axis, what the product of a user's and an item's vector is worth: two axes are other than an encoder believes."""
USERS, ITEMS = np.random.default_rng(0).choice([-0.5, 0.5], (40, DIM)), np.random.default_rng(1).choice([-0.5, 0.5], (NUM_ITEMS, DIM))


@attrs.frozen(kw_only=True)
class Turned:
    """An encoder whose axes are numbered from another one on: all inner products are the same."""

    turn: int
    dim: int = DIM

    def init(self):
        return np.zeros(1)

    def fit(self, log, *, state=None, seed=0):
        return np.full(1, self.turn, np.float64)

    def encode_requests(self, state, requests):
        return np.roll(USERS[requests["who"].astype(int)], self.turn, axis=1).astype(np.float32)

    def encode_items(self, state, items):
        return np.roll(ITEMS[[int(name) for name in items.ids]], self.turn, axis=1).astype(np.float32)


def worth(who, item):
    return float(USERS[who] * ITEMS[item] @ WORTH)


def earned(shop):
    """Returns the mean worth of what 40 users are shown, who give no rewards."""
    slates = shop.recommend_many([{"request": {"who": float(who)}} for who in range(40)])
    return np.mean([worth(who, int(slate.ids[0])) for who, slate in enumerate(slates)])


def swapped(folder):
    """Returns what is earned before a swap to an encoder with other axes, and after it."""
    parts = {"items": [{"id": str(n)} for n in range(NUM_ITEMS)], "policy": recsdk.LinTS(scale=0.05), "floor": 0.01}
    history = [{"item": "0", "time": 0.0, "who": 0.0}]
    with recsdk.Recommender.open(folder, encoder=Turned(turn=0), history=history, **parts) as shop:
        for number in range(120):
            shown = shop.recommend({"who": float(number % 40)})
            shop.reward(shown.decision_id, worth(number % 40, int(shown.ids[0])))
        before = earned(shop)
        shop.swap(encoder=Turned(turn=1), history=history)
        return before, earned(shop)


def test_after_a_swap_to_other_axes_as_much_is_earned_as_before(tmp_path):
    before, after = swapped(tmp_path)
    assert before > 0.6
    assert after > 0.6


def test_a_swap_that_kept_the_weights_of_the_old_axes_would_lose_the_reward(tmp_path, monkeypatch):
    monkeypatch.setattr(Learner, "_in_present_layout", lambda self, record: record)
    monkeypatch.setattr(Learner, "_in_present_columns", lambda self, fields: fields)
    before, after = swapped(tmp_path)
    assert before > 0.6
    assert after < 0
