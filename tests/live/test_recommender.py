"""The live loop: what it promises when all goes well."""

import threading
from typing import ClassVar

import attrs
import numpy as np
import pytest

import recsdk
from recsdk.errors import DecisionConflict, DuplicateCandidates, EmptyCandidates, RewardConflict, UnknownItem
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.recommender import Recommender
from tests.live.shop import (
    CATALOGUE,
    IDS,
    Centred,
    Clock,
    NativeTally,
    TopicTally,
    open_recommender,
    request,
    serve,
    small_recommender,
    state,
    tables,
)


@pytest.fixture
def shop(tmp_path):
    with open_recommender(tmp_path) as recommender:
        yield recommender


def test_a_slate_has_different_items_and_the_propensities_of_the_probs_in_the_ledger(shop):
    for number in range(50):
        slate = shop.recommend(request(number), size=4, decision_id=f"d{number}")
        record = shop._loop.ledger.decision(slate.decision_id)
        assert len(set(slate.ids)) == 4
        assert slate.ids == tuple(shop.catalogue.items.ids[record.slots[record.action]])
        assert slate.propensities == tuple(record.probs[np.arange(4), record.action])
        np.testing.assert_allclose(record.probs.sum(axis=1), 1, atol=1e-12)
        for position in range(4):
            assert not record.probs[position, record.action[:position]].any()
            assert (record.probs[position, record.action[position:]] >= 0.05 / (12 - position) - 1e-15).all()


def test_a_single_candidate_is_certain(shop):
    assert shop.recommend({}, candidates=["news-0"]).propensities == (1.0,)
    assert shop.recommend({}, size=12).propensities[-1] == 1.0


def test_the_same_decision_id_gives_the_same_answer_also_after_reopening_and_without_the_item(tmp_path):
    with open_recommender(tmp_path) as shop:
        slates = serve(shop, range(20))
        before = tables(tmp_path)["decisions"]
        assert [shop.recommend(request(number), size=2, decision_id=f"d{number}") for number in range(20)] == slates
        shop.remove_items(slates[0].ids)
        assert shop.recommend(request(0), size=2, decision_id="d0") == slates[0]
    with open_recommender(tmp_path, policy="lin-ucb", num_candidates=11) as shop:
        assert [shop.recommend(request(number), size=2, decision_id=f"d{number}") for number in range(20)] == slates
    assert tables(tmp_path)["decisions"] == before


def test_a_repeated_request_may_be_written_in_other_words_of_the_same_meaning(shop):
    first = shop.recommend({"age": 1, "tags": ("a", "b"), "phone": True}, seen=["news-0", "sport-0"], decision_id="d")
    again = {"phone": np.True_, "tags": ["a", "b"], "age": np.float32(1)}
    assert shop.recommend(again, seen={"sport-0", "news-0"}, decision_id="d") == first


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("request", {"request": {"user_id": "u2"}}),
        ("size", {"size": 3}),
        ("candidates", {"candidates": ["news-0", "sport-1"]}),
        ("candidates", {"candidates": None}),
        ("seen", {"candidates": None, "seen": ["news-0"]}),
    ],
)
def test_a_decision_id_used_again_for_something_else_is_refused_and_the_field_named(shop, field, change):
    call = {"request": {"user_id": "u1"}, "size": 2, "candidates": ["sport-1", "news-0"]}

    def ask(request, **options):
        return shop.recommend(request, decision_id="d", **options)

    slate = ask(**call)
    with pytest.raises(DecisionConflict, match=f"'d' was used before with another .*{field}"):
        ask(**{**call, **change})
    assert ask(**call) == slate


def test_without_a_decision_id_every_call_is_a_decision_of_its_own(shop):
    assert len({shop.recommend({}).decision_id for _ in range(20)}) == 20


def test_the_draw_depends_on_the_secret_of_the_folder(tmp_path):
    shown = []
    for name in ("one", "other"):
        with small_recommender(tmp_path / name, policy="uniform") as shop:
            shown.append([shop.recommend({}, decision_id=f"d{number}").ids for number in range(30)])
    assert shown[0] != shown[1]


