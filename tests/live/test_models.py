"""Other models while it serves: made and tried aside, published in one step, and gone back from."""

import json
import subprocess
import sys
import threading
import time

import attrs
import numpy as np
import pytest

from recsdk import Context, Trials, states
from recsdk.errors import InvalidValue, ModelRefused, UnknownItem
from recsdk.live import models
from recsdk.live.reproduce import reproduce
from tests.live.shop import CATALOGUE, Hashing, TopicTally, catalogue, crash, open_recommender, request, serve, small_recommender, state
from tests.live.test_identity import price
from tests.processes import ROOT

HISTORY = [{"item": row["id"], "time": float(number), "reward": 1.0} for number, row in enumerate(CATALOGUE)]
SMALL = {"items": CATALOGUE[:2], "encoder": Hashing(dim=1), "scorers": ["popularity"], "policy": "disjoint-lin-ts"}
"""Parts without kernels, which each process that is killed would have to load."""


@attrs.frozen(kw_only=True)
class Faulty(Hashing):
    """An encoder that fails: at fitting, on requests, or on items."""

    fails: str = "fit"
    answer: float = 0.0

    def fit(self, log, *, state=None, seed=0):
        if self.fails == "fit":
            raise ZeroDivisionError("no data")
        return super().fit(log)

    def encode_requests(self, state, requests):
        vectors = super().encode_requests(state, requests)
        if self.fails == "nan":
            vectors[:] = np.nan
        return vectors[:, :-1] if self.fails == "shape" else vectors


@pytest.fixture(autouse=True)
def draws(monkeypatch):
    monkeypatch.setattr("secrets.token_bytes", bytes)


def all_of(shop):
    return state(shop), catalogue(shop), shop._loop.evidence.model, shop.published


def test_a_swap_gives_what_an_opening_with_the_same_parts_gives(tmp_path):
    with open_recommender(tmp_path / "swapped") as shop:
        serve(shop, range(30))
        version = shop.swap(encoder=Hashing(dim=4), scorers=["popularity", price], history=HISTORY)
        assert version == shop.published[-1].model != shop.published[-2].model
        serve(shop, range(30, 40))
        assert shop.audit()
        swapped = state(shop), catalogue(shop)
    with open_recommender(tmp_path / "swapped", encoder=Hashing(dim=4), scorers=["popularity", price]) as shop:
        assert (state(shop), catalogue(shop)) == swapped
        assert len(shop.published) == 2


def test_models_are_fitted_anew_to_a_history_and_their_columns_stay(tmp_path):
    with open_recommender(tmp_path) as shop:
        serve(shop, range(30))
        before = states.dumps(shop._loop.evidence.scorers[0], shop._loop.evidence.states[0])
        shop.swap(history=HISTORY)
        assert states.dumps(shop._loop.evidence.scorers[0], shop._loop.evidence.states[0]) != before
        assert shop._loop.evidence.num_events == len(HISTORY)
        assert shop._loop.evidence.layout.columns == ((0, "popularity"), (1, "recency"), (2, "topic_tally"))
        assert shop.num_learned == 30
        assert shop.audit()


def test_without_a_change_nothing_is_published(tmp_path):
    with open_recommender(tmp_path) as shop:
        serve(shop, range(5))
        before = all_of(shop)
        assert shop.swap() == shop._loop.evidence.model
        assert all_of(shop) == before


def test_every_decision_names_its_model_and_rewards_of_old_ones_count(tmp_path):
    with open_recommender(tmp_path) as shop:
        serve(shop, range(20))
        old = shop._loop.evidence.model
        late = shop.recommend(request(1), decision_id="late")
        new = shop.swap(encoder=Hashing(dim=5), history=HISTORY)
        shop.recommend(request(1), decision_id="next")
        models_of = [json.loads(shop._loop.ledger.decision(name).parts)["model"] for name in ("d0", "late", "next")]
        assert models_of == [old, old, new]
        learned = shop.num_learned
        shop.reward(late.decision_id, 1.0)
        assert shop.num_learned == learned + 1
        assert shop.audit()


@pytest.mark.parametrize("fails", ["fit", "nan", "shape"])
def test_a_model_that_fails_is_refused_and_nothing_has_changed(tmp_path, fails):
    with open_recommender(tmp_path) as shop:
        serve(shop, range(30))
        before, decider = all_of(shop), shop._loop.decider
        blobs = shop._loop.ledger.get("made"), shop._loop.ledger.get("fitted/encoder")
        with pytest.raises(ModelRefused, match="the one before serves on") as caught:
            shop.swap(encoder=Faulty(fails=fails), history=HISTORY)
        assert caught.value.__cause__ is not None
        assert all_of(shop) == before
        assert shop._loop.decider is decider
        assert blobs == (shop._loop.ledger.get("made"), shop._loop.ledger.get("fitted/encoder"))
        serve(shop, range(30, 35))
        assert shop.audit()


