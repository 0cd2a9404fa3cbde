import attrs
import numpy as np
import pytest

from recsdk import ByColumn, Conservative, Context, EpsilonGreedy, Interaction, LinTS, LinUCB, Uniform, WithFloor, simulate, testing
from recsdk.errors import InvalidValue
from recsdk.policies import conservative
from tests.live.shop import NativeTally
from tests.worlds import ItemWorld


@testing.parametrize(Conservative(policy=LinUCB(), baseline=EpsilonGreedy(), share=0.2, high=2.0))
def test_conforms(policy, check):
    check(policy)


@testing.parametrize(
    Conservative(policy=NativeTally(), baseline=Uniform(), share=0.3),
    skip={"weight": "NativeTally counts every round once", "learns": "half of all rewards are below 0, where nothing is promised"},
)
def test_conforms_with_a_native_policy_inside(policy, check):
    check(policy)


CONTEXT = Context(np.array([[0.0, 1.0], [1.0, 0.0]]), np.ones(2, bool), np.arange(2))


@attrs.frozen(kw_only=True)
class Traitor:
    """Shows the best item for `loyal` rounds, and then the worst."""

    loyal: float
    runs_on = ("numpy", "jax")
    learns_from = "chosen"

    def init(self, prior):
        return prior.sum() * 0.0

    def probs(self, state, rng, context):
        scores = context.features[:, 0]
        best, worst = (ByColumn().probs((), rng, context._replace(features=sign * scores[:, None])) for sign in (1.0, -1.0))
        return best if state < self.loyal else worst

    def update(self, state, interaction):
        return state + interaction.weight


WORLD = ItemWorld(chances=((0.9, 0.5, 0.0),))
BASELINE = ByColumn(column=2)  # always the item of .5


def margins(policy, num_rounds, share, seed=0, world=WORLD):
    """Returns by how much the expected rewards so far exceed what is promised, round by round, and the mass of the policy."""
    log = simulate(policy, world, num_rounds, seed=seed, engine="numpy")
    return (log.value - (1 - share) * log.mean[:, 1]).cumsum(), log.log.propensity


@pytest.mark.parametrize("loyal", [0, 500, 3000])
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_the_promise_holds_in_every_round_though_the_policy_turns_on_it(loyal, share):
    policy = Conservative(policy=Traitor(loyal=loyal), baseline=BASELINE, share=share, most=0.8)
    for seed in range(3):
        assert margins(policy, 4000, share, seed)[0].min() >= -1e-9


def test_what_was_earned_is_risked_and_may_be_lost():
    policy = Conservative(policy=Traitor(loyal=3000), baseline=BASELINE, share=0.3, most=0.8)
    kept, _ = margins(policy, 6000, 0.3)
    assert kept[2999] > 500  # the promise is kept with room to spare
    assert kept.min() >= -1e-9
    assert kept[-1] < kept[2999] - 300  # after it the policy was followed as far as that went


def test_a_mixture_that_trusts_without_proof_breaks_the_promise(monkeypatch):
    policy = Conservative(policy=Traitor(loyal=0), baseline=BASELINE, share=0.05, most=0.8)
    monkeypatch.setattr(conservative.Conservative, "_mass", lambda self, state: np.float64(0.8))
    assert margins(policy, 100, 0.05)[0].min() < -10


def test_a_better_policy_comes_to_decide_most_rounds():
    policy = Conservative(policy=ByColumn(), baseline=BASELINE, share=0.1, most=0.8)
    state = simulate(policy, WORLD, 4000, seed=0, engine="numpy").state
    context = ItemWorld.round(WORLD, WORLD.init(0), np.random.default_rng(0), np.asarray(0)).context
    np.testing.assert_allclose(policy.probs(state, None, context), [0.8, 0.2, 0], rtol=1e-12)
    np.testing.assert_allclose(policy.probs(policy.init(np.zeros(4)), None, context), [0.1, 0.9, 0], rtol=1e-12)


def test_the_bound_is_below_the_expected_surplus_in_all_rounds_at_once():
    """The surplus of fair rounds has mean 0: were the bound wrong, some of 100 walks would cross it."""
    policy = Conservative(policy=Uniform(), baseline=Uniform(), share=0.0, most=0.5, error=0.05)
    rng, crossed = np.random.default_rng(0), 0
    for _ in range(100):
        reward = rng.random(500) < 0.5
        surplus = np.where(rng.random(500) < 0.5, 1.0, -1.0) * reward  # propensities of the baseline's choice 1/2: weights 0 and 2
        sums, squares = surplus.cumsum(), (surplus**2).cumsum()
        states = (
            conservative.Safety(np.float64(total), np.float64(square), 0, (), ()) for total, square in zip(sums, squares, strict=True)
        )
        crossed += any(policy._mass(state) > 0 for state in states)
    assert crossed <= 5 + 4 * (5 * 0.95) ** 0.5


def test_one_round_by_hand():
    policy = Conservative(policy=ByColumn(column=0), baseline=WithFloor(policy=ByColumn(column=1), floor=0.2), share=0.25, high=4.0)
    state = policy.update(policy.init(np.zeros(2)), Interaction(CONTEXT, 0, 3.0, 0.6, 1.0))
    surplus = 3 / 4 * (1 - 0.75 * 0.9 / 0.6)
    np.testing.assert_allclose([state.surplus, state.squares, state.count], [surplus, surplus**2, 1], rtol=1e-12)


def test_share_of_the_policy_from_the_start_is_share():
    policy = Conservative(policy=ByColumn(column=0), baseline=LinTS(num_draws=3), share=0.25)
    state = policy.init(np.zeros(2))
    probs = policy.probs(state, np.random.default_rng(0), CONTEXT)
    drawn = LinTS(num_draws=3).probs(LinTS().init(np.zeros(2)), np.random.default_rng(0), CONTEXT)
    np.testing.assert_allclose(probs, 0.25 * np.array([0, 1.0]) + 0.75 * drawn, rtol=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"share": -0.1}, r"Conservative.share must be a finite number >= 0 and <= 1, got -0.1"),
        ({"share": 0.5, "most": 0.4}, r"Conservative.most must be in \[share, 1\) = \[0.5, 1\), got 0.4"),
        ({"most": 1.0}, r"Conservative.most must be in \[share, 1\) = \[0.1, 1\), got 1.0"),
        ({"error": 0}, r"Conservative.error must be a finite number > 0 and <= 1, got 0"),
        ({"high": 0}, r"Conservative.high must be a finite number > 0, got 0"),
    ],
)
def test_a_bad_setting_is_refused(fields, message):
    with pytest.raises(InvalidValue, match=message):
        Conservative(policy=LinUCB(), baseline=Uniform(), **fields)


def test_policies_without_an_engine_in_common_are_refused():
    @attrs.frozen
    class OnJax:
        runs_on = ("jax",)

    with pytest.raises(InvalidValue, match=r"Conservative.baseline must have an engine in common with policy, got "):
        Conservative(policy=NativeTally(), baseline=OnJax())
