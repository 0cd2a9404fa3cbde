"""Slates of three positions over four candidates: expectations over every slate, in a world whose answers are exact."""

import itertools

import numpy as np
import pytest

import recsdk
from recsdk import ope
from recsdk.environments import Cascade, LogisticWorld, PositionBias
from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ope import slates
from tests.ope.logs import log_of

K, L = 4, 3
LOGGING = np.array([0.4, 0.3, 0.2, 0.1])
TARGET = np.array([0.1, 0.2, 0.3, 0.4])
EVERY = np.array(list(itertools.permutations(range(K), L)))


def conditional(probs, shown):
    """Returns f64[L, K], the distribution of each position of a slate given what stands above."""
    rows = np.tile(probs, (L, 1))
    for position in range(1, L):
        rows[position:, shown[position - 1]] = 0
    return rows / rows.sum(1, keepdims=True)


def gathered(shown, rewards, q_hat=None):
    """Returns the slates of a log with the given rows of items and rewards."""
    logging, target = (np.concatenate([conditional(probs, row) for row in shown]) for probs in (LOGGING, TARGET))
    action = np.ravel(shown)
    mask = logging > 0
    log = log_of(action, np.ravel(rewards), logging[np.arange(len(action)), action], mask=mask)
    q_hat = None if q_hat is None else np.where(mask, np.concatenate([q_hat] * len(shown)), 0)
    return slates.gather(ope.rounds(log, target, q_hat=q_hat), np.tile(np.arange(L), len(shown)))


def chances(probs):
    return np.array([conditional(probs, row)[np.arange(L), row].prod() for row in EVERY])


def additive(shown):
    """Each position earns by its item alone."""
    return np.array([[0.5, 0.1, 0.9, 0.3], [0.2, 0.8, 0.1, 0.4], [0.7, 0.3, 0.6, 0.2]])[np.arange(L), shown]


def cascading(shown):
    """Each position earns by what stands above it too."""
    earned = additive(shown)
    return earned * np.cumprod(np.concatenate([[1], 1 - earned[:-1]]))


def entangled(shown):
    """Each position earns by all others, below it too."""
    return additive(shown) * (1 + np.sort(shown)[::-1] @ np.array([1.0, 0.5, 0.25]))


def expectation(estimator, reward, **given):
    """Averages over every slate that the logger can show; there is no noise, which no estimator's mean would see."""
    found = [ope.value(estimator(gathered(row[None], reward(row)[None], **given))) for row in EVERY]
    return float(chances(LOGGING) @ found)


def truth(reward):
    return float(chances(TARGET) @ [reward(row).sum() for row in EVERY])


RATIO = slates.slate_moments(EVERY, chances(TARGET), K).first / slates.slate_moments(EVERY, chances(LOGGING), K).first


def independent(found):
    return slates.independent_ips(found, ratio=RATIO[np.arange(L), found.action])


def pseudo_inverse(found):
    target, logging = (slates.slate_moments(EVERY, chances(probs), K) for probs in (TARGET, LOGGING))
    return slates.pseudo_inverse(found, target=target.first, logging=logging.second)


UNBIASED = {
    slates.slate_ips: (additive, cascading, entangled),
    slates.interaction_ips: (additive, cascading),
    independent: (additive,),
    pseudo_inverse: (additive,),
}


@pytest.mark.parametrize("estimator", UNBIASED, ids=lambda estimator: estimator.__name__)
@pytest.mark.parametrize("reward", [additive, cascading, entangled], ids=lambda reward: reward.__name__)
def test_each_is_unbiased_where_it_says_so_and_nowhere_else(estimator, reward):
    found = expectation(estimator, reward)
    if reward in UNBIASED[estimator]:
        assert found == pytest.approx(truth(reward), rel=1e-10)
    else:
        assert abs(found / truth(reward) - 1) > 0.002


