"""Several items on one page: rows that are not independent, and rewards that are one outcome."""

import numpy as np
import pytest

from recsdk import ope
from recsdk.arrays import tree_map
from recsdk.errors import InvalidLog
from recsdk.ope import slates
from recsdk.ope.comparison import evaluate_all
from recsdk.ope.evaluation import Target
from tests.ope.logs import log_of


def paged_log(seed, num_pages, *, copied=False):
    """Returns a log of two positions a page, drawn alike from 4 items without replacement, and the page of each row."""
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.random((num_pages, 4)), axis=1)[:, :2]
    mask = np.ones((num_pages, 2, 4), np.bool_)
    mask[np.arange(num_pages), 1, order[:, 0]] = False
    mood = rng.random((num_pages, 1)) < 0.5  # of the visitor: rows of one page go together
    reward = (mood & (rng.random((num_pages, 2)) < 0.8)).astype(float)
    if copied:
        reward[:, 1] = reward[:, 0]
    chance = np.tile([1 / 4, 1 / 3], num_pages)
    log = log_of(order.ravel(), reward.ravel(), chance, mask=mask.reshape(-1, 4))
    return log, np.repeat(np.arange(num_pages), 2)


def uniform(context):
    return context.mask / context.mask.sum(1, keepdims=True)


def test_rows_that_look_like_positions_of_a_page_are_never_trusted():
    log, _ = paged_log(0, 4000)
    found = ope.evaluate(log, uniform, estimators=("ips",))
    assert found.verdict == "caution"
    assert "50% of the rows look like lower positions of a page" in found.reasons[0]
    first = log_of(log.action[::2], log.reward[::2], log.propensity[::2], num_candidates=4)
    assert ope.evaluate(first, uniform, estimators=("ips",)).verdict == "trust"


@pytest.mark.parametrize("below", [False, True])
def test_a_lower_position_by_itself_is_not_trusted_once_evaluate_is_told(below):
    log, _ = paged_log(0, 4000)
    second = tree_map(lambda column: column[1::2], log)
    options = {"estimators": ("ips",), "position": int(below)}
    found = ope.evaluate(second, uniform, **options)
    probs = uniform(second.context)
    told = evaluate_all(second, {"uniform": Target(probs)}, ope.Options(**options)).targets["uniform"]
    summed = ope.finish(ope.accumulate([second], probs, estimators=("ips",)), **options)
    for each in (found, told, summed):
        assert (each.verdict, "slates" in "".join(each.reasons)) == (("caution", True) if below else ("trust", False))


def test_candidates_that_come_and_go_do_not_look_like_a_page():
    rng = np.random.default_rng(1)
    mask = rng.random((4000, 6)) < 0.7
    mask[:, 0] = True
    log = log_of(np.zeros(4000, int), rng.random(4000), 1 / mask.sum(1), mask=mask)
    assert ope.diagnose(ope.rounds(log, uniform(log.context))).below_share < 0.01


def test_errors_are_by_page_where_pages_are_given():
    log, page = paged_log(2, 4000)
    apart, together = (ope.evaluate(log, uniform, estimators=("ips",), page=each) for each in (None, page))
    ratio = together.estimates["ips"].stderr / apart.estimates["ips"].stderr
    assert together.estimates["ips"].value == pytest.approx(apart.estimates["ips"].value)
    correlation = np.corrcoef(log.reward.reshape(-1, 2).T)[0, 1]
    assert ratio == pytest.approx(np.sqrt(1 + correlation), rel=0.02)
    assert together.verdict == "caution"
    assert "slates" in together.reasons[-1]
    drawn = ope.evaluate(log, uniform, estimators=("ips",), page=[f"p{number}" for number in page], num_draws=99)
    assert drawn.estimates["ips"].stderr == pytest.approx(together.estimates["ips"].stderr)


def test_errors_by_page_cover_the_spread_of_estimates():
    values = [ope.value(ope.ips(ope.rounds(log, uniform(log.context)))) for log, _ in (paged_log(seed, 500) for seed in range(200))]
    log, page = paged_log(0, 500)
    assert ope.evaluate(log, uniform, estimators=("ips",), page=page).estimates["ips"].stderr == pytest.approx(np.std(values), rel=0.15)


def test_the_reward_of_a_page_that_was_copied_to_its_rows_is_refused():
    log, page = paged_log(3, 200, copied=True)
    with pytest.raises(InvalidLog, match="the same in all rows of each of 200 pages: a page's reward is one outcome"):
        ope.evaluate(log, uniform, page=page)
    with pytest.raises(InvalidLog, match="a page's reward is one outcome"):
        slates.gather(ope.rounds(log, uniform(log.context)), np.tile([0, 1], 200))
    honest, page = paged_log(3, 200)
    slates.gather(ope.rounds(honest, uniform(honest.context)), np.tile([0, 1], 200))


def test_a_page_for_each_row_changes_nothing():
    log, _ = paged_log(4, 500)
    first = log_of(log.action[::2], log.reward[::2], log.propensity[::2], num_candidates=4)
    found, alone = (ope.evaluate(first, uniform, estimators=("ips",), page=page) for page in (np.arange(500), None))
    assert found.estimates["ips"] == pytest.approx(alone.estimates["ips"])
    assert found.verdict == alone.verdict


def test_pages_of_another_length_are_refused():
    log, page = paged_log(5, 10)
    with pytest.raises(InvalidLog, match="page must be one name for each of 20 rows, got"):
        ope.evaluate(log, uniform, page=page[:-1])
