"""Full ranking."""

import numpy as np
import pytest

from recsdk.data import events_from_rows, items_from_rows
from recsdk.encoders.two_tower import TwoTower
from recsdk.errors import InvalidScores, InvalidValue
from recsdk.ranking import by_encoder, by_scorer, compare_rankings, leave_one_out, rank_evaluate
from recsdk.scorers.item_knn import ItemKNN

ITEMS = items_from_rows([{"id": name} for name in "abcdef"])


def cases_of(**sequences):
    rows = [{"user_id": user, "item": item, "time": float(time)} for user, text in sequences.items() for time, item in enumerate(text)]
    return leave_one_out(events_from_rows(ITEMS, rows)).test


CASES = cases_of(u="abcd", v="abce", w="bcaa")


def falling(cases, rows):
    """Scores a highest and f lowest, for everyone."""
    return np.tile(-np.arange(6, dtype=np.float32), (len(rows), 1))


def test_with_the_history_masked_what_is_left_is_ranked():
    found = rank_evaluate(falling, CASES, at=2)
    assert found.per_case.reciprocal_rank.tolist() == [1.0, 0.5, 0.0]
    assert found.per_case.hit_rate.tolist() == [1.0, 1.0, 0.0]
    assert found.num_masked_targets == 1  # w took a again
    assert found.history_is_masked
    assert found.mrr.value == 0.5


def test_with_the_history_kept_everything_is_ranked():
    found = rank_evaluate(falling, CASES, at=5, mask_history=False)
    assert found.per_case.reciprocal_rank.tolist() == [1 / 4, 1 / 5, 1.0]
    assert (found.num_masked_targets, found.history_is_masked) == (0, False)


def test_blind_scores_get_what_chance_gets():
    found = rank_evaluate(lambda cases, rows: np.zeros((len(rows), 6), np.float32), CASES, at=1)
    np.testing.assert_allclose(found.per_case.recall, [1 / 3, 1 / 3, 0])


def test_cases_in_parts_are_the_cases_at_once(monkeypatch):
    whole = rank_evaluate(falling, CASES, at=2)
    monkeypatch.setattr("recsdk.ranking.evaluation.CHUNK", 7)
    assert rank_evaluate(falling, CASES, at=2).per_case.ndcg.tolist() == whole.per_case.ndcg.tolist()


def random_cases(num_users=200):
    rng = np.random.default_rng(0)
    return cases_of(**{f"u{n}": "".join(rng.choice(list("abcdef"), size=4)) for n in range(num_users)})


def test_the_interval_covers_as_a_normal_one_would():
    found = rank_evaluate(falling, random_cases(), at=2, mask_history=False)
    hits = found.per_case.hit_rate
    width = 2 * 1.96 * hits.std() / np.sqrt(len(hits))
    assert found.hit_rate.low < hits.mean() < found.hit_rate.high
    assert abs((found.hit_rate.high - found.hit_rate.low) / width - 1) < 0.15


def test_a_user_of_many_cases_is_drawn_with_all_of_them():
    cases = random_cases()
    alone = rank_evaluate(falling, cases, mask_history=False, at=2).hit_rate
    grouped = rank_evaluate(falling, cases._replace(user=np.arange(200) // 20), mask_history=False, at=2).hit_rate
    hits = rank_evaluate(falling, cases, mask_history=False, at=2).per_case.hit_rate.reshape(10, 20).mean(axis=1)
    assert abs((grouped.high - grouped.low) / (2 * 1.96 * hits.std() / np.sqrt(10)) - 1) < 0.2
    assert alone.value == grouped.value


def test_a_paired_difference_knows_what_two_models_share():
    cases = random_cases()
    one = rank_evaluate(falling, cases, at=2, mask_history=False)
    two = rank_evaluate(lambda cases, rows: falling(cases, rows)[:, [1, 0, 2, 3, 4, 5]], cases, at=2, mask_history=False)
    difference = compare_rankings(one, two)
    assert difference.hit_rate == (0.0, 0.0, 0.0)  # a and b have changed places within the first two
    assert difference.mrr.value == pytest.approx(one.mrr.value - two.mrr.value)
    assert difference.mrr.low < difference.mrr.value < difference.mrr.high
    assert difference.mrr.high - difference.mrr.low < one.mrr.high - one.mrr.low + two.mrr.high - two.mrr.low


@pytest.mark.parametrize("change", [{"at": 3}, {"mask_history": False}])
def test_evaluations_of_other_kinds_are_not_compared(change):
    with pytest.raises(InvalidValue, match="must be the same in both"):
        compare_rankings(rank_evaluate(falling, CASES), rank_evaluate(falling, CASES, **change))


def test_evaluations_of_other_cases_are_not_compared():
    with pytest.raises(InvalidValue, match="same cases in the same order"):
        compare_rankings(rank_evaluate(falling, CASES), rank_evaluate(falling, random_cases()))


@pytest.mark.parametrize(
    "answer", [np.zeros((3, 5), np.float32), np.zeros((3, 6)), np.full((3, 6), np.nan, np.float32), np.full((3, 6), np.inf, np.float32)]
)
def test_scores_that_are_no_scores_are_refused(answer):
    with pytest.raises(InvalidScores, match=r"finite float32\[3, 6\]"):
        rank_evaluate(lambda cases, rows: answer, CASES)


@pytest.mark.parametrize("setting", [{"at": 0}, {"level": 0.0}, {"level": 1.5}, {"num_resamples": 0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(InvalidValue, match=next(iter(setting))):
        rank_evaluate(falling, CASES, **setting)


def test_encoders_and_scorers_are_ranked_by_what_they_say():
    encoder, scorer = TwoTower(dim=4), ItemKNN(shrinkage=0.0)
    state = encoder.init()
    wanted = encoder.encode_requests(state, CASES.requests) @ encoder.encode_items(state, ITEMS).T
    np.testing.assert_allclose(by_encoder(encoder, state)(CASES, np.arange(3)), wanted, rtol=1e-6)
    fitted = scorer.fit(
        leave_one_out(events_from_rows(ITEMS, [{"user_id": "u", "item": i, "time": float(t)} for t, i in enumerate("abcd")])).train
    )
    assert by_scorer(scorer, fitted)(CASES, np.array([0]))[0].tolist() == pytest.approx([0.707, 0.707, 0, 0, 0, 0], abs=1e-3)
    with pytest.raises(InvalidValue, match="column must be one of"):
        by_scorer(scorer, fitted, column="knn")
