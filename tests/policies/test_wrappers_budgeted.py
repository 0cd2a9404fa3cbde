import attrs
import numpy as np
import pytest

from recsdk import Budgeted, ByColumn, Context, EpsilonGreedy, Interaction, LinUCB, Uniform, replay, simulate, states, testing
from recsdk.errors import InvalidValue
from tests.live.shop import NativeTally
from tests.worlds import ItemWorld


@testing.parametrize(
    Budgeted(policy=LinUCB(), cap=500, window=1000, num_items=128),
    Budgeted(policy=LinUCB(), cap=1000, window=1000, groups=((0, 900), (-1, 800))),
)
def test_conforms(policy, check):
    check(policy)


@testing.parametrize(
    Budgeted(policy=NativeTally(), cap=1, window=4, num_items=128),
    skip={"weight": "NativeTally counts every round once", "learns": "caps leave no choice"},
)
def test_conforms_with_tight_caps_around_a_native_policy(policy, check):
    check(policy)


WORLD = ItemWorld(chances=((0.9, 0.5, 0.4, 0.2),))


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_no_item_is_chosen_more_than_its_cap_in_a_window(engine):
    log = simulate(Budgeted(policy=ByColumn(), cap=3, window=10), WORLD, 200, seed=0, engine=engine).log
    counts = (log.action.reshape(20, 10)[:, :, None] == np.arange(4)).sum(axis=1)
    np.testing.assert_array_equal(counts, np.tile([3, 3, 3, 1], (20, 1)))  # the best first, until its cap


def test_the_policy_is_asked_about_the_items_below_their_caps():
    policy = Budgeted(policy=EpsilonGreedy(epsilon=0.3), cap=1, window=100)
    context = Context(np.array([[3.0], [2.0], [1.0], [9.0]]), np.array([True, True, True, False]), np.arange(4))
    state = policy.init(np.ones(1))
    state = policy.update(state, Interaction(context, 0, 3.0, 0.8, 1.0))
    np.testing.assert_allclose(policy.probs(state, None, context), [0, 0.85, 0.15, 0], rtol=1e-12)


def test_without_an_item_below_its_cap_none_is_barred():
    policy = Budgeted(policy=Uniform(), cap=1, window=100)
    context = Context(np.zeros((2, 1)), np.ones(2, bool), np.array([4, 5]))
    state = policy.init(np.zeros(1))
    for action in (0, 1):
        state = policy.update(state, Interaction(context, action, 0.0, 0.5, 1.0))
    np.testing.assert_array_equal(policy.probs(state, None, context), [0.5, 0.5])
    fresh = context._replace(item=np.array([4, 6]))
    np.testing.assert_array_equal(policy.probs(state, None, fresh), [0, 1])


def test_a_round_counts_with_its_weight():
    policy = Budgeted(policy=Uniform(), cap=2, window=10)
    context = Context(np.zeros((2, 1)), np.ones(2, bool), np.arange(2))
    state = policy.update(policy.init(np.zeros(1)), Interaction(context, 0, 0.0, 0.5, 1.5))
    assert policy.probs(state, None, context)[0] == 0  # half a round is left, and a round is needed
    assert state.rounds == 1.5
    state = policy.update(state, Interaction(context, 1, 0.0, 1.0, 8.5))
    assert not state.spent.any()
    assert state.rounds == 0


def test_slots_beyond_the_memory_share_a_cap():
    policy = Budgeted(policy=Uniform(), cap=1, window=10, num_items=4)
    context = Context(np.zeros((3, 1)), np.ones(3, bool), np.array([2, 6, 3]))
    state = policy.update(policy.init(np.zeros(1)), Interaction(context, 1, 0.0, 0.3, 1.0))
    np.testing.assert_array_equal(policy.probs(state, None, context), [0, 0, 1])


def test_the_inner_policy_learns_as_without_caps():
    log = simulate(Uniform(), WORLD, 50, seed=0, engine="numpy").log
    capped = replay(Budgeted(policy=LinUCB(), cap=1, window=7), log, engine="numpy").state
    np.testing.assert_array_equal(capped.inner.mean, replay(LinUCB(), log, engine="numpy").state.mean)


