import numpy as np
import pytest

from recsdk import ope
from recsdk.base import Context
from recsdk.errors import EmptyLog, InvalidLog, InvalidProbs, InvalidPropensity, InvalidScores
from tests.ope.logs import log_of

LOG = log_of([0, 1, 2], [1.0, 0.0, 1.0], [0.5, 0.25, 0.2])
UNIFORM = np.full((3, 3), 1 / 3)


def with_row(column, row, value):
    changed = np.array(column)
    changed[row] = value
    return changed


@pytest.mark.parametrize("value", [0, -0.5, 1.5, np.inf, np.nan])
def test_a_propensity_outside_its_range_is_refused_by_its_row(value):
    with pytest.raises(InvalidLog, match=r"propensity must be in \(0, 1\], got .* in row 1 "):
        ope.rounds(LOG._replace(propensity=with_row(LOG.propensity, 1, value)), UNIFORM)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_not_finite_is_refused_by_its_row(value):
    with pytest.raises(InvalidLog, match=r"reward must be a finite number, got .* in row 2 "):
        ope.rounds(LOG._replace(reward=with_row(LOG.reward, 2, value)), UNIFORM)


@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_a_weight_that_counts_no_rounds_is_refused_by_its_row(value):
    with pytest.raises(InvalidLog, match=r"weight must be finite and >= 0, got .* in row 0 "):
        ope.rounds(LOG._replace(weight=with_row(LOG.weight, 0, value)), UNIFORM)


@pytest.mark.parametrize("value", [-1, 3])
def test_an_action_out_of_range_is_refused_by_its_row(value):
    with pytest.raises(InvalidLog, match=r"action must be in \[0, 2\], got .* in row 1 "):
        ope.rounds(LOG._replace(action=with_row(LOG.action, 1, value)), UNIFORM)


def test_an_action_on_padding_is_refused():
    mask = np.array([[True, True, False]] * 3)
    with pytest.raises(InvalidLog, match="action must be a real candidate, not padding, got 2 in row 2 "):
        ope.rounds(LOG._replace(context=LOG.context._replace(mask=mask)), UNIFORM)


def test_an_action_that_is_no_integer_is_refused():
    with pytest.raises(InvalidLog, match=r"action must be int64\[3\], got float64\[3\]"):
        ope.rounds(LOG._replace(action=LOG.action.astype(float)), UNIFORM)


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(InvalidLog, match=r"reward must be float64\[3\], got float64\[2\]"):
        ope.rounds(LOG._replace(reward=LOG.reward[:2]), UNIFORM)
    with pytest.raises(InvalidLog, match=r"item must be int64\[3, 3\]"):
        ope.rounds(LOG._replace(context=LOG.context._replace(item=LOG.context.item[:2])), UNIFORM)


def test_text_is_refused():
    with pytest.raises(InvalidLog, match="reward must be float64"):
        ope.rounds(LOG._replace(reward=np.array(["1", "2", "NaN"])), UNIFORM)


def test_an_empty_log_is_refused():
    with pytest.raises(EmptyLog, match="at least one row"):
        ope.rounds(log_of([], [], [], mask=np.ones((0, 2), np.bool_), item=np.ones((0, 2))), np.ones((0, 2)))
    with pytest.raises(EmptyLog, match="3 rows of weight 0"):
        ope.rounds(LOG._replace(weight=np.zeros(3)), UNIFORM)


def test_one_round_without_a_leading_t_is_refused():
    one = LOG._replace(context=Context(np.ones((3, 1)), np.ones(3, np.bool_), np.arange(3)))
    with pytest.raises(InvalidLog, match=r"context.mask must be bool\[T, K\], got bool\[3\]"):
        ope.rounds(one, UNIFORM)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.5, 0.4, 0.0], r"target's sum\[1\] must be 1 within 3e-06, got 0.9"),
        ([1.2, -0.2, 0.0], r"target\[1\] must be finite and >= 0"),
        ([np.nan, 0.5, 0.5], r"target\[1\] must be finite and >= 0"),
        ([np.inf, 0.5, 0.5], r"target\[1\] must be finite and >= 0"),
        ([0.5, 0.5, 4e-6], r"target's sum\[1\] must be 1"),
    ],
)
def test_a_target_that_is_no_distribution_is_refused_by_its_row(row, message):
    with pytest.raises(InvalidProbs, match=message):
        ope.rounds(LOG, with_row(UNIFORM, 1, row))


