"""A shop that learns what its visitors like, forgets nothing when it is closed, and can say what other policies would have earned."""

import random
import tempfile

import recsdk
from recsdk.base import Array
from recsdk.ope import evaluate

TOPICS = ("news", "sport", "music", "food")
CATALOGUE = [{"id": f"{topic}-{number}", "topic": topic} for topic in TOPICS for number in range(5)]


def same_topic(request: recsdk.Request, candidates: recsdk.Items) -> Array:
    """Is it about what the visitor likes? Any such function is a scorer: the policy learns how far to trust it."""
    return candidates.features["topic"] == request.features["likes"]


def open_shop(folder: str) -> recsdk.Recommender:
    """Makes the shop, or recovers it exactly where it stopped."""
    # The default policy earns more where tastes are less plain; this one's log says more about other policies.
    return recsdk.Recommender.open(folder, items=CATALOGUE, scorers=["popularity", same_topic], policy="lin-ts", log_features="all")


def serve(shop: recsdk.Recommender, num_visits: int) -> int:
    """Returns the number of clicks: 40 % of what is liked is clicked, 5 % of the rest."""
    visitors, clicks = random.Random(num_visits), 0
    for _ in range(num_visits):
        likes = visitors.choice(TOPICS)
        shown = shop.recommend({"likes": likes})
        click = visitors.random() < (0.4 if shown.ids[0].startswith(likes) else 0.05)
        shop.reward(shown.decision_id, float(click))
        clicks += click
    return clicks


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with open_shop(folder) as shop:
            first = serve(shop, 400)
        with open_shop(folder) as shop:
            print(f"after closing and opening again, {shop.num_learned} rewards are known")
            later = serve(shop, 1600)
        print(f"clicks per visit: {first / 400:.1%} over the first 400, {later / 1600:.1%} over the rest; blind guessing gets 13.75 %")

        log = recsdk.read_ledger(folder)
        for policy in (recsdk.LinUCB(), recsdk.EpsilonGreedy(epsilon=0.5)):
            found = evaluate(log, policy, learn_from="all")
            value = found.estimates["dr"]
            print(
                f"{type(policy).__name__:>13} would have earned {value.value:.3f}, in [{value.low:.3f}, {value.high:.3f}] ({found.verdict})"
            )


if __name__ == "__main__":
    main()
