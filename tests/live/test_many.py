"""Many requests at once: each answer and every byte of the log are what one call after the other gives, and all are decided or none."""

import shutil

import pytest

import recsdk
from recsdk import errors
from tests.live.shop import state, tables

NOW = 2_000_000_000.0
ITEMS = [{"id": f"i{number}", "price": float(number)} for number in range(12)]


def opened(folder, **options):
    return recsdk.Recommender.open(folder, policy="lin-ts", scorers=["recency"], clock=lambda: NOW, **options)


def requests(num=30):
    odd = [
        {"size": 3},
        {"size": 20, "at_most": True, "seen": ["i1", "i2"]},
        {"seen": [item["id"] for item in ITEMS], "at_most": True},
        {"candidates": ["i1", "i5"], "deferred": True},
        {"pinned": {0: "i7"}, "size": 2},
        {"chosen": ["i3"]},
        {},
    ]
    asked = [{"request": {"user_id": f"u{number % 4}"}, **odd[number % len(odd)]} for number in range(num)]
    return [{**one, "decision_id": f"d{number}"} for number, one in enumerate(asked)] + [{**asked[0], "decision_id": "d0"}]


OPTIONS = {
    "plain": {},
    "sticky, with a burn-in and a holdout": {"traffic": recsdk.Traffic(sticky=60, burn_in=7, holdout=0.4)},
    "signals that wait": {"feedback": recsdk.Feedback(window=60, start=-30, signals={"click": 1})},
    "scorers that learn": {"scorers": ["popularity"]},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_many_are_decided_as_one_after_the_other(tmp_path, name):
    options = {"scorers": ["recency"], **OPTIONS[name]}
    with recsdk.Recommender.open(tmp_path / "one", items=ITEMS, policy="lin-ts", clock=lambda: NOW - 1e6, **options) as shop:
        shop.recommend_many([{"request": {}, "decision_id": "before"}])
    shutil.copytree(tmp_path / "one", tmp_path / "many")
    answers = []
    for folder in ("one", "many"):
        told = []
        with recsdk.Recommender.open(tmp_path / folder, policy="lin-ts", clock=lambda: NOW, observer=told.append, **options) as shop:
            if "feedback" in options:
                shop.signal("click", user="u0", item="i3")
            slates = [shop.recommend(**one) for one in requests()] if folder == "one" else shop.recommend_many(one for one in requests())
            answers.append((slates, state(shop), [notice._replace(seconds=0) for notice in told if hasattr(notice, "num_candidates")]))
            assert shop.audit()
    assert answers[0] == answers[1]
    assert tables(tmp_path / "one") == tables(tmp_path / "many")


BAD = {
    "an argument": ({"request": {}, "size": 0}, errors.InvalidValue),
    "no mapping": ("ann", errors.InvalidRequest),
    "an unknown argument": ({"request": {}, "sise": 2}, errors.InvalidRequest),
    "no request": ({"size": 2}, errors.InvalidRequest),
    "an unknown item": ({"request": {}, "candidates": ["i99"]}, errors.UnknownItem),
    "too few candidates": ({"request": {}, "size": 13}, errors.TooFewCandidates),
    "a name for another request": ({"request": {"age": 9}, "decision_id": "d0"}, errors.DecisionConflict),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("scorer", ["recency", "popularity"])
def test_one_bad_request_refuses_all_by_its_index(tmp_path, what, scorer):
    bad, kind = BAD[what]
    traffic = recsdk.Traffic(burn_in=5)
    with recsdk.Recommender.open(tmp_path, items=ITEMS, policy="lin-ts", scorers=[scorer], traffic=traffic) as shop:
        before = state(shop), list(shop._loop.ledger.decisions())
        with pytest.raises(kind, match=r"^requests\[3\]: "):
            shop.recommend_many([*requests(3)[:3], bad, *requests(3)[:3]])
        assert (state(shop), list(shop._loop.ledger.decisions()), shop._loop.decider.arms.num_drawn) == (*before, 0)
        assert len(shop.recommend_many(requests(3))) == 4
        assert shop.recommend_many([]) == []


@pytest.mark.parametrize("given", [None, 3, "ann", {"request": {}}])
def test_what_is_no_list_of_requests_is_refused(tmp_path, given):
    with recsdk.Recommender.open(tmp_path, items=ITEMS) as shop, pytest.raises(errors.InvalidRequest, match="requests must be"):
        shop.recommend_many(given)


def test_they_are_written_in_one_commit(tmp_path):
    with opened(tmp_path, items=ITEMS) as shop:
        seen = []
        shop._loop.ledger._db.set_trace_callback(seen.append)
        shop.recommend_many(requests())
        shop._loop.ledger._db.set_trace_callback(None)
    assert sum(statement.startswith("COMMIT") for statement in seen) == 1


def test_a_catalogue_that_changes_meanwhile_is_looked_at_again(tmp_path):
    once = []

    def price(request, items):
        if shop is not None and not once:
            once.append(1)
            shop.add_items([{"id": "new", "price": 1.0}])
        return -items.features["price"].astype("float32")

    shop = None
    shop = recsdk.Recommender.open(tmp_path, items=ITEMS, scorers=[price], policy="lin-ts")
    with shop:
        slates = shop.recommend_many([{"request": {}, "size": 13, "at_most": True}] * 3)
        assert once
        assert all("new" in slate.ids for slate in slates)
        assert len(list(shop._loop.ledger.decisions())) == 3
