"""A policy for JAX is live what it is elsewhere, is compiled a known number of times, and leaves the application alone."""

import inspect
from typing import Any, ClassVar, NamedTuple

import attrs
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recsdk
from recsdk import Context, DisjointLinTS, Interaction, Jitted, LinTS, LinUCB, Mixture, Uniform, WithFloor, decide, learn, testing
from recsdk.errors import InvalidProbs, InvalidValue, MissingExtra
from tests.drivers.jax_only import SgdLinear, learned, open_shop
from tests.live.shop import Centred, crash, forget_snapshots, serve, state
from tests.processes import run_python

# No part of the shops here reads the features of their requests.
pytestmark = pytest.mark.filterwarnings("ignore::recsdk.errors.IgnoredInput")

DIM = 5


def make_round(num, seed=0, dim=DIM):
    rng = np.random.default_rng([seed, num, dim])
    mask = rng.random(num) < 0.8
    mask[rng.integers(num)] = True
    return Context(rng.standard_normal((num, dim)), mask, rng.choice(2 * num, num, replace=False))


def live(policy, sizes, seed=1):
    """Decides and learns; returns the decisions and the last state."""
    rng, policy_state, decisions = np.random.default_rng(seed), policy.init(np.linspace(-0.5, 0.5, DIM)), []
    for number, num in enumerate(sizes):
        context = make_round(num, number)
        decision = decide(policy, policy_state, rng, context)
        reward = np.tanh(context.features[decision.action].sum())
        policy_state = learn(policy, policy_state, Interaction(context, decision.action, reward, decision.propensity, 1.0))
        decisions.append(decision)
    return decisions, policy_state


