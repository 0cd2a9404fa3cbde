"""The draw, the slate, the refusals."""

import itertools
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsdk import Context, Interaction, JaxRandom, LinTS, LinUCB, Uniform, decide, decide_slate, explore, learn
from recsdk.errors import InvalidAnswer, InvalidContext, InvalidProbs, InvalidPropensity, InvalidReward, TooFewCandidates

LARGEST_DRAW = 1 - 2.0**-53


@attrs.frozen
class Fixed:
    """Answers with the given weights, normalised over the candidates that remain."""

    runs_on: ClassVar[Any] = ("numpy", "jax")
    learns_from: ClassVar[Any] = "chosen"

    weights: tuple[float, ...]

    def init(self, prior):
        return ()

    def probs(self, state, rng, context):
        xp = context.mask.__array_namespace__()
        weights = xp.where(context.mask, xp.asarray(self.weights, dtype=xp.float64), 0)
        return weights / weights.sum()

    def update(self, state, interaction):
        return state


@attrs.frozen
class Raw(Fixed):
    """Answers with what it is given, whatever it is."""

    def probs(self, state, rng, context):
        return np.asarray(self.weights)


class Numbers:
    """Yields the given numbers where a uniform one is drawn."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self, shape=None):
        return self.numbers.pop(0)


def context(num, dim=3, seed=0):
    features = np.random.default_rng(seed).standard_normal((num, dim))
    return Context(features, np.ones(num, bool), np.arange(num))


def interaction(**changes):
    good = Interaction(context(4), np.int64(2), np.float64(1), np.float64(0.25), np.float64(1))
    return good._replace(**changes)


WEIGHTS = st.lists(st.just(0.0) | st.floats(1e-300, 1e3), min_size=1, max_size=20).filter(lambda weights: sum(weights) > 0)


@given(weights=WEIGHTS, number=st.floats(0, LARGEST_DRAW))
@example(weights=[0.0, 1.0, 0.0], number=0.0)
@example(weights=[0.0, 1.0, 0.0], number=LARGEST_DRAW)
@example(weights=[0.1] * 10, number=LARGEST_DRAW)
@example(weights=[1 / 3, 1 / 3, 1 / 3, 0.0, 0.0], number=LARGEST_DRAW)
@example(weights=[1.0, 5e-324], number=LARGEST_DRAW)
def test_what_is_drawn_can_be_drawn_and_its_propensity_is_its_probability(weights, number):
    decision = decide(Fixed(tuple(weights)), (), Numbers(number), context(len(weights)))
    assert decision.probs[decision.action] > 0
    assert decision.propensity == decision.probs[decision.action]
    assert decision.action.dtype == np.int64


@given(weights=WEIGHTS)
def test_every_candidate_that_has_mass_is_reached(weights):
    policy, where = Fixed(tuple(weights)), context(len(weights))
    probs = policy.probs((), None, where)
    edges = np.append(0, probs.cumsum())
    for place in np.flatnonzero(np.diff(edges) > 1e-12):
        middle = (edges[place] + edges[place + 1]) / 2 / edges[-1]
        assert decide(policy, (), Numbers(middle), where).action == place


def test_the_last_candidate_is_reached_though_the_probabilities_sum_to_less_than_one():
    probs = np.array([0.1] * 10)
    assert probs.cumsum()[-1] < 1
    assert decide(Raw(tuple(probs)), (), Numbers(LARGEST_DRAW), context(10)).action == 9


def test_a_probability_that_rounding_has_put_above_one_is_one():
    above = 1 + 2**-52
    decision = decide(Raw((0.0, above)), (), Numbers(LARGEST_DRAW), context(2))
    assert (decision.action, decision.propensity, decision.probs.tolist()) == (1, 1.0, [0.0, 1.0])


def test_a_decision_takes_one_uniform_number_after_the_policys_own():
    rng, where, policy = np.random.default_rng(0), context(5), LinTS(num_draws=3)
    state = policy.init(np.zeros(3))
    action = decide(policy, state, rng, where).action
    again = np.random.default_rng(0)
    probs = policy.probs(state, again, where)
    assert action == probs.cumsum().searchsorted(again.random() * probs.sum(), side="right")
    assert rng.random() == again.random()


@pytest.mark.parametrize(
    "probs",
    [
        np.array([0.5, 0.5, np.nan]),
        np.array([1.2, -0.2, 0.0]),
        np.array([0.5, 0.5, 0.1]),
        np.array([0.5, 0.4, 0.0]),
        np.array([0.5, 0.5]),
        np.array([[0.5], [0.5], [0.0]]),
        np.array([0.5, 0.5, 0.0], np.float32),
        np.array([1, 0, 0]),
        np.zeros(3),
    ],
    ids=["nan", "negative", "too much", "too little", "too few", "two axes", "float32", "integers", "nothing"],
)
def test_an_answer_that_is_no_distribution_is_refused(probs, monkeypatch):
    monkeypatch.setattr(Fixed, "probs", lambda *arguments: probs)
    with pytest.raises(InvalidProbs, match=r"probs must be finite float64\[3\] >= 0 that sum to 1, got "):
        decide(Fixed((1.0,)), (), Numbers(0.5), context(3))


def test_jax_draws_what_numpy_draws_from_the_same_numbers():
    import jax

    policy, where = Fixed((0.3, 0.0, 0.2, 0.5)), context(4)
    with jax.enable_x64(True):
        compiled = jax.jit(lambda number, where: decide(policy, (), Numbers(number), where))
        for number in (0.0, 0.29, 0.3, 0.31, 0.5, 0.9, LARGEST_DRAW):
            on_jax, on_numpy = compiled(number, where), decide(policy, (), Numbers(number), where)
            assert on_jax.action == on_numpy.action
            np.testing.assert_allclose(on_jax.probs, on_numpy.probs, rtol=1e-15)


# decide_slate


def test_the_propensities_of_all_slates_multiply_to_a_distribution_over_slates():
    weights = (0.4, 0.1, 0.3, 0.2)
    total = 0.0
    for slate in itertools.permutations(range(4), 3):
        numbers, truth, remaining = [], 1.0, np.array(weights)
        for place in slate:
            probs = remaining / remaining.sum()
            numbers.append(probs[:place].sum() + probs[place] / 2)
            truth *= probs[place]
            remaining[place] = 0
        decision = decide_slate(Fixed(weights), (), Numbers(*numbers), context(4), 3)
        assert tuple(decision.action) == slate
        assert decision.propensity.prod() == pytest.approx(truth, rel=1e-12)
        total += decision.propensity.prod()
    assert total == pytest.approx(1, rel=1e-12)


@given(mask=st.lists(st.booleans(), min_size=1, max_size=12).filter(any), data=st.data())
def test_a_slate_shows_each_candidate_once_and_never_padding(mask, data):
    where = context(len(mask))._replace(mask=np.array(mask))
    size = data.draw(st.integers(1, sum(mask)))
    decision = decide_slate(LinUCB(), LinUCB().init(np.zeros(3)), np.random.default_rng(0), where, size)
    assert decision.action.shape == decision.propensity.shape == (size,)
    assert decision.probs.shape == (size, len(mask))
    assert len(set(decision.action.tolist())) == size
    assert where.mask[decision.action].all()
    np.testing.assert_array_equal(decision.propensity, decision.probs[np.arange(size), decision.action])
    for above in range(1, size):
        assert not decision.probs[above, decision.action[:above]].any()


def test_a_slate_of_one_is_a_decision():
    where, policy = context(6), Fixed((1, 2, 3, 4, 5, 6))
    one = decide(policy, (), np.random.default_rng(3), where)
    slate = decide_slate(policy, (), np.random.default_rng(3), where, 1)
    np.testing.assert_array_equal(slate.probs, one.probs[None])
    assert slate.action == [one.action]


def test_a_slate_leaves_the_callers_mask_as_it_was():
    where = context(4)
    where.mask.setflags(write=False)
    decide_slate(Uniform(), (), np.random.default_rng(0), where, 4)
    assert where.mask.all()


@pytest.mark.parametrize("size", [0, -1, 3])
def test_a_slate_of_more_positions_than_candidates_or_of_none_is_refused(size):
    where = context(4)._replace(mask=np.array([True, False, True, False]))
    with pytest.raises(TooFewCandidates, match=rf"size must be in \[1, 2\], the number of candidates, got {size}"):
        decide_slate(Uniform(), (), np.random.default_rng(0), where, size)


def test_a_slate_can_be_compiled():
    import jax

    with jax.enable_x64(True):
        draw = jax.jit(lambda key, where: decide_slate(Uniform(), (), JaxRandom(key), where, 3))
        decision = draw(jax.random.key(0), context(5))
    assert len(set(decision.action.tolist())) == 3
    np.testing.assert_allclose(decision.propensity, [1 / 5, 1 / 4, 1 / 3], rtol=1e-12)


# learn


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"reward": np.float64(np.nan)}, InvalidReward),
        ({"propensity": np.float64(0)}, InvalidPropensity),
        ({"action": np.int64(4)}, InvalidContext),
    ],
)
def test_what_must_not_be_learned_is_refused_before_the_policy_sees_it(changes, error, monkeypatch):
    monkeypatch.setattr(Fixed, "update", lambda *arguments: pytest.fail("the policy saw it"))
    with pytest.raises(error):
        learn(Fixed((1.0,)), (), interaction(**changes))


def spoilt():
    features = context(4).features
    features[0, 0] = np.nan
    return interaction(context=context(4)._replace(features=features))


def test_who_learns_from_all_candidates_is_not_given_one_that_is_not_finite(monkeypatch):
    monkeypatch.setattr(Fixed, "learns_from", "all")
    with pytest.raises(InvalidContext, match=r"features must be finite, got features\[0, 0\] = nan"):
        learn(Fixed((1.0,)), (), spoilt())


def test_who_learns_from_the_chosen_candidate_does_not_mind_the_others():
    policy = LinUCB()
    state = learn(policy, policy.init(np.zeros(3)), spoilt())
    np.testing.assert_array_equal(state.mean, learn(policy, policy.init(np.zeros(3)), interaction()).mean)


def test_a_policy_that_only_sees_padding_is_refused():
    where = context(3)._replace(mask=np.zeros(3, bool))
    with np.errstate(invalid="ignore"), pytest.raises(InvalidProbs):
        decide(Uniform(), (), np.random.default_rng(0), where)


def test_uniform_exploration_of_one_candidate_is_certain():
    assert explore.uniform(np.array([True])).tolist() == [1.0]
    assert decide(Uniform(), (), np.random.default_rng(0), context(1)).propensity == 1


def test_a_draw_of_padding_is_refused():
    class Careless(Uniform):
        def probs(self, state, rng, context):
            return np.array([0.0, 1.0])

    context = Context(np.ones((2, 1)), np.array([True, False]), np.arange(2))
    with pytest.raises(InvalidProbs, match=r"zero on padding, got 1\.0 at candidate 1"):
        decide(Careless(), (), np.random.default_rng(0), context)


class ReturnsNothing(LinUCB):
    def update(self, state, interaction):
        super().update(state, interaction)


def test_a_policy_whose_update_returns_nothing_is_told_so_at_once():
    policy = ReturnsNothing()
    context = Context(np.eye(2), np.ones(2, bool), np.arange(2))
    interaction = Interaction(context, np.int64(0), np.float64(1), np.float64(0.5), np.float64(1))
    with pytest.raises(InvalidAnswer, match=r"update of ReturnsNothing\(.*\) must return the state after the interaction, got None"):
        learn(policy, policy.init(np.zeros(2)), interaction)
