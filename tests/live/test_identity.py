"""A part is known by its plugin, its schema and its settings; parts come and go while a folder lives."""

import json
import sqlite3
import warnings
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest

import recsdk
from recsdk.encoders.two_tower import TwoTower
from recsdk.errors import IgnoredInput, InvalidValue, LedgerMismatch, Untrained
from recsdk.live.identity import differences, identity
from recsdk.live.layout import Layout, moved
from recsdk.live.log import read_ledger, read_policy
from recsdk.live.recommender import Recommender
from recsdk.scorers.function import FunctionScorer
from recsdk.scorers.popularity import Popularity
from tests.live.shop import CATALOGUE, Clock, Hashing, TopicTally, alter, forget_snapshots, open_recommender, request, serve, state, tables
from tests.live.test_recovery import HISTORY, work

OLD_FOLDER = Path(__file__).parent / "data" / "folder_of_75db1c2.sql"


def by_json(part):
    return json.loads(json.dumps(identity(part)))


def price(request, candidates):
    return 1 / (1 + candidates.features["price"])


def age(request, candidates):
    return np.full(len(candidates.ids), request.features["age"] / 10)


@attrs.frozen(kw_only=True)
class Grown:
    """A part that has got settings since a folder was made."""

    schema_version: ClassVar[int] = 1

    old: float = 1.0
    inner: object = Popularity()
    many: tuple = (1, 2)
    new: str = "as before"
    made: list = attrs.field(factory=list)
    shown: bool = attrs.field(default=False, eq=False)
    secret: str = attrs.field(default="", repr=False)


class TestIdentity:
    def test_a_setting_that_did_not_exist_was_its_default(self):
        stored = by_json(Grown())
        for name in ("new", "made"):
            del stored["settings"][name]
        del stored["settings"]["inner"]["settings"]["half_life"]
        assert differences(stored, Grown()) == []
        assert differences(stored, Grown(new="other")) == ["new was 'as before', is 'other'"]
        assert differences(stored, Grown(inner=Popularity(half_life=1.0))) == ["inner: half_life was 604800.0, is 1.0"]

    @pytest.mark.parametrize(
        ("part", "told"),
        [
            (Grown(old=2.0), "old was 1.0, is 2.0"),
            (Grown(many=(1, 2, 3)), "many was [1, 2], is [1, 2, 3]"),
            (
                Popularity(),
                "was Grown(old=1.0, inner=popularity(half_life=604800.0), many=[1, 2], new='as before', ",
            ),
            (None, "is None"),
        ],
    )
    def test_every_difference_is_told(self, part, told):
        (found,) = differences(by_json(Grown()), part)
        assert told in found

    def test_another_schema_is_another_part(self, monkeypatch):
        stored = by_json(Grown())
        monkeypatch.setattr(Grown, "schema_version", 2)
        assert differences(stored, Grown()) == ["its schema_version was 1, is 2"]

    def test_what_is_only_shown_or_is_not_shown_is_no_part_of_it(self):
        assert differences(by_json(Grown()), Grown(shown=True, secret="x")) == []  # noqa: S106 -- a test
        assert differences(by_json(TwoTower()), TwoTower(progress=True)) == []
        assert "secret" not in identity(Grown())["settings"]

    def test_a_plugin_may_move_and_a_class_of_main_may_be_imported(self):
        stored = by_json(Popularity())
        assert differences(stored | {"class": "recsdk._old:Popularity"}, Popularity()) == []
        assert differences(by_json(Grown()) | {"class": "__main__:Grown"}, Grown()) == []
        assert differences(by_json(Grown()) | {"class": "elsewhere:Grown"}, Grown()) != []

    def test_a_function_is_its_name(self, monkeypatch):
        stored = by_json(FunctionScorer(price))
        monkeypatch.setattr(price, "__module__", "__main__")
        assert differences(stored, FunctionScorer(price)) == []
        assert differences(stored, FunctionScorer(age)) == ["function was 'price', is 'age'"]

    def test_the_repr_that_older_folders_kept_is_read(self):
        text = "WithFloor(policy=LinTS(scale=0.25, ridge=1.0), floor=0.05)"
        assert differences(text, recsdk.WithFloor(policy=recsdk.LinTS(), floor=0.05)) == []
        changes = differences(text, recsdk.WithFloor(policy=recsdk.LinTS(scale=0.5), floor=0.05))
        assert changes == ["policy: scale was 0.25, is 0.5"]
        assert differences("FunctionScorer(function=__main__.price)", FunctionScorer(price)) == []
        assert differences("Popularity(half_life=604800.0, gone=1)", Popularity()) == ["gone was 1, is no setting now"]
        assert differences("Popularity(half_life=__import__('os').abort())", Popularity()) != []

    def test_what_another_process_could_not_recognise_is_refused(self):
        with pytest.raises(InvalidValue, match="whose repr is the same in every process"):
            identity(object())
        with pytest.raises(InvalidValue, match="whose repr is the same in every process"):
            identity(Grown(inner=object()))


