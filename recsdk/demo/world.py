"""A simulated shop with known truth: who likes what, how far down the page people look, which categories are in season."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from recsdk.checks import integer

CATEGORIES = ("shoes", "coats", "books", "games", "tea", "lamps", "bikes", "plants")
STYLES = ("classic", "bold", "plain", "vintage", "sporty")
EXAMINED = (1.0, 0.6, 0.4)
"""Position bias: how likely a visitor is to look at each position of a slate."""
CLICK, PURCHASE = 0.2, 0.8
"""The rewards: 0.2 for a click, and 0.8 more for a purchase."""
SEASON = 0.9
"""How much the season adds to a category's log-odds of a click, or takes from it."""
START = 1_700_000_000.0


@attrs.frozen(kw_only=True)
class Shop:
    """Visitors, items and their affinities; every visit is a function of the seed and its number.

    Attributes:
        num_visits: length of the live loop. At half of it the season turns: the categories that were in demand no longer are, and the
            others are. Demand as a whole stays about the same.
        num_history: visits before it, on which the encoder is trained.
    """

    num_visits: int = attrs.field(default=15_000, validator=integer(at_least=1))
    num_history: int = attrs.field(default=20_000, validator=integer(at_least=1))
    num_users: int = attrs.field(default=600, validator=integer(at_least=1))
    num_items: int = attrs.field(default=160, validator=integer(at_least=1))
    seed: int = 7
    _truth: dict[str, np.ndarray] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        taste = rng.gumbel(size=(self.num_users, len(CATEGORIES)))
        style = rng.standard_normal((self.num_users, len(STYLES)))
        category = rng.integers(len(CATEGORIES), size=self.num_items)
        styles = rng.random((self.num_items, len(STYLES))) < 0.35
        visits = self.num_history + self.num_visits
        truth = {
            "taste": taste,
            "category": category,
            "styles": styles,
            "price": np.exp(rng.normal(3.0, 0.7, self.num_items)),
            "affinity": 0.75 * taste[:, category] + 0.5 * style @ styles.T + 0.5 * rng.standard_normal(self.num_items),
            "season": SEASON * rng.permutation(np.resize((-1.0, 1.0), len(CATEGORIES))),
            "user": rng.integers(self.num_users, size=visits),
            "click": rng.random((visits, self.num_items)),
            "look": rng.random((visits, len(EXAMINED))),
            "buy": rng.random((visits, self.num_items)),
        }
        object.__setattr__(self, "_truth", truth)

    @property
    def turn(self) -> int:
        """The first visit of the second season."""
        return self.num_visits // 2

    def items(self) -> list[dict[str, Any]]:
        """Returns the catalogue as the application knows it: no affinities, no qualities."""
        truth = self._truth
        return [
            {
                "id": f"item-{index}",
                "category": CATEGORIES[truth["category"][index]],
                "styles": [style for style, has in zip(STYLES, truth["styles"][index], strict=True) if has],
                "price": round(float(truth["price"][index]), 2),
                "added": START - 86_400.0 * (index % 60),
            }
            for index in range(self.num_items)
        ]

    def request(self, visit: int) -> dict[str, Any]:
        """Returns what the application knows of a visit; negative numbers are the history's."""
        user = int(self._user(visit))
        favourite = CATEGORIES[int(self._truth["taste"][user].argmax())]
        return {"user_id": f"user-{user}", "device": ("phone", "desktop")[user % 2], "signed_up_for": favourite if user % 3 else "nothing"}

    def time(self, visit: int) -> float:
        """Returns when a visit happens, seconds since the epoch: one every half minute."""
        return START + 30.0 * visit

    def mean(self, visit: int, position: int = 0) -> np.ndarray:
        """Returns f64[N], the expected reward of every item, shown at `position` in a visit: the truth."""
        click = EXAMINED[position] * self._click_rate(visit)
        return click * (CLICK + PURCHASE * self._purchase_rate())

    def rewards(self, visit: int, shown: Sequence[str]) -> dict[str, float]:
        """Returns what the visitor does with a slate: the reward of each shown item that got one."""
        truth, row = self._truth, visit + self.num_history
        rates, buys = self._click_rate(visit), self._purchase_rate()
        rewards = {}
        for position, item_id in enumerate(shown):
            item = int(item_id.removeprefix("item-"))
            if truth["look"][row, position] < EXAMINED[position] and truth["click"][row, item] < rates[item]:
                rewards[item_id] = CLICK + PURCHASE * float(truth["buy"][row, item] < buys[item])
        return rewards

    def history(self) -> list[dict[str, Any]]:
        """Returns what happened before: visitors were shown one item, more often an expensive one, and clicked or did not."""
        rng = np.random.default_rng(self.seed + 1)
        weights = self._truth["price"] ** 0.5
        shown = rng.choice(self.num_items, self.num_history, p=weights / weights.sum())
        rows = []
        for visit, item in zip(range(-self.num_history, 0), shown.tolist(), strict=True):
            reward = self.rewards(visit, [f"item-{item}"]).get(f"item-{item}", 0.0)
            rows.append({**self.request(visit), "item": f"item-{item}", "time": self.time(visit), "reward": reward})
        return rows

    def _user(self, visit: int) -> int:
        return int(self._truth["user"][visit + self.num_history])

    def _click_rate(self, visit: int) -> np.ndarray:
        season = self._truth["season"][self._truth["category"]]
        affinity = self._truth["affinity"][self._user(visit)] + (-season if visit >= self.turn else season)
        return 1 / (1 + np.exp(2.6 - affinity))  # type: ignore[no-any-return]

    def _purchase_rate(self) -> np.ndarray:
        return 1 / (1 + np.exp(0.5 + 0.8 * (np.log(self._truth["price"]) - 3)))  # type: ignore[no-any-return]
