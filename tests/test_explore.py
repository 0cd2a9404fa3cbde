"""Scores to probabilities: known answers, and laws."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from recsdk import Context, decide, explore
from recsdk.errors import InvalidProbs
from tests.shared import shared

ALL = np.ones(4, bool)
SCORES = npst.arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e6, 1e6))


@pytest.fixture(scope="module")
def known():
    return json.loads(shared("reference/known_values/explore.json").read_text())


def test_epsilon_greedy_gives_vowpal_wabbits_published_answer(known):
    for row in known["epsilon_greedy"]:
        scores = np.arange(row["K"]) == row["top"]
        mask = np.ones(row["K"], bool)
        np.testing.assert_allclose(explore.mix(explore.greedy(scores * 1.0, mask), mask, row["epsilon"]), row["pmf"], rtol=1e-12)


def test_softmax_gives_vowpal_wabbits_published_answers(known):
    for row in known["softmax"]:
        scores = np.array(row["scores"], float)
        probs = explore.softmax(scores, np.ones(len(scores), bool), 1 / row["lmbda"])
        np.testing.assert_allclose(probs, row["pmf"], atol=known["tolerance"])


def test_votes_give_vowpal_wabbits_published_answer(known):
    for row in known["bag"]:
        votes = np.repeat(np.arange(len(row["votes"])), row["votes"])
        draws = (np.arange(len(row["votes"])) == votes[:, None]).astype(float)
        assert explore.votes(draws, np.ones(len(row["votes"]), bool)).tolist() == row["pmf"]


def test_all_mass_on_exploration_is_uniform(known):
    for row in known["min_probability"]:
        if row["epsilon"] == 1.0 or row["pmf_in"] == [1, 0, 0]:  # where mixing and raising to a minimum are one
            pmf = np.array(row["pmf_in"], float)
            np.testing.assert_allclose(explore.mix(pmf, np.ones(len(pmf), bool), row["epsilon"]), row["pmf"], rtol=1e-12)


def test_draws_come_as_often_as_published(known):
    row = known["sampling"]

    class Fixed:
        def probs(self, state, rng, context):
            return np.array(row["pmf"])

    rng, where = np.random.default_rng(0), Context(np.zeros((3, 1)), np.ones(3, bool), np.arange(3))
    actions = [decide(Fixed(), (), rng, where).action for _ in range(row["draws"])]
    shares = np.bincount(actions, minlength=3) / row["draws"]
    np.testing.assert_allclose(shares, row["pmf"], atol=row["tolerance"])


def test_nothing_to_choose_from_is_an_error_and_never_a_silent_first_place(known):
    row = known["degenerate"]

    class Nothing:
        def probs(self, state, rng, context):
            return np.array(row["pmf_in"], float)

    where = Context(np.zeros((5, 1)), np.ones(5, bool), np.arange(5))
    with pytest.raises(InvalidProbs):
        decide(Nothing(), (), np.random.default_rng(0), where)


def test_uniform_spreads_the_mass_over_the_real_candidates():
    assert explore.uniform(np.array([True, False, True, False])).tolist() == [0.5, 0, 0.5, 0]


def test_greedy_takes_the_best_of_the_real_candidates():
    assert explore.greedy(np.array([1.0, 9, 3, 2]), np.array([True, False, True, True])).tolist() == [0, 0, 1, 0]


def test_ties_share():
    assert explore.greedy(np.array([2.0, 2, 1, 2]), ALL).tolist() == [1 / 3, 1 / 3, 0, 1 / 3]
    assert explore.votes(np.array([[2.0, 2, 1, 0], [0, 0, 0, 5]]), ALL).tolist() == [0.25, 0.25, 0, 0.5]


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_scores_that_differ_in_the_last_bits_tie_and_others_do_not(scale):
    rounding = 4 * np.spacing(scale)
    assert explore.greedy(np.array([scale, scale - rounding, 0.0, 0.0]), ALL).tolist() == [0.5, 0.5, 0, 0]
    different = scale - 1e-11 * (1 + scale)
    assert explore.greedy(np.array([scale, different, different, different]), ALL).tolist() == [1, 0, 0, 0]


def test_votes_are_the_winners_frequencies():
    draws = np.random.default_rng(0).standard_normal((500, 4))
    np.testing.assert_allclose(explore.votes(draws, ALL), np.bincount(draws.argmax(axis=1), minlength=4) / 500, rtol=1e-12)


@given(scores=SCORES, data=st.data())
def test_every_answer_is_a_distribution_over_the_real_candidates(scores, data):
    mask = data.draw(npst.arrays(bool, len(scores)).filter(np.any))
    share = data.draw(st.floats(0, 1))
    temperature = data.draw(st.floats(1e-3, 1e3))
    answers = {
        "uniform": explore.uniform(mask),
        "greedy": explore.greedy(scores, mask),
        "votes": explore.votes(np.stack([scores, scores[::-1]]), mask),
        "mix": explore.mix(explore.greedy(scores, mask), mask, share),
        "softmax": explore.softmax(scores, mask, temperature),
    }
    for name, probs in answers.items():
        assert probs.dtype == np.float64, name
        assert (probs >= 0).all(), name
        assert not probs[~mask].any(), name
        assert probs.sum() == pytest.approx(1, abs=1e-12), name


@given(scores=SCORES, seed=st.integers(0, 100))
def test_the_order_of_candidates_is_moot(scores, seed):
    order, mask = np.random.default_rng(seed).permutation(len(scores)), np.ones(len(scores), bool)
    np.testing.assert_array_equal(explore.greedy(scores[order], mask), explore.greedy(scores, mask)[order])
    draws = np.stack([scores, -scores])
    np.testing.assert_allclose(explore.votes(draws[:, order], mask), explore.votes(draws, mask)[order], atol=1e-15)
    np.testing.assert_allclose(explore.softmax(scores[order], mask, 1.0), explore.softmax(scores, mask, 1.0)[order], atol=1e-15)


@given(scores=SCORES, share=st.floats(0.001, 1))
def test_mixing_keeps_every_candidate_above_the_floor(scores, share):
    mask = np.ones(len(scores), bool)
    assert explore.mix(explore.greedy(scores, mask), mask, share).min() >= share / len(scores) * (1 - 1e-12)


def test_softmax_does_not_overflow_and_tends_to_greedy():
    probs = explore.softmax(np.array([1e8, 0.0, -1e8, 1e8]), ALL, 1.0)
    assert probs.tolist() == [0.5, 0, 0, 0.5]


def test_jax_gives_what_numpy_gives():
    import jax

    rng, mask = np.random.default_rng(0), np.array([True, True, False, True])
    scores, draws = rng.standard_normal(4), rng.standard_normal((8, 4))
    scores[1] = scores[0]
    functions = [
        lambda scores, draws, mask: explore.uniform(mask),
        lambda scores, draws, mask: explore.greedy(scores, mask),
        lambda scores, draws, mask: explore.votes(draws, mask),
        lambda scores, draws, mask: explore.mix(explore.greedy(scores, mask), mask, 0.1),
        lambda scores, draws, mask: explore.softmax(scores, mask, 0.5),
    ]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        for function in functions:
            np.testing.assert_allclose(jax.jit(function)(scores, draws, mask), function(scores, draws, mask), rtol=1e-12)


def test_inverse_gaps_are_the_papers_formula():
    probs = explore.inverse_gap(np.array([1.0, 0.5, 9.0, 0.8]), np.array([True, True, False, True]), 10.0)
    np.testing.assert_allclose(probs, [1 - 1 / 8 - 1 / 5, 1 / (3 + 10 * 0.5), 0, 1 / (3 + 10 * 0.2)], rtol=1e-14)


@given(scores=SCORES)
def test_inverse_gaps_without_greed_are_uniform_and_with_all_greed_are_greedy(scores):
    mask = np.ones(len(scores), bool)
    np.testing.assert_allclose(explore.inverse_gap(scores, mask, 0.0), explore.uniform(mask), rtol=1e-12)
    np.testing.assert_allclose(explore.inverse_gap(scores, mask, 1e300), explore.greedy(scores, mask), atol=1e-12)


@given(scores=SCORES, gamma=st.floats(0, 1e9))
def test_inverse_gaps_favour_the_better(scores, gamma):
    probs = explore.inverse_gap(scores, np.ones(len(scores), bool), gamma)
    assert (np.diff(probs[np.argsort(scores)]) >= -1e-12).all()
    assert abs(probs.sum() - 1) < 1e-12


def test_the_best_share_what_inverse_gaps_leave():
    probs = explore.inverse_gap(np.array([1.0, 1.0 + 1e-15, 0.0]), np.ones(3, bool), 7.0)
    np.testing.assert_allclose(probs, [0.45, 0.45, 0.1], rtol=1e-12)
