"""Weights of categories and embeddings in the place of weights of items."""

import itertools

import numpy as np
import pytest

from recsdk import ope
from recsdk.errors import InvalidProbs, InvalidValue
from tests.ope.logs import log_of

CATEGORY = np.array([0, 0, 1, 1])
LOGGING = np.array([[0.1, 0.4, 0.2, 0.3], [0.3, 0.1, 0.5, 0.1]])
TARGET = np.array([[0.5, 0.1, 0.1, 0.3], [0.2, 0.5, 0.1, 0.2]])
BY_CATEGORY = np.array([[0.2, 0.8], [0.6, 0.3]])  # of each context and category


def moments(estimator, means):
    """Returns mean and variance over contexts 0 and 1, alike likely, and every action, of a reward without noise."""
    found, chance = [], []
    for context, action in itertools.product(range(2), range(4)):
        log = log_of([action], [means[context, action]], [LOGGING[context, action]], num_candidates=4)
        found.append(ope.value(estimator(ope.rounds(log, TARGET[[context]]), context)))
        chance.append(LOGGING[context, action] / 2)
    mean = float(np.dot(chance, found))
    return mean, float(np.dot(chance, np.square(found))) - mean**2


def mips(rounds, context):
    return ope.mips(rounds, logging=LOGGING[[context]], likelihood=ope.same_category(rounds, CATEGORY))


def test_it_is_unbiased_where_the_category_says_all_and_of_less_variance_than_ips():
    means = BY_CATEGORY[:, CATEGORY]
    truth = (TARGET * means).sum() / 2
    ours, theirs = moments(mips, means), moments(lambda rounds, _: ope.ips(rounds), means)
    assert (ours[0], theirs[0]) == pytest.approx((truth, truth), rel=1e-12)
    assert ours[1] < 0.5 * theirs[1]


def test_it_has_less_variance_than_ips_by_as_much_as_weights_vary_within_a_category():
    # Saito and Joachims 2022: V[IPS] - V[MIPS] is the mean over contexts and categories of r^2 Var(rho | context, category).
    means, gap = BY_CATEGORY[:, CATEGORY], 0.0
    for context, category in itertools.product(range(2), range(2)):
        own = category == CATEGORY
        chance, ratio = LOGGING[context][own], (TARGET / LOGGING)[context][own]
        within = (chance * ratio**2).sum() / chance.sum() - ((chance * ratio).sum() / chance.sum()) ** 2
        gap += chance.sum() * BY_CATEGORY[context, category] ** 2 * within / 2
    ours, theirs = moments(mips, means), moments(lambda rounds, _: ope.ips(rounds), means)
    assert theirs[1] - ours[1] == pytest.approx(gap, rel=1e-12)


def test_its_bias_is_what_items_of_a_category_differ_by():
    # Saito and Joachims 2022: within a category the logger's mix of items stands for the target's.
    means = BY_CATEGORY[:, CATEGORY] + np.array([0.0, 0.3, 0.0, -0.2])
    mixed = 0.0
    for context, category in itertools.product(range(2), range(2)):
        own = category == CATEGORY
        logged = (LOGGING[context] * means[context])[own].sum() / LOGGING[context][own].sum()
        mixed += TARGET[context][own].sum() * logged / 2
    assert moments(mips, means)[0] == pytest.approx(mixed, rel=1e-12)
    assert abs(mixed - (TARGET * means).sum() / 2) > 0.01


def test_an_embedding_by_chance_is_unbiased_too():
    # Each item shows one of two pictures; the reward is of the picture.
    shows = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.6, 0.4]])  # p(e | a)
    earns, total = np.array([0.3, 0.9]), 0.0
    for action, picture in itertools.product(range(4), range(2)):
        log = log_of([action], [earns[picture]], [LOGGING[0, action]], num_candidates=4)
        found = ope.mips(ope.rounds(log, TARGET[[0]]), logging=LOGGING[[0]], likelihood=shows[None, :, picture])
        total += LOGGING[0, action] * shows[action, picture] * ope.value(found)
    assert total == pytest.approx((TARGET[0] @ shows) @ earns, rel=1e-12)


