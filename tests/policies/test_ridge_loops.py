"""Loops compiled by Numba decide and learn as the policies' own code, from the same random numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk import Boltzmann, Context, EpsilonDecay, EpsilonGreedy, Interaction, LinTS, LinUCB, SquareCB, arrays, decide, fast, replay
from recsdk.drivers.replay import has_loops
from recsdk.errors import InvalidProbs, InvalidValue
from recsdk.policies import _voting
from recsdk.testing import inputs
from tests.policies.test_ridge import collapsed

pytestmark = pytest.mark.skipif(not fast.enabled(), reason="Numba is not installed, or turned off")

POLICIES = [
    LinUCB(),
    LinUCB(alpha=0.0),
    LinUCB(alpha=3.0, ridge=0.1),
    LinTS(num_draws=1),
    LinTS(scale=0.7, num_draws=7),
    LinTS(),
    EpsilonGreedy(),
    EpsilonGreedy(epsilon=1.0),
    EpsilonDecay(),
    EpsilonDecay(tries=0.3, floor=0.0),
    Boltzmann(),
    Boltzmann(temperature=1e-3),
    SquareCB(),
    SquareCB(scale=1e4, ridge=5.0),
]


def require_alike(policy, log, **options):
    one, other = (replay(policy, log, engine=engine, **options) for engine in ("numpy", "numba"))
    assert (one.engine, other.engine) == ("numpy", "numba")
    for wanted, got in zip(arrays.leaves(one.state), arrays.leaves(other.state), strict=True):
        assert np.abs(got - wanted).max(initial=0.0) <= 1e-12 * max(1.0, np.abs(wanted).max(initial=0.0))
    np.testing.assert_allclose(other.decision.probs, one.decision.probs, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(other.decision.action, one.decision.action)
    np.testing.assert_array_equal(other.decision.propensity, other.decision.probs[np.arange(len(log.action)), other.decision.action])
    np.testing.assert_array_equal(other.matched, one.matched)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@settings(max_examples=12, derandomize=True, deadline=None)  # the first walk may compile
@given(
    kind=st.sampled_from(["normal", "tiny", "tied", "half tied"]),
    num=st.integers(1, 9),
    dim=st.integers(1, 9),
    scale=st.sampled_from([1e-6, 1.0, 1e3]),
    learn_from=st.sampled_from(["all", "matched", "none"]),
    seed=st.integers(0, 3),
)
def test_the_loops_give_what_the_policy_gives(policy, kind, num, dim, scale, learn_from, seed):
    log = inputs.log(40, num, dim, kind, seed=seed)
    log = log._replace(context=log.context._replace(features=scale * log.context.features), weight=np.resize([1.0, 0.0, 2.5], 40))
    prior = np.linspace(-1, 1, dim) / scale
    require_alike(policy, log, learn_from=learn_from, seed=seed, prior=prior)


@settings(max_examples=60, derandomize=True, deadline=None)  # the first may compile
@given(
    kind=st.sampled_from(["normal", "tiny", "tied", "half tied"]),
    num=st.integers(1, 9),
    dim=st.integers(1, 9),
    num_draws=st.integers(1, 9),
    scale=st.sampled_from([1e-6, 1.0, 1e3]),
    seed=st.integers(0, 3),
)
def test_votes_live_are_those_of_the_definition(kind, num, dim, num_draws, scale, seed):
    policy, log = LinTS(num_draws=num_draws, scale=0.5), inputs.log(20, num, dim, kind, seed=seed)
    state = policy.init(np.linspace(-1, 1, dim) / scale)
    for number in range(20):
        context = arrays.at(log, number).context
        context = context._replace(features=scale * context.features)
        answers = [policy.probs(state, np.random.default_rng(number), context)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fast, "kernels", lambda *_: None)
            answers.append(policy.probs(state, np.random.default_rng(number), context))
        np.testing.assert_allclose(*answers, rtol=0, atol=1e-12)
        state = policy.update(state, arrays.at(log._replace(context=context_log(log, scale)), number))


def context_log(log, scale):
    return log.context._replace(features=scale * log.context.features)


@pytest.mark.parametrize(
    ("mean", "features"),
    [
        ([1.0, 1.0], [np.nan, 0.0]),
        ([1.0, 1.0], [np.inf, 0.0]),
        ([1.0, 1.0], [1e308, 1e308]),
        ([1.0, np.nan], [0.0, 1.0]),
        ([np.inf, 1.0], [1.0, 1.0]),
    ],
)
def test_votes_of_numbers_that_are_none_are_refused(monkeypatch, mean, features):
    policy = LinTS()
    state = policy.init(np.ones(2))._replace(mean=np.array(mean))
    context = Context(np.array([[1.0, 0.0], features]), np.ones(2, bool), np.arange(2))
    for _ in range(2):
        with np.errstate(all="ignore"), pytest.raises(InvalidProbs):
            decide(policy, state, np.random.default_rng(0), context)
        monkeypatch.setattr(fast, "kernels", lambda *_: None)


def test_numbers_of_padding_are_not_looked_at():
    policy, features = LinTS(), np.array([[1.0, 0.0], [np.nan, np.inf], [0.0, 1.0]])
    context = Context(features, np.array([True, False, True]), np.arange(3))
    without = Context(features[::2].copy(), np.ones(2, bool), np.arange(2))
    probs, wanted = (policy.probs(policy.init(np.ones(2)), np.random.default_rng(0), found) for found in (context, without))
    assert probs.tolist() == [wanted[0], 0.0, wanted[1]]


def test_votes_of_any_arrays_are_counted_by_one_compiled_function_or_refused_as_numpy_does(monkeypatch):
    from recsdk.policies import _ridge_loops

    policy = LinTS(scale=1, num_draws=np.int64(4))
    state = policy.init(np.ones(2))
    for features in (np.eye(2), np.asfortranarray(np.arange(4.0).reshape(2, 2)), np.zeros((4, 4))[::2, ::2]):
        policy.probs(state, np.random.default_rng(0), Context(features, np.ones(2, bool), np.arange(2)))
    assert len(_ridge_loops.thompson.signatures) == 1
    for context in (Context(np.ones((2, 3)), np.ones(2, bool), np.arange(2)), Context(np.ones((2, 2)), np.ones(3, bool), np.arange(3))):
        errors = []
        for kernels in (fast.kernels, lambda *_: None):
            monkeypatch.setattr(fast, "kernels", kernels)
            with pytest.raises(ValueError, match=r"not aligned|broadcast") as refused:
                policy.probs(state, np.random.default_rng(0), context)
            errors.append(str(refused.value))
            monkeypatch.undo()
        assert errors[0] == errors[1]


def test_the_loop_reads_as_many_draws_as_there_are(monkeypatch):
    from recsdk.policies import _ridge_loops

    asked, compiled = [], _ridge_loops.thompson

    def spied(mean, root, noise, x, mask, scale, num_draws):
        asked.append(num_draws)
        assert noise.shape == ((num_draws + 1) // 2, len(mean))
        return compiled(mean, root, noise, x, mask, scale, num_draws)

    monkeypatch.setattr(_ridge_loops, "thompson", spied)
    policy, context = LinTS(num_draws=7), Context(np.eye(2), np.ones(2, bool), np.arange(2))
    state = policy.init(np.ones(2))
    policy.probs(state, np.random.default_rng(0), context)
    assert asked == [1, 7]
    for shape in ((3, 2), (5, 2), (4, 1), (4,)):
        assert _voting.votes(policy, state, np.zeros(shape), context) is None
    assert asked == [1, 7]


def long_log(features, seed=0):
    num_rounds, num, _ = features.shape
    rng = np.random.default_rng(seed)
    shape = num_rounds, num
    context = Context(features, np.ones(shape, bool), np.tile(np.arange(num), (num_rounds, 1)))
    action, reward = rng.integers(num, size=num_rounds), rng.random(num_rounds)
    return Interaction(context, action, reward, np.full(num_rounds, 1 / num), np.ones(num_rounds))


@pytest.mark.parametrize("alpha", [0.03, 0.3, 3.0])
def test_no_candidate_is_left_out_that_could_be_the_best(alpha):
    rng = np.random.default_rng(1)
    even = rng.standard_normal((1500, 10, 16))
    uneven = collapsed(1500 * 10, dim=16)[0].reshape(1500, 10, 16)
    for features in (even, uneven, even * np.geomspace(1e-3, 1e3, 10)[:, None]):
        require_alike(LinUCB(alpha=alpha), long_log(features / 4))


def test_a_walk_goes_on_from_a_state_which_is_not_written_to():
    log = inputs.log(60, 5, 3)
    before = arrays.tree_map(np.copy, replay(LinTS(), log, engine="numpy").state)
    for array in before:
        array.flags.writeable = False
    one, other = (replay(LinTS(), log, state=before, seed=1, engine=engine).state for engine in ("numba", "numpy"))
    for got, wanted in zip(one, other, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)


def test_numbers_that_overflow_are_refused_as_one_by_one():
    log = inputs.log(10, 4, 2)
    log.context.features[5] = 1e200
    for policy in POLICIES:
        found = []
        for engine in ("numpy", "numba"):
            try:
                with np.errstate(all="ignore"):
                    found.append(replay(policy, log, engine=engine).engine)
            except InvalidProbs as error:
                found.append(str(error))
        assert found[0] == found[1] or found == ["numpy", "numba"], policy


@pytest.mark.parametrize("dim", [1, 4, 6, 40])
def test_a_state_of_another_length_is_refused_as_one_by_one(dim):
    log, state = inputs.log(40, 4, 5), replay(LinUCB(), inputs.log(9, 4, dim), engine="numpy").state
    for policy in POLICIES:
        found = []
        for engine in ("numpy", "numba"):
            with pytest.raises(ValueError, match="not aligned") as refusal:
                replay(policy, log, state=state, engine=engine)
            found.append(str(refusal.value))
        assert found[0] == found[1], policy


def test_loops_count_only_for_the_code_that_they_stand_for():
    class Named(LinUCB):
        """Is `LinUCB`."""

    class Cold(LinTS):
        def init(self, prior):
            return super().init(0 * prior)

    class Even:
        def probs(self, state, rng, context):
            return context.mask / context.mask.sum()

    class Mixed(Even, SquareCB):
        pass

    class Forgets(Named):
        @staticmethod
        def update(state, interaction):
            return state

    class Sure(LinUCB):
        def scores(self, state, context):
            return super().scores(state, context)._replace(bonus=0.0)

    class OwnLoops(Sure):
        def walk(self, state, rng, log, learn_from):
            return None

    assert all(map(has_loops, (LinUCB(), Named(), OwnLoops())))
    assert not any(map(has_loops, (Cold(), Mixed(), Forgets(), Sure())))
    with pytest.raises(InvalidValue, match="engine must be one of"):
        replay(Mixed(), inputs.log(9, 4, 3), engine="numba")


def test_any_log_is_walked_by_one_compiled_function():
    from recsdk.policies import _ridge_loops

    log = inputs.log(30, 4, 3)
    read_only = arrays.tree_map(np.copy, log)
    for array in arrays.leaves(read_only):
        array.flags.writeable = False
    strided = arrays.tree_map(lambda array: np.repeat(array, 2, axis=0)[::2], log)
    fortran = log._replace(context=log.context._replace(features=np.asfortranarray(log.context.features)))
    for same in (log, read_only, strided, fortran):
        require_alike(LinUCB(), same)
    for whole in (LinUCB(alpha=1), LinTS(scale=1, num_draws=np.int32(4)), EpsilonGreedy(epsilon=1), EpsilonDecay(tries=2, floor=0)):
        require_alike(whole, log)
    assert len(_ridge_loops.walk.signatures) == 1


def test_a_log_without_features_is_walked():
    log = inputs.log(30, 4, 3)
    bare = log._replace(context=log.context._replace(features=np.zeros((30, 4, 0))))
    for policy in POLICIES:
        require_alike(policy, bare)