def restored(folder):
    folder.mkdir()
    db = sqlite3.connect(folder / "ledger.sqlite")
    db.executescript(OLD_FOLDER.read_text())
    db.close()


OLD = {"encoder": TwoTower(dim=4, num_buckets=64, hidden=(4,), epochs=1), "policy": "lin-ts", "log_features": "all"}


def cheap(request, candidates):
    return 1 / (1 + candidates.features["price"])


def test_a_folder_of_an_older_version_is_read_opened_and_goes_on(tmp_path):
    restored(tmp_path / "shop")
    before = tables(tmp_path / "shop")
    assert len(read_ledger(tmp_path / "shop").reward) == 20
    assert read_policy(tmp_path / "shop", "lin-ts").state is not None
    assert tables(tmp_path / "shop") == before
    options = {**OLD, "scorers": ["popularity", "recency", cheap], "clock": Clock(2e6)}
    with Recommender.open(tmp_path / "shop", **options) as shop:
        assert shop.num_learned == 20
        assert shop.audit()
        held = {record.decision_id: record for record in shop._loop.ledger.decisions()}
        again = shop.recommend({"user_id": "u3", "phone": False}, size=2, decision_id="d3")
        assert again.ids == tuple(shop.catalogue.items.ids[held["d3"].slots[held["d3"].action]])
        assert held["d3"].user is None
        shop.reward("d3", 1.0, item=again.ids[1])
        shop.recommend({"user_id": "u1", "phone": True}, decision_id="new")
        assert shop._loop.ledger.decision("new").user == "u1"
        learned = state(shop)
    with Recommender.open(tmp_path / "shop", **options) as shop:
        assert state(shop) == learned
        assert shop.audit()
    with Recommender.open(tmp_path / "shop", **options | {"scorers": [cheap]}) as shop:
        assert shop.num_learned == 21
        assert shop.audit()
    assert len(read_ledger(tmp_path / "shop", default_reward=0.0, window=0).reward) == 21


def test_a_folder_of_an_older_version_must_be_opened_once_with_its_own_scorers(tmp_path):
    restored(tmp_path / "shop")
    with pytest.raises(LedgerMismatch, match=r"open and close it once with the scorers it was made with, then change them"):
        Recommender.open(tmp_path / "shop", **OLD, scorers=["popularity", cheap])
    Recommender.open(tmp_path / "shop", **OLD, scorers=[cheap, "popularity", "recency"]).close()


def opened(folder, **options):
    return open_recommender(folder, **{"policy": recsdk.LinUCB(), "num_candidates": 12, "log_features": "all", **options})


def weights(shop):
    """Returns what the policy has learned, by column."""
    layout, mean = shop._loop.evidence.layout, np.asarray(shop._loop.learner.state.mean)
    named = {name: mean[layout.start + place] for place, (_, name) in enumerate(layout.columns)}
    deep = {"deep": mean[0], "products": mean[-1 - layout.dim : -1]} if layout.dim else {}
    return {**named, **deep, "one": mean[-1]}


@pytest.mark.parametrize("forgotten", [False, True], ids=["with snapshot", "without"])
def test_scorers_come_and_go_and_change_places(tmp_path, forgotten):
    first = {"scorers": ["popularity", TopicTally(), price], "history": HISTORY}

    def reopened(scorers):
        if forgotten:
            forget_snapshots(tmp_path)
        return opened(tmp_path, scorers=scorers, history=HISTORY)

    with opened(tmp_path, **first) as shop:
        work(shop)
        before, learned = weights(shop), state(shop)
    with reopened([price, age, "popularity", TopicTally()]) as shop:  # one is new, the others change places
        found = weights(shop)
        assert found.pop("age") == 0
        assert found.keys() == before.keys()
        for name, weight in found.items():
            np.testing.assert_allclose(weight, before[name], atol=1e-9)
        assert shop.audit()
        serve(shop, range(50, 80))
        assert weights(shop)["age"] != 0
        assert shop.audit()
        moved_on = state(shop)
    with reopened([price, age, "popularity", TopicTally()]) as shop:
        assert state(shop) == moved_on
    with reopened([TopicTally(), "popularity"]) as shop:  # two are gone
        assert weights(shop).keys() == before.keys() - {"price"}
        assert shop.audit()
    with reopened([price, age, "popularity", TopicTally()]) as shop:  # and come back with all that was logged of them
        assert state(shop) == moved_on
    assert learned[0] + 30 == moved_on[0]


