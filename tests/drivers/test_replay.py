"""Walking a log."""

from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from recsdk import Context, EpsilonGreedy, Interaction, LinTS, LinUCB, Uniform, WithFloor, explore, learn, replay, simulate
from recsdk.drivers.replay import choose_engine
from recsdk.environments import ClassificationWorld, LinearWorld
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue, MissingExtra

WORLD = LinearWorld(num_candidates=4, dim=3, noise=0.3)


@attrs.frozen(kw_only=True)
class Softmax:
    """Knows weights from its prior and learns nothing."""

    runs_on: ClassVar[Any] = ("numpy", "jax")
    learns_from: ClassVar[Any] = "chosen"

    def init(self, prior):
        return (prior,)

    def probs(self, state, rng, context):
        return explore.softmax(context.features @ state[0], context.mask, 0.5)

    def update(self, state, interaction):
        return state


@pytest.fixture(scope="module")
def played():
    return simulate(Uniform(), WORLD, 300, seed=1, engine="numpy")


def row(log, index):
    context = Context(*(field[index] for field in log.context))
    return Interaction(context, *(field[index] for field in log[1:]))


def part(log, rows):
    return row(log, rows)


def test_a_replayed_log_teaches_what_living_it_taught(played):
    policy = LinUCB()
    state = policy.init(np.zeros(3))
    for index in range(300):
        state = learn(policy, state, row(played.log, index))
    replayed = replay(policy, played.log, engine="numpy").state
    np.testing.assert_array_equal(replayed.mean, state.mean)
    np.testing.assert_array_equal(replayed.root, state.root)


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_a_policy_replays_its_own_log_to_its_own_state(engine):
    simulation = simulate(WithFloor(policy=LinTS()), WORLD, 200, seed=2, engine=engine)
    state = replay(WithFloor(policy=LinTS()), simulation.log, engine=engine).state
    np.testing.assert_allclose(state.mean, simulation.state.mean, rtol=1e-12)
    np.testing.assert_allclose(state.root, simulation.state.root, rtol=1e-12, atol=1e-15)


