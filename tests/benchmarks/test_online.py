"""The online benchmark offers what users rated later, and lets everyone meet the same. How much anyone earns, no test says."""

import gzip
import importlib
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield {name: importlib.import_module(name) for name in ("online", "online_play", "online_worlds")}


@pytest.fixture
def cinema(modules, monkeypatch, tmp_path):
    """Makes a world of 4 users who rated all of 8 films in orders of their own; returns stars and order by user and film, and the maker."""
    worlds = modules["online_worlds"]
    monkeypatch.setattr(worlds, "NUM_FILMS", 2)
    rng = np.random.default_rng(0)
    stars, order = rng.integers(1, 6, (4, 8)), rng.permuted(np.tile(np.arange(8), (4, 1)), axis=1)
    (tmp_path / "ml-1m").mkdir()
    lines = [f"{user + 1},{10 * film},{stars[user, film]},{order[user, film]}" for user in range(4) for film in range(8)]
    (tmp_path / "ml-1m/ratings.csv.gz").write_bytes(gzip.compress("\n".join(["user,item,rating,order", *lines]).encode()))
    films = [f"{10 * film}::Film {film} (19{80 + film})::{'Drama' if film % 2 else 'Comedy|Crime'}" for film in range(8)]
    (tmp_path / "ml-1m/movies.dat").write_text("\n".join(films), "latin-1")
    (tmp_path / "ml-1m/users.dat").write_text("\n".join(f"{user + 1}::F::25::3::12345" for user in range(4)))
    return stars, order, lambda share_new=0.0, most=100: worlds.cinema(tmp_path, share_new, most)


class Encoder:
    """Vectors of ones."""

    dim = 3

    def fit(self, log):
        return ()

    def encode_requests(self, state, requests):
        return np.ones((len(next(iter(requests.values()))), 3), np.float32)

    def encode_items(self, state, items):
        return np.ones((len(items.ids), 3), np.float32)


def test_a_visit_offers_the_films_that_its_user_rated_next_and_the_past_is_what_came_before(cinema):
    stars, order, make = cinema
    visits, _, log, *_ = make()
    assert visits.item.shape == (8, 2)
    for user, item, reward in zip(visits.user - 1, visits.item, visits.reward, strict=True):
        assert sorted(order[user, item]) in ([4, 5], [6, 7])
        assert reward.tolist() == (stars[user, item] >= 4).tolist()
    seen = {(int(user) - 1, int(item)): reward for user, item, reward in zip(log.requests["user_id"], log.item, log.reward, strict=True)}
    assert seen == {(user, item): float(stars[user, item] >= 4) for user, item in np.argwhere(order < 4).tolist()}


def test_of_new_films_the_past_knows_nothing_but_they_are_offered(cinema):
    *_, make = cinema
    whole, partial = make(), make(0.5)
    assert len(partial.log.items.ids) == 4
    assert set(partial.log.items.ids[partial.log.item]) <= set(partial.log.items.ids)
    new = ~np.isin(partial.items.ids, partial.log.items.ids)
    assert len(set(partial.sums[new] / partial.counts[new])) == 1
    assert np.array_equal(whole.visits.item, partial.visits.item)


def test_no_joke_is_offered_twice_to_a_user_and_its_reward_is_the_users_rating(modules, monkeypatch, tmp_path):
    worlds = modules["online_worlds"]
    for name, value in {"NUM_JOKES": 8, "NUM_TOLD": 2, "NUM_OFFERED": 3, "JESTER_PAST": 3}.items():
        monkeypatch.setattr(worlds, name, value)
    ratings = np.random.default_rng(0).uniform(-10, 10, (7, 8)).round(2)
    (tmp_path / "jester").mkdir()
    lines = [f"{user},{joke},{rating}" for (user, joke), rating in np.ndenumerate(ratings)]
    (tmp_path / "jester/ratings.csv.gz").write_bytes(gzip.compress("\n".join(["user,joke,rating", *lines]).encode()))
    world = worlds.jokes(tmp_path, 0.0, 100)
    assert len(world.log.item) == 3 * 6
    assert world.visits.item.shape == (4 * 2, 3)
    for user in set(world.visits.user):
        mine = world.visits.user == user
        assert sorted(world.visits.item[mine].ravel()) == list(range(6))
        told = world.visits.requests["joke-0"][mine][0] * 20 - 10
        row = ratings[np.abs(ratings[:, 0] - told).argmin()]
        assert np.allclose(world.visits.reward[mine] * 20 - 10, row[2 + world.visits.item[mine]])


def test_everyone_meets_the_same_visits_in_the_same_order(modules, cinema):
    *_, make = cinema
    world, names = make(), [name for name in modules["online_play"].EVERYONE if "wide-deep" not in name]
    values, orders = modules["online"].play(world, Encoder(), [0, 1], names)
    assert all(len(values[name]) == (1 if "VW" in name else 2) for name in names)
    for seed, order in orders.items():
        assert values["random"][seed] == pytest.approx(world.visits.reward[order].mean(axis=1))  # as if each candidate were shown
        mixed = 0.95 * values["popularity, no floor"][seed] + 0.05 * values["random"][seed]
        assert values["popularity"][seed] == pytest.approx(mixed)
        assert values["encoder alone, no floor"][seed] == pytest.approx(values["random"][seed])  # all vectors are equal


def test_popularity_that_learns_counts_what_it_showed(modules):
    play = modules["online_play"]
    from recsdk import Context, Interaction

    policy = play.Rates(sums=np.array([1.0, 1.0]), counts=np.array([2.0, 2.0]))
    context = Context(np.zeros((2, 1)), np.ones(2, bool), np.array([1, 0]))
    state = policy.update(policy.init(np.zeros(1)), Interaction(context, 0, 1.0, 0.5, 1.0))
    assert policy.probs(state, None, context).tolist() == [1, 0]
    assert policy.sums.tolist() == [1, 1]


def test_the_interval_is_that_of_users_with_all_their_visits(modules):
    compare, users = modules["online"].compare, {0: np.repeat(np.arange(40), 25)}
    flat = compare({0: np.full(1000, 0.7), 1: np.zeros(3)}, {0: np.full(1000, 0.4)}, users)
    assert flat == pytest.approx([0.3, 0.3, 0.3])
    by_user = np.where(users[0] % 2, 1.0, 0.0)
    mean, low, high = compare({0: by_user}, {0: np.zeros(1000)}, users)
    assert mean == 0.5
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 40**0.5, rel=0.2)  # of 40 users, not of 1,000 visits


def test_the_table_and_the_picture_show_everyone(modules, tmp_path):
    online = modules["online"]
    values = {"encoder + wide-deep": {0: np.linspace(0.5, 0.9, 1000)}, "random": {0: np.full(1000, 0.5)}}
    found = online.rows("ml-1m", values, {0: np.arange(1000)})
    results = {"command": "online", "machine": online.report.machine(("recsdk",)), "rows": found}
    text = online.table(results)
    assert "| **encoder + wide-deep** | 0.7000 | 0.8001 |" in text
    assert "| random | 0.5000 | 0.5000 | +0.2000 [" in text
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    online.draw(results, tmp_path / "online.svg")
    drawn = (tmp_path / "online.svg").read_text()
    assert "encoder + wide-deep" in drawn
    assert "random" not in drawn  # it is far below
