"""Which of several headlines? Learnt from the tests of early 2013, and valued on readers of later ones, where the truth is known.

Upworthy tried several headlines for a story, each on as many readers at random (Upworthy Research Archive, Matias et al. 2021, CC BY 4.0).
"""

import os
import sys
from pathlib import Path

import numpy as np
import polars as pl

import recsdk.ope

SHARED = Path(os.environ.get("RECSDK_SHARED", Path(__file__).parents[2] / "shared"))
PATTERNS = (r"\d", r"\?", "!", ":", '["“]', r"(?i)\byou", r"(?i)\b(this|these)\b", r"(?i)\b(why|how)\b", r"(?i)\b(I|my)\b")


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the tests whose headlines all differ, in order of time: phi f64[T, K, D], and f64[T, K] of readers and of their clicks."""
    test, headline = pl.col("clickability_test_id"), pl.col("headline")
    table = pl.read_parquet(path).filter(headline.n_unique().over(test) == pl.len().over(test), pl.len().over(test) > 1)
    columns = [headline.str.len_chars() / 50, *(headline.str.contains(pattern).cast(pl.Float64) for pattern in PATTERNS)]
    table = table.with_columns((column - column.mean().over(test)).alias(str(number)) for number, column in enumerate(columns))
    tests = table.sort("test_week", test, headline).partition_by("clickability_test_id")
    padded = np.zeros((len(tests), max(map(len, tests)), len(columns) + 2))
    for row, each in zip(padded, tests, strict=True):
        row[: len(each)] = each.select(*map(str, range(len(columns))), "impressions", "clicks").to_numpy()
    return padded[:, :, :-2], padded[:, :, -2], padded[:, :, -1]


def main() -> None:
    path = Path(sys.argv[1]) if sys.argv[1:] else SHARED / "data" / "upworthy" / "upworthy_early.parquet"
    if not path.is_file():
        sys.exit(f"There is no {path}: give the path of the archive's table.")
    phi, readers, clicks = read(path)
    half, num_candidates, rate = len(phi) // 2, (readers > 0).sum(1), clicks / np.maximum(readers, 1)

    def log_of(test: np.ndarray, action: np.ndarray, reward: np.ndarray, weight: np.ndarray) -> recsdk.Interaction:
        context = recsdk.Context(phi[test], readers[test] > 0, np.tile(np.arange(phi.shape[1]), (len(test), 1)))
        return recsdk.Interaction(context, action, reward, 1 / num_candidates[test], weight)

    test, action = np.tile(np.nonzero(readers[:half]), 2)  # twice: a row for the readers who clicked, and one for the others
    clicked = np.repeat([1.0, 0.0], len(test) // 2)
    early = log_of(test, action, clicked, np.where(clicked, clicks[test, action], (readers - clicks)[test, action]))
    policy = recsdk.LinUCB(alpha=0.0, ridge=10_000.0)  # a prior worth as many readers, of millions
    learned, random = recsdk.replay(policy, early, engine="numpy").state, np.random.default_rng(0)
    test = random.integers(half, len(phi), size=50_000)
    action = random.integers(num_candidates[test])
    late = log_of(test, action, (random.random(len(test)) < rate[test, action]).astype(float), np.ones(len(test)))
    probs = recsdk.replay(policy, late, learn_from="none", state=learned, engine="numpy").decision.probs
    found = recsdk.ope.evaluate(late, probs)
    for name, each in found.estimates.items():
        print(f"{name:6} {each.value:.2%} clicks, in [{each.low:.2%}, {each.high:.2%}] ({found.verdict})")
    at_random = (rate.sum(1) / num_candidates)[test].mean()
    print(f"in truth {(probs * rate[test]).sum(1).mean():.2%}; a headline at random {at_random:.2%}")


if __name__ == "__main__":
    main()