def test_a_target_for_other_candidates_is_refused():
    with pytest.raises(InvalidProbs, match=r"target must be float64\[3, 3\] like the log's candidates, got \[3, 4\]"):
        ope.rounds(LOG, np.full((3, 4), 0.25))
    with pytest.raises(InvalidProbs, match=r"target must be float64\[T, K\] or float64\[3\], got \[2\]"):
        ope.rounds(LOG, np.array([0.5, 0.5]))
    with pytest.raises(InvalidProbs, match=r"target\[2\] must be in \[0, 1\], got 1.5"):
        ope.rounds(LOG, np.array([0.5, 0.5, 1.5]))


def test_target_mass_on_padding_is_refused():
    mask = np.array([[True, True, True], [True, True, False], [True, True, True]])
    with pytest.raises(InvalidProbs, match=r"target\[1\] must be 0 on padding"):
        ope.rounds(LOG._replace(context=LOG.context._replace(mask=mask)), UNIFORM)


def test_a_reward_model_that_is_not_finite_or_of_another_shape_is_refused():
    with pytest.raises(InvalidScores, match=r"q_hat\[1\] must be finite"):
        ope.rounds(LOG, UNIFORM, q_hat=with_row(UNIFORM, 1, [0, np.nan, 0]))
    with pytest.raises(InvalidScores, match=r"q_hat must be float64\[3, 3\]"):
        ope.rounds(LOG, UNIFORM, q_hat=UNIFORM[:2])


def test_a_propensity_too_small_to_divide_by_is_refused():
    with pytest.raises(InvalidPropensity, match=r"propensity\[0\] must be large enough"):
        ope.rounds(LOG._replace(propensity=with_row(LOG.propensity, 0, 1e-320)), UNIFORM)


def test_how_many_rows_are_bad_is_said():
    with pytest.raises(InvalidProbs, match="2 of 3 rows are bad"):
        ope.rounds(LOG, UNIFORM * [[1], [2], [3]])


def test_nothing_given_is_changed():
    before = [np.array(column) for column in (LOG.action, LOG.reward, LOG.propensity, LOG.weight)]
    target, q_hat = UNIFORM.copy(), UNIFORM.copy()
    ope.dr(ope.rounds(LOG, target, q_hat=q_hat))
    for column, kept in zip((LOG.action, LOG.reward, LOG.propensity, LOG.weight, target, q_hat), [*before, UNIFORM, UNIFORM], strict=True):
        assert np.array_equal(column, kept)


def test_rounding_errors_are_corrected_and_said():
    rounded = np.tile(np.array([0.2, 0.3, 0.5], np.float32) * np.float32(1.0000003), (3, 1))
    checked = ope.rounds(LOG._replace(propensity=np.array([0.5, 1.0000001, 0.2])), rounded)
    assert checked.probs.sum(1) == pytest.approx(1, abs=1e-15)
    assert checked.propensity.max() == 1
    assert checked.rounded.all()
    assert ope.rounds(LOG, UNIFORM).rounded.tolist() == [False] * 3
    single = ope.rounds(LOG, [0.5, 1.0000001, 0.2])
    assert (single.target.max(), single.rounded.tolist()) == (1, [False, True, False])
    with pytest.raises(InvalidLog, match=r"propensity must be in \(0, 1\], got 1.00001 in row 1"):
        ope.rounds(LOG._replace(propensity=np.array([0.5, 1.00001, 0.2])), UNIFORM)


@pytest.mark.parametrize("field", ["reward", "propensity", "action", "weight"])
def test_a_masked_entry_of_a_log_is_refused_by_its_row(field):
    masked = np.ma.array(getattr(LOG, field), mask=[False, False, True])
    with pytest.raises(InvalidLog, match=rf"{field}\[2\] must be a value, got a masked one \(1 of 3 rows are masked\)"):
        ope.rounds(LOG._replace(**{field: masked}), UNIFORM)


def test_a_masked_entry_of_a_target_or_reward_model_is_refused_by_its_row():
    masked = np.ma.array(UNIFORM, mask=[[False] * 3, [True, False, False], [False] * 3])
    with pytest.raises(InvalidProbs, match=r"target\[1\] must be a value, got a masked one"):
        ope.rounds(LOG, masked)
    with pytest.raises(InvalidProbs, match=r"target\[1\] must be a value, got a masked one"):
        ope.evaluate(LOG, masked)
    with pytest.raises(InvalidScores, match=r"q_hat\[1\] must be a value, got a masked one"):
        ope.rounds(LOG, UNIFORM, q_hat=masked)