def test_a_scorer_with_other_settings_is_a_new_one(tmp_path):
    with opened(tmp_path, scorers=["popularity"]) as shop:
        work(shop)
        assert weights(shop)["popularity"] != 0
    with opened(tmp_path, scorers=[Popularity(half_life=60.0)]) as shop:
        assert weights(shop)["popularity"] == 0
        assert shop.audit()


def test_a_new_scorer_is_fitted_to_the_history_of_that_opening(tmp_path):
    with opened(tmp_path, scorers=[]) as shop:
        serve(shop, range(5))
    with opened(tmp_path, scorers=["popularity"], history=HISTORY) as shop:
        assert shop._loop.evidence.states[0].total > 12


def test_what_was_logged_says_which_columns_it_has(tmp_path):
    with opened(tmp_path, scorers=["popularity", price]) as shop:
        shop.recommend(request(0), decision_id="d")
        assert json.loads(shop._loop.ledger.decision("d").parts)["scorers"] == [
            {"fitted": 0, "name": "popularity", "columns": ["popularity"]},
            {"fitted": 1, "name": "recsdk.scorers.function:FunctionScorer", "columns": ["price"]},
        ]


def test_another_encoder_without_a_history_is_refused_and_says_what_to_do(tmp_path):
    opened(tmp_path).close()
    before = tables(tmp_path)
    with pytest.raises(LedgerMismatch, match=r"dim was 3, is 4\. Give the encoder it has, or history= to fit this one"):
        opened(tmp_path, encoder=Hashing(dim=4), scorers=["popularity", "recency", TopicTally(), price])
    assert tables(tmp_path) == before


@pytest.mark.parametrize("log_features", ["all", "shown"])
def test_with_another_encoder_all_is_encoded_again_and_spaces_are_never_mixed(tmp_path, log_features):
    with opened(tmp_path, scorers=[price], history=HISTORY, log_features=log_features) as shop:
        work(shop)
        old = shop._loop.evidence.version
    with opened(tmp_path, scorers=[price], encoder=Hashing(dim=4), history=HISTORY, log_features=log_features) as shop:
        assert shop._loop.evidence.version != old
        assert shop.catalogue.vectors.shape[1] == 4
        assert shop.audit()
        evidence, policy = shop._loop.evidence, shop.policy
        wanted = policy.init(evidence.prior())
        for reward, record in shop._loop.ledger.outcomes():
            assert json.loads(record.parts)["encoder"] == old
            place = record.action[reward.position]
            item = shop._loop.learner.as_shown(record, [int(record.slots[place])])
            asked = recsdk.Request(json.loads(record.payload)["request"], record.time)
            row = evidence.phi(evidence.user(asked), asked, item, evidence.vectors(item))
            one = recsdk.Context(row, np.ones(1, bool), record.slots[[place]].astype(np.int64))
            wanted = policy.update(wanted, recsdk.Interaction(one, 0, reward.value, record.probs[reward.position, place], 1.0))
        np.testing.assert_allclose(shop._loop.learner.state.mean, wanted.mean, atol=1e-9)
        serve(shop, range(50, 60))
        learned = state(shop)
    with opened(tmp_path, scorers=[price], encoder=Hashing(dim=4), log_features=log_features) as shop:
        assert state(shop) == learned


@pytest.mark.filterwarnings("ignore::recsdk.errors.IgnoredInput")
def test_an_encoder_may_come_go_and_come_back(tmp_path):
    with opened(tmp_path, encoder=None, scorers=[age]) as shop:
        work(shop)
        bare = weights(shop)
    with opened(tmp_path, scorers=[age], history=HISTORY) as shop:
        assert shop.catalogue.vectors.any()
        serve(shop, range(50, 60))
        learned = state(shop)
    with opened(tmp_path, encoder=None, scorers=[age]) as shop:
        assert weights(shop).keys() == bare.keys()
        assert shop.audit()
        shop.add_items([{"id": "late", "price": 1.0}])
    with opened(tmp_path, scorers=[age]) as shop:
        assert state(shop) == learned
        assert shop.catalogue.vectors[-1].any()