@pytest.mark.parametrize(
    "name",
    ["a\0b", "line\nbreak", "😀" * 32, "'; DROP TABLE decisions; --", "../../etc/passwd", "CON", "d/0", "x" * 128, " "],
    ids=ascii,
)
def test_a_name_of_up_to_128_bytes_is_kept_as_it_is(tmp_path, shop, name):
    slate = shop.recommend({"user_id": name, name: 1}, decision_id=name)
    assert slate.decision_id == name
    assert shop.reward(name, 1.0, reward_id=name)
    assert not shop.reward(name, 1.0, reward_id=name)
    assert [row[1] for row in tables(tmp_path)["decisions"]] == [name]
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {"ledger.head", "ledger.lock", "ledger.mark", "ledger.sqlite"}


def test_a_repeated_reward_counts_once_also_after_reopening(tmp_path):
    with open_recommender(tmp_path) as shop:
        slate = shop.recommend(request(0), size=2, decision_id="d")
        assert shop.reward("d", 1.0, item=slate.ids[1])
        assert shop.reward("d", 0.5, item=slate.ids[0], reward_id="r")
        learned = state(shop)
        assert not shop.reward("d", 1.0, item=slate.ids[1])
        assert not shop.reward("d", 0.5, item=slate.ids[0], reward_id="r")
        assert state(shop) == learned
    with open_recommender(tmp_path) as shop:
        assert not shop.reward("d", 1, item=slate.ids[1])
        assert not shop.reward("d", np.float32(0.5), item=slate.ids[0], reward_id="r")
        assert state(shop) == learned
        assert shop.num_learned == len(tables(tmp_path)["rewards"]) == 2


@pytest.mark.parametrize("reopen", [False, True])
def test_a_reward_that_contradicts_an_earlier_one_is_refused(tmp_path, reopen):
    shop = open_recommender(tmp_path)
    one, other = shop.recommend({}, size=2, decision_id="d").ids
    shop.recommend({}, decision_id="e")
    shop.reward("d", 1.0, item=one, reward_id="r")
    if reopen:
        shop.close()
        shop = open_recommender(tmp_path)
    learned = state(shop)
    for call in (
        lambda: shop.reward("d", 2.0, item=one, reward_id="r"),
        lambda: shop.reward("d", 1.0, item=other, reward_id="r"),
        lambda: shop.reward("e", 1.0, reward_id="r"),
        lambda: shop.reward("d", 1.0, item=one, reward_id="s"),
        lambda: shop.reward("d", 1.0, item=one),
        lambda: shop.reward_slate("d", {one: 1.0}),
    ):
        with pytest.raises(RewardConflict, match="reward_id 'r'"):
            call()
    assert state(shop) == learned
    assert len(tables(tmp_path)["rewards"]) == 1
    shop.close()


def test_a_slates_rewards_are_taken_together_and_the_unnamed_get_the_reward_of_the_others(shop):
    ids = shop.recommend({}, size=3, decision_id="d").ids
    assert shop.reward("d", 0.25, item=ids[2])
    assert shop.reward_slate("d", {ids[1]: 1.0, ids[2]: 0.25}, others=-1.0)
    assert not shop.reward_slate("d", {ids[2]: 0.25, ids[1]: 1.0}, others=-1.0)
    assert {(reward.position, reward.value) for reward in shop._loop.ledger.rewards_of("d")} == {(0, -1.0), (1, 1.0), (2, 0.25)}
    assert shop.num_learned == 3


class Last(TopicTally):
    def update(self, state, request, item, reward):
        return {"last": np.array(reward)}


def test_minus_zero_and_the_smallest_numbers_are_rewards(tmp_path):
    rewards = [-0.0, 0.0, 5e-324, -5e-324, 0, np.int64(3), np.float32(0.1)]
    with small_recommender(tmp_path, scorers=[Last()]) as shop:
        for number, value in enumerate(rewards):
            shop.recommend({}, decision_id=f"d{number}")
            assert shop.reward(f"d{number}", value)
            assert shop.audit()
        assert [reward.value for reward, _ in shop._loop.ledger.outcomes()] == [float(value) for value in rewards]


