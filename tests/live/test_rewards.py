"""Signals become rewards: the same whatever their order, and right where other joiners are wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk.errors import InvalidValue
from recsdk.ledger import PAGE
from recsdk.ledger import RewardRecord as Reward
from recsdk.ledger import SignalRecord as Signal
from recsdk.live.rewards import AGGREGATIONS, Feedback, standing_values


def signals(values, name="reward"):
    return [Signal(f"s{index}", "d", 0, name, float(value), float(index)) for index, value in enumerate(values)]


KNOWN = {
    "sum": (12, -1.5, 0, -2, -0.7),
    "mean": (4, -0.75, 0, -1, -0.35),
    "median": (4, -0.75, 0, -1, -0.35),
    "earliest": (3, -1, 0, 0, 0.3),
    "latest": (5, -0.5, 0, -2, -1),
    "max": (5, -0.5, 0, 0, 0.3),
    "min": (3, -1, 0, -2, -1),
}
"""Of (3, 4, 5), (-1, -0.5), (0), (0, -2) and (0.3, -1): one joiner starts its maximum at the smallest positive float."""


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_each_aggregation_is_right_for_negative_rewards_and_for_zero(aggregation):
    feedback = Feedback(window=60, aggregation=aggregation)
    found = [feedback.value(signals(values)) for values in ((3, 4, 5), (-1, -0.5), (0,), (0, -2), (0.3, -1))]
    assert found == pytest.approx(KNOWN[aggregation], abs=1e-15)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), data=st.data())
def test_the_order_of_arrival_in_the_log_is_moot(aggregation, values, data):
    feedback, given_signals = Feedback(window=60, aggregation=aggregation), signals(values)
    shuffled = data.draw(st.permutations(given_signals))
    assert feedback.value(shuffled) == feedback.value(given_signals)


def test_signals_weigh_by_their_name_and_a_sum_may_be_capped():
    weights = {"click": 1, "purchase": 5, "hide": -2}
    both = [*signals([1], "click"), Signal("p", "d", 0, "purchase", 1.0, 5.0), Signal("q", "d", 0, "purchase", 1.0, 6.0)]
    assert Feedback(window=60, signals=weights).value(both) == 11
    assert Feedback(window=60, signals=weights, cap=5).value(both) == 5
    assert Feedback(window=60, signals=weights, cap=5).value(signals([1, 1, 1], "hide")) == -5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window": 0}, r"Feedback.window must be a finite number > 0, got 0"),
        ({"default": math.nan}, r"Feedback.default must be a finite number, got nan"),
        ({"aggregation": "avg"}, r"Feedback.aggregation must be one of .*'mean'.*, got 'avg'"),
        ({"signals": {}}, r"signals must map at least one name"),
        ({"signals": {"click": math.inf}}, r"signals\['click'\] must be a finite number, got inf"),
        ({"signals": {3: 1.0}}, r"names that are texts, got 3"),
        ({"signals": (("click", 1.0, 2.0),)}, r"signals must map at least one name"),
        ({"cap": -1}, r"Feedback.cap must be a finite number > 0"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(InvalidValue, match=message):
        Feedback(**{"window": 60, **wrong})


def test_an_unknown_signal_is_refused_by_name():
    with pytest.raises(InvalidValue, match=r"signal must be one of \('reward',\), got 'clik'"):
        Feedback(window=60).value(signals([1], "clik"))


def test_a_reward_stands_as_corrected_last_at_the_place_of_its_first():
    first, other, page = Reward("a", "d1", 0, 1.0, 0.0), Reward("b", "d1", 1, 2.0, 1.0), Reward("c", "d0", PAGE, 3.0, 2.0)
    less, gone = first._replace(reward_id="a/1", value=-0.0, replaces="a"), other._replace(reward_id="b/1", replaces="b", void=True)
    back = gone._replace(reward_id="b/2", value=0.5, replaces="b/1", void=False)
    assert list(standing_values([first, other, page, less, gone]).items()) == [(("d1", 0), 0.0), (("d0", PAGE), 3.0)]
    assert list(standing_values([first, other, page, gone, back, less]).values()) == [0.0, 0.5, 3.0]
