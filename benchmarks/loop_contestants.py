"""Who serves in `loop.py`: a loop written by hand, Vowpal Wabbit in such a loop, and recsdk's Recommender, all about the same world.

Everyone finds the `K` items nearest to the user, makes the same D numbers of each, chooses, writes the decision to SQLite, and after the
reward writes that and learns.
"""

from __future__ import annotations

import functools
import json
import random
import secrets
import shutil
import sqlite3
import time
import warnings
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import attrs
import numpy as np
from contestants import VW_OPTIONS, vw_lines

import recsdk
from recsdk.ledger.sqlite import Sqlite

K, DIM = 100, 59
"""Candidates of a request, and the width of a vector: with the deep score, three scores and a 1, phi has 64 numbers."""
FLOOR, SCALE, NUM_DRAWS = 0.05, 0.25, 32
"""As `Recommender.open` and `LinTS` have them."""
WEEK = 7 * 86400.0
SYNCHRONOUS = {"process-crash": "NORMAL", "power-loss": "FULL"}
_FREQUENCIES = np.sqrt(np.arange(2, DIM + 2))


def vectors(numbers: Any) -> np.ndarray:
    """Returns f32[N, DIM], vectors of whole numbers that look drawn at random, of length 1 about."""
    return (np.cos(np.multiply.outer(np.asarray(numbers) + 1.0, _FREQUENCIES)) * (2 / DIM) ** 0.5).astype(np.float32)


@attrs.frozen(kw_only=True)
class Numbered:
    """An encoder whose vectors are functions of the numbers in the names, so that nobody waits for a model."""

    dim: ClassVar[int] = DIM

    def init(self) -> tuple[()]:
        """Returns an empty state."""
        return ()

    def fit(self, log: Any, *, state: Any = None) -> tuple[()]:
        """Learns nothing."""
        del log, state
        return ()

    def encode_requests(self, state: tuple[()], requests: Any) -> np.ndarray:
        """Returns f32[B, DIM]."""
        del state
        return vectors([int(name) for name in requests["user_id"]])

    def encode_items(self, state: tuple[()], items: Any) -> np.ndarray:
        """Returns f32[N, DIM]."""
        del state
        return vectors([-int(name) for name in items.ids])


def cheapness(request: Any, candidates: Any) -> np.ndarray:
    """Scores by the price."""
    del request
    return -candidates.features["price"]


def closeness(request: Any, candidates: Any) -> np.ndarray:
    """Scores by how near an item's age is to the user's."""
    return -np.abs(candidates.features["age"] - request.features["age"])


def rows(num_items: int, now: float) -> list[dict[str, Any]]:
    """Returns the catalogue."""
    return [
        {"id": str(number), "price": number % 97 / 97, "age": number % 61 / 61, "added": now - number % 1009 * 600.0}
        for number in range(num_items)
    ]


class Shown(NamedTuple):
    """What a contestant shows: the decision's name, and the item at the top."""

    name: str
    top: str


class Server(Protocol):
    """Something that serves.

    Attributes:
        folder: where its database is, or None.
        num_bytes: what the folder took before the first decision.
    """

    folder: Path | None
    num_bytes: int

    def recommend(self, request: dict[str, Any], size: int) -> Shown:
        """Chooses `size` items and writes the decision."""

    def reward(self, shown: Shown, value: float) -> None:
        """Writes the reward of the top item, and learns."""

    def close(self) -> None:
        """Closes the database."""


