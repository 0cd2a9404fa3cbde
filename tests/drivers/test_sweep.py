"""Many settings in one go: the same numbers as one by one."""

from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from recsdk import EpsilonGreedy, LinTS, LinUCB, Uniform, WithFloor, fast, replay, simulate, sweep
from recsdk.checks import number
from recsdk.drivers import loop, walks
from recsdk.environments import GeometricDelay, LinearWorld
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue
from recsdk.ope import average, delta, value

WORLD = LinearWorld(num_candidates=5, dim=4, noise=0.2)
SEEDS = (0, 3)
POLICIES = [
    LinUCB(alpha=0.1),
    LinUCB(alpha=1.0),
    LinTS(scale=0.1, num_draws=8),
    LinTS(scale=0.3, num_draws=8),
    LinTS(scale=0.3, num_draws=9),
    WithFloor(policy=LinTS(scale=0.3, num_draws=8), floor=0.1),
    WithFloor(policy=LinTS(scale=0.2, ridge=2.0, num_draws=8), floor=0.3),
    EpsilonGreedy(epsilon=0.3),
    Uniform(),
]


@pytest.fixture(scope="module")
def log():
    return simulate(Uniform(), WORLD, 200, seed=1, engine="numpy").log


def by_hand(policy, log, seed, learn_from, engine):
    decision = replay(policy, log, seed=seed, learn_from=learn_from, engine=engine).decision
    weights = decision.probs[np.arange(len(log.action)), log.action] / log.propensity * log.weight
    return delta(average(log.reward, weights)), weights.sum() ** 2 / (weights**2).sum()


LINEAR, FLOORED = POLICIES[:2], POLICIES[5:7]


@pytest.mark.parametrize(
    ("policies", "learn_from", "engine"),
    [
        *((POLICIES, learn_from, "numpy") for learn_from in ("all", "matched", "none")),
        *((POLICIES[:5], learn_from, "numba") for learn_from in ("all", "matched", "none")),
        (LINEAR, "all", "jax"),
        (FLOORED[:1], "matched", "jax"),
    ],
)
def test_a_sweep_of_a_log_is_its_replays_one_by_one(log, policies, learn_from, engine):
    if engine == "numba" and not fast.enabled():
        pytest.skip("Numba is not installed, or turned off")
    log = log._replace(weight=np.resize([1.0, 0.5, 0.0, 2.0], 200))
    table = sweep(policies, log, seeds=SEEDS, learn_from=learn_from, engine=engine, num_processes=1)
    expected = [(policy, seed) for policy in policies for seed in SEEDS]
    assert list(zip(table.policy, table.seed, strict=True)) == expected
    for row, (policy, seed) in enumerate(expected):
        estimate, effective_size = by_hand(policy, log, seed, learn_from, engine)
        got = table.reward[row], table.stderr[row], table.effective_size[row]
        np.testing.assert_allclose(got, (estimate.value, estimate.stderr, effective_size), rtol=1e-9, err_msg=str(policy))
    assert np.isnan(table.regret).all()
    assert (table.num_rounds == 200).all()
    assert set(table.engine) == {engine}


def test_a_sweep_takes_numba_where_few_walks_learn_the_same(log, monkeypatch):
    monkeypatch.setattr("recsdk.fast.enabled", lambda: True)
    alphas, ridges = [LinUCB(alpha=0.1 * step) for step in range(1, 6)], [LinUCB(ridge=1.0 + step) for step in range(1, 6)]
    policies = [*alphas, *ridges, LinTS(), Uniform()]

    def engines(num_seeds, learn_from="all", engine="auto"):
        found = walks.engines(walks.task_of(log, None, learn_from, None, None), policies, num_seeds, engine)
        return found[alphas[0]], found[ridges[0]], found[LinTS()], found[Uniform()]

    assert engines(1) == engines(5) == ("jax",) * 4  # few rounds
    monkeypatch.setattr("recsdk.drivers.replay.FEW_ROUNDS", 10)
    assert engines(1) == engines(4) == ("jax", "numba", "numba", "jax")
    assert engines(5) == ("jax",) * 4
    assert engines(5, "matched") == ("numba", "numba", "numba", "jax")
    monkeypatch.setattr("recsdk.fast.enabled", lambda: False)
    assert engines(1) == ("jax",) * 4