def test_a_new_encoder_without_a_history_is_refused(tmp_path):
    with open_recommender(tmp_path) as shop:
        with pytest.raises(ModelRefused, match=r"could not be fitted.*Give the encoder it has, or history="):
            shop.swap(encoder=Hashing(dim=7))
        with pytest.raises(UnknownItem):
            shop.swap(history=[{"item": "nowhere", "time": 1.0}])
        with pytest.raises(InvalidValue, match="as an object"):
            shop.swap(encoder=Hashing)


def test_a_rollback_gives_what_would_be_without_the_swap(tmp_path):
    with open_recommender(tmp_path / "straight") as shop:
        serve(shop, range(20))
        shop.add_items([{"id": "fresh", "topic": "news", "price": 1.0}])
        shop.remove_items(["news-0"])
        straight = catalogue(shop)[0], catalogue(shop)[3:]
    with open_recommender(tmp_path / "there and back") as shop:
        serve(shop, range(20))
        old = shop._loop.evidence.model
        shop.swap(encoder=Hashing(dim=5), scorers=[price], history=HISTORY)
        serve(shop, range(20, 30))
        shop.add_items([{"id": "fresh", "topic": "news", "price": 1.0}])
        shop.remove_items(["news-0"])
        shop.rollback()
        assert shop._loop.evidence.model == old
        assert [change.reason for change in shop.published] == ["opened", "swapped", "rolled back"]
        assert (catalogue(shop)[0], catalogue(shop)[3:]) == straight
        assert shop.num_learned == 30
        assert shop.audit()
        serve(shop, range(30, 40))
        back = state(shop), catalogue(shop)
        with pytest.raises(InvalidValue, match="nothing to go back to"):
            shop.rollback()
        crash(shop)
    with open_recommender(tmp_path / "there and back") as shop:
        assert (state(shop), catalogue(shop)) == back
        assert shop.audit()


def test_a_rollback_learns_at_most_what_came_since_the_last_snapshot(tmp_path, monkeypatch):
    with open_recommender(tmp_path, snapshot_every=10) as shop:
        serve(shop, range(20))
        shop.swap(encoder=Hashing(dim=5), history=HISTORY)
        serve(shop, range(20, 53))
        before, learned = shop._loop.before.learner, []
        learn = type(before).learn
        monkeypatch.setattr(type(before), "learn", lambda self, *outcome: learned.append(1) or learn(self, *outcome))
        shop.rollback()
        assert len(learned) == 3
        assert shop.audit()


def test_a_rollback_after_an_opening_makes_the_model_again(tmp_path):
    with open_recommender(tmp_path, encoder=None, scorers=["popularity"]) as shop:
        serve(shop, range(20))
        old = shop._loop.evidence.model
        shop.swap(scorers=["popularity", "recency"], history=HISTORY)
        serve(shop, range(20, 25))
    with open_recommender(tmp_path, encoder=None, scorers=["popularity", "recency"]) as shop:
        shop.rollback()
        assert shop._loop.evidence.model == old
        assert shop._loop.evidence.columns == ("popularity",)
        assert shop.num_learned == 25
        assert shop.audit()
        learned = state(shop)
    with open_recommender(tmp_path, encoder=None, scorers=["popularity"]) as shop:
        assert state(shop) == learned
        assert shop.published[-1].reason == "rolled back"


def test_what_happens_during_a_swap_is_in_it(tmp_path, monkeypatch):
    with open_recommender(tmp_path) as shop:
        serve(shop, range(20))
        fold, asked = models.Learner.fold, []

        def slow(self):
            fold(self)
            worker = threading.Thread(target=lambda: (serve(shop, range(20, 30)), shop.add_items([{"id": "fresh", "price": 2.0}])))
            worker.start()
            worker.join(20)
            asked.append(worker.is_alive())

        monkeypatch.setattr(models.Learner, "fold", slow)
        shop.swap(encoder=Hashing(dim=5), history=HISTORY)
        assert asked == [False]  # nobody has waited for the swap
        assert shop.num_learned == 30
        assert "fresh" in shop.catalogue
        assert shop.audit()
        swapped = state(shop), catalogue(shop)
        crash(shop)
    with open_recommender(tmp_path, encoder=Hashing(dim=5)) as shop:
        assert (state(shop), catalogue(shop)) == swapped


