"""The worlds of `online.py`: visits of real users to real items, of which every candidate's rating is known.

Nothing is a model of anybody: a user is offered what that user rated, and the reward is that rating. What was rated in the past is the log:
encoders are fitted to it, and popularity is counted in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk import Context, Encoder, Request, Round, datasets
from recsdk.base import Array, Events, Items, Rng, Table
from recsdk.columns import objects
from recsdk.data import items_from_rows, take
from recsdk.live import features
from recsdk.scorers.request_features import RequestFeatures

NUM_FILMS, LIKED = 20, 4
"""Candidates of a visit to the cinema; and the stars from which a film was worth the while."""
NUM_JOKES, NUM_TOLD, NUM_OFFERED = 40, 10, 10
"""Jokes that 19,181 users rated; how many of these say who a user is; and how many of the others are candidates of a visit."""
JESTER_PAST = 5_000
"""Users whose ratings are the past. The others come live."""
PRIOR_RATINGS = 5.0
"""So many times the mean rating is added to an item's own, lest one rating makes an item the best."""

Features = Callable[[np.ndarray], np.ndarray]
"""From places i64[n] of visits to their f64[n, K, D]."""


class Visit(NamedTuple):
    """T visits.

    Attributes:
        user: i64[T], who comes.
        item: i64[T, K], the candidates, as rows of the catalogue.
        reward: f64[T, K], what each would earn, in [0, 1].
        requests: T rows, what an encoder is told.
    """

    user: np.ndarray
    item: np.ndarray
    reward: np.ndarray
    requests: Table


class World(NamedTuple):
    """Visits, and the past before them.

    Attributes:
        visits: all of them, in no order.
        items: the catalogue, N items.
        log: the past, of the items that were there.
        sums: f64[N], sum of the rewards of each item in the past, with `PRIOR_RATINGS` mean ones.
        counts: f64[N], how many these are.
        told: numbers of the requests that say how generous the user is.
        raw: the features without an encoder: the columns of `_evidence`, others of this world, and 1.
        crossed: whether no feature tells items apart, so that a policy must cross features with the item.
    """

    visits: Visit
    items: Items
    log: Events
    sums: np.ndarray
    counts: np.ndarray
    told: tuple[str, ...]
    raw: Features
    crossed: bool