class Overflows(LinUCB):
    def walk(self, state, rng, log, learn_from):
        return None


def test_a_sweep_says_that_numpy_took_over_where_numbers_overflow_in_loops(log, monkeypatch):
    monkeypatch.setattr("recsdk.fast.enabled", lambda: True)
    table = sweep([Overflows()], log, seeds=SEEDS, engine="numba")
    assert table.engine == ("numpy", "numpy")
    assert table.rows()[0]["engine"] == "numpy"


@pytest.mark.parametrize(("policies", "engine"), [(POLICIES, "numpy"), (LINEAR, "jax")])
def test_a_sweep_of_a_world_is_its_simulations_one_by_one(policies, engine):
    table = sweep(policies, WORLD, num_rounds=150, seeds=SEEDS, engine=engine, num_processes=1)
    for row, (policy, seed) in enumerate(zip(table.policy, table.seed, strict=True)):
        simulation = simulate(policy, WORLD, 150, seed=int(seed), engine=engine)
        estimate = delta(average(simulation.log.reward, np.ones(150)))
        got = table.reward[row], table.stderr[row], table.regret[row], table.effective_size[row]
        np.testing.assert_allclose(got, (estimate.value, estimate.stderr, simulation.regret.sum(), 150), rtol=1e-9, err_msg=str(policy))


@pytest.mark.parametrize(("policies", "engine"), [(POLICIES[:5], "numpy"), (LINEAR, "jax")])
def test_a_sweep_with_a_delay_is_its_simulations_with_that_delay_one_by_one(policies, engine):
    delay = GeometricDelay(mean=20)
    table = sweep(policies, WORLD, num_rounds=150, seeds=SEEDS, delay=delay, engine=engine, num_processes=1)
    for row, (policy, seed) in enumerate(zip(table.policy, table.seed, strict=True)):
        simulation = simulate(policy, WORLD, 150, seed=int(seed), engine=engine, delay=delay)
        estimate = delta(average(simulation.log.reward, np.ones(150)))
        got = table.reward[row], table.stderr[row], table.regret[row], table.effective_size[row]
        np.testing.assert_allclose(got, (estimate.value, estimate.stderr, simulation.regret.sum(), 150), rtol=1e-9, err_msg=str(policy))
    assert (table.num_rounds == 150).all()


def test_settings_that_differ_in_floats_only_are_compiled_once(log, monkeypatch):
    groups = []
    original = loop.run_many

    def run_many(begin, settings, *arguments, **options):
        groups.append(settings)
        return original(begin, settings, *arguments, **options)

    monkeypatch.setattr(loop, "run_many", run_many)
    sweep([*LINEAR, *FLOORED, LinTS(scale=0.3, num_draws=9), Uniform()], log, num_rounds=20, engine="jax")
    assert groups == [[(0.1, 1.0), (1.0, 1.0)], [(0.3, 1.0, 0.1), (0.2, 2.0, 0.3)], [(0.3, 1.0)], [()]]
    before = loop._compiled_many.cache_info().misses
    sweep([LinUCB(alpha=0.7, ridge=3), LinUCB(alpha=0.8, ridge=3)], log, num_rounds=20, engine="jax")
    assert loop._compiled_many.cache_info().misses == before


def test_settings_in_chunks_are_settings_in_one_go_and_the_prior_counts(log, monkeypatch):
    policies = [LinUCB(alpha=alpha, ridge=0.5) for alpha in (0.0, 0.1, 0.2, 0.3, 0.4)]
    whole = sweep(policies, log, seeds=SEEDS, prior=np.ones(4), engine="jax")
    monkeypatch.setattr(walks, "AT_ONCE", 4)
    chunked = sweep(policies, log, seeds=SEEDS, prior=np.ones(4), engine="jax")
    np.testing.assert_allclose(chunked.reward, whole.reward, rtol=1e-12)
    assert abs(sweep(policies, log, engine="jax").reward - whole.reward[::2]).max() > 1e-3


