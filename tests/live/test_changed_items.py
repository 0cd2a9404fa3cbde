"""Items that get other features while they stay in the catalogue."""

import threading

import pytest

import recsdk
from recsdk.errors import DuplicateCandidates, InvalidRequest, UnknownItem

ROWS = [{"id": name, "price": price} for name, price in (("tea", 1.0), ("coffee", 2.0), ("juice", 3.0))]


def prices(shop):
    return dict(zip(shop.catalogue.items.ids.tolist(), shop.catalogue.items.features["price"].tolist(), strict=True))


@pytest.fixture
def shop(tmp_path):
    with recsdk.Recommender.open(tmp_path / "shop", items=ROWS, policy="lin-ts", scorers=["popularity", "content"]) as opened:
        yield opened


def test_a_changed_item_has_its_new_features_and_what_was_learned_of_it(shop, tmp_path):
    shop.reward(shop.recommend({}, candidates=["coffee"]).decision_id, 1.0)
    before = shop.catalogue.slots(["coffee"]).tolist()
    shop.change_items([{"id": "coffee", "price": 9.0}])
    assert prices(shop) == {"tea": 1.0, "coffee": 9.0, "juice": 3.0}
    assert shop.catalogue.slots(["coffee"]).tolist() == before
    shop.reward(shop.recommend({}, candidates=["coffee"]).decision_id, 0.0)
    assert shop.audit()
    shop.close()
    with recsdk.Recommender.open(tmp_path / "shop", policy="lin-ts", scorers=["popularity", "content"]) as again:
        assert prices(again) == {"tea": 1.0, "coffee": 9.0, "juice": 3.0}
        assert again.audit()


def test_it_is_what_removing_and_adding_in_one_step_would_be(tmp_path):
    found = []
    for how in ("change", "remove and add"):
        with recsdk.Recommender.open(tmp_path / how, items=ROWS, policy="lin-ts", scorers=["content"], clock=lambda: 1e9) as shop:
            if how == "change":
                shop.change_items([{"id": "tea", "price": 5.0}])
            else:
                shop.remove_items(["tea"])
                shop.add_items([{"id": "tea", "price": 5.0}])
            items = shop.catalogue.items
            found.append((items.ids.tolist(), items.added.tolist(), prices(shop), shop.catalogue.active.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"id": "tea", "price": 5.0}, {"id": "cola", "price": 1.0}], UnknownItem),
        ([{"id": "tea", "price": 5.0}, {"id": "tea", "price": 6.0}], DuplicateCandidates),
        ([{"id": "tea", "price": 5.0}, {"id": "juice", "price": float("nan")}], InvalidRequest),
        ([{"id": "tea", "price": 5.0}, {"price": 1.0}], InvalidRequest),
    ],
)
def test_where_one_row_is_bad_no_item_is_changed(shop, rows, error):
    with pytest.raises(error):
        shop.change_items(rows)
    assert prices(shop) == {row["id"]: row["price"] for row in ROWS}


def test_an_item_that_was_removed_cannot_be_changed(shop):
    shop.remove_items(["tea"])
    with pytest.raises(UnknownItem):
        shop.change_items([{"id": "tea", "price": 5.0}])
    assert "tea" not in shop.catalogue


def test_the_item_is_there_all_the_time(shop):
    stop, errors = threading.Event(), []

    def ask():
        while not stop.is_set():
            try:
                shop.recommend({}, candidates=["tea"])
            except UnknownItem as error:
                errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for price in range(30):
        shop.change_items([{"id": "tea", "price": float(price)}])
    stop.set()
    asking.join()
    assert not errors