@attrs.frozen(kw_only=True, eq=False)
class Played:
    """A `recsdk.Environment` of visits in their order.

    Attributes:
        features: f64[T, K, D].
        item: i64[T, K].
        reward: f64[T, K].
    """

    features: np.ndarray
    item: np.ndarray
    reward: np.ndarray

    @property
    def dim(self) -> int:
        """Width of phi."""
        return int(self.features.shape[2])

    def init(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `recsdk.Environment`."""
        del seed
        return self.features, self.item, self.reward

    def round(self, world: Any, rng: Rng, time: Array) -> Round:
        """See `recsdk.Environment`."""
        del rng
        phi, item, reward = (array[time] for array in world)
        xp = phi.__array_namespace__()
        return Round(Context(phi, xp.ones(item.shape, dtype=xp.bool), item), reward, reward)


def encoded(world: World, encoder: Encoder[Any]) -> Features:
    """Fits an encoder to the past; returns phi as the recommender makes it, with the columns of `_evidence`."""
    state, evidence = encoder.fit(world.log), _evidence(world)
    users, vectors = encoder.encode_requests(state, world.visits.requests), encoder.encode_items(state, world.items)

    def phi(places: np.ndarray) -> np.ndarray:
        rows = zip(users[places], vectors[world.visits.item[places]], evidence(places), strict=True)
        return np.stack([features.phi(*row) for row in rows])

    return phi


def _evidence(world: World) -> Features:
    """Returns what gives f32[n, K, 1 + C]: the item's mean reward in the past, and what the request tells."""
    scorer, rate = RequestFeatures(features=world.told), (world.sums / world.counts).astype(np.float32)
    state, visits = scorer.fit(world.log), world.visits

    def columns(place: int) -> np.ndarray:
        request = Request({name: float(visits.requests[name][place]) for name in world.told}, 0.0)
        shown = visits.item[place]
        return np.column_stack([rate[shown], scorer.score(state, request, take(world.items, shown))])

    return lambda places: np.stack([columns(place) for place in places])


def cinema(folder: Path, share_new: float, num_visits: int) -> World:
    """MovieLens 1M: the past is the first half of each user's ratings, a visit are the next 20 films that its user rated in the other half.

    Args:
        folder: holds `ml-1m`.
        share_new: share of the films whose ratings the past does not have.
        num_visits: most visits.
    """
    table = np.loadtxt(folder / "ml-1m/ratings.csv.gz", delimiter=",", skiprows=1, dtype=np.int64)
    user, film, stars, order = table[np.lexsort((table[:, 3], table[:, 0]))].T
    names, item = np.unique(film, return_inverse=True)
    known = {row[0]: row for row in _lines(folder / "ml-1m/movies.dat")}
    films = [{"id": row[0], "year": float(row[1][-5:-1]), "genres": row[2].split("|")} for row in (known[str(name)] for name in names)]
    people = {row[0]: row for row in _lines(folder / "ml-1m/users.dat")}
    about = [people[str(number)] for number in user]
    requests = {name: objects([row[place] for row in about]) for place, name in enumerate(("user_id", "gender", "age", "occupation"))}
    items, reward, half = items_from_rows(films), (stars >= LIKED).astype(np.float64), np.bincount(user)[user] // 2
    is_old = _is_old(len(films), share_new)
    past = np.flatnonzero((order < half) & is_old[item])
    past = past[np.argsort(order[past], kind="stable")]
    sums, counts = _rates(item[past], reward[past], len(films))
    genres = sorted({genre for row in films for genre in row["genres"]})
    kinds = np.array([[genre in row["genres"] for genre in genres] for row in films], np.float64)
    surprise, num_users = reward[past] - (sums / counts)[item[past]], user.max() + 1
    tastes = _tastes(user[past], surprise, kinds[item[past]], num_users)
    requests["generosity"] = _tastes(user[past], surprise, np.ones((len(past), 1)), num_users)[user, 0]
    begins = np.flatnonzero((order >= half) & ((order - half) % NUM_FILMS == 0) & (order + NUM_FILMS <= np.bincount(user)[user]))
    begins = np.random.default_rng(0).permutation(begins)[:num_visits]
    shown = begins[:, None] + np.arange(NUM_FILMS)
    visits = Visit(user[begins], item[shown], reward[shown], _rows(requests, begins))
    own = np.column_stack([(items.features["year"] - 1990) / 10, kinds])
    log = _log(_rows(requests, past), items, is_old, item[past], reward[past])

    def raw(places: np.ndarray) -> np.ndarray:
        shown = visits.item[places]
        crossed = tastes[visits.user[places]][:, None] * kinds[shown]
        return np.concatenate([_evidence(world)(places), own[shown], crossed, np.ones((*shown.shape, 1))], axis=2)

    world = World(visits, items, log, sums, counts, ("generosity",), raw, crossed=False)
    return world


def jokes(folder: Path, share_new: float, num_visits: int) -> World:
    """Jester: who a user is, is told by the ratings of 10 jokes; a visit offers 10 of 30 others, none of them twice to the same user.

    Args:
        folder: holds `jester`.
        share_new: share of the jokes that nobody has rated in the past.
        num_visits: most visits.
    """
    rng = np.random.default_rng(0)
    ratings = rng.permutation((datasets.read_jester(folder / "jester/ratings.csv.gz", num_jokes=NUM_JOKES) + 10) / 20)
    about, ratings = ratings[:, :NUM_TOLD], ratings[:, NUM_TOLD:]
    num_users, num_items = ratings.shape
    requests = {f"joke-{place}": about[:, place] for place in range(NUM_TOLD)}
    items = items_from_rows([{"id": f"joke-{NUM_TOLD + place}"} for place in range(num_items)])
    is_old = _is_old(num_items, share_new)
    user, item = np.divmod(rng.permutation(JESTER_PAST * num_items), num_items)
    user, item = user[is_old[item]], item[is_old[item]]
    reward = ratings[user, item]
    sums, counts = _rates(item, reward, num_items)
    live = np.arange(JESTER_PAST, num_users)
    offered = rng.permuted(np.tile(np.arange(num_items), (len(live), 1)), axis=1).reshape(-1, NUM_OFFERED)
    places = rng.permutation(len(offered))[:num_visits]
    owner, offered = np.repeat(live, num_items // NUM_OFFERED)[places], offered[places]
    visits = Visit(owner, offered, ratings[owner[:, None], offered], _rows(requests, owner))

    def raw(places: np.ndarray) -> np.ndarray:
        return np.concatenate([_evidence(world)(places), np.ones((len(places), NUM_OFFERED, 1))], axis=2)

    log = _log(_rows(requests, user), items, is_old, item, reward)
    world = World(visits, items, log, sums, counts, tuple(requests), raw, crossed=True)
    return world


WORLDS: dict[str, Callable[[Path, int], World]] = {
    "ml-1m": lambda folder, most: cinema(folder, 0.0, most),
    "ml-1m, new films": lambda folder, most: cinema(folder, 0.25, most),
    "jester": lambda folder, most: jokes(folder, 0.0, most),
    "jester, new jokes": lambda folder, most: jokes(folder, 0.25, most),
}
"""Each twice: the past knows all items, or nothing of a quarter of them."""


def _is_old(num_items: int, share_new: float) -> np.ndarray:
    """Returns bool[N], which items the past has."""
    places: np.ndarray = np.random.default_rng(1).permutation(num_items)
    return places >= round(share_new * num_items)


def _rates(item: np.ndarray, reward: np.ndarray, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    sums = np.bincount(item, reward, num_items) + PRIOR_RATINGS * reward.mean()
    return sums, np.bincount(item, minlength=num_items) + PRIOR_RATINGS


def _tastes(user: np.ndarray, surprise: np.ndarray, kinds: np.ndarray, num_users: int) -> np.ndarray:
    """Returns f64[U, G]: by how much more than others a user liked what is of a kind, nearer to 0 where that was little."""
    sums, counts = np.zeros((2, num_users, kinds.shape[1]))
    np.add.at(sums, user, surprise[:, None] * kinds)
    np.add.at(counts, user, kinds)
    return sums / (counts + PRIOR_RATINGS)


def _log(requests: Table, items: Items, is_old: np.ndarray, item: np.ndarray, reward: np.ndarray) -> Events:
    catalogue = take(items, np.flatnonzero(is_old))
    return Events(requests, catalogue, np.cumsum(is_old)[item] - 1, reward, np.arange(len(item), dtype=np.float64))


def _rows(table: Table, places: np.ndarray) -> Table:
    return {name: column[places] for name, column in table.items()}


def _lines(path: Path) -> list[list[str]]:
    return [line.split("::") for line in path.read_text("latin-1").splitlines()]
