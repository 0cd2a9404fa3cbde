"""What the tests of the live loop share: small parts of every kind, and looks into a folder."""

import json
import sqlite3
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk import arrays, states
from recsdk.errors import Untrained
from recsdk.live.recommender import Recommender

TOPICS = ("news", "sport", "music")
CATALOGUE = [{"id": f"{topic}-{number}", "topic": topic, "price": float(number)} for number in range(4) for topic in TOPICS]
IDS = [row["id"] for row in CATALOGUE]


class Clock:
    """A clock that goes on by one second per look."""

    def __init__(self, now=1_000_000.0):
        self.now = now

    def __call__(self):
        self.now += 1.0
        return self.now


class Anchors(NamedTuple):
    offset: np.ndarray


@attrs.frozen(kw_only=True)
class Hashing:
    """An encoder without training: every value has a fixed random vector."""

    dim: int = 3

    def init(self):
        return Anchors(np.zeros(self.dim, np.float32))

    def fit(self, log, *, state=None, seed=0):
        return Anchors(np.full(self.dim, len(log.item) / 100, np.float32))

    def encode_requests(self, state, requests):
        return self._encode(state, requests, max(map(len, requests.values()), default=1))

    def encode_items(self, state, items):
        return self._encode(state, {"id": items.ids, **items.features}, len(items.ids))

    def _encode(self, state, table, length):
        rows = np.zeros((length, self.dim), np.float32) + state.offset
        for name, column in table.items():
            for row, value in enumerate(column):
                seed = zlib.crc32(f"{name}={value}".encode())
                rows[row] += np.random.default_rng(seed).standard_normal(self.dim, np.float32) / 4
        return rows


@attrs.frozen(kw_only=True)
class TopicTally:
    """A scorer that learns online from the features of what was shown; its state is a dict that grows."""

    columns: ClassVar[tuple[str, ...]] = ("topic_tally",)

    def init(self):
        return {}

    def fit(self, log):
        return {}

    def score(self, state, request, candidates):
        topics = candidates.features.get("topic", np.full(len(candidates.ids), None, object))
        means = [state[topic][0] / state[topic][1] if topic in state else 0.0 for topic in topics]
        return np.array(means, np.float32).reshape(-1, 1)

    def update(self, state, request, item, reward):
        topic = item.features["topic"][0]
        state[topic] = state.get(topic, np.zeros(2)) + np.array([reward, item.features["price"][0] + 1])
        return state


class Weights(NamedTuple):
    weights: np.ndarray
    seen: np.ndarray


@attrs.frozen(kw_only=True)
class Centred:
    """A policy that learns from all candidates, in place: from how the shown one differs from their mean."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "all"

    rate: float = 0.1

    def init(self, prior):
        return Weights(prior.copy(), np.zeros((), np.int64))

    def probs(self, state, rng, context):
        scores = np.where(context.mask, context.features @ state.weights, -np.inf)
        weights = np.exp(scores - scores.max())
        return weights / weights.sum()

    def update(self, state, interaction):
        context = interaction.context
        x = context.features[interaction.action] - context.features[context.mask].mean(axis=0)
        state.weights[:] += self.rate * (interaction.reward - x @ state.weights) * x
        state.seen[...] += context.mask.sum()
        return state


@attrs.frozen(kw_only=True)
class NativeTally:
    """A native policy: shows items by their mean reward; its state is an object that it writes itself."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"
    open_states: ClassVar[list] = []

    def init(self, prior):
        return self._opened({})

    def probs(self, state, rng, context):
        means = np.array([np.divide(*state["sums"].get(str(slot), (0.0, 1.0))) for slot in context.item])
        weights = np.where(context.mask, np.exp(means - means.max()), 0.0)
        return weights / weights.sum()

    def update(self, state, interaction):
        slot = str(interaction.context.item[interaction.action])
        total, count = state["sums"].get(slot, (0.0, 0.0))
        state["sums"][slot] = (total + interaction.reward, count + 1)
        return state

    def dumps(self, state):
        return json.dumps(state["sums"], sort_keys=True).encode()

    def loads(self, data):
        return self._opened({slot: tuple(sums) for slot, sums in json.loads(data).items()})

    def close(self, state):
        self.open_states.remove(id(state))

    def _opened(self, sums):
        state = {"sums": sums}
        self.open_states.append(id(state))
        return state


def open_recommender(folder, **changes) -> Recommender:
    """Opens a recommender with an encoder and scorers of every kind; errors of parts pass."""
    models = {"encoder": Hashing(), "scorers": ["popularity", "recency", TopicTally()]}
    parts = {"items": CATALOGUE, **models, "clock": Clock(), "fallback": None, **changes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Untrained)  # `Hashing` needs no training
        return Recommender.open(folder, **parts)


def small_recommender(folder, **changes) -> Recommender:
    """Opens a recommender without models."""
    return open_recommender(folder, **{"encoder": None, "scorers": [], **changes})


def request(number: int) -> dict:
    """Returns the request of one of seven users."""
    return {"user_id": f"u{number % 7}", "age": number % 5, "phone": number % 2 == 0, "likes": list(TOPICS[: number % 3])}


def serve(recommender, numbers, size=2, reward: Callable[[int], float] = lambda number: float(number % 3 == 0)) -> list:
    """Decides and rewards the top item, for each of `numbers`; returns the slates."""
    slates = [recommender.recommend(request(number), size=size, decision_id=f"d{number}") for number in numbers]
    for number, slate in zip(numbers, slates, strict=True):
        recommender.reward(slate.decision_id, reward(number), item=slate.ids[0])
    return slates


def state(recommender) -> list:
    """Returns all that was learned, comparable bit by bit: of the policy and of the scorers."""
    learner, evidence = recommender._loop.learner, recommender._loop.evidence
    parts = zip((recommender.policy, *evidence.scorers), (learner.state, *evidence.states), strict=True)
    return [learner.num_learned, *([_bits(part, part_state) for part, part_state in parts])]


def _bits(part, part_state):
    if states.is_native(part):
        return states.dumps(part, part_state)
    keys = sorted(part_state) if isinstance(part_state, dict) else []
    leaves = [np.asarray(leaf) for leaf in arrays.leaves(part_state)]
    return keys, [(leaf.dtype, leaf.shape, leaf.tobytes()) for leaf in leaves]


def catalogue(recommender) -> list:
    """Returns all that the catalogue holds, comparable."""
    held = recommender.catalogue
    features = {name: [str(value) for value in column] for name, column in held.items.features.items()}
    return [held.items.ids.tolist(), features, held.items.added.tolist(), held.vectors.tobytes(), held.active.tolist()]


def tables(folder) -> dict:
    """Returns every row of every table of a folder's ledger, which may be open."""
    db = sqlite3.connect(f"file:{Path(folder) / 'ledger.sqlite'}?mode=ro", uri=True)
    try:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {name: db.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in names}  # noqa: S608
    finally:
        db.close()


def alter(folder, statement, *values) -> None:
    """Changes the ledger of a folder that is closed."""
    db = sqlite3.connect(Path(folder) / "ledger.sqlite", isolation_level=None)
    try:
        db.execute(statement, values)
    finally:
        db.close()


def forget_snapshots(folder) -> None:
    """Deletes the snapshots of a folder that is closed, so that opening it folds from the start."""
    alter(folder, "DELETE FROM blobs WHERE name LIKE 'snapshot/%'")


def crash(recommender) -> None:
    """Lets go of a recommender as a killed process would: no snapshot, nothing finished, the lock gone."""
    recommender._loop.is_open = False
    recommender._loop.ledger.close()