@pytest.fixture
def compilations():
    """Counts what JAX compiles."""
    counted = []

    def count(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            counted.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(count)
    yield counted
    jax.monitoring.unregister_event_duration_listener(count)


def test_ten_thousand_rounds_of_up_to_a_thousand_candidates_compile_eleven_programs_and_one_to_learn(compilations):
    traced = []

    @attrs.frozen(kw_only=True)
    class Traced(SgdLinear):
        def update(self, state, interaction):
            traced.append(len(interaction.context.mask))
            return super().update(state, interaction)

    policy, rng = Jitted(policy=Traced()), np.random.default_rng(0)
    policy_state, features = policy.init(np.zeros(4)), rng.standard_normal((1000, 4))
    del compilations[:]
    for num in [1, 1000, *rng.integers(1, 1001, 9998)]:
        context = Context(features[:num], np.ones(num, bool), np.arange(num))
        decision = decide(policy, policy_state, rng, context)
        policy_state = learn(policy, policy_state, Interaction(context, decision.action, 1.0, decision.propensity, 1.0))
    assert len(compilations) == 11 + 1
    assert traced == [1]


def test_nothing_is_compiled_again_for_an_equal_policy_or_a_stored_state(compilations):
    first = Jitted(policy=SgdLinear(rate=0.125))
    decisions, policy_state = live(first, [3, 9])
    second = Jitted(policy=SgdLinear(rate=0.125))
    stored = recsdk.states.dumps(first, policy_state)
    loaded = recsdk.states.loads(second, second.init(np.zeros(DIM)), stored)
    del compilations[:]
    second.update(loaded, Interaction(make_round(4), 0, 1.0, 0.5, 1.0))
    again, _ = live(second, [3, 9])
    assert [decision.action for decision in again] == [decision.action for decision in decisions]
    assert compilations == []


TWO = Mixture(policies=(LinTS(num_draws=4), LinTS(scale=1.0, num_draws=2)), shares=(0.5, 0.5))
BOTH = [Uniform(), TWO, DisjointLinTS(num_draws=1, num_items=64), WithFloor(policy=LinUCB())]


@pytest.mark.parametrize("policy", BOTH, ids=repr)
def test_a_policy_for_both_engines_decides_as_on_numpy_from_the_same_random_numbers(policy):
    sizes = [1, 8, 4, 8] if isinstance(policy, DisjointLinTS) else [1, 7, 3, 8]  # that one draws for padding too
    (plain, plain_state), (jitted, jitted_state) = live(policy, sizes), live(Jitted(policy=policy), sizes)
    for one, other in zip(plain, jitted, strict=True):
        assert one.action == other.action
        np.testing.assert_allclose(other.probs, one.probs, rtol=1e-9, atol=1e-12)
        assert other.propensity == other.probs[other.action]
    for one, other in zip(recsdk.arrays.leaves(plain_state), recsdk.arrays.leaves(jitted_state), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(num=st.integers(1, 33), extra=st.integers(0, 40), noise=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 99))
def test_neither_padding_nor_the_order_of_candidates_matters(num, extra, noise, seed):
    policy = Jitted(policy=SgdLinear(noise=noise))
    policy_state = policy.init(np.ones(DIM))
    context = make_round(num, seed)
    wanted = policy.probs(policy_state, np.random.default_rng(seed), context)
    assert wanted.sum() == pytest.approx(1, abs=1e-12)
    assert not wanted[~context.mask].any()
    places = np.random.default_rng(seed).permutation(num + extra)[:num]
    wide = Context(np.full((num + extra, DIM), 9.0), np.zeros(num + extra, bool), np.zeros(num + extra, np.int64))
    for field, values in zip(wide, context, strict=True):
        field[places] = values
    got = policy.probs(policy_state, np.random.default_rng(seed), wide)
    np.testing.assert_allclose(got[places], wanted, atol=1e-6)


class Sums(NamedTuple):
    weights: Any
    items: Any


@attrs.frozen(kw_only=True)
class FromAll:
    """Learns from every candidate and from all that an interaction says."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "all"

    def init(self, prior):
        return Sums(1 * prior, 0 * prior[:1].astype("int64"))

    def probs(self, state, rng, context):
        return context.mask / context.mask.sum()

    def update(self, state, interaction):
        (features, mask, item), action, reward, propensity, weight = interaction
        others = features * mask.astype("float64")[:, None]
        change = weight * reward / propensity * features[action] - others.sum(axis=0) / mask.sum()
        return Sums(state.weights + change, state.items + item[action] + (item * mask).sum())


def test_a_policy_that_learns_from_all_candidates_gets_them_without_the_padding():
    (_, plain), (_, jitted) = live(FromAll(), [1, 3, 8, 21]), live(Jitted(policy=FromAll()), [1, 3, 8, 21])
    np.testing.assert_allclose(jitted.weights, plain.weights, rtol=1e-12)
    assert np.asarray(jitted.items) == plain.items


def test_slots_and_features_arrive_to_the_last_bit():
    class Echo(FromAll):
        def init(self, prior):
            return Sums(jax.numpy.zeros((3, DIM)), jax.numpy.zeros(3, "int64"))

        def update(self, state, interaction):
            return Sums(interaction.context.features[:3], interaction.context.item[:3])

    policy = Jitted(policy=Echo())
    features = np.array([1e308, 5e-324, -0.0, np.pi, 1 / 3]) * np.ones((3, 1))
    item = np.array([2**62 + 1, -1, 0])
    got = policy.update(policy.init(np.zeros(DIM)), Interaction(Context(features, np.ones(3, bool), item), 2, 1.0, 1.0, 1.0))
    assert np.asarray(got.weights).tobytes() == features.tobytes()
    assert np.asarray(got.items).tolist() == item.tolist()


LAWS = ("purity", "ties", "fold", "weight", "chosen", "snapshot", "refusal", "engines", "live")
CHECKS = [check for check in testing.POLICY_CHECKS if check.__name__.removeprefix("check_") in LAWS]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("policy", [SgdLinear(), WithFloor(policy=SgdLinear(noise=0.5))], ids=repr)
def test_the_conformance_kit_takes_it_as_it_goes_live(policy, check):
    options = {"tolerance": 1e-5} if "tolerance" in inspect.signature(check).parameters else {}
    check(policy, **options)


def test_an_update_writes_to_no_array_but_the_state():
    class Twice(SgdLinear):
        def init(self, prior):
            return (prior, prior, jax.numpy.zeros(DIM))

        def probs(self, state, rng, context):
            return context.mask / context.mask.sum()

        def update(self, state, interaction):
            return (state[0] + 1, state[2], state[1])

    policy, raw = Jitted(policy=Twice()), np.zeros(DIM + 8)
    prior = raw[-(raw.ctypes.data // 8) % 8 :][:DIM]  # aligned to 64 bytes, as JAX likes it, which then does not copy
    policy_state = policy.init(prior)
    for _ in range(3):
        policy_state = policy.update(policy_state, Interaction(make_round(4), 0, 1.0, 0.5, 1.0))
    assert prior.tolist() == [0] * DIM
    assert [leaf[0] for leaf in map(np.asarray, policy_state)] == [3, 0, 0]


def test_an_update_takes_the_place_of_the_state_in_memory():
    policy = Jitted(policy=SgdLinear())
    before = policy.init(np.zeros(DIM))
    policy.update(before, Interaction(make_round(4), 0, 1.0, 0.5, 1.0))
    assert all(leaf.is_deleted() for leaf in before)


def test_the_applications_settings_are_left_alone():
    before = dict(jax.config.values)
    decisions, policy_state = live(Jitted(policy=SgdLinear(rate=0.25)), [3, 5])
    assert dict(jax.config.values) == before
    assert jax.numpy.zeros(1).dtype == np.float32
    assert decisions[-1].probs.dtype == np.float64
    assert policy_state.count.dtype == np.int64


def test_a_state_from_a_replay_goes_live():
    policy = SgdLinear()
    log = recsdk.simulate(policy, recsdk.environments.LinearWorld(num_candidates=3, dim=DIM), 50).log
    replayed = recsdk.replay(policy, log).state
    lived = Jitted(policy=policy).init(np.zeros(DIM))
    for row in recsdk.arrays.rows(log):
        lived = learn(Jitted(policy=policy), lived, row)
    for one, other in zip(replayed, lived, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    context = make_round(6)
    got = decide(Jitted(policy=policy), replayed, np.random.default_rng(0), context)
    wanted = decide(Jitted(policy=policy), lived, np.random.default_rng(0), context)
    np.testing.assert_allclose(got.probs, wanted.probs, atol=1e-5)


def test_by_hand_a_policy_for_jax_alone_says_how_it_goes_live():
    policy, context = SgdLinear(), make_round(3)
    policy_state = Jitted(policy=policy).init(np.zeros(DIM))
    with jax.enable_x64(True), pytest.raises(InvalidProbs, match=r"SgdLinear\(.*\) goes live as recsdk.Jitted\(policy=...\)"):
        decide(policy, policy_state, np.random.default_rng(0), context)
    with pytest.raises(InvalidValue, match=r"SgdLinear\(.*\): it goes live as recsdk.Jitted\(policy=...\)"):
        learn(policy, policy_state, Interaction(context, 0, 1.0, 0.5, 1.0))


def test_a_policy_that_does_not_run_on_jax_is_refused():
    with pytest.raises(InvalidValue, match=r"policy must run on NumPy .* or on JAX, got Centred\(rate=0.1\), which runs on \('numpy',\)"):
        Jitted(policy=Centred())


def test_without_jax_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[deep\]'"):
        Jitted(policy=SgdLinear())


def test_an_update_that_changes_the_states_shapes_is_refused():
    class Growing(SgdLinear):
        def update(self, state, interaction):
            return state._replace(weights=jax.numpy.zeros(DIM + 1, "float32"))

    policy = Jitted(policy=Growing())
    with pytest.raises(InvalidValue, match=r"update must keep the shapes and types of the state, .*float32\[5\].*, got .*float32\[6\]"):
        learn(policy, policy.init(np.zeros(DIM)), Interaction(make_round(3)._replace(mask=np.ones(3, bool)), 0, 1.0, 0.5, 1.0))


def test_it_mixes_with_native_policies():
    policy = Mixture(policies=(Jitted(policy=SgdLinear()), Centred()), shares=(0.5, 0.5))
    context = make_round(6)
    assert policy.runs_on == ("numpy",)
    assert decide(policy, policy.init(np.zeros(DIM)), np.random.default_rng(0), context).probs.sum() == pytest.approx(1)


POLICIES = [SgdLinear(), WithFloor(policy=SgdLinear(), floor=0.1), Jitted(policy=SgdLinear())]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_the_live_loop_recovers_it_to_the_last_bit(tmp_path, policy):
    shop = open_shop(tmp_path, policy=policy)
    serve(shop, range(30), size=2)
    wanted, where = state(shop), shop._loop.learner.state
    assert shop.audit()
    assert all(isinstance(leaf, jax.Array) for leaf in where)
    crash(shop)
    with open_shop(tmp_path, policy=policy) as again:  # by folding
        assert state(again) == wanted
    with open_shop(tmp_path, policy=policy) as again:  # by the snapshot
        assert state(again) == wanted
        assert all(isinstance(leaf, jax.Array) for leaf in again._loop.learner.state)
        assert again.audit()
        assert serve(again, range(30), size=2) == serve(again, range(30), size=2)


def test_another_process_learns_the_same_bits(tmp_path):
    shop = open_shop(tmp_path)
    serve(shop, range(30), size=2)
    wanted = learned(shop)
    shop.close()
    forget_snapshots(tmp_path)
    told = run_python("-m", "tests.drivers.jax_only", str(tmp_path))
    assert told.stdout.strip() == wanted, told.stderr