def test_processes_give_what_one_process_gives(log):
    policies = [WithFloor(policy=LinUCB()), LinTS(num_draws=4), EpsilonGreedy()]
    one, several = (sweep(policies, log, seeds=(2, 0), engine="numpy", num_processes=count) for count in (1, 2))
    for left, right in zip(one, several, strict=True):
        np.testing.assert_array_equal(left, right)


@attrs.frozen(kw_only=True)
class Untraceable:
    """Decides by a float in Python, which no tracer allows."""

    runs_on: ClassVar[Any] = ("numpy", "jax")
    learns_from: ClassVar[Any] = "chosen"
    strength: float = attrs.field(default=0.0, validator=number(at_least=0))

    def init(self, prior):
        return (prior * 1.0,)

    def probs(self, state, rng, context):
        return (
            Uniform().probs((), rng, context)
            if self.strength == 0
            else WithFloor(policy=LinUCB(alpha=0.0)).policy.probs(LinUCB().init(state[0]), rng, context)
        )

    def update(self, state, interaction):
        return state


def test_a_policy_that_cannot_be_traced_through_its_floats_runs_by_itself(log):
    table = sweep([Untraceable(), Untraceable(strength=1.0)], log, prior=np.ones(4), engine="jax")
    for row, policy in enumerate(table.policy):
        decision = replay(policy, log, prior=np.ones(4), engine="jax").decision
        weights = decision.probs[np.arange(200), log.action] / log.propensity
        assert table.reward[row] == pytest.approx(value(average(log.reward, weights)), rel=1e-9)
    assert table.reward[0] != table.reward[1]


@attrs.frozen(kw_only=True)
class Wrong(Untraceable):
    def update(self, state, interaction):
        raise TypeError("of its own")


def test_a_policy_that_is_wrong_says_so_itself(log):
    with pytest.raises(TypeError, match="of its own"):
        sweep([Wrong(strength=1.0)], log, engine="jax")


def test_a_log_that_cannot_tell_says_nan_and_spoils_no_other(log):
    only_first = log._replace(action=np.zeros(200, np.int64))
    prior = np.array([1.0, 0, 0, 0])
    features = np.zeros((200, 5, 4))
    features[:, 1, 0] = 1  # greedy takes the second, the log has the first
    only_first = only_first._replace(context=log.context._replace(features=features))
    table = sweep([LinUCB(alpha=0.0), Uniform()], only_first, learn_from="none", prior=prior, engine="numpy", num_processes=1)
    assert np.isnan(table.reward[0])
    assert table.effective_size[0] == 0
    assert table.rows()[0]["reward"] is None
    assert table.reward[1] == pytest.approx(log.reward.mean())


def test_equal_rewards_have_no_error(log):
    table = sweep([LinUCB()], log._replace(reward=np.full(200, 0.7)), engine="numpy", num_processes=1)
    assert table.stderr[0] < 1e-12
    assert table.reward[0] == pytest.approx(0.7, rel=1e-12)


def test_rows_name_the_hyper_parameters_of_nested_configs(log):
    (row,) = sweep([POLICIES[5]], log, seeds=[4], engine="numpy", num_processes=1).rows()
    assert row["policy"] == repr(POLICIES[5])
    assert row["hyperparameters"] == {"policy.scale": 0.3, "policy.ridge": 1.0, "policy.num_draws": 8, "floor": 0.1}
    assert (row["seed"], row["num_rounds"], row["regret"]) == (4, 200, None)