class ByHand:
    """What one writes: LinTS on the K nearest items, a row for a decision and one for a reward. No checks, no recovery, one thread."""

    def __init__(self, num_items: int, folder: Path | None, durability: str | None) -> None:
        now, self.folder, self.num_bytes, self.database = time.time(), folder, 0, None
        if folder is not None and durability is not None:
            folder.mkdir()
            self.database = sqlite3.connect(folder / "log.sqlite", isolation_level=None)
            self.database.executescript(
                f"PRAGMA journal_mode=WAL; PRAGMA synchronous={SYNCHRONOUS[durability]};"
                "CREATE TABLE decisions (id TEXT PRIMARY KEY, time REAL, request TEXT, slots BLOB, probs BLOB, shown BLOB, phi BLOB)"
                " WITHOUT ROWID; CREATE TABLE rewards (id TEXT PRIMARY KEY, value REAL, time REAL) WITHOUT ROWID;"
            )
        items = rows(num_items, now)
        self.vectors = vectors([-number for number in range(num_items)])
        self.price, self.age, self.added = (np.array([row[name] for row in items]) for name in ("price", "age", "added"))
        self.rng, self.waiting = np.random.default_rng(0), dict[str, np.ndarray]()
        self.mean, self.root = np.zeros(DIM + 5), np.eye(DIM + 5)
        self.mean[0] = 1.0

    def recommend(self, request: dict[str, Any], size: int) -> Shown:
        """See `Server`."""
        name, now = secrets.token_hex(16), time.time()
        user = self.encode(request)
        slots = self.nearest(user)
        phi = self.features(request, user, slots, now)
        shown, probs = self.choose(phi, size)
        self.write_decision(name, now, request, slots, probs, shown, phi[shown])
        self.waiting[name] = phi[shown[0]]
        return Shown(name, str(slots[shown[0]]))

    def reward(self, shown: Shown, value: float) -> None:
        """See `Server`."""
        self.write_reward(shown.name, value, time.time())
        self.learn(self.waiting.pop(shown.name), value)

    def encode(self, request: dict[str, Any]) -> np.ndarray:
        """Returns the user's vector."""
        return vectors(int(request["user_id"]))

    def nearest(self, user: np.ndarray) -> np.ndarray:
        """Returns the places of the K nearest items, the nearest first."""
        scores = self.vectors @ user
        if len(scores) > K:
            found = np.argpartition(scores, len(scores) - K)[-K:]
            return found[np.argsort(-scores[found])]
        return np.argsort(-scores)

    def features(self, request: dict[str, Any], user: np.ndarray, slots: np.ndarray, now: float) -> np.ndarray:
        """Returns phi, f64[K, D]: deep score, three scores, the products of the coordinates, 1."""
        phi = np.empty((len(slots), DIM + 5))
        np.multiply(self.vectors[slots], user, out=phi[:, 4:-1])
        phi[:, 0] = phi[:, 4:-1].sum(1)
        phi[:, 1] = -self.price[slots]
        phi[:, 2] = -np.abs(self.age[slots] - request["age"])
        phi[:, 3] = np.exp2(-np.abs(now - self.added[slots]) / WEEK)
        phi[:, -1] = 1
        return phi

    def choose(self, phi: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the places shown, and the probabilities, f64[size, K]; each position is drawn from what is left."""
        allowed, shown, all_probs = np.ones(len(phi), bool), [], []
        for _ in range(size):
            noise = self.rng.standard_normal((NUM_DRAWS // 2, len(self.mean)))
            spread = SCALE * noise @ self.root.T
            scores = np.where(allowed, np.concatenate([self.mean + spread, self.mean - spread]) @ phi.T, -np.inf)
            votes = np.bincount(scores.argmax(1), minlength=len(phi)) / NUM_DRAWS
            probs = (1 - FLOOR) * votes + FLOOR * allowed / allowed.sum()
            shown.append(min(int(np.searchsorted(np.cumsum(probs), self.rng.random(), side="right")), len(phi) - 1))
            allowed[shown[-1]] = False
            all_probs.append(probs)
        return np.array(shown), np.array(all_probs)

    def write_decision(
        self, name: str, now: float, request: dict[str, Any], slots: np.ndarray, probs: np.ndarray, shown: np.ndarray, phi: np.ndarray
    ) -> None:
        """Writes a row, durable when this returns."""
        if self.database is not None:
            row = name, now, json.dumps(request), slots.tobytes(), probs.tobytes(), shown.tobytes(), phi.tobytes()
            self.database.execute("INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def write_reward(self, name: str, value: float, now: float) -> None:
        """Writes a row, durable when this returns."""
        if self.database is not None:
            self.database.execute("INSERT INTO rewards VALUES (?, ?, ?)", (name, value, now))

    def learn(self, x: np.ndarray, value: float) -> None:
        """Updates mean and root of the covariance."""
        direction = x @ self.root
        gain, ratio = self.root @ direction, 1 + direction @ direction
        self.mean += (value - x @ self.mean) / ratio * gain
        self.root -= np.outer(gain / (ratio + ratio**0.5), direction)

    def close(self) -> None:
        """See `Server`."""
        if self.database is not None:
            self.database.close()


class VowpalWabbit(ByHand):
    """The same loop around Vowpal Wabbit's squarecb, driven by its text as its tutorials do."""

    def __init__(self, num_items: int, folder: Path | None, durability: str | None) -> None:
        from vowpalwabbit import Workspace

        super().__init__(num_items, folder, durability)
        self.workspace, self.draw, self.lines = Workspace(VW_OPTIONS), random.Random(1), dict[str, list[str]]()

    def recommend(self, request: dict[str, Any], size: int) -> Shown:
        """See `Server`; further positions are drawn from the same probabilities, of what is left."""
        name, now = secrets.token_hex(16), time.time()
        user = self.encode(request)
        slots = self.nearest(user)
        phi = self.features(request, user, slots, now)
        lines = self.written(phi)
        given = self.predict(lines)
        left, shown = list(given), []
        for _ in range(size):
            shown.extend(self.draw.choices(range(len(left)), left))
            left[shown[-1]] = 0.0
        self.write_decision(name, now, request, slots, np.array(given), np.array(shown), phi[shown])
        lines[shown[0]] = f"0:{{cost}}:{given[shown[0]]} {lines[shown[0]]}"
        self.lines[name] = lines, shown[0]
        return Shown(name, str(slots[shown[0]]))

    def reward(self, shown: Shown, value: float) -> None:
        """See `Server`."""
        self.write_reward(shown.name, value, time.time())
        lines, place = self.lines.pop(shown.name)
        lines[place] = lines[place].format(cost=-value)
        self.learn_lines(lines)

    def written(self, phi: np.ndarray) -> list[str]:
        """Returns a line for each candidate."""
        return vw_lines(phi)

    def predict(self, lines: list[str]) -> list[float]:
        """Returns the probabilities."""
        return list(self.workspace.predict(lines))

    def learn_lines(self, lines: list[str]) -> None:
        """Learns from the line that has a label."""
        self.workspace.learn(lines)


class Recsdk:
    """A recommender, as one opens it. What it had in the folder before the first decision is there when this returns."""

    def __init__(self, made: Path, folder: Path, policy: Any, durability: str) -> None:
        self.folder = folder
        shutil.copytree(made, folder)
        opened = functools.partial(open_shop, folder, policy=policy, ledger=Sqlite(durability=durability))
        opened().close()  # writes the policy's first snapshot
        self.num_bytes = num_bytes(folder)
        self.shop = opened()

    def recommend(self, request: dict[str, Any], size: int) -> Shown:
        """See `Server`."""
        slate = self.shop.recommend(request, size=size)
        return Shown(slate.decision_id, slate.ids[0])

    def reward(self, shown: Shown, value: float) -> None:
        """See `Server`."""
        self.shop.reward(shown.name, value, item=shown.top)

    def close(self) -> None:
        """See `Server`."""
        self.shop.close()


def open_shop(folder: Path, **options: Any) -> recsdk.Recommender:
    """Opens a recommender in a folder, with the parts that all have."""
    parts = {"encoder": Numbered(), "scorers": [cheapness, closeness, "recency"]}
    options = {**parts, "num_candidates": K, "num_new": 0, "floor": FLOOR, "reward_range": (0, 1), **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return recsdk.Recommender.open(folder, **options)


def make(folder: Path, num_items: int) -> None:
    """Makes the folder that those of recsdk are copies of."""
    now = time.time()
    history = [{"item": "0", "user_id": "0", "age": 0.5, "time": now - 3600}]
    open_shop(folder, items=rows(num_items, now), history=history, policy="uniform").close()


def requests(seed: int) -> Any:
    """Yields visits without end."""
    rng = random.Random(seed)
    while True:
        yield {"user_id": str(rng.randrange(10_000)), "age": rng.random()}


def num_bytes(folder: Path) -> int:
    """Returns how much room a folder takes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
