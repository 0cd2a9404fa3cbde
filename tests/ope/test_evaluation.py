import functools

import numpy as np
import pytest

import recsdk
from recsdk import ope
from recsdk.errors import InsufficientOverlap, InvalidLog, InvalidValue
from recsdk.ope.intervals import adaptively_weighted, bootstrap
from recsdk.ope.report import report
from tests.ope.logs import log_of, random_log


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
    expected = ope.delta(ope.snips(ope.rounds(log, target)), level=0.5)
    assert ope.evaluate(log, target, level=0.5).estimates["snips"] == pytest.approx(expected, rel=1e-12)


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


def test_a_log_with_one_decision_twice_is_refused():
    log, target, _ = random_log(0, size=50)
    names = [f"d{row}" for row in range(50)]
    assert ope.evaluate(log, target, ids=names, force=True) == ope.evaluate(log, target, force=True)
    names[40] = "d3"
    with pytest.raises(InvalidLog, match=r"ids must be unique, got 'd3' in row 3 and in row 40 \(1 of 50 rows repeat an earlier id\)"):
        ope.evaluate(log, target, ids=names)
    with pytest.raises(InvalidLog, match="ids must be one for each of 50 rows, got"):
        ope.evaluate(log, target, ids=names[:-1])


def test_rows_that_are_the_same_in_all_they_say_are_counted():
    log, _, _ = random_log(0, size=3000)
    assert ope.num_repeated(log) == 0
    twice = recsdk.Interaction(
        recsdk.Context(*(np.concatenate([c, c[:7]]) for c in log.context)), *(np.concatenate([c, c[:7]]) for c in log[1:])
    )
    assert ope.num_repeated(twice) == 7
    reward = twice.reward.copy()
    reward[3000] += 1e-12
    assert ope.num_repeated(twice._replace(reward=reward)) == 6


def test_estimators_may_be_functions_with_names_of_their_own():
    log, target, _ = random_log(0)
    q_hat = np.random.default_rng(0).random(target.shape)
    mine = {"half": lambda rounds: ope.average(rounds.reward / 2, rounds.weight), "dr": ope.dr}
    found = ope.evaluate(log, target, estimators=mine, q_hat=q_hat)
    assert found.estimates["half"].value == pytest.approx(log.reward.mean() / 2)
    assert found.estimates["dr"] == pytest.approx(ope.evaluate(log, target, estimators=("dr",), q_hat=q_hat).estimates["dr"], rel=1e-10)


def test_the_interval_may_be_any_function_of_terms():
    log, target, _ = random_log(0)
    doubled = ope.evaluate(
        log, target, level=0.9, estimators=("ips",), interval=lambda terms, level: ope.delta(ope.add(terms, terms), level=level)
    )
    assert doubled.estimates["ips"] == ope.delta(ope.add(*2 * [ope.ips(ope.rounds(log, target))]), level=0.9)
    with pytest.raises(InvalidValue, match="num_draws must be 0 where an interval is given"):
        ope.evaluate(log, target, interval=ope.delta, num_draws=10)


def test_a_bootstrap_of_functions_is_that_of_names():
    log, target, _ = random_log(0)
    named, given = (ope.evaluate(log, target, estimators=each, num_draws=100, seed=2).estimates for each in (("ips",), {"ips": ope.ips}))
    assert given["ips"] == pytest.approx(named["ips"], rel=1e-5)
    assert named["ips"].low != ope.evaluate(log, target, estimators=("ips",)).estimates["ips"].low


def test_a_reward_model_may_be_a_function_too():
    log, target, _ = random_log(0)
    given = ope.evaluate(log, target, q_hat=log.context.features[..., 0])
    assert ope.evaluate(log, target, q_hat=lambda context: context.features[..., 0]) == given


def test_the_engine_of_a_replay_is_passed_on():
    log, _, _ = random_log(0, size=50)
    with pytest.raises(InvalidValue, match="engine must be one of"):
        ope.evaluate(log, recsdk.Uniform(), engine="fortran")


