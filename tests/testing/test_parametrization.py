import doctest
import subprocess
import sys

import pytest

from recsdk import LinTS, LinUCB, Uniform, WithFloor, testing
from recsdk.encoders.two_tower import TwoTower
from recsdk.errors import InvalidValue
from recsdk.scorers.popularity import Popularity
from recsdk.scorers.recency import Recency
from recsdk.testing import parametrization


def parameters(decorator):
    assert decorator.args[0][1] == "check"
    return {param.id: param for param in decorator.args[1]}


def test_the_docstrings_examples_are_true():
    assert doctest.testmod(parametrization).failed == 0


def test_every_policy_meets_every_law_under_its_name():
    ids = parameters(testing.parametrize(LinUCB(), Uniform()))
    assert len(ids) == 2 * len(testing.POLICY_CHECKS)
    assert {"LinUCB-distribution", "LinUCB-draws", "Uniform-learns"} <= set(ids)


def test_two_policies_of_one_class_are_told_apart_by_their_fields():
    ids = parameters(testing.parametrize(LinUCB(), LinUCB(alpha=1.0)))
    assert "LinUCB(alpha=1.0, ridge=1.0)-order" in ids


def test_a_law_is_skipped_for_a_reason_only():
    param = parameters(testing.parametrize(Uniform(), skip={"learns": "Uniform learns nothing"}))["Uniform-learns"]
    assert [(mark.name, mark.kwargs) for mark in param.marks] == [("skip", {"reason": "Uniform learns nothing"})]
    with pytest.raises(InvalidValue, match=r"skip\['learns'\] must be the reason why the law does not hold, got ''"):
        testing.parametrize(Uniform(), skip={"learns": ""})


def test_a_law_that_does_not_exist_cannot_be_skipped():
    with pytest.raises(InvalidValue, match=r"skip must be one of .*'learns'.*, got 'learn'"):
        testing.parametrize(Uniform(), skip={"learn": "Uniform learns nothing"})


def test_the_tolerance_reaches_the_laws_about_equality():
    params = parameters(testing.parametrize(LinUCB(), tolerance=1e-6))
    assert params["LinUCB-order"].values[1].keywords == {"tolerance": 1e-6}
    assert params["LinUCB-draws"].values[1].keywords == {}


def test_the_number_of_rounds_and_the_regret_reach_their_laws():
    params = parameters(testing.parametrize(LinUCB(), num_rounds=500, regret=1.2))
    assert params["LinUCB-calibration"].values[1].keywords == {"num_rounds": 500}
    assert params["LinUCB-regret"].values[1].keywords == {"num_rounds": 500, "regret": 1.2}


def test_nothing_to_try_is_refused():
    with pytest.raises(InvalidValue, match="number of policy arguments must be a whole number >= 1, got 0"):
        testing.parametrize()


def test_scorers_and_encoders_have_their_own_laws():
    log = testing.example_log(num_events=5)
    scorers = parameters(testing.parametrize_scorers(Popularity(), Recency(), log=log))
    assert {"Popularity-scores", "Recency-order"} <= set(scorers)
    assert scorers["Popularity-scores"].values[1].keywords["log"] is log
    assert "TwoTower-vectors" in parameters(testing.parametrize_encoders(TwoTower()))


PLUGINS_TEST = """
from recsdk import LinUCB, testing

class Native(LinUCB):
    runs_on = ("numpy",)

@testing.parametrize(Native(), skip={"learns": "it would take too long"})
def test_conforms(policy, check):
    check(policy)
"""


def test_pytest_shows_why_a_law_was_skipped(tmp_path):
    (tmp_path / "test_plugin.py").write_text(PLUGINS_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)  # noqa: S603
    assert "7 skipped" in result.stdout
    assert "it would take too long" in result.stdout
    assert "does not run on JAX" in result.stdout
    assert result.returncode == 0, result.stdout


def test_the_kit_needs_neither_pytest_nor_jax_until_it_runs():
    code = "import sys, recsdk.testing; assert not {'pytest', 'hypothesis', 'jax', 'polars'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603


def test_a_policy_for_jax_only_can_be_tried():
    class OnlyJax(WithFloor):
        runs_on = ("jax",)

        def probs(self, state, rng, context):
            import jax

            assert isinstance(context.features, jax.Array)
            return super().probs(state, rng, context)

    policy = OnlyJax(policy=LinTS(num_draws=4))
    for check in testing.POLICY_CHECKS:
        if check.__name__ in ("check_purity", "check_fold", "check_snapshot", "check_strictness"):
            check(policy)