def test_a_summary_is_the_mean_and_its_error_over_seeds():
    table = sweep([LinUCB(), Uniform()], WORLD, num_rounds=30, seeds=range(4), engine="numpy", num_processes=1)
    rows = table.over_seeds()
    assert [row["num_seeds"] for row in rows] == [4, 4]
    assert rows[1]["regret"] == pytest.approx(table.regret[4:].mean())
    assert rows[1]["reward_stderr"] == pytest.approx(table.reward[4:].std(ddof=1) / 2)


@attrs.frozen(kw_only=True)
class Several:
    policies: tuple[Any, ...]
    share: float = 0.5
    name: str = "a"
    whole: float = 1
    is_on: bool = True


def test_floats_are_found_in_tuples_and_nested_configs_and_are_put_back():
    config = Several(policies=(LinUCB(alpha=0.1), WithFloor(policy=LinTS(scale=2.0), floor=0.3)), share=0.4)
    assert walks.values(config) == (0.1, 1.0, 2.0, 1.0, 0.3, 0.4, 1.0)
    assert walks.replaced(config, walks.values(config)) == config
    other = walks.replaced(config, range(7))
    assert walks.values(other) == tuple(range(7))
    assert (other.name, other.is_on, other.policies[1].policy.num_draws) == ("a", True, 32)
    assert list(walks.named(config))[:3] == ["policies[0].alpha", "policies[0].ridge", "policies[1].policy.scale"]


@attrs.frozen
class Derived:
    rate: float = 0.5
    double: float = attrs.field(init=False)

    def __attrs_post_init__(self):
        object.__setattr__(self, "double", 2 * self.rate)


def test_a_config_that_derives_fields_keeps_its_floats():
    assert walks.values(Derived()) == ()
    assert walks.replaced(Derived(), ()) == Derived()


@pytest.mark.parametrize(
    ("policies", "options", "message"),
    [
        ([], {}, "policies must be at least one, and no two equal, got "),
        ([LinUCB(), LinUCB()], {}, "policies must be at least one, and no two equal"),
        ([LinUCB()], {"seeds": ()}, "seeds must be at least one"),
        ([LinUCB()], {"seeds": (1, 1)}, "seeds must be at least one, and no two equal"),
        ([LinUCB()], {"seeds": (-1,)}, "seed must be a whole number >= 0, got -1"),
        ([LinUCB()], {"num_rounds": 0}, "num_rounds must be a whole number >= 1, got 0"),
        ([LinUCB()], {"num_rounds": 201}, "num_rounds must be at most 200, the rows of the log, got 201"),
        ([LinUCB()], {"learn_from": "al"}, "learn_from must be one of"),
        ([LinUCB()], {"engine": "torch"}, "engine must be one of"),
        ([LinUCB()], {"num_processes": 0}, "num_processes must be a whole number >= 1, got 0"),
    ],
)
def test_a_bad_argument_is_refused(log, policies, options, message):
    with pytest.raises(InvalidValue, match=message):
        sweep(policies, log, **options)


def test_a_world_needs_a_number_of_rounds_and_is_learned_from_as_lived():
    with pytest.raises(InvalidValue, match="num_rounds must be given for a world"):
        sweep([LinUCB()], WORLD)
    with pytest.raises(InvalidValue, match="learn_from must be 'all' in a world"):
        sweep([LinUCB()], WORLD, num_rounds=3, learn_from="none")


def test_a_logs_rewards_have_come():
    log = simulate(Uniform(), WORLD, 10, seed=1, engine="numpy").log
    with pytest.raises(InvalidValue, match=r"delay goes with a world: a log's rewards have come, got GeometricDelay\(mean=3\)"):
        sweep(LINEAR, log, delay=GeometricDelay(mean=3))


def test_a_bad_log_is_refused_before_anything_runs(log):
    with pytest.raises(InvalidLog, match="row 3"):
        sweep([LinUCB()], log._replace(reward=np.where(np.arange(200) == 3, np.nan, log.reward)))
    with pytest.raises(EmptyLog):
        sweep([LinUCB()], log._replace(context=log.context._replace(mask=log.context.mask[:0]), action=log.action[:0]))
