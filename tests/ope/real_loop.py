"""The live loop in a world whose values are known exactly: it writes a log while it learns, and that log is all that is evaluated."""

import secrets
import tempfile
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import attrs
import numpy as np

from recsdk import LinTS, Recommender, ope
from recsdk.base import Items, Request
from recsdk.live.log import read_ledger
from recsdk.ope import intervals

SHARES = np.array([0.5, 0.3, 0.2])
"""Of three segments of users."""
CHANCES = np.array([[0.3, 0.5, 0.4, 0.2], [0.6, 0.3, 0.2, 0.4], [0.2, 0.4, 0.5, 0.7]])
"""Of a reward of 1, by segment and item."""
TARGET = np.array([[0.2, 0.3, 0.3, 0.2], [0.4, 0.2, 0.2, 0.2], [0.1, 0.3, 0.3, 0.3]])
"""The second policy: probability of each item, by segment."""
TRUTH = float((SHARES[:, None] * TARGET * CHANCES).sum())
NUM_SEGMENTS, NUM_ITEMS = CHANCES.shape
FLOOR = 0.2
"""So that no item has a chance below .05."""

CLAIMED = ("dr, delta", "ips, clopper_pearson", "ips, confidence_sequence")
"""What is recommended for the log of a logger that learned, or holds for it; other intervals are there to be compared."""


@attrs.frozen(kw_only=True)
class Cells:
    """A scorer with a column for each segment and item, so that the policy can learn every mean."""

    columns: ClassVar[tuple[str, ...]] = tuple(f"{segment}x{item}" for segment in range(NUM_SEGMENTS) for item in range(NUM_ITEMS))

    def init(self) -> tuple[()]:
        """Returns an empty state."""
        return ()

    def fit(self, log: Any) -> tuple[()]:
        """See `recsdk.base.Scorer`."""
        del log
        return ()

    def score(self, state: tuple[()], request: Request, candidates: Items) -> np.ndarray:
        """See `recsdk.base.Scorer`."""
        del state
        cell = int(request.features["segment"]) * NUM_ITEMS + np.array(candidates.features["number"], np.int64)
        return np.eye(len(self.columns), dtype=np.float32)[cell]


def target(context: Any) -> np.ndarray:
    """Returns f64[T, K], the second policy's distribution in the contexts of the log."""
    cell = context.features[..., : NUM_SEGMENTS * NUM_ITEMS].argmax(-1)
    return TARGET.ravel()[cell]


def play(folder: str | Path, num_rounds: int, seed: int, floor: float = FLOOR) -> None:
    """Opens a real recommender in a folder, and serves: every visitor is recommended one item, and answers at once."""
    rng = np.random.default_rng(seed)
    with mock.patch.object(secrets, "token_bytes", rng.bytes):  # the folder's secret, from which draws are made
        recommender = Recommender.open(
            folder,
            items=[{"id": f"item-{number}", "number": float(number)} for number in range(NUM_ITEMS)],
            scorers=[Cells()],
            policy=LinTS(),
            floor=floor,
            log_features="all",
        )
    with recommender:
        for number in range(num_rounds):
            segment = int(rng.choice(NUM_SEGMENTS, p=SHARES))
            slate = recommender.recommend({"segment": float(segment)}, decision_id=f"visit-{number}")
            item = int(slate.ids[0].removeprefix("item-"))
            recommender.reward(slate.decision_id, float(rng.random() < CHANCES[segment, item]))


def estimates(log: Any, floor: float) -> dict[str, ope.Estimate]:
    """Returns estimates of the second policy's value from a log alone, by estimator and interval; without a floor no weight is bounded."""
    answer = ope.evaluate(log, target, estimators=("ips", "snips", "dr"), logger="adaptive", force=True)
    found = {f"{name}, delta": estimate for name, estimate in answer.estimates.items()}
    if not floor:
        return found
    rounds, limits = ope.rounds(log, target(log.context)), {"max_weight": TARGET.max() * NUM_ITEMS / floor, "reward_range": (0.0, 1.0)}
    found["ips, clopper_pearson"] = intervals.clopper_pearson(intervals.bounded(rounds, **limits))
    sequence = intervals.confidence_sequence(rounds, looks=[len(log.action)], **limits)
    found["ips, confidence_sequence"] = ope.Estimate(float(sequence.value[0]), 0.0, sequence.low[0], sequence.high[0], sequence.level)
    return found


def run(num_rounds: int, seed: int, floor: float = FLOOR) -> dict[str, ope.Estimate]:
    """Plays, reads the log that was written, and evaluates the second policy on it."""
    with tempfile.TemporaryDirectory() as folder:
        play(folder, num_rounds, seed, floor)
        log = read_ledger(folder)
    return estimates(log, floor)
