"""The draw of a slate by several arms: what is logged is the probability of the whole procedure."""

import itertools

import attrs
import numpy as np
import pytest

import recsdk
from recsdk.base import Context, decide_slate
from recsdk.errors import InvalidAnswer, InvalidProbs
from recsdk.live import marks
from recsdk.live.drawing import Arm, Places, draw
from recsdk.live.marks import Marks

K, SIZE = 4, 3


@attrs.frozen(kw_only=True)
class Weighted(recsdk.Uniform):
    """Shows candidates in proportion to fixed weights."""

    weights: tuple[float, ...] = (1.0,) * K

    def probs(self, state, rng, context):
        weights = np.where(context.mask, self.weights, 0.0)
        return weights / weights.sum()


ARMS = [Arm("policy", 0.7, Weighted(weights=(8.0, 4.0, 2.0, 1.0)), ()), Arm("holdout", 0.3, Weighted(weights=(1.0, 1.0, 5.0, 9.0)), ())]
CONTEXT = Context(np.zeros((K, 1)), np.ones(K, bool), np.arange(K))
PLACES = [Places(), Places({1: 2}), Places({0: 1}, {1: [0, 3]}), Places({2: 0}, {0: [0, 1], 1: [1]})]


def probability(arm, slate, places):
    """Returns how probable an arm makes a slate, by the definition of the procedure."""
    total, shown = 1.0, []
    for position, item in enumerate(slate):
        if position in places.pinned:
            total *= item == places.pinned[position]
        else:
            free = [k for k in range(K) if k not in shown and k not in places.pinned.values()]
            free = [k for k in free if k in places.promoted.get(position, free)] or free
            weights = np.array([arm.policy.weights[k] if k in free else 0.0 for k in range(K)])
            total *= weights[item] / weights.sum()
        shown.append(item)
    return total


@pytest.mark.parametrize("places", PLACES)
def test_the_probabilities_of_a_slate_multiply_to_that_of_the_whole_procedure(places):
    rng, seen = np.random.default_rng(0), set()
    for _ in range(500):
        drawn = draw(ARMS, rng, CONTEXT, SIZE, places)
        slate = tuple(drawn.decision.action.tolist())
        wanted = sum(arm.share * probability(arm, slate, places) for arm in ARMS)
        assert drawn.decision.propensity.prod() == pytest.approx(wanted, rel=1e-12)
        assert drawn.decision.propensity[list(places.pinned)].tolist() == [1.0] * len(places.pinned)
        seen.add(slate)
    assert len(seen) == {0: 24, 1: 6, 2: 4, 3: 2}[PLACES.index(places)]


def test_no_probability_of_a_mixture_is_above_one():
    rng = np.random.default_rng(0)
    for _ in range(500):
        shares, weights = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(K), 3)
        arms = [Arm(str(k), shares[k], Weighted(weights=tuple(weights[k])), ()) for k in range(3)]
        assert draw(arms, rng, CONTEXT, K, Places()).decision.probs.max() <= 1  # the last item is certain


@pytest.mark.parametrize("places", PLACES)
def test_slates_and_arms_are_drawn_as_often_as_the_procedure_says(places):
    rng, number = np.random.default_rng(2), 1_500
    counts = dict.fromkeys(itertools.product(itertools.permutations(range(K), SIZE), ("policy", "holdout")), 0)
    for _ in range(number):
        drawn = draw(ARMS, rng, CONTEXT, SIZE, places)
        counts[tuple(drawn.decision.action.tolist()), drawn.arm.name] += 1
    for (slate, name), count in counts.items():
        arm = next(arm for arm in ARMS if arm.name == name)
        p = arm.share * probability(arm, slate, places)
        assert abs(count - number * p) <= 4 * np.sqrt(number * p * (1 - p)), (slate, name)


def test_one_arm_and_nothing_placed_draws_what_decide_slate_draws():
    policy = recsdk.WithFloor(policy=recsdk.LinTS())
    state, context = policy.init(np.zeros(2)), Context(np.eye(4, 2), np.ones(4, bool), np.arange(4))
    for seed in range(9):
        one = decide_slate(policy, state, np.random.default_rng(seed), context, 3)
        other = draw([Arm("policy", 1.0, policy, state)], np.random.default_rng(seed), context, 3, Places()).decision
        for a, b in zip(one, other, strict=True):
            assert a.tobytes() == b.tobytes()
            assert a.dtype == b.dtype


@attrs.frozen(kw_only=True)
class ShowsAgain(recsdk.Uniform):
    def probs(self, state, rng, context):
        return np.full(K, 1 / K)


@attrs.frozen(kw_only=True)
class Writes(recsdk.Uniform):
    def probs(self, state, rng, context):
        context.mask[:] = True
        return np.full(K, 1 / K)


@pytest.mark.parametrize(("policy", "error"), [(ShowsAgain(), InvalidProbs), (Writes(), InvalidAnswer)])
def test_an_arm_that_breaks_the_contract_is_refused(policy, error):
    with pytest.raises(error):
        draw([ARMS[0], Arm("holdout", 0.3, policy, ())], np.random.default_rng(0), CONTEXT, SIZE, Places())


@pytest.mark.parametrize(
    "told",
    [
        Marks(),
        Marks(arm="holdout", share=0.1, by="user"),
        Marks(pinned=(0, 2), promoted=((1, (3, 4)),)),
        Marks("application", agreement=(0.5,)),
    ],
)
def test_marks_come_back_as_they_were_written(told):
    record = recsdk.ledger.DecisionRecord("d", 0.0, "{}", "{}", 0, *(np.zeros(0),) * 4, marks=told.dumps())
    assert marks.read(record) == told
