import numpy as np
import pytest
from ope.logs import log_of, random_log

from recsdk import ope
from recsdk.errors import InsufficientOverlap, InvalidValue
from recsdk.ope.report import report


def test_the_truth_lies_within_four_standard_errors():
    for seed in range(20):
        log, target, value = random_log(seed, size=4000, floor=0.3)
        for name, found in ope.evaluate(log, target).estimates.items():
            assert abs(found.value - value) < 4 * found.stderr, (seed, name)


def test_estimates_come_in_the_order_asked_for():
    log, target, _ = random_log(0)
    found = ope.evaluate(log, target, estimators=("dm", "ips"))
    assert list(found.estimates) == ["dm", "ips"]


def test_the_reward_model_is_cross_fitted_by_default():
    log, target, _ = random_log(0)
    given = ope.evaluate(log, target, estimators=("dr",), q_hat=ope.fit_reward_model(log, seed=5).q_hat)
    assert ope.evaluate(log, target, estimators=("dr",), seed=5) == given


def test_no_reward_model_is_fitted_where_none_is_asked_for():
    log, target, _ = random_log(0)
    bare = log._replace(context=log.context._replace(features=log.context.features[:, :, :0]))
    assert ope.evaluate(bare, target, estimators=("ips",)) == ope.evaluate(log, target, estimators=("ips",))


def test_the_level_is_passed_on():
    log, target, _ = random_log(0)
    assert ope.evaluate(log, target, level=0.5).estimates["snips"] == ope.delta(ope.snips(ope.rounds(log, target)), level=0.5)


def test_a_refusal_can_be_overruled_and_is_still_a_refusal():
    log, target, _ = random_log(0, size=9)
    with pytest.raises(InsufficientOverlap, match="`force=True` answers all the same"):
        ope.evaluate(log, target, estimators=("ips",))
    found = ope.evaluate(log, target, estimators=("ips",), force=True)
    assert found.verdict == "refuse"
    assert found.estimates["ips"].value > 0


def test_without_any_overlap_not_even_force_helps():
    log = log_of([0] * 50, [1] * 50, [1] * 50, num_candidates=2)
    with pytest.raises(InsufficientOverlap, match="None of 50 rounds"):
        ope.evaluate(log, np.array([[0.0, 1.0]] * 50), estimators=("ips",), force=True)


@pytest.mark.parametrize(("estimators", "message"), [((), "got"), ("dr", "got 'dr'"), (("sinps",), "got 'sinps'")])
def test_estimators_that_are_not_known_are_refused(estimators, message):
    log, target, _ = random_log(0, size=20)
    with pytest.raises(InvalidValue, match=message):
        ope.evaluate(log, target, estimators=estimators)


def test_a_state_for_probabilities_is_refused():
    log, target, _ = random_log(0, size=20)
    with pytest.raises(InvalidValue, match="are for a target that is a Policy"):
        ope.evaluate(log, target, state=())
    with pytest.raises(InvalidValue, match="are for a target that is a Policy"):
        ope.evaluate(log, target, learn_from="all")


def test_a_report_has_every_number_and_the_reasons():
    from rich.console import Console

    log, target, _ = random_log(0, size=200)
    found = ope.evaluate(log, target)
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(report(found))
    text = capture.get()
    assert "verdict: caution" in text
    for reason in found.reasons:
        assert reason in text
    for name in (*found.estimates, *ope.Diagnostics._fields):
        assert name in text
    assert f"{found.estimates['dr'].value:.6g}" in text