@pytest.mark.parametrize("seed", range(3))
def test_cascade_dr_is_unbiased_whatever_its_model_says(seed):
    q_hat = np.random.default_rng(seed).normal(scale=3, size=(L, K))
    for reward in (additive, cascading):
        assert expectation(slates.cascade_dr, reward, q_hat=q_hat) == pytest.approx(truth(reward), rel=1e-10)


def test_cascade_dr_with_an_empty_model_is_rips_and_with_a_true_one_has_no_noise_at_the_top():
    rows = EVERY[::5]
    rewards = [cascading(row) for row in rows]
    empty = slates.cascade_dr(gathered(rows, rewards, q_hat=np.zeros((L, K))))
    assert ope.value(empty) == pytest.approx(ope.value(slates.interaction_ips(gathered(rows, rewards))), rel=1e-12)
    # Of an additive world that pays at the bottom only by item, a model that knows it leaves no variance but that of the weights above.
    found = [ope.value(slates.interaction_ips(gathered(row[None], additive(row)[None]))) for row in EVERY]
    table = np.array([[0.5, 0.1, 0.9, 0.3], [0.2, 0.8, 0.1, 0.4], [0.7, 0.3, 0.6, 0.2]])
    better = [ope.value(slates.cascade_dr(gathered(row[None], additive(row)[None], q_hat=table))) for row in EVERY]
    chance = chances(LOGGING)
    assert chance @ np.square(better) - (chance @ better) ** 2 < 0.5 * (chance @ np.square(found) - (chance @ found) ** 2)


def test_self_normalised_ones_are_the_mean_of_the_logger_itself():
    rng = np.random.default_rng(0)
    rows, rewards = rng.permuted(np.tile(np.arange(K), (50, 1)), axis=1)[:, :L], rng.random((50, L))
    ours = gathered(rows, rewards)._replace(ratio=np.ones((50, L)))
    for estimator in (slates.slate_snips, slates.interaction_snips, slates.slate_ips, slates.interaction_ips):
        assert ope.value(estimator(ours)) == pytest.approx(rewards.sum(1).mean(), rel=1e-12)


def test_self_normalised_ones_move_along_when_rewards_shift():
    rng = np.random.default_rng(0)
    rows, rewards = rng.permuted(np.tile(np.arange(K), (50, 1)), axis=1)[:, :L], rng.random((50, L))
    for estimator in (slates.slate_snips, slates.interaction_snips):
        before, after = (ope.value(estimator(gathered(rows, shifted))) for shifted in (rewards, rewards + 10))
        assert after == pytest.approx(before + 10 * L, rel=1e-12)


def test_plackett_luce_lists_every_slate_with_its_chance():
    shown, chance = slates.plackett_luce(LOGGING, L)
    assert np.array_equal(shown, EVERY)
    assert chance == pytest.approx(chances(LOGGING), rel=1e-12)
    many = slates.plackett_luce(np.stack([LOGGING, TARGET]), L)[1]
    assert many == pytest.approx(np.stack([chances(LOGGING), chances(TARGET)]), rel=1e-12)
    assert slates.plackett_luce(np.array([0.0, 0.5, 0.5]), 2)[1] == pytest.approx([0, 0, 0, 0.5, 0, 0.5])


def test_moments_of_several_contexts_are_those_of_each():
    shown, chance = slates.plackett_luce(np.stack([LOGGING, TARGET]), L)
    together = slates.slate_moments(shown, chance, K)
    for index in range(2):
        alone = slates.slate_moments(shown, chance[index], K)
        assert together.first[index] == pytest.approx(alone.first, rel=1e-12)
        assert together.second[index] == pytest.approx(alone.second, rel=1e-12)
    assert together.first.sum(-1) == pytest.approx(np.ones((2, L)))


def contexts(size, seed=0):
    rng = np.random.default_rng(seed)
    return [recsdk.Context(rng.normal(size=(K, 2)), np.ones(K, np.bool_), np.arange(K)) for _ in range(size)]