def test_the_number_of_decisions_gives_the_join_rate():
    log, target, _ = random_log(0)
    found = ope.evaluate(log, target, num_decisions=2500)
    assert found.diagnostics.join_rate == pytest.approx(0.8)
    assert any("80.0% of the decisions" in reason for reason in found.reasons)


@pytest.mark.parametrize("num_decisions", [0, 1999, 1.5])
def test_fewer_decisions_than_rows_are_refused(num_decisions):
    log, target, _ = random_log(0)
    with pytest.raises(InvalidValue, match="num_decisions must be a whole number >= 2000"):
        ope.evaluate(log, target, num_decisions=num_decisions)


def test_a_notebook_shows_every_number_and_escapes_names():
    log, target, _ = random_log(0, size=200)
    found = ope.evaluate(log, target, estimators={"<ips>": ope.ips})
    shown = found._repr_html_()
    assert "&lt;ips&gt;" in shown
    assert "<ips>" not in shown
    assert f"{found.estimates['<ips>'].value:.6g}" in shown
    assert found.verdict in shown
    for name in ope.Diagnostics._fields:
        assert f"<td>{name}</td>" in shown


def test_what_an_interval_does_not_stand_is_a_reason_for_caution():
    log, target, _ = random_log(0, size=5000, floor=0.5)
    assert ope.evaluate(log, target).verdict == "trust"
    told = {
        "delta assumes a logging policy that does not learn, and this one learned from the log: use confidence_sequence": {
            "logger": "adaptive"
        },
        "delta assumes independent rounds": {"rewards": "dependent"},
        "delta holds for one look at the log, and there were 3": {"num_looks": 3},
        "bootstrap holds for one look at the log, and there were 3": {"num_looks": 3, "num_draws": 50},
        "bootstrap assumes independent rounds": {"rewards": "dependent", "interval": functools.partial(bootstrap, num_draws=50)},
    }
    for reason, options in told.items():
        found = ope.evaluate(log, target, **options)
        assert found.verdict == "caution"
        assert found.reasons[0].startswith(reason)
    weighted = functools.partial(adaptively_weighted, variance=np.ones(5000))
    holds = ope.evaluate(log, target, interval=weighted, logger="adaptive", estimators=("ips",))
    assert holds.verdict == "trust"
    with pytest.raises(InvalidValue, match="logger must be one of"):
        ope.evaluate(log, target, logger="learning")


def test_rows_that_differ_in_signs_alone_are_told_apart():
    log, _, _ = random_log(0, size=4)
    features = np.concatenate([log.context.features[:2], -log.context.features[:2]])
    context = log.context._replace(features=features)
    columns = (np.tile(column[:2], 2) for column in (log.action, log.reward, log.propensity, log.weight))
    assert ope.num_repeated(recsdk.Interaction(context, *columns)) == 0


def test_no_model_is_fitted_to_a_log_that_cannot_answer():
    log = log_of([0, 1], [1, 0], [0.5, 0.5], num_candidates=3)  # too few for a fold each
    with pytest.raises(InsufficientOverlap, match="no round has an action"):
        ope.evaluate(log, np.tile([0.0, 0.0, 1.0], (2, 1)))


def test_a_column_that_has_an_update_is_no_policy():
    log, target, _ = random_log(0)
    chosen = target[np.arange(len(target)), log.action]

    class Series:  # as that of pandas
        shape = chosen.shape

        def update(self, other):
            raise AssertionError

        def __array__(self, dtype=None, copy=None):
            return chosen

        def __len__(self):
            return len(chosen)

        def __getitem__(self, rows):
            return chosen[rows]

    expected = ope.evaluate(log, chosen, estimators=("ips",))
    assert ope.evaluate(log, Series(), estimators=("ips",)) == expected
    assert ope.finish(ope.accumulate([log], Series(), estimators=("ips",))) == expected
