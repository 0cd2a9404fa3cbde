"""A classification set made a bandit log: only the chosen class's reward is kept, so every estimate can be held against the truth.

The log is of an old classifier with a floor of exploration, the target is a better one. Everything is made here.
"""

import numpy as np

import recsdk
from recsdk import ope

NUM_CLASSES, DIM, NUM_ROUNDS, FLOOR = 5, 10, 20_000, 0.2


def classes(num_rows: int, random: np.random.Generator, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draws rows f64[N, d + 1] that end with 1, and their labels."""
    labels = random.integers(NUM_CLASSES, size=num_rows)
    return np.column_stack([centres[labels] + 2.0 * random.standard_normal((num_rows, DIM)), np.ones(num_rows)]), labels


def classifier(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns f64[d + 1, K], by least squares."""
    weights: np.ndarray = np.linalg.lstsq(rows, np.eye(NUM_CLASSES)[labels], rcond=None)[0]
    return weights


def main() -> None:
    random = np.random.default_rng(0)
    centres = random.standard_normal((NUM_CLASSES, DIM))
    old, new = (classifier(*classes(size, random, centres)) for size in (60, 5_000))
    rows, labels = classes(NUM_ROUNDS, random, centres)

    def greedy(weights: np.ndarray) -> np.ndarray:
        predicted: np.ndarray = np.eye(NUM_CLASSES)[(rows @ weights).argmax(1)]
        return predicted

    logger = (1 - FLOOR) * greedy(old) + FLOOR / NUM_CLASSES
    action = (random.random((NUM_ROUNDS, 1)) > logger.cumsum(1)).sum(1)
    features = np.einsum("ab,td->tabd", np.eye(NUM_CLASSES), rows).reshape(NUM_ROUNDS, NUM_CLASSES, -1)
    context = recsdk.Context(features, np.ones(logger.shape, np.bool_), np.tile(np.arange(NUM_CLASSES), (NUM_ROUNDS, 1)))
    log = recsdk.Interaction(context, action, (action == labels).astype(float), logger[np.arange(NUM_ROUNDS), action], np.ones(NUM_ROUNDS))

    print(f"the logger was right in {log.reward.mean():.1%} of {NUM_ROUNDS:,} rounds")
    target = greedy(new)
    truth = target[np.arange(NUM_ROUNDS), labels].mean()
    found = ope.evaluate(log, target, estimators=("dm", "ips", "snips", "dr"))
    for name, each in found.estimates.items():
        holds = "holds" if each.low <= truth <= each.high else "misses"
        print(f"{name:6} {each.value:.3f} in [{each.low:.3f}, {each.high:.3f}] {holds} the truth, {truth:.3f}")
    print(f"verdict: {found.verdict}")
    try:
        ope.evaluate(log._replace(propensity=np.full(NUM_ROUNDS, 1 / NUM_CLASSES)), target)
    except recsdk.errors.InsufficientOverlap as refusal:
        print(f"with propensities made up afterwards: {str(refusal)[:118]}...")


if __name__ == "__main__":
    main()
