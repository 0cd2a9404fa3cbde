"""From the log of one tree policy to the value of another."""

from typing import NamedTuple

import numpy as np
import pytest

from recsdk import Boltzmann
from recsdk.errors import InvalidProbs, InvalidPropensity, InvalidScores, InvalidValue
from recsdk.ope import delta, value
from recsdk.ope.slates import cascade_dr, slate_ips, slate_snips
from recsdk.semantic import TreePolicy, as_slates
from tests.semantic.worlds import softmax_walk, taught, tree_of, user_of

NUM_USERS, NUM_LOGS, ROUNDS = 4, 16, 80
TREE = tree_of(90)
LOGGER, TARGET = (TreePolicy(policy=Boltzmann(temperature=temperature), floor=floor) for temperature, floor in ((1.0, 0.2), (0.4, 0.05)))


class Logged(NamedTuple):
    walks: list
    reward: np.ndarray
    steps: np.ndarray
    predicted: np.ndarray
    value: np.ndarray
    truth: float


def mean_reward(slots, user):
    """Returns f64[M]: items near to the user earn more, and those of odd slots too, which no code can tell."""
    return 1 / (1 + np.exp(-TREE.vectors[slots] @ user)) * 0.7 + 0.3 * (np.asarray(slots) % 2)


@pytest.fixture(scope="module")
def logged():
    """Walks of the logger, and the target's side of them."""
    state, rng, every = taught(TARGET, TREE), np.random.default_rng(3), np.arange(90)
    weights, size = [part.mean for part in state], TREE.book.size
    users = [user_of(seed) for seed in range(NUM_USERS)]
    first = TREE.words // size
    codes = np.array([np.bincount(first, mean_reward(every, user), size) / np.bincount(first, minlength=size) for user in users]).T
    walks, reward, steps, predicted, values = [], [], [], [], []
    for number in range(NUM_LOGS * ROUNDS):
        user = number % NUM_USERS
        walks.append(LOGGER.decide(LOGGER.init(TREE), rng, TREE, users[user]))
        slot = int(walks[-1].item)
        reward.append(float(rng.random() < mean_reward([slot], users[user])[0]))
        steps.append(TARGET.steps(state, rng, TREE, users[user], slot))
        predicted.append(codes[TREE.words[slot] // size, user])
        values.append(TARGET.first(state, rng, TREE, users[user]) @ codes[:, user])
    exact = [softmax_walk(TREE, weights, user, temperature=0.4, floor=0.05) @ mean_reward(every, user) for user in users]
    return Logged(walks, *map(np.array, (reward, steps, predicted, values)), float(np.mean(exact)))


def part(logged, rows):
    model = {"predicted": logged.predicted[rows], "value": logged.value[rows]}
    return as_slates([logged.walks[row] for row in rows], logged.reward[rows], logged.steps[rows], **model)


@pytest.mark.parametrize("estimator", [slate_ips, slate_snips, cascade_dr])
def test_the_value_of_another_tree_policy_is_covered(logged, estimator):
    found = [delta(estimator(part(logged, rows))) for rows in np.split(np.arange(NUM_LOGS * ROUNDS), NUM_LOGS)]
    errors = np.array([each.value - logged.truth for each in found])
    assert sum(each.low <= logged.truth <= each.high for each in found) >= NUM_LOGS - 3
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(NUM_LOGS)


def test_a_coarse_model_makes_estimates_narrower(logged):
    rows = np.arange(NUM_LOGS * ROUNDS)
    assert delta(cascade_dr(part(logged, rows))).stderr < delta(slate_ips(part(logged, rows))).stderr


def test_the_estimators_are_those_of_the_items_probabilities(logged):
    rows = np.arange(500)
    weight = logged.steps[rows].prod(axis=1) / np.array([walk.propensity for walk in logged.walks[:500]])
    reward, predicted, expected = logged.reward[rows], logged.predicted[rows], logged.value[rows]
    slates = part(logged, rows)
    assert abs(value(slate_ips(slates)) - (weight * reward).mean()) < 1e-12
    assert abs(value(slate_snips(slates)) - (weight * reward).sum() / weight.sum()) < 1e-12
    assert abs(value(cascade_dr(slates)) - (weight * (reward - predicted) + expected).mean()) < 1e-12


def test_the_policy_that_drew_has_weights_of_one(logged):
    state, walks = LOGGER.init(TREE), logged.walks[:12]
    steps = [LOGGER.steps(state, np.random.default_rng(0), TREE, user_of(row % NUM_USERS), walk.item) for row, walk in enumerate(walks)]
    assert (as_slates(walks, np.ones(12), steps).ratio == 1).all()


def test_what_does_not_fit_together_is_refused(logged):
    walks, steps = logged.walks[:2], logged.steps[:2]
    for given, error, message in (
        (([], [], []), InvalidValue, "walks must be at least one"),
        ((walks, [1.0], steps), InvalidValue, r"reward f64\[2\], finite, got \[2, 3\] and \[1\]"),
        ((walks, [1.0, 0.0], steps[:, :2]), InvalidValue, r"steps must be f64\[2, 3\]"),
        ((walks, [1.0, np.nan], steps), InvalidValue, "finite"),
        ((walks, [1.0, 0.0], steps + 1), InvalidProbs, "steps must be probabilities.* in row 0"),
        (([walks[0], walks[1]._replace(steps=np.zeros(3))], [1.0, 0.0], steps), InvalidPropensity, "got 0.0 in row 1"),
    ):
        with pytest.raises(error, match=message):
            as_slates(*given)
    with pytest.raises(InvalidScores, match=r"predicted and value must both be f64\[2\]"):
        as_slates(walks, [1.0, 0.0], steps, predicted=[0.5, np.inf], value=[0.5, 0.5])
