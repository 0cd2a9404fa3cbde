"""The user's key is kept with each decision, in a column of its own."""

import contextlib
import sqlite3

import pytest

from recsdk.errors import DecisionConflict, InvalidRequest
from tests.live.shop import small_recommender, tables


def kept(shop, name):
    return shop._loop.ledger.decision(name).user


def test_the_key_is_what_is_given_or_the_requests_user_id(tmp_path):
    with small_recommender(tmp_path) as shop:
        shop.recommend({"user_id": "ann"}, decision_id="a")
        shop.recommend({"user_id": 7}, decision_id="b")
        shop.recommend({"user_id": "ann"}, user="household-1", decision_id="c")
        shop.recommend({}, user="bob", decision_id="d")
        shop.recommend({"user_id": None}, decision_id="e")
        assert [kept(shop, name) for name in "abcde"] == ["ann", "7", "household-1", "bob", None]
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
            rows = db.execute("SELECT user FROM decisions ORDER BY number").fetchall()
        assert [user for (user,) in rows] == ["ann", "7", "household-1", "bob", None]


def test_a_repeated_call_must_name_the_same_user(tmp_path):
    with small_recommender(tmp_path) as shop:
        first = shop.recommend({}, user="ann", decision_id="a")
        assert shop.recommend({}, user="ann", decision_id="a") == first
        for other in ("bob", None):
            with pytest.raises(DecisionConflict, match="another user"):
                shop.recommend({}, user=other, decision_id="a")


@pytest.mark.parametrize("bad", ["", 1.5, True, ["ann"], float("nan")])
def test_what_is_no_key_is_refused(tmp_path, bad):
    with small_recommender(tmp_path) as shop:
        with pytest.raises(InvalidRequest, match="user must be the user's key"):
            shop.recommend({}, user=bad)
        with pytest.raises(InvalidRequest):
            shop.recommend({"user_id": bad})
        with pytest.raises(InvalidRequest, match="UTF-8"):
            shop.recommend({}, user="\udc00")
        assert tables(tmp_path)["decisions"] == []