def test_the_engines_agree_on_states_and_on_probabilities(played):
    on_numpy, on_jax = (replay(EpsilonGreedy(), played.log, engine=engine) for engine in ("numpy", "jax"))
    np.testing.assert_allclose(on_jax.state.mean, on_numpy.state.mean, rtol=1e-9)
    np.testing.assert_allclose(on_jax.state.root, on_numpy.state.root, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(on_jax.decision.probs, on_numpy.decision.probs, atol=1e-9)
    for on_one, on_other in zip(on_jax.decision, on_numpy.decision, strict=True):
        assert isinstance(on_one, np.ndarray)
        assert (on_one.dtype, on_one.shape) == (on_other.dtype, on_other.shape)


def test_a_log_in_parts_is_the_log_in_one_go(played):
    for split in (1, 137, 299):
        first = replay(LinUCB(), part(played.log, slice(split)), engine="numpy")
        rest = replay(LinUCB(), part(played.log, slice(split, None)), state=first.state, engine="numpy")
        whole = replay(LinUCB(), played.log, engine="numpy")
        np.testing.assert_array_equal(rest.state.mean, whole.state.mean)
        np.testing.assert_array_equal(np.concatenate([first.decision.probs, rest.decision.probs]), whole.decision.probs)


def test_learning_from_nothing_keeps_the_state(played):
    replayed = replay(LinUCB(), played.log, learn_from="none", prior=np.ones(3), engine="numpy")
    np.testing.assert_array_equal(replayed.state.mean, np.ones(3))
    np.testing.assert_array_equal(replayed.state.root, np.eye(3))


def test_learning_from_matched_rounds_leaves_the_others_out(played):
    replayed = replay(EpsilonGreedy(epsilon=0.5), played.log, learn_from="matched", engine="numpy")
    np.testing.assert_array_equal(replayed.matched, replayed.decision.action == played.log.action)
    assert 30 < replayed.matched.sum() < 150
    only = replay(EpsilonGreedy(epsilon=0.5), part(played.log, np.flatnonzero(replayed.matched)), engine="numpy").state
    np.testing.assert_array_equal(replayed.state.mean, only.mean)


def test_the_seed_decides(played):
    one, again, other = (replay(Uniform(), played.log, seed=seed, engine="numpy").decision.action for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_a_log_is_not_replayed_with_the_numbers_that_made_it(engine):
    world = ClassificationWorld(contexts=np.zeros((8, 1)), labels=np.arange(8) % 4)  # it draws nothing while it is played
    simulation = simulate(Uniform(), world, 1000, seed=7, engine=engine)
    matched = replay(Uniform(), simulation.log, seed=7, engine=engine).matched
    assert abs(matched.mean() - 1 / 4) < 4 * (3 / 16 / 1000) ** 0.5


def test_matched_rounds_of_a_uniform_log_tell_the_policys_value():
    simulation = simulate(Uniform(), WORLD, 20_000, seed=3)
    prior = np.array([1.0, -2.0, 0.5])
    replayed = replay(Softmax(), simulation.log, learn_from="matched", prior=prior, seed=3)
    truth = (replayed.decision.probs * simulation.mean).sum(axis=1).mean()
    rewards = simulation.log.reward[replayed.matched]
    assert abs(rewards.mean() - truth) < 4 * rewards.std() / len(rewards) ** 0.5
    assert abs(simulation.log.reward.mean() - truth) > 0.05  # the log's own value is another


def test_matched_replay_of_a_learning_policy_earns_what_living_earns():
    """Theorem 1 of Li et al., Unbiased Offline Evaluation, WSDM 2011: up to any number of matched rounds, the histories are alike."""
    policy, num_rounds = EpsilonGreedy(epsilon=0.2), 60
    lived, replayed = [], []
    for seed in range(40):
        lived.append(simulate(policy, WORLD, num_rounds, seed=seed).log.reward.mean())
        log = simulate(Uniform(), WORLD, 400, seed=1000 + seed).log
        answer = replay(policy, log, learn_from="matched", seed=seed)
        assert answer.matched.sum() >= num_rounds
        replayed.append(log.reward[answer.matched][:num_rounds].mean())
    error = np.hypot(np.std(lived), np.std(replayed)) / 40**0.5
    assert abs(np.mean(lived) - np.mean(replayed)) < 4 * error
    assert error < 0.03


def test_a_bad_row_is_named_and_nothing_is_learned(played):
    reward = played.log.reward.copy()
    reward[42] = np.nan
    state = LinUCB().init(np.zeros(3))
    with pytest.raises(InvalidLog, match="reward must be a finite number, got nan in row 42"):
        replay(LinUCB(), played.log._replace(reward=reward), state=state)
    assert not state.mean.any()


def test_a_log_without_rows_is_refused(played):
    with pytest.raises(EmptyLog):
        replay(LinUCB(), part(played.log, slice(0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learn_from": "al"}, r"learn_from must be one of \('all', 'matched', 'none'\), got 'al'"),
        ({"engine": "torch"}, r"engine must be one of \('auto', 'numpy', 'numba', 'jax'\), got 'torch'"),
        ({"seed": -1}, r"seed must be a whole number >= 0, got -1"),
        ({"seed": 0.5}, r"seed must be a whole number >= 0, got 0.5"),
    ],
)
def test_a_bad_option_is_refused(played, options, message):
    with pytest.raises(InvalidValue, match=message):
        replay(LinUCB(), played.log, **options)


class NativeOnly(LinUCB):
    runs_on = ("numpy",)


class JaxOnly(LinUCB):
    runs_on = ("jax",)


def test_a_policy_runs_where_it_says_it_does(played):
    with pytest.raises(InvalidValue, match=r"engine must be one of \('numpy',\) for .*, got 'jax'"):
        replay(NativeOnly(), played.log, engine="jax")
    with pytest.raises(InvalidValue, match=r"engine must be one of \('jax',\) for .*, got 'numpy'"):
        replay(JaxOnly(), played.log, engine="numpy")


@pytest.mark.parametrize(("policy", "engine"), [(LinUCB(), "jax"), (JaxOnly(), "auto")])
def test_without_jax_what_needs_it_says_so(played, policy, engine, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[deep\]'"):
        replay(policy, played.log, engine=engine)


def test_without_jax_a_policy_for_both_runs_on_numpy(played, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("jax.jit", lambda *arguments: pytest.fail("it used JAX"))
    replay(LinUCB(), played.log)


def test_only_loops_run_on_numba(played, monkeypatch):
    with pytest.raises(InvalidValue, match=r"engine must be one of \('numpy', 'jax'\) for Uniform.*, got 'numba'"):
        replay(Uniform(), played.log, engine="numba")
    with pytest.raises(InvalidValue, match=r"engine must be one of \('auto', 'numpy', 'jax'\), got 'numba'"):
        simulate(LinUCB(), WORLD, 3, engine="numba")
    monkeypatch.setattr("recsdk.fast.enabled", lambda: False)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[fast\]'"):
        replay(LinUCB(), played.log, engine="numba")


@pytest.mark.parametrize(
    ("policy", "num_rounds", "has_numba", "has_jax", "taken"),
    [
        (LinUCB(), 20_000, True, True, "numpy"),
        (LinUCB(), 20_001, True, True, "numba"),
        (LinUCB(), 20_001, False, True, "jax"),
        (LinUCB(), 20_001, False, False, "numpy"),
        (Uniform(), 20_001, True, True, "jax"),
        (Uniform(), 20_000, True, True, "numpy"),
        (NativeOnly(), 20_001, False, True, "numpy"),
        (JaxOnly(), 1, True, True, "jax"),
    ],
)
def test_the_engine_is_chosen_by_the_policy_and_the_length_of_the_log(policy, num_rounds, has_numba, has_jax, taken, monkeypatch):
    monkeypatch.setattr("recsdk.fast.enabled", lambda: has_numba)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: has_jax or None)
    assert choose_engine(policy, "auto", num_rounds) == taken


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_the_answer_says_which_engine_walked(played, engine):
    assert replay(LinUCB(), played.log, engine=engine).engine == engine
    assert replay(LinUCB(), played.log).engine == "numpy"


def test_a_replay_is_compiled_once_for_equal_policies(played):
    from recsdk.drivers import loop
    from recsdk.drivers import replay as module

    replay(LinUCB(alpha=0.125), played.log, engine="jax")
    before = loop._compiled.cache_info().misses, module._step.cache_info().misses
    replay(LinUCB(alpha=0.125), played.log, engine="jax", seed=9)
    assert before == (loop._compiled.cache_info().misses, module._step.cache_info().misses)


def test_an_applications_own_precision_is_left_alone(played):
    import jax

    before = jax.config.jax_enable_x64
    replay(LinUCB(), played.log, engine="jax")
    assert jax.config.jax_enable_x64 is before
    assert (jax.numpy.ones(3) * 2.0).dtype == np.float32