def test_every_slate_of_a_uniform_policy_is_alike_likely():
    shown, chance = slates.every_slate(recsdk.Uniform(), None, contexts(1)[0], L)
    assert np.array_equal(shown, EVERY)
    assert chance == pytest.approx(np.full(24, 1 / 24), rel=1e-12)


@pytest.mark.parametrize("policy", [recsdk.EpsilonGreedy(epsilon=0.5), recsdk.WithFloor(policy=recsdk.ByColumn(column=1), floor=0.3)])
def test_every_slate_is_as_likely_as_it_is_drawn(policy):
    (context,), rng, state = contexts(1), np.random.default_rng(0), policy.init(np.array([1.0, -1.0]))
    shown, chance = slates.every_slate(policy, state, context, 2)
    drawn = [tuple(recsdk.decide_slate(policy, state, rng, context, 2).action) for _ in range(4000)]
    counts = np.array([drawn.count(tuple(row)) for row in shown.tolist()])
    assert chance.sum() == pytest.approx(1, rel=1e-12)
    assert (abs(counts - 4000 * chance) <= 4.5 * np.sqrt(4000 * chance * (1 - chance)) + 1e-9).all()


def test_no_slate_has_padding_and_one_of_too_few_candidates_cannot_be():
    context = contexts(1)[0]._replace(mask=np.array([True, True, False, True]))
    shown, chance = slates.every_slate(recsdk.Uniform(), None, context, 2)
    assert chance[(shown == 2).any(1)].tolist() == [0.0] * 6
    assert chance.sum() == pytest.approx(1, rel=1e-12)
    few = context._replace(mask=np.array([True, False, False, False]))
    assert slates.every_slate(recsdk.Uniform(), None, few, 2)[1].sum() == 0.0


def test_a_policy_that_draws_numbers_has_no_list_of_slates():
    policy = recsdk.LinTS()
    with pytest.raises(InvalidValue, match="policy must draw no numbers of its own"):
        slates.every_slate(policy, policy.init(np.zeros(2)), contexts(1)[0], 2)


def test_where_positions_do_not_work_on_one_another_all_four_agree_with_the_truth():
    world, other = LogisticWorld(num_candidates=K, dim=2), recsdk.WithFloor(policy=recsdk.ByColumn(column=0), floor=0.4)
    settings = {"size": 2, "attention": PositionBias(power=0.0), "seed": 1, "engine": "numpy"}
    played, lived = (recsdk.simulate_slates(policy, world, 1500, **settings) for policy in (recsdk.Uniform(), other))
    tops = [recsdk.Context(*(column[row] for column in played.log.context)) for row in range(0, 3000, 2)]
    shown = slates.every_slate(other, None, tops[0], 2)[0]
    target = slates.slate_moments(shown, np.stack([slates.every_slate(other, None, top, 2)[1] for top in tops]), K).first
    random = slates.slate_moments(*slates.plackett_luce(np.full(K, 1 / K), 2), K)
    found = slates.gather(ope.rounds(played.log, recsdk.replay(other, played.log, engine="numpy").decision.probs), played.position)
    rows, own = np.arange(1500)[:, None], lived.log.reward.reshape(-1, 2).sum(1)
    answers = [
        slates.slate_ips(found),
        slates.interaction_ips(found),
        slates.independent_ips(found, ratio=target[rows, [0, 1], found.action] / random.first[[0, 1], found.action]),
        slates.pseudo_inverse(found, target=target, logging=random.second),
    ]
    for answer in map(ope.delta, answers):
        assert abs(answer.value - own.mean()) < 4 * np.hypot(answer.stderr, own.std() / np.sqrt(1500))
    widths = [ope.delta(answer).stderr for answer in answers]
    assert widths[2] < widths[1] < widths[0]