def test_a_removed_item_is_not_shown_and_its_decisions_can_still_be_rewarded(shop):
    slate = shop.recommend({}, candidates=["news-0"])
    shop.remove_items(["news-0", "sport-0"])
    assert "news-0" not in shop.catalogue
    assert len(shop.catalogue) == 10
    assert {"news-0", "sport-0"}.isdisjoint(shop.recommend({}, size=10).ids)
    with pytest.raises(UnknownItem, match="news-0"):
        shop.recommend({}, candidates=["news-0"])
    assert shop.reward(slate.decision_id, 1.0)
    assert shop.audit()


def test_a_new_item_can_be_shown_at_once_and_learned_from(shop):
    shop.add_items([{"id": "fresh", "topic": "film", "price": 2.0, "colour": "red"}])
    slate = shop.recommend({"user_id": "u1"}, size=13)
    assert "fresh" in slate.ids
    assert shop.reward(slate.decision_id, 1.0, item=slate.ids[0])
    assert shop.recommend({}, candidates=["fresh"]).ids == ("fresh",)


def test_an_online_scorer_sees_an_item_with_the_features_it_had_when_it_was_shown_and_the_catalogues_other_columns(tmp_path):
    seen = []

    class Watching(TopicTally):
        def update(self, state, request, item, reward):
            seen.append((item.ids[0], int(item.slot[0]), {name: column[0] for name, column in item.features.items()}, request.features))
            return state

    with small_recommender(tmp_path, scorers=[Watching()]) as shop:
        shop.recommend({"age": np.float32(3), "tags": ("a",)}, candidates=["sport-1"], decision_id="d")
        shop.remove_items(["sport-1"])
        shop.add_items([{"id": "sport-1", "colour": "red"}])
        shop.reward("d", 1.0)
        shop.recommend({}, candidates=["sport-1"], decision_id="e")
        shop.reward("e", 1.0)
    assert seen[0] == ("sport-1", 4, {"topic": "sport", "price": 1.0, "colour": None}, {"age": 3.0, "tags": ["a"]})
    assert str(seen[1]) == str(("sport-1", 4, {"colour": "red", "price": np.float64("nan"), "topic": None}, {}))


def test_an_item_that_comes_back_keeps_its_slot_and_has_its_new_features(tmp_path):
    with open_recommender(tmp_path) as shop:
        slots = dict(zip(IDS, shop.catalogue.slots(IDS).tolist(), strict=True))
        shop.remove_items(["sport-1", "news-2"])
        shop.add_items([{"id": "news-2", "topic": "film"}, {"id": "late"}, {"id": "sport-1"}])
        assert shop.catalogue.slots(["news-2", "sport-1", "late"]).tolist() == [slots["news-2"], slots["sport-1"], 12]
        assert shop.catalogue.items.features["topic"][slots["news-2"]] == "film"
        kept = shop.catalogue.slots(IDS).tolist()
        assert kept == list(slots.values())
    with open_recommender(tmp_path) as shop:
        assert shop.catalogue.slots([*IDS, "late"]).tolist() == [*kept, 12]
        assert shop.catalogue.items.features["topic"][slots["news-2"]] == "film"


@pytest.mark.parametrize("rows", [[{"id": "news-0"}], [{"id": "new"}, {"id": "sport-0"}], [{"id": "new"}, {"id": "new"}]])
def test_an_item_that_is_there_cannot_be_added(shop, rows):
    with pytest.raises(DuplicateCandidates, match=r"news-0|sport-0|new"):
        shop.add_items(rows)
    assert "new" not in shop.catalogue


def test_on_reopening_only_items_that_were_never_held_are_added(tmp_path):
    with open_recommender(tmp_path) as shop:
        shop.remove_items(["news-0"])
    changed = [{"id": "news-0"}, {"id": "sport-0", "topic": "changed"}, {"id": "fresh"}]
    with open_recommender(tmp_path, items=changed) as shop:
        assert len(shop.catalogue) == 12
        assert "news-0" not in shop.catalogue
        assert "fresh" in shop.catalogue
        assert shop.catalogue.items.features["topic"][1] == "sport"
    with open_recommender(tmp_path, items=()) as shop:
        assert len(shop.catalogue) == 12