GROUPS = Budgeted(policy=EpsilonGreedy(epsilon=0.3), cap=100, window=100, groups=((1, 2), (2, 1)))
GROUPED = Context(np.array([[9.0, 1, 0], [8.0, 1, 1], [3.0, 0, 1], [1.0, 0, 0]]), np.ones(4, bool), np.arange(4))


def after(*actions):
    state = GROUPS.init(np.array([1.0, 0, 0]))
    for action in actions:
        state = GROUPS.update(state, Interaction(GROUPED, action, GROUPED.features[action, 0], 0.3, 1.0))
    return GROUPS.probs(state, None, GROUPED)


def test_a_group_at_its_cap_sits_out_and_the_probs_are_those_of_the_policy_among_the_others():
    np.testing.assert_allclose(after(0), [0.775, 0.075, 0.075, 0.075], rtol=1e-12)  # one of two is spent
    np.testing.assert_allclose(after(0, 0), [0, 0, 0.85, 0.15], rtol=1e-12)
    np.testing.assert_allclose(after(2), [0.85, 0, 0, 0.15], rtol=1e-12)
    np.testing.assert_allclose(after(1, 0), [0, 0, 0, 1], rtol=1e-12)  # an item may be in two groups


@attrs.frozen(kw_only=True)
class Grouped:
    """`ItemWorld`, with a column that tells the first two items from the others."""

    dim = 6

    def init(self, seed):
        return WORLD.init(seed)

    def round(self, world, rng, time):
        here = WORLD.round(world, rng, time)
        features = here.context.features
        xp = features.__array_namespace__()
        return here._replace(context=here.context._replace(features=xp.concat([features, 1.0 * (here.context.item < 2)[:, None]], axis=1)))


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_no_group_is_chosen_more_than_its_cap_in_a_window(engine):
    policy = Budgeted(policy=ByColumn(), cap=10, window=10, groups=((-1, 4),))
    log = simulate(policy, Grouped(), 200, seed=0, engine=engine).log
    item = log.context.item[np.arange(200), log.action].reshape(20, 10)
    np.testing.assert_array_equal((item < 2).sum(axis=1), 4)


@pytest.mark.parametrize("groups", [((0, 0),), ((0.5, 1),), (1, 2), 3, ((True, 1),), [(0, 1)]])
def test_bad_groups_are_refused(groups):
    with pytest.raises(InvalidValue, match=r"Budgeted.groups must be a tuple of \(column of phi, cap >= 1\), got"):
        Budgeted(policy=Uniform(), cap=1, window=10, groups=groups)


class Masks(Uniform):
    """Keeps the masks of the rounds that it is taught."""

    learns_from = "all"

    def update(self, state, interaction):
        return (*state, interaction.context.mask)


def test_the_inner_policy_is_taught_what_was_left_to_choose_from():
    policy = Budgeted(policy=Masks(), cap=1, window=100)
    context, state = Context(np.zeros((3, 1)), np.ones(3, bool), np.arange(3)), policy.init(np.zeros(1))
    for action in (0, 1, 0):  # the last as another policy may choose, in spite of the cap
        state = policy.update(state, Interaction(context, action, 0.0, 0.5, 1.0))
    np.testing.assert_array_equal(state.inner, [[True, True, True], [False, True, True], [True, False, True]])


def test_a_native_state_inside_is_written_and_freed():
    policy = Budgeted(policy=NativeTally(), cap=1, window=4)
    before, state = len(NativeTally.open_states), policy.init(np.zeros(1))
    again = states.loads(policy, state, states.dumps(policy, state))
    states.close(policy, state)
    states.close(policy, again)
    assert len(NativeTally.open_states) == before


@pytest.mark.parametrize(("field", "value"), [("cap", 0), ("window", 0.5), ("num_items", 0)])
def test_a_bad_setting_is_refused(field, value):
    with pytest.raises(InvalidValue, match=rf"Budgeted.{field} must be a whole number >= 1, got {value}"):
        Budgeted(**{"policy": Uniform(), "cap": 1, "window": 10, field: value})
