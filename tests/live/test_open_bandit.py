"""A ledger as a log of Open Bandit: read again it has the same value, and what a row cannot say is refused or counted."""

import csv

import numpy as np
import pytest

from recsdk import ope, read_ledger
from recsdk.datasets import read_open_bandit
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue, OpenDecisions
from recsdk.live.rewards import Feedback
from recsdk.live.transfer import export_ledger, import_ledger
from tests.live.shop import CATALOGUE, IDS, open_recommender, request, serve

PARTS = {"policy": "lin-ts", "log_features": "all"}


def test_read_again_a_log_has_the_same_actions_propensities_and_value(tmp_path):
    with open_recommender(tmp_path / "shop", **PARTS) as shop:
        serve(shop, range(30))
        shop.recommend(request(1))
    counts = export_ledger(tmp_path / "shop", tmp_path / "logs", format="open-bandit")
    log, ours = read_open_bandit(tmp_path / "logs" / "log.csv", tmp_path / "logs" / "item_context.csv").log, read_ledger(tmp_path / "shop")
    slots = [each.context.item[np.arange(30), each.action].tolist() for each in (log, ours)]
    assert slots[0] == slots[1]
    assert np.array_equal(log.propensity, ours.propensity)
    assert np.array_equal(log.reward, ours.reward)
    uniform = np.full((30, len(IDS)), 1 / len(IDS))
    values = [ope.evaluate(each, uniform, estimators=("ips", "snips"), force=True).estimates for each in (log, ours)]
    assert values[0]["ips"].value == values[1]["ips"].value > 0
    assert counts == {
        "decisions to learn from": 30,
        "decisions left out: not shown or not rewarded": 1,
        "positions left out: below the top": 30,
        "decision": 31,
        "item": 12,
        "reward": 30,
        "bytes": counts["bytes"],
    }


def test_the_table_of_items_has_their_features_and_the_log_the_first_of_the_request(tmp_path):
    with open_recommender(tmp_path / "shop", **PARTS) as shop:
        shop.reward(shop.recommend({**request(1), "zip": 7, "town": "x"}).decision_id, 1.0)
    counts = export_ledger(tmp_path / "shop", tmp_path / "logs", format="open-bandit")
    assert counts["features of requests left out"] == 1
    rows = [list(csv.DictReader((tmp_path / "logs" / name).read_text().splitlines())) for name in ("log.csv", "item_context.csv")]
    assert [rows[0][0][f"user_feature_{number}"] for number in range(4)] == ["age=1", "likes=['news']", "phone=False", "town=x"]
    for number, item in enumerate(CATALOGUE):
        found = rows[1][number]
        assert (found["item_id"], found["id"], float(found["item_feature_0"])) == (str(number), item["id"], item["price"])
        assert (found["item_feature_1"], found["item_feature_2"]) == (f"topic={item['topic']}", "")


def test_what_a_row_cannot_say_is_refused_and_nothing_is_left(tmp_path):
    folder, path = tmp_path / "shop", tmp_path / "logs"
    with open_recommender(folder, **PARTS) as shop:
        with pytest.raises(EmptyLog, match="nothing to write"):
            export_ledger(folder, path, format="open-bandit")
        shown = shop.recommend(request(1))
        shop.reward(shown.decision_id, 1.0)
        few = shop.recommend(request(2), candidates=IDS[:4])
        shop.reward(few.decision_id, 1.0)
        with pytest.raises(InvalidLog, match=f"{few.decision_id!r} is not among the same 12 items"):
            export_ledger(folder, path, format="open-bandit")
    with open_recommender(tmp_path / "first", **PARTS) as shop:
        shop.reward(shop.recommend(request(1), promoted={0: IDS[:4]}).decision_id, 1.0)
    with pytest.raises(InvalidLog, match="is not among the same 12 items"):
        export_ledger(tmp_path / "first", path, format="open-bandit")
    with open_recommender(tmp_path / "other", **PARTS) as shop:
        shop.reward(shop.recommend(request(1)).decision_id, 0.5)
    with pytest.raises(InvalidValue, match="reward must be 0 or 1 to be a click of Open Bandit, got 0"):
        export_ledger(tmp_path / "other", path, format="open-bandit")
    assert not list(tmp_path.glob("logs*"))


def test_silence_is_no_click_where_that_is_said_or_the_window_has_closed(tmp_path):
    with open_recommender(tmp_path / "shop", **PARTS) as shop:
        shop.recommend(request(1))
    with pytest.warns(OpenDecisions, match="still on its way") as warned:
        export_ledger(tmp_path / "shop", tmp_path / "a", format="open-bandit", default_reward=0.0)
    assert warned[0].filename == __file__
    assert (
        export_ledger(tmp_path / "shop", tmp_path / "b", format="open-bandit", default_reward=0.0, window=0)["decisions to learn from"] == 1
    )
    with pytest.raises(InvalidValue, match="for dsjson and open-bandit, jsonl has"):
        export_ledger(tmp_path / "shop", tmp_path / "c.jsonl", default_reward=0.0)
    with open_recommender(tmp_path / "feedback", feedback=Feedback(window=2.5, signals={"click": 1}), **PARTS) as shop:
        shown = [shop.recommend(request(number)) for number in range(6)]
        shop.signal("click", decision_id=shown[5].decision_id)
    counts = export_ledger(tmp_path / "feedback", tmp_path / "d", format="open-bandit")
    assert counts["decisions to learn from"] + counts["decisions left out: not shown or not rewarded"] == 6
    assert counts["signals left out"] == 1


def test_no_folder_is_made_of_it(tmp_path):
    with pytest.raises(InvalidLog, match="cannot become a folder: a log of Open Bandit has the probability of the item that was shown"):
        import_ledger(tmp_path, tmp_path / "again", format="open-bandit")
    assert not list(tmp_path.glob("again*"))