def test_a_correction_during_a_swap_is_folded_by_the_new_model(tmp_path, monkeypatch):
    with small_recommender(tmp_path, scorers=[TopicTally(), "popularity"], policy="lin-ts") as shop:
        serve(shop, range(19))
        fold = models.Learner.fold
        shop.recommend({}, candidates=["news-0"], decision_id="last")
        monkeypatch.setattr(models.Learner, "fold", lambda self: (fold(self), shop.reward("last", 1.0), shop.correct("last/0", 0.25)))
        shop.swap(history=HISTORY)
        assert shop.num_learned == 21
        assert shop.audit()


def test_challengers_go_with_the_model_and_are_judged_anew(tmp_path):
    options = {"policy": "lin-ucb", "reward_range": (0, 1), "trials": Trials(challengers={"new": "lin-ts"})}
    with open_recommender(tmp_path, **options) as shop:
        serve(shop, range(20))
        assert shop.standings()[0].num_rounds == 20
        shop.swap(encoder=Hashing(dim=5), history=HISTORY)
        assert shop.standings()[0].num_rounds == 0
        serve(shop, range(20, 25))
        assert shop.standings()[0].num_rounds == 5
        assert shop.audit()
        shop.rollback()
        assert shop.standings()[0].num_rounds == 0
        assert shop.audit()
        learned = state(shop), shop._loop.learner.contest.written()
        crash(shop)
    with open_recommender(tmp_path, **options) as shop:
        assert (state(shop), shop._loop.learner.contest.written()) == learned


def test_killed_at_any_statement_of_a_swap_the_folder_has_the_old_model_or_the_new(tmp_path):
    (tmp_path / "shops").mkdir()
    with open_recommender(tmp_path / "before", **SMALL) as shop:
        serve(shop, range(4))
        old = shop._loop.evidence.model
    subprocess.run([sys.executable, "-m", "tests.live.process", "swap", str(tmp_path / "shops")], cwd=ROOT, check=True)  # noqa: S603
    found = set()
    for folder in sorted((tmp_path / "shops").iterdir()):
        shop = open_recommender(folder, **SMALL)
        reasons = [change.reason for change in shop.published]
        assert (shop._loop.evidence.model == old) == (reasons == ["opened"])
        assert shop._loop.evidence.num_events == (0 if reasons == ["opened"] else 2)
        assert shop.num_learned == 4
        assert shop.audit()
        found.add(reasons[-1])
        crash(shop)
    assert found == {"opened", "swapped"}


def test_threads_that_decide_during_swaps_get_the_one_model_or_the_other(tmp_path):
    with open_recommender(tmp_path, policy="lin-ucb", scorers=[], log_features="all") as shop:
        dims, going = {shop._loop.evidence.model: 3}, [True]
        shown = [[] for _ in range(3)]

        def visit(number):
            while going[0]:
                name = f"d{number}-{len(shown[number])}"
                shown[number].append(shop.recommend({"age": number}, decision_id=name))

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for dim in (5, 4):
            before = sum(map(len, shown))
            while sum(map(len, shown)) < before + 5 and all(thread.is_alive() for thread in threads):
                time.sleep(0.01)
            dims[shop.swap(encoder=Hashing(dim=dim), history=HISTORY)] = dim
        shop.rollback()
        going[0] = False
        for thread in threads:
            thread.join()
        records = list(shop._loop.ledger.decisions())
        assert len(records) == sum(map(len, shown)) > 10
        served = {json.loads(record.parts)["model"] for record in records}
        assert len(served) > 1
        for record in records:
            dim = dims[json.loads(record.parts)["model"]]
            assert record.features.shape == (12, dim + 2)
            policy = shop.policy
            prior = np.zeros(dim + 2)
            prior[0] = json.loads(record.parts)["encoder"] != "none" and dim != 3  # the first encoder was fitted to nothing
            context = Context(record.features.astype(np.float64), np.ones(12, bool), record.slots.astype(np.int64))
            probs = policy.probs(policy.init(prior), np.random.default_rng(0), context)
            assert record.probs[0] == pytest.approx(probs, abs=1e-12)
        assert shop.audit()


@pytest.mark.parametrize("dim", [3, 5])
def test_items_that_came_after_a_rollback_have_the_vectors_of_the_next_swap(tmp_path, dim):
    other = Hashing(dim=dim)
    with open_recommender(tmp_path, policy="lin-ts") as shop:
        serve(shop, range(6))
        shop.swap(encoder=other, history=HISTORY)
        shop.rollback()
        shop.add_items([{"id": "late", "topic": "news", "price": 1.0}])
        shop.snapshot()
        parts = {"policy": shop.policy, "scorers": shop._loop.evidence.scorers, "encoder": shop._loop.evidence.encoder}
        assert reproduce(tmp_path, **parts).agreement == "same"
        shop.swap(encoder=other, history=HISTORY)
        held = catalogue(shop)
    with open_recommender(tmp_path, policy="lin-ts", encoder=other) as shop:
        assert catalogue(shop) == held
        assert shop.audit()
