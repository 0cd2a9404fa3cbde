import numpy as np
import pytest

from recsdk import Boltzmann, ByColumn, Context, LinUCB, OnColumns, Uniform, WithFloor, replay, simulate, states, testing
from recsdk.environments import LinearWorld
from recsdk.errors import InvalidValue
from tests.live.shop import NativeTally

CONTEXT = Context(np.array([[1.0, 5.0, 1.0], [3.0, 0.0, 1.0], [3.0, 2.0, 1.0]]), np.ones(3, bool), np.arange(3))


@testing.parametrize(WithFloor(policy=ByColumn()), skip={"learns": "ByColumn learns nothing"})
def test_a_column_conforms(policy, check):
    check(policy)


@testing.parametrize(OnColumns(policy=LinUCB(), columns=(0, -1)), skip={"learns": "it sees too little of the kit's world"})
def test_columns_conform(policy, check):
    check(policy)


def test_the_largest_value_of_the_column_is_shown_and_ties_share():
    np.testing.assert_array_equal(ByColumn().probs((), None, CONTEXT), [0, 0.5, 0.5])
    np.testing.assert_array_equal(ByColumn(column=-2).probs((), None, CONTEXT), [1, 0, 0])


def test_a_policy_on_columns_is_that_policy_without_the_others():
    world = LinearWorld(num_candidates=5, dim=4)
    log = simulate(Uniform(), world, 50, seed=0, engine="numpy").log
    narrow = log._replace(context=log.context._replace(features=log.context.features[:, :, [2, 3]]))
    prior = np.array([9.0, 9.0, 0.5, -0.5])
    seen = replay(OnColumns(policy=Boltzmann(), columns=(2, -1)), log, prior=prior, engine="numpy")
    alone = replay(Boltzmann(), narrow, prior=prior[2:], engine="numpy")
    np.testing.assert_allclose(seen.decision.probs, alone.decision.probs, rtol=1e-12)
    np.testing.assert_allclose(seen.state.mean, alone.state.mean, rtol=1e-12)


def test_a_native_policy_on_columns_writes_itself():
    policy = OnColumns(policy=NativeTally(), columns=(0,))
    assert states.is_native(policy)
    state = policy.init(np.zeros(2))
    again = states.loads(policy, state, states.dumps(policy, state))
    states.close(policy, again)
    states.close(policy, state)


@pytest.mark.parametrize("column", [3, -4])
def test_a_column_that_is_not_there_is_refused(column):
    with pytest.raises(InvalidValue, match=rf"ByColumn.column must be in \[-3, 2\], since there are 3 features, got {column}"):
        ByColumn(column=column).init(np.zeros(3))
    with pytest.raises(InvalidValue, match=rf"OnColumns.columns must be in \[-3, 2\], since there are 3 features, got {column}"):
        OnColumns(policy=LinUCB(), columns=(0, column)).init(np.zeros(3))


@pytest.mark.parametrize("columns", [(), [0], (0.0,), (True,), "01"])
def test_what_are_not_columns_is_refused(columns):
    with pytest.raises(InvalidValue, match=r"OnColumns.columns must be a tuple of one or more column numbers, got "):
        OnColumns(policy=LinUCB(), columns=columns)


def test_what_is_not_a_column_is_refused():
    with pytest.raises(InvalidValue, match=r"ByColumn.column must be the number of a column, got 'deep'"):
        ByColumn(column="deep")
