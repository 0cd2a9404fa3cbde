import jax
import numpy as np
import optax
import pytest

from recsdk.policies import _memory, _network
from recsdk.policies._items import Observation
from recsdk.policies._span import Span

DIM, WIDTH, BATCH, RATE = 3, 4, 5, 0.01
SPAN = Span(*map(np.float64, (0, 1, 0, 1)))


def rounds(num, num_items, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(num):
        yield Observation(rng.integers(num_items), rng.standard_normal(DIM), rng.random(), np.float64(rng.integers(1, 3)))


def network(num_items=2, num_rounds=50):
    return _network.init(np.random.default_rng(1).standard_normal((DIM, WIDTH)), np.zeros(DIM), num_items, num_rounds)


def learned(observations, **sizes):
    state = network(**sizes)
    for seen in observations:
        state = _network.update(state, seen, SPAN, BATCH, RATE).state
    return state


def loss(params, x, slots, chances, weights):
    hidden, shared, own = params
    heads = shared + own[slots]
    linear = (x * heads[:, :DIM]).sum(1)
    deep = (jax.nn.relu(x @ hidden) * heads[:, DIM:]).sum(1)
    return sum((weights * optax.losses.sigmoid_binary_cross_entropy(logits, chances)).mean() for logits in (linear, deep))


@pytest.mark.parametrize(("num_items", "num_steps"), [(2, 1), (1, 30)])
def test_it_takes_the_steps_that_automatic_differentiation_and_optax_take(num_items, num_steps):
    """With several items an idle item's row waits, which Optax's does not: there only the first step is the same."""
    with jax.enable_x64(True):
        state = network(num_items)
        params = (np.random.default_rng(1).standard_normal((DIM, WIDTH)), np.zeros(DIM + WIDTH), np.zeros((num_items, DIM + WIDTH)))
        optimiser = optax.adam(RATE)
        moments = optimiser.init(params)
        for seen in rounds(num_steps, num_items):
            row = np.concatenate([seen.x, [seen.reward, seen.weight, seen.slot]])
            batch = np.concatenate([row[None], _memory.others(state.memory, BATCH - 1)])
            slots = batch[:, -1].astype(int)
            slopes = jax.grad(loss)(params, batch[:, :DIM], slots, batch[:, DIM], batch[:, DIM + 1])
            changes, moments = optimiser.update(slopes, moments)
            params = optax.apply_updates(params, changes)
            state = _network.update(state, seen, SPAN, BATCH, RATE).state
    hidden, shared, own = params
    np.testing.assert_allclose(state.shared[0], np.concatenate([np.ravel(hidden), shared]), atol=1e-9)
    np.testing.assert_allclose(state.own[:, 0], own, atol=1e-9)


def test_it_predicts_one_half_of_everything_before_any_round():
    linear, deep = _network.predict(network(), np.ones((3, DIM)), np.arange(3))
    np.testing.assert_array_equal([linear, deep], np.full((2, 3), 0.5))


def test_it_tells_what_it_had_predicted_of_the_round():
    state, (seen,) = learned(rounds(20, 2)), rounds(1, 2, seed=9)
    linear, deep = _network.predict(state, seen.x[None], seen.slot[None])
    answer = _network.update(state, seen, SPAN, BATCH, RATE)
    np.testing.assert_allclose([answer.linear, answer.deep], [linear[0], deep[0]], rtol=1e-12)


def test_an_item_that_takes_a_place_over_starts_from_what_all_items_share():
    state = learned([seen._replace(slot=np.int64(4)) for seen in rounds(30, 1)], num_items=4)
    assert state.own[0, 0].any()
    x = np.ones((1, DIM))
    newcomer, unknown = (_network.predict(state, x, np.array([slot])) for slot in (8, 9))
    assert newcomer == unknown != _network.predict(state, x, np.array([4]))
    (seen,) = rounds(1, 1)
    state = _network.update(state, seen._replace(slot=np.int64(8)), SPAN, BATCH, RATE).state
    assert state.owner[0] == 8
    assert abs(state.own[0, 0]).max() <= 1.0001 * RATE  # one step of Adam from 0, and nothing of the item that was here
    assert _network.predict(state, x, np.array([4])) == _network.predict(state, x, np.array([9]))


def test_rewards_count_by_where_they_lie_between_the_least_and_the_largest():
    far = Span(*map(np.float64, (-2, 8, -2, 8)))
    near, scaled = network(), network()
    for seen in rounds(20, 2):
        near = _network.update(near, seen, SPAN, BATCH, RATE).state
        scaled = _network.update(scaled, seen._replace(reward=seen.reward * 10 - 2), far, BATCH, RATE).state
    np.testing.assert_allclose(scaled.own, near.own, atol=1e-9)


def test_the_memory_keeps_the_last_rounds_and_gives_them_evenly():
    memory = _memory.init(np, 10, 1)
    for number in range(1, 26):
        memory = _memory.keep(memory, np.array([number * 1.0]), np.bool_(True), np.zeros(1))
    assert sorted(memory.rows[:, 0]) == list(range(16, 26))
    given = np.concatenate([_memory.others(memory._replace(count=np.int64(count)), 4) for count in range(25, 525)])
    counts = np.unique_counts(given[:, 0]).counts
    assert counts.tolist() == pytest.approx([200] * 10, abs=3)


def test_the_memory_gives_nothing_that_it_has_not_got():
    memory = _memory.init(np, 10, 1)
    assert not _memory.others(memory, 4).any()
    for number in (1.0, 2.0, 3.0):
        memory = _memory.keep(memory, np.array([number]), np.bool_(True), np.zeros(1))
    assert set(_memory.others(memory, 40)[:, 0]) == {1.0, 2.0, 3.0}
