"""Ensemble."""

import attrs
import numpy as np
import pytest

from recsdk.base import Request
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ranking import by_scorer, leave_one_out, rank_evaluate
from recsdk.scorers._logit import Columns, _likelihood, logit
from recsdk.scorers.ensemble import Ensemble
from recsdk.scorers.function import FunctionScorer
from recsdk.scorers.item_knn import ItemKNN
from recsdk.scorers.popularity import Popularity
from recsdk.scorers.seq_item_knn import SeqItemKNN

NUM_ITEMS = 30


def world(num_users=120, seed=0):
    """Users who take the item after the last one three times of four, and else one that is popular."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(num_users):
        item = int(rng.integers(NUM_ITEMS))
        for time in range(7):
            rows.append({"user_id": f"u{user}", "item": f"i{item}", "time": float(time)})
            item = (item + 1) % NUM_ITEMS if rng.random() < 0.75 else int(NUM_ITEMS * rng.random() ** 3)
    return events_from_rows(items_from_rows([{"id": f"i{n}"} for n in range(NUM_ITEMS)]), rows)


LOG = world()
SPLIT = leave_one_out(LOG)


def noise(request, candidates):
    return [hash_of(name, request) for name in candidates.ids]


def hash_of(name, request):
    return (sum(map(ord, name)) * 7919 + len(request.features.get("history") or ()) * 31) % 101 / 101


def test_it_ranks_as_well_as_its_best_member_and_better_than_the_mean():
    members = (SeqItemKNN(), Popularity(half_life=1e9), FunctionScorer(noise))
    ensemble = Ensemble(scorers=members)
    state = ensemble.fit(SPLIT.refit)
    found = {scorer.columns[0]: rank_evaluate(by_scorer(scorer, scorer.fit(SPLIT.refit)), SPLIT.test).ndcg.value for scorer in members}
    ours = rank_evaluate(by_scorer(ensemble, state), SPLIT.test).ndcg.value
    equal = rank_evaluate(by_scorer(ensemble, state._replace(weights=np.ones(3))), SPLIT.test).ndcg.value
    assert ours > max(found.values()) - 0.01
    assert ours > equal + 0.02


@attrs.frozen
class Rote:
    """Knows by heart what each user took last, and nothing of what comes next."""

    columns = ("rote",)

    def init(self):
        return {}

    def fit(self, log):
        return dict(zip(log.requests["user_id"].tolist(), log.item.tolist(), strict=True))

    def score(self, state, request, candidates):
        return (candidates.slot == state.get(request.features.get("user_id"), -1)).astype(np.float32)[:, None]


def test_who_knows_by_heart_what_is_held_out_earns_no_weight():
    state = Ensemble(scorers=(SeqItemKNN(), Rote())).fit(LOG)
    known, rote = state.weights
    assert rote < 3 * known  # thirteen times, were the members fitted to what is held out


def test_the_weights_are_where_the_likelihood_is_highest():
    rng = np.random.default_rng(0)
    scores, truth = rng.standard_normal((400, 12, 3)), np.array([1.5, -0.7, 0.0])
    ranked = rng.random((400, 12)) < 0.8
    utility = np.where(ranked, scores @ truth + rng.gumbel(size=(400, 12)), -np.inf)
    data = Columns(scores, ranked, utility.argmax(axis=1))
    weights = logit(data, 1e-3)
    np.testing.assert_allclose(weights, truth, atol=0.2)
    best, slope, _ = _likelihood(data, weights, 1e-3)
    np.testing.assert_allclose(slope, 0, atol=1e-5)
    for _ in range(20):
        assert _likelihood(data, weights + 0.05 * rng.standard_normal(3), 1e-3)[0] < best


def test_members_are_fitted_to_all_and_their_columns_are_summed():
    ensemble = Ensemble(scorers=(SeqItemKNN(), ItemKNN()))
    state, asked = ensemble.fit(LOG), Request({"user_id": "u1", "history": ["i3"]}, 9.0)
    columns = [scorer.score(scorer.fit(LOG), asked, LOG.items)[:, 0] for scorer in ensemble.scorers]
    np.testing.assert_allclose(ensemble.score(state, asked, LOG.items)[:, 0], np.stack(columns, 1) @ state.weights, rtol=1e-5)


def test_live_rewards_reach_the_members_that_learn():
    ensemble = Ensemble(scorers=(FunctionScorer(noise), ItemKNN()))
    state = ensemble.fit(LOG)
    asked = Request({"user_id": "new"}, 9.0)
    before = ensemble.score(state, asked, LOG.items)
    state = ensemble.update(state, asked, take(LOG.items, [4]), 1.0)
    assert not np.array_equal(ensemble.score(state, asked, LOG.items), before)


def test_where_nothing_can_be_held_out_all_weigh_alike():
    log = events_from_rows(LOG.items, [{"user_id": "u", "item": "i1", "time": 0.0}])
    assert Ensemble().fit(log).weights.tolist() == [1.0, 1.0]


def test_a_log_that_does_not_say_who_the_user_is_is_refused_and_one_without_events_is_not():
    with pytest.raises(InvalidLog, match=r"must have a column 'uid' that says who the user is"):
        Ensemble(user="uid", scorers=("popularity",)).fit(LOG)
    assert Ensemble(scorers=("popularity",)).fit(events_from_rows(LOG.items, [])).weights.tolist() == [1.0]


def test_members_may_be_given_by_name():
    assert Ensemble(scorers=("item-knn", Popularity())) == Ensemble(scorers=[ItemKNN(), Popularity()])
    for given in ((), "item-knn", (3,)):
        with pytest.raises(InvalidValue, match=r"Ensemble\.scorers must be"):
            Ensemble(scorers=given)