def test_a_log_of_changing_parts_is_read_in_the_present_columns(tmp_path):
    with opened(tmp_path, scorers=[price, "popularity"], encoder=None) as shop:
        serve(shop, range(5), size=1)
    with opened(tmp_path, scorers=["popularity", age, price], encoder=None) as shop:
        serve(shop, range(5, 10), size=1)
        records = list(shop._loop.ledger.decisions())
    log = read_ledger(tmp_path)
    assert log.context.features.shape == (10, 12, 4)
    np.testing.assert_array_equal(log.context.features[0][:, [2, 0, 3]], records[0].features)
    assert not log.context.features[:5, :, 1].any()
    np.testing.assert_array_equal(log.context.features[9], records[9].features)


def test_vectors_of_another_encoder_are_not_in_the_log(tmp_path):
    with opened(tmp_path, scorers=[price], history=HISTORY) as shop:
        serve(shop, range(5), size=1)
    with opened(tmp_path, scorers=[price], encoder=Hashing(dim=4), history=HISTORY) as shop:
        serve(shop, range(5, 10), size=1)
    features = read_ledger(tmp_path).context.features
    assert not features[:5, :, [0, 2, 3, 4, 5]].any()
    assert features[:5, :, 1].all()
    assert features[5:, :, [0, 2, 3, 4, 5]].any(axis=(0, 1)).all()


def test_columns_move_by_name_and_vectors_by_version():
    old, new = Layout("a", 2, ((0, "x"), (1, "y"))), Layout("a", 2, ((2, "x"), (1, "y"), (0, "x2"), (0, "x")))
    row = np.array([[1, 2, 3, 4, 5, 1]], np.float32)
    assert moved(row, old, new).tolist() == [[1, 0, 3, 0, 2, 4, 5, 1]]
    assert moved(row, old, new._replace(version="b")).tolist() == [[0, 0, 3, 0, 2, 0, 0, 1]]
    assert moved(row, old, old) is row


def test_an_encoder_without_history_says_so_when_the_folder_is_made(tmp_path):
    with pytest.warns(Untrained, match="make the folder with history=, or leave the encoder out"):
        Recommender.open(tmp_path, items=CATALOGUE, encoder=Hashing()).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recommender.open(tmp_path, encoder=Hashing()).close()


def test_the_history_of_the_folder_is_no_news_and_another_one_is_said_to_be_ignored(tmp_path):
    options = {"items": CATALOGUE, "scorers": ["popularity"]}
    Recommender.open(tmp_path, **options, history=HISTORY).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recommender.open(tmp_path, **options, history=HISTORY).close()
        Recommender.open(tmp_path, **options).close()
    with pytest.warns(IgnoredInput, match="history is ignored: the models of this folder were fitted to another one"):
        Recommender.open(tmp_path, **options, history=HISTORY[1:]).close()


@pytest.mark.parametrize("model", ["encoder", "scorer1"])
def test_a_folder_without_a_model_that_it_had_is_refused_and_serves_on_once_it_is_there_again(tmp_path, model):
    with opened(tmp_path, history=HISTORY) as shop:
        serve(shop, range(5))
        learned = state(shop)
    alter(tmp_path, "UPDATE blobs SET name = 'elsewhere' WHERE name = ?", f"fitted/{model}")
    with pytest.raises(LedgerMismatch, match=f"has no 'fitted/{model}'"):
        opened(tmp_path, history=HISTORY)
    alter(tmp_path, "UPDATE blobs SET name = ? WHERE name = 'elsewhere'", f"fitted/{model}")
    with opened(tmp_path) as shop:
        assert state(shop) == learned


def test_a_folder_with_decisions_that_does_not_say_its_parts_is_not_taken_for_a_new_one(tmp_path):
    with opened(tmp_path, history=HISTORY) as shop:
        serve(shop, range(5))
    alter(tmp_path, "DELETE FROM blobs WHERE name = 'made'")
    before = tables(tmp_path)
    with pytest.raises(LedgerMismatch, match="has decisions, and no 'made'"):
        opened(tmp_path, history=HISTORY)
    assert tables(tmp_path) == before
