"""A scorer: evidence about candidates. Here, how near a price is to what people pay; the policy learns how far to trust it."""

import random
import tempfile
from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk import Events, Items, LinTS, Recommender, Request, read_ledger, replay
from recsdk.live import features


class Paid(NamedTuple):
    """The mean logarithm of the prices that were paid, f64[], and their number, f64[]."""

    level: Any
    count: Any


@attrs.frozen(kw_only=True)
class NearPrice:
    """Scores an item by how near its price is to the usual one: 1 at it, 0.5 at twice or half of it."""

    columns: ClassVar[tuple[str, ...]] = ("near_price",)

    def init(self) -> Paid:
        return Paid(np.zeros(()), np.zeros(()))

    def fit(self, log: Events) -> Paid:
        """Learns from what happened before; an empty log must do."""
        paid = np.log2(log.items.features["price"][log.item[log.reward > 0]]) if len(log.item) else np.empty(0)
        return Paid(np.asarray(paid.mean()), np.asarray(float(len(paid)))) if len(paid) else self.init()

    def score(self, state: Paid, request: Request, candidates: Items) -> np.ndarray:
        return np.exp2(-np.abs(np.log2(candidates.features["price"]) - state.level)).astype(np.float32)[:, None]

    def update(self, state: Paid, request: Request, item: Items, reward: float) -> Paid:
        """Learns from a reward of the live loop; a scorer may do without."""
        step = (reward > 0) * (np.log2(item.features["price"][0]) - state.level) / (state.count + 1)
        return Paid(np.asarray(state.level + step), np.asarray(state.count + (reward > 0)))


def main() -> None:
    shoppers, goods = random.Random(0), [{"id": f"shoe-{price}", "price": price} for price in range(20, 260, 10)]
    sales = [{"item": f"shoe-{shoppers.choice([80, 90, 100, 110, 120, 200])}", "time": 0} for _ in range(50)]
    folder = tempfile.mkdtemp()
    with Recommender.open(folder, items=goods, scorers=[NearPrice(), "recency"], history=sales, log_features="all") as shop:
        for _ in range(600):
            shown = shop.recommend({})
            chance = 0.6 if 80 <= int(shown.ids[0].removeprefix("shoe-")) <= 120 else 0.05
            shop.reward(shown.decision_id, float(shoppers.random() < chance))
    log = read_ledger(folder)
    print(f"sold: {log.reward[:100].mean():.0%} of the first 100 shown, {log.reward[-100:].mean():.0%} of the last 100")
    weights = replay(LinTS(), log, engine="numpy").state.mean.round(2)  # the state is a fold over the log
    print("what the policy makes of them:", dict(zip(features.names(["near_price", "recency"], 0), weights.tolist(), strict=True)))


if __name__ == "__main__":
    main()
