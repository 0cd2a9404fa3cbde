"""The winner of a choice among policies is valued on rounds that had no say in the choice."""

import numpy as np
import pytest

from recsdk import ByColumn, EpsilonGreedy, LinUCB, Uniform, replay, simulate
from recsdk.base import Context, Interaction
from recsdk.environments import LinearWorld
from recsdk.errors import EmptyLog, InsufficientOverlap, InvalidValue
from recsdk.ope import evaluate, select, split

WORLD = LinearWorld(num_candidates=4, dim=4, noise=0.3)


def uniform_log(num_rounds, seed=0):
    return simulate(Uniform(), WORLD, num_rounds, seed=seed, engine="numpy").log


def chosen_among(policies, log, **options):
    return select(policies, log, engine="numpy", num_processes=1, **options)


@pytest.mark.parametrize("by", ["time", "random"])
def test_both_parts_together_are_the_log(by):
    log = uniform_log(101)
    first, second = split(log, share=0.3, by=by, seed=4)
    assert (len(first.reward), len(second.reward)) == (30, 71)
    assert sorted([*first.reward, *second.reward]) == sorted(log.reward)
    for part in (first, second):
        places = [int(np.flatnonzero(log.reward == reward)[0]) for reward in part.reward]
        assert places == sorted(places)
        np.testing.assert_array_equal(part.context.features, log.context.features[places])
        np.testing.assert_array_equal(part.action, log.action[places])


def test_by_time_the_first_part_is_the_past():
    log = uniform_log(20)
    np.testing.assert_array_equal(split(log)[0].reward, log.reward[:10])


def test_a_random_split_follows_its_seed():
    log = uniform_log(50)
    one, same, other = (split(log, by="random", seed=seed)[0].reward for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize("share", [0, 1, 0.001, 0.999, -0.5, 2, np.nan])
def test_a_part_without_rounds_is_refused(share):
    with pytest.raises(InvalidValue, match="share must "):
        split(uniform_log(20), share=share)


def test_what_cannot_be_split_is_refused():
    log = uniform_log(20)
    with pytest.raises(InvalidValue, match="by must be one of"):
        split(log, by="tim")
    none = Interaction(Context(*(column[:0] for column in log.context)), *(column[:0] for column in log[1:]))
    with pytest.raises(EmptyLog):
        split(none)


def test_the_better_policy_wins_and_goes_on_from_what_it_has_learnt():
    log = uniform_log(1600)
    found = chosen_among([Uniform(), LinUCB(alpha=0.1), EpsilonGreedy(epsilon=0.8)], log)
    assert found.policy == LinUCB(alpha=0.1)
    assert found.gain.low > 0.2
    whole = replay(LinUCB(alpha=0.1), log, engine="numpy").state
    np.testing.assert_allclose(found.state.mean, whole.mean, atol=1e-12)


@pytest.mark.parametrize("estimator", ["snips", "dr"])
def test_the_winner_is_valued_on_the_second_part_alone(estimator):
    log = uniform_log(1000)
    found = chosen_among([LinUCB(alpha=0.1)], log, share=0.4, estimator=estimator)
    first, second = split(log, share=0.4)
    state = replay(LinUCB(alpha=0.1), first, engine="numpy").state
    alone = evaluate(second, LinUCB(alpha=0.1), estimators=(estimator,), learn_from="all", state=state, engine="numpy")
    assert found.evaluation == alone
    assert found.gain.value == pytest.approx(alone.estimates[estimator].value - second.reward.mean())


def worthless_log(seed, num_rounds=800, num_candidates=10):
    """Rewards that nothing explains: whatever looks better than another is lucky."""
    random = np.random.default_rng(seed)
    action = random.integers(num_candidates, size=num_rounds)
    context = Context(
        np.broadcast_to(np.eye(num_candidates), (num_rounds, num_candidates, num_candidates)),
        np.ones((num_rounds, num_candidates), np.bool_),
        np.broadcast_to(np.arange(num_candidates), (num_rounds, num_candidates)),
    )
    return Interaction(context, action, random.normal(size=num_rounds), np.full(num_rounds, 1 / num_candidates), np.ones(num_rounds))


def test_where_nothing_is_better_the_winner_looks_better_on_its_own_part_and_not_on_the_other():
    policies = [ByColumn(column=column) for column in range(10)]
    flattered, held_out, covers = [], [], 0
    for seed in range(40):
        found = chosen_among(policies, worthless_log(seed), estimator="snips", learn_from="none", level=0.9)
        flattered.append(found.tried.reward[found.tried.policy.index(found.policy)])
        held_out.append(found.evaluation.estimates["snips"].value)
        covers += found.evaluation.estimates["snips"].low < 0 < found.evaluation.estimates["snips"].high
    assert np.mean(flattered) > 0.15
    assert abs(np.mean(held_out)) < 4 * np.std(held_out) / np.sqrt(40) < 0.13
    assert covers >= 30  # of 40, at a nominal 90 %


@pytest.mark.parametrize(("keep_every", "spread"), [(30, 0.0), (5, 4.0)], ids=["too few rounds", "too wide an interval"])
def test_a_policy_that_the_log_hardly_knows_does_not_win_by_luck(keep_every, spread):
    log = worthless_log(0, num_rounds=400, num_candidates=3)
    is_third = log.action == 2
    kept = ~is_third | (is_third.cumsum() % keep_every == 0)
    log = Interaction(Context(*(column[kept] for column in log.context)), *(column[kept] for column in log[1:]))
    lucky = log._replace(reward=np.where(log.action == 2, 1.0 + spread * log.reward, 0.1 * log.reward + 0.5))
    found = chosen_among([ByColumn(column=column) for column in range(3)], lucky, estimator="ips", learn_from="none")
    assert (found.tried.effective_size[2] < 10) == (spread == 0)
    assert found.tried.reward.argmax() == 2
    assert found.policy != ByColumn(column=2)


def test_a_log_that_answers_for_none_is_refused():
    with pytest.raises(InsufficientOverlap, match="effective_size must be at least 10 for one of the policies, got "):
        chosen_among([LinUCB()], uniform_log(16))


def test_what_cannot_value_a_winner_is_refused():
    with pytest.raises(InvalidValue, match="estimator must be one of"):
        chosen_among([LinUCB()], uniform_log(100), estimator="matched")
    with pytest.raises(InvalidValue, match="level must be in"):
        chosen_among([LinUCB()], uniform_log(100), level=1.0)
