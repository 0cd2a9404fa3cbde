"""Vowpal Wabbit in the live loop: its explorations are policies like any other, found by name once recsdk-vw is installed."""

import random
import sys
import tempfile
from typing import Any

import recsdk
from recsdk import plugins
from recsdk.base import Array

TOPICS = ("news", "sport", "music", "food")
CATALOGUE = [{"id": f"{topic}-{number}", "topic": topic} for topic in TOPICS for number in range(5)]


def same_topic(request: recsdk.Request, candidates: recsdk.Items) -> Array:
    return candidates.features["topic"] == request.features["likes"]


def open_shop(folder: str, policy: Any) -> recsdk.Recommender:
    return recsdk.Recommender.open(folder, items=CATALOGUE, scorers=["popularity", same_topic], policy=policy)


def serve(shop: recsdk.Recommender, visitors: random.Random, num_visits: int) -> int:
    """Returns the number of clicks: 40 % of what is liked is clicked, 5 % of the rest."""
    clicks = 0
    for _ in range(num_visits):
        likes = visitors.choice(TOPICS)
        shown = shop.recommend({"likes": likes})
        click = visitors.random() < (0.4 if shown.ids[0].startswith(likes) else 0.05)
        shop.reward(shown.decision_id, float(click))
        clicks += click
    return clicks


def main() -> None:
    names = [plugin.name for plugin in plugins.installed("policies")]
    if "vw-squarecb" not in names:
        sys.exit("recsdk-vw is not installed: pip install ./plugins/recsdk-vw")
    squarecb = plugins.load("policies", "vw-squarecb", gamma_scale=100.0)  # a name with other hyper-parameters than its own
    for policy in ("lin-ts", "vw-epsilon", "vw-bag", squarecb):
        visitors = random.Random(0)
        with tempfile.TemporaryDirectory() as folder:
            with open_shop(folder, policy) as shop:
                first = serve(shop, visitors, 500)
            with open_shop(folder, policy) as shop:  # Vowpal Wabbit's model comes back from the ledger, exactly
                later = serve(shop, visitors, 500)
        name = policy if isinstance(policy, str) else f"{type(policy).__name__} {policy.exploration}"
        print(f"{name:12} clicks per visit: {first / 500:.1%} over the first 500, {later / 500:.1%} over the next")


if __name__ == "__main__":
    main()