def test_where_every_item_is_its_own_category_it_is_ips():
    log = log_of([0, 3, 1], [1, 2, 4], LOGGING[0, [0, 3, 1]], num_candidates=4)
    rounds = ope.rounds(log, TARGET[[0, 0, 0]])
    found = ope.mips(rounds, logging=LOGGING[[0, 0, 0]], likelihood=ope.same_category(rounds, np.arange(4)))
    assert ope.delta(found) == pytest.approx(ope.delta(ope.ips(rounds)), rel=1e-12)


def test_a_round_counts_as_often_as_it_stands_for():
    log = log_of([0, 3, 1], [1, 2, 4], LOGGING[0, [0, 3, 1]], num_candidates=4, weight=[2, 1, 0])
    rounds = ope.rounds(log, TARGET[[0, 0, 0]])
    found = ope.mips(rounds, logging=LOGGING[[0, 0, 0]], likelihood=ope.same_category(rounds, CATEGORY))
    assert ope.value(found) == pytest.approx((2 * (0.6 / 0.5) * 1 + (0.4 / 0.5) * 2) / 3, rel=1e-12)


def test_an_item_that_was_never_logged_is_covered_by_its_like():
    rng = np.random.default_rng(0)
    logging, target = np.array([0.5, 0.0, 0.5, 0.0]), np.array([0.0, 0.7, 0.0, 0.3])
    action = rng.choice([0, 2], size=4000)
    log = log_of(action, rng.random(4000) < np.array([0.2, 0.2, 0.8, 0.8])[action], np.full(4000, 0.5), num_candidates=4)
    rounds = ope.rounds(log, np.tile(target, (4000, 1)))
    found = ope.delta(ope.mips(rounds, logging=np.tile(logging, (4000, 1)), likelihood=ope.same_category(rounds, CATEGORY)))
    assert abs(found.value - (0.7 * 0.2 + 0.3 * 0.8)) < 4 * found.stderr
    assert ope.value(ope.ips(rounds)) == 0.0


def test_categories_are_of_catalogue_slots_and_padding_has_none():
    log = log_of([1, 0], [1, 1], [0.5, 1], mask=np.array([[True, True], [True, False]]), item=[[3, 2], [1, -1]])
    rounds = ope.rounds(log, np.array([[0.5, 0.5], [1, 0]]))
    assert ope.same_category(rounds, CATEGORY).tolist() == [[1, 1], [1, 0]]
    with pytest.raises(InvalidValue, match=r"category must have one entry for each of 4 slots, got \[3\]"):
        ope.same_category(rounds, CATEGORY[:3])


def test_what_does_not_fit_the_log_is_refused():
    log = log_of([0, 3], [1, 2], LOGGING[0, [0, 3]], num_candidates=4)
    rounds, logging, ones = ope.rounds(log, TARGET[[0, 0]]), LOGGING[[0, 0]], np.ones((2, 4))
    with pytest.raises(InvalidProbs, match=r"logging\[1\] must give the logged action its propensity 0.3, got 0.1"):
        ope.mips(rounds, logging=LOGGING[[0, 1]], likelihood=ones)
    with pytest.raises(InvalidProbs, match=r"logging's sum\[0\] must be 1"):
        ope.mips(rounds, logging=2 * logging, likelihood=ones)
    with pytest.raises(InvalidValue, match=r"likelihood must be float64\[2, 4\], finite and >= 0"):
        ope.mips(rounds, logging=logging, likelihood=-ones)
    with pytest.raises(InvalidValue, match=r"likelihood\[1\] must be > 0 for the logged action, got 0.0"):
        ope.mips(rounds, logging=logging, likelihood=np.where(np.arange(4) == 3, 0, ones))
    with pytest.raises(InvalidValue, match="mips needs the target's whole distribution"):
        ope.mips(ope.rounds(log, TARGET[0, [0, 3]]), logging=logging, likelihood=ones)