@pytest.mark.parametrize("attention", [Cascade(), PositionBias(power=1.0)], ids=["cascade", "position bias"])
def test_what_decide_slate_logged_answers_for_another_policy(attention):
    # Slates of the real loop, by a random policy; and the truth, by letting the other play in the same world.
    world, other = LogisticWorld(num_candidates=5, dim=3), recsdk.WithFloor(policy=recsdk.ByColumn(column=0), floor=0.4)
    played, lived = (
        recsdk.simulate_slates(policy, world, 4000, size=2, attention=attention, seed=1, engine="numpy")
        for policy in (recsdk.Uniform(), other)
    )
    target = np.asarray(recsdk.replay(other, played.log, learn_from="none", engine="numpy").decision.probs)
    found = slates.gather(ope.rounds(played.log, target, q_hat=np.zeros(target.shape)), played.position)
    own = lived.log.reward.reshape(-1, 2).sum(1)
    for estimator in (slates.slate_ips, slates.slate_snips, slates.interaction_ips, slates.interaction_snips, slates.cascade_dr):
        answer = ope.delta(estimator(found))
        assert abs(answer.value - own.mean()) < 4 * np.hypot(answer.stderr, own.std() / np.sqrt(len(own)))
    assert ope.delta(slates.interaction_ips(found)).stderr < ope.delta(slates.slate_ips(found)).stderr
    logged = played.log.reward.reshape(-1, 2).sum(1)
    assert abs(logged.mean() - own.mean()) > 8 * own.std() / np.sqrt(len(own))  # so that the test can tell the two apart


def test_a_slate_stands_for_as_many_rounds_as_its_top_row():
    log = log_of([0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1], weight=[1, 0, 3, 0])
    found = slates.gather(ope.rounds(log, log.propensity), np.array([0, 1, 0, 1]))
    assert found.weight.tolist() == [1, 3]
    assert ope.value(slates.slate_ips(found)) == 1.0


def test_slates_of_unequal_length_are_padded():
    log = log_of([0, 1, 2, 2], [1, 2, 4, 8], [0.5, 0.5, 0.5, 0.25])
    found = slates.gather(ope.rounds(log, np.array([0.25, 1, 0.5, 0.5])), np.array([0, 1, 2, 0]))
    assert found.action.tolist() == [[0, 1, 2], [2, 0, 0]]
    assert found.ratio.tolist() == [[0.5, 2, 1], [2, 1, 1]]
    assert ope.value(slates.slate_ips(found)) == (1 * 7 + 2 * 8) / 2
    assert ope.value(slates.interaction_ips(found)) == (0.5 + 1 * 2 + 1 * 4 + 2 * 8) / 2


@pytest.mark.parametrize("position", [[1, 0, 1, 2], [0, 2, 0, 1], [0, 0, 0, 2], [0, 1, 1, 2]])
def test_positions_that_do_not_run_from_the_top_are_refused(position):
    log = log_of([0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1])
    with pytest.raises(InvalidLog, match="position must be 0 or one more than in the row before, got"):
        slates.gather(ope.rounds(log, log.propensity), np.array(position))


def test_what_is_missing_or_misshapen_is_named():
    found = gathered(EVERY[:2], [[1, 0, 0], [0, 1, 0]])
    with pytest.raises(InvalidValue, match="cascade_dr needs q_hat"):
        slates.cascade_dr(found)
    with pytest.raises(InvalidValue, match=r"ratio must be float64\[2, 3\]"):
        slates.independent_ips(found, ratio=np.ones((2, 2)))
    with pytest.raises(InvalidValue, match=r"logging float64\[..., 3 K, 3 K\]"):
        slates.pseudo_inverse(found, target=np.ones((3, 4)), logging=np.ones((12, 11)))
    with pytest.raises(InvalidValue, match=r"size must be in \[1, 30\] with at most 20000 slates"):
        slates.plackett_luce(np.full(30, 1 / 30), 4)
    log = log_of([0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1])
    rounds = ope.rounds(log, log.propensity)
    with pytest.raises(InvalidLog, match=r"position must be int64\[4\], got float64\[4\]"):
        slates.gather(rounds, np.zeros(4))