def test_items_and_history_may_be_given_as_records_with_slots_of_their_own(tmp_path):
    from recsdk.data import events_from_rows, items_from_rows

    items = items_from_rows(CATALOGUE)._replace(slot=np.arange(12)[::-1] + 100)
    history = events_from_rows(items, [{"item": "sport-1", "time": 0}] * 5)
    with open_recommender(tmp_path, items=items, history=history, scorers=["popularity"]) as shop:
        popularity = shop._loop.evidence.states[0].sums
        assert popularity[shop.catalogue.slots(["sport-1"])[0]] == 5
        assert popularity.sum() == 5


def test_named_candidates_keep_their_order_and_seen_items_and_rules_narrow_the_rest(tmp_path):
    def cheap(request, items):
        return items.features["price"] < request.features["budget"]

    with open_recommender(tmp_path, rules=[cheap]) as shop:
        slate = shop.recommend({"budget": 1.0}, candidates=["music-3", "news-2"], size=2, decision_id="named")
        assert shop._loop.ledger.decision("named").slots.tolist() == [11, 6]
        assert set(slate.ids) == {"music-3", "news-2"}
        found = shop.recommend({"budget": 2.0}, size=4, seen=["news-0", "sport-1", "never-held"])
        assert set(found.ids) == {"sport-0", "music-0", "news-1", "music-1"}
        with pytest.raises(EmptyCandidates, match="unseen and allowed"):
            shop.recommend({"budget": 0.0})


def test_time_is_what_the_clock_says_also_when_it_goes_back(tmp_path):
    clock = Clock(now=100.0)
    with open_recommender(tmp_path, clock=clock) as shop:
        assert set(shop.catalogue.items.added) == {101.0}
        shop.recommend({}, decision_id="d")
        clock.now = -3600.0
        shop.reward("d", 1.0)
        shop.add_items([{"id": "fresh"}])
        assert shop._loop.ledger.decision("d").time == 102.0
        assert shop._loop.ledger.rewards_of("d")[0].time == -3599.0
        assert shop.catalogue.items.added[-1] == -3598.0
        assert shop.audit()


@pytest.mark.parametrize(("durability", "synchronous"), [("process-crash", 1), ("power-loss", 2)])
def test_durability_is_sqlites_synchronous(tmp_path, durability, synchronous):
    with small_recommender(tmp_path, ledger=Sqlite(durability=durability)) as shop:
        assert shop._loop.ledger._db.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert shop._loop.ledger._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("policy", [recsdk.LinTS(), recsdk.EpsilonGreedy(), NativeTally()], ids=repr)
@pytest.mark.parametrize("size", [1, 3, 12])
def test_learning_is_the_same_whether_shown_features_are_kept_or_all(tmp_path, monkeypatch, policy, size):
    monkeypatch.setattr("secrets.token_bytes", bytes)
    learned = []
    for log_features in ("shown", "all"):
        with open_recommender(tmp_path / log_features, policy=policy, log_features=log_features) as shop:
            for number in range(20):
                ids = shop.recommend(request(number), size=size, decision_id=f"d{number}").ids
                shop.reward_slate(f"d{number}", {ids[-1]: 1.0}, others=0.25)
            learned.append(state(shop))
            kept = {len(record.features) for record in shop._loop.ledger.decisions()}
            assert kept == {12 if log_features == "all" else size}
    assert learned[0] == learned[1]


def test_a_policy_that_learns_from_all_gets_the_candidates_that_were_left_at_each_position(tmp_path):
    with open_recommender(tmp_path, policy=Centred()) as shop:
        for number in range(30):
            ids = shop.recommend(request(number), size=3, decision_id=f"d{number}").ids
            shop.reward_slate(f"d{number}", {ids[0]: 1.0})
        assert shop._loop.learner.state.seen == 30 * (12 + 11 + 10)
        assert shop.audit()
        learned = state(shop)
    with open_recommender(tmp_path, policy=Centred()) as shop:
        assert state(shop) == learned


def test_vowpal_wabbit_learns_live_and_is_recovered(tmp_path):
    vw = pytest.importorskip("recsdk_vw")
    policy = vw.VW(exploration="squarecb")
    with open_recommender(tmp_path, policy=policy, snapshot_every=20) as shop:
        for number in range(30):
            ids = shop.recommend(request(number), size=2, decision_id=f"d{number}").ids
            shop.reward_slate(f"d{number}", {ids[0]: 1.0})
        learned = state(shop)
        probs = [decided_again(shop, number).probs for number in range(9)]
    with open_recommender(tmp_path, policy=policy) as shop:
        assert state(shop) == learned
        np.testing.assert_array_equal([decided_again(shop, number).probs for number in range(9)], probs)


def decided_again(shop, number):
    """Returns what would be decided, without a trace."""
    name = f"e{number}"
    found = shop._loop.decider.candidates(name, recsdk.Request(request(number), 2_000_000.0), None, [])
    return shop._loop.decider.decide(name, 2_000_000.0, 1, found, "").record


def test_from_many_threads_one_decision_id_is_one_decision_and_every_reward_counts_once(tmp_path):
    with open_recommender(tmp_path) as shop:
        start, answers, errors = threading.Barrier(32), [], []

        def visit(thread):
            try:
                start.wait()
                answers.append(shop.recommend(request(0), size=2, decision_id="same"))
                shop.reward("same", 1.0, item=answers[-1].ids[0])
                for number in range(5):
                    slate = shop.recommend(request(number), size=2, decision_id=f"{thread}-{number}")
                    shop.reward_slate(slate.decision_id, {slate.ids[1]: 1.0})
                    shop.reward(slate.decision_id, 1.0, item=slate.ids[1])
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=visit, args=(thread,)) for thread in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(set(answers)) == 1
        assert len(tables(tmp_path)["decisions"]) == 1 + 32 * 5
        assert shop.num_learned == len(tables(tmp_path)["rewards"]) == 1 + 32 * 5 * 2
        assert shop.audit()


def test_opening_takes_the_parts_by_name(tmp_path):
    with Recommender.open(str(tmp_path / "deep" / "folder"), items=CATALOGUE, scorers=["popularity", "item-knn"], policy="lin-ucb") as shop:
        assert shop.recommend({"user_id": "u1"}, size=12).ids
    assert (tmp_path / "deep" / "folder" / "ledger.sqlite").exists()


def test_closing_twice_is_no_error_and_a_closed_recommender_says_so(tmp_path):
    shop = small_recommender(tmp_path)
    shop.close()
    shop.close()
    with pytest.raises(recsdk.errors.LedgerError, match="closed: open the folder again"):
        shop.recommend({})


@attrs.frozen
class Fixed:
    """An encoder to which the second item is the best for everybody."""

    dim: ClassVar[int] = 2

    def init(self):
        return ()

    def fit(self, log, *, state=None, seed=0):
        return ()

    def encode_requests(self, state, requests):
        return np.ones((1, 2), np.float32)

    def encode_items(self, state, items):
        return np.arange(2 * len(items.ids), dtype=np.float32).reshape(-1, 2)


@pytest.mark.filterwarnings("ignore::recsdk.errors.Untrained")
def test_an_encoder_is_trusted_only_after_it_has_seen_a_history(tmp_path):
    for name, history, shares in (("none", [], {0.5}), ("some", [{"item": "a", "time": 0.0}], {0.0, 1.0})):
        options = {"encoder": Fixed(), "policy": recsdk.EpsilonGreedy(epsilon=0), "floor": 0}
        with Recommender.open(tmp_path / name, items=[{"id": "a"}, {"id": "b"}], history=history, **options) as shop:
            slate = shop.recommend({}, decision_id="first")
            assert set(shop._loop.ledger.decision("first").probs[0].tolist()) == shares, slate


def test_without_an_encoder_every_item_of_a_large_catalogue_gets_its_chance(tmp_path):
    items = [{"id": f"i{number}"} for number in range(60)]
    with Recommender.open(tmp_path, items=items, num_candidates=5, log_features="all") as shop:
        for number in range(200):
            shop.recommend({}, decision_id=f"d{number}")
        offered = np.concatenate([record.slots for record in shop._loop.ledger.decisions()])
    assert len(set(offered.tolist())) == len(items)
