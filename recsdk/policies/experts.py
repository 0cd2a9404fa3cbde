"""Masters over policies: they learn which of several policies to follow."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.checks import number
from recsdk.policies import _counter, _inner, _losses

NEWTON_STEPS = 8
"""Measured: 6 leave an error below 1e-13 for up to a million policies, whatever their losses."""


class Experts(NamedTuple):
    """What a master knows.

    Attributes:
        total: f64[M], sum of each policy's estimated losses.
        rounds: f64[], rounds learned.
        count: i64[], the same as a number of updates.
        states: of the policies.
    """

    total: Array
    rounds: Array
    count: Array
    states: tuple[Any, ...]


@attrs.frozen(kw_only=True)
class EXP4:
    """Follows several policies in proportion to exp(-eta_t L_i), and so is nearly as good as the best of them.

    L_i sums the estimated losses p_i(a) / propensity * (high - reward) / (high - low), where p_i(a) is how likely policy i would have made
    the logged choice a: every round tells something of every policy, whichever it was drawn from. With M policies, K candidates and
    eta_t = sqrt(ln M / (min(K, M) t)) the expected regret against the advice of the best policy is at most 2 sqrt(T min(K, M) ln M) at
    any T. All policies learn from every interaction. Auer's uniform share gamma is `WithFloor`.

    In `update` a policy is asked again what it would have done, so that it needs all candidates, and should be told of rewards soon; one
    that draws, as `LinTS`, is then asked with other random numbers, which leaves the estimate without bias.

    Attributes:
        policies: to choose from.
        low: the least reward; those outside [low, high] are learned as they are, beyond the guarantee.
        high: the largest reward.
        rate: multiplies eta_t.

    References:
        Auer, Cesa-Bianchi, Freund, Schapire, The Nonstochastic Multiarmed Bandit Problem, SIAM Journal on Computing 2002, section 7.
        Bubeck, Cesa-Bianchi, Regret Analysis of Stochastic and Nonstochastic Multi-armed Bandit Problems, 2012, theorem 4.2: this form.
        McMahan, Streeter, Tighter Bounds for Multi-Armed Bandits with Expert Advice, COLT 2009: min(K, M) for K.
    """

    policies: tuple[Policy[Any], ...] = attrs.field(validator=_inner.together)
    low: float = attrs.field(default=0.0, validator=number())
    high: float = attrs.field(default=1.0, validator=[number(), _losses.above_low])
    rate: float = attrs.field(default=1.0, validator=number(above=0))

    @property
    def runs_on(self) -> tuple[str, ...]:
        """Where all of the policies run."""
        return _inner.runs_on(self.policies)

    @property
    def learns_from(self) -> str:
        """All candidates: what each policy would have done depends on them."""
        return "all"

    @property
    def parts(self) -> tuple[Policy[Any], ...]:
        """See `recsdk.base.Composite`."""
        return self.policies

    def map_parts(self, function: _inner.Function, state: Experts) -> Experts:
        """See `recsdk.base.Composite`."""
        return state._replace(states=_inner.map_parts(self.policies, function, state.states))

    def init(self, prior: Array) -> Experts:
        """See `recsdk.base.Policy`."""
        return start(self.policies, prior)

    def probs(self, state: Experts, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        xp = state.total.__array_namespace__()
        num = len(self.policies)
        spread = xp.minimum(context.mask.astype(xp.float64).sum(), 1.0 * num)
        rate = self.rate * xp.sqrt(math.log(num) / (spread * (state.rounds + 1)))
        shares = explore.softmax(-rate * state.total, xp.ones(num, dtype=xp.bool), 1.0)
        return shares.dot(xp.stack(_inner.probs(self.policies, state.states, rng, context)))

    def update(self, state: Experts, interaction: Interaction) -> Experts:
        """See `recsdk.base.Policy`."""
        return judge(self.policies, state, interaction, _losses.weighted(self, interaction))


@attrs.frozen(kw_only=True)
class TsallisINF:
    """Follows several policies in proportion to 4 / (eta_t (L_i - x))^2, which finds the best one sooner than `EXP4` and doubts it longer.

    The losses L_i are those of `EXP4`, and all that is said there of what the policies are asked holds here; x makes the shares sum to 1.
    With eta_t = 2 / sqrt(t) and M policies the expected regret against the advice of the best policy is at most 4 sqrt(M T) + 1 at any T,
    whatever makes the rewards, and only logarithmic in T where one policy is the best by a margin throughout.

    It takes the place of CORRAL (Agarwal, Luo, Neyshabur, Schapire, COLT 2017). There a policy learns only from the rounds that it was
    given, and a log-barrier with rising rates keeps it from starving; here all policies learn from every interaction and none starves.

    Attributes:
        policies: to choose from.
        low: the least reward; those outside [low, high] are learned as they are, beyond the guarantee.
        high: the largest reward.
        rate: multiplies eta_t.

    References:
        Zimmert, Seldin, Tsallis-INF: An Optimal Algorithm for Stochastic and Adversarial Bandits, JMLR 2021, theorem 1 and algorithm 2.
    """

    policies: tuple[Policy[Any], ...] = attrs.field(validator=_inner.together)
    low: float = attrs.field(default=0.0, validator=number())
    high: float = attrs.field(default=1.0, validator=[number(), _losses.above_low])
    rate: float = attrs.field(default=1.0, validator=number(above=0))

    @property
    def runs_on(self) -> tuple[str, ...]:
        """Where all of the policies run."""
        return _inner.runs_on(self.policies)

    @property
    def learns_from(self) -> str:
        """All candidates: what each policy would have done depends on them."""
        return "all"

    @property
    def parts(self) -> tuple[Policy[Any], ...]:
        """See `recsdk.base.Composite`."""
        return self.policies

    def map_parts(self, function: _inner.Function, state: Experts) -> Experts:
        """See `recsdk.base.Composite`."""
        return state._replace(states=_inner.map_parts(self.policies, function, state.states))

    def init(self, prior: Array) -> Experts:
        """See `recsdk.base.Policy`."""
        return start(self.policies, prior)

    def probs(self, state: Experts, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        xp = state.total.__array_namespace__()
        shares = tsallis(state.total, 2 * self.rate / xp.sqrt(state.rounds + 1))
        return shares.dot(xp.stack(_inner.probs(self.policies, state.states, rng, context)))

    def update(self, state: Experts, interaction: Interaction) -> Experts:
        """See `recsdk.base.Policy`."""
        return judge(self.policies, state, interaction, _losses.weighted(self, interaction))


def start(policies: tuple[Policy[Any], ...], prior: Array) -> Experts:
    """Returns what a master knows before any interaction."""
    xp = prior.__array_namespace__()
    nothing = xp.zeros((), dtype=xp.float64)
    return Experts(xp.zeros(len(policies), dtype=xp.float64), nothing, xp.zeros((), dtype=xp.int64), _inner.init(policies, prior))


def judge(policies: tuple[Policy[Any], ...], state: Experts, interaction: Interaction, loss: Array) -> Experts:
    """Charges every policy for its part in an interaction, `loss` times its probability of the choice, and lets it learn."""
    xp = state.total.__array_namespace__()
    advice = xp.stack(_inner.probs(policies, state.states, _counter.Counted(state.count), interaction.context))
    return Experts(
        state.total + loss * advice[:, interaction.action],
        state.rounds + interaction.weight,
        _counter.next_round(state.count, interaction.weight),
        _inner.update(policies, state.states, interaction),
    )


def tsallis(losses: Array, rate: Array) -> Array:
    """Returns f64[M], the distribution that minimises losses.w - (4 / rate) sum_i sqrt(w_i), which is 4 / (rate (losses - x))^2.

    Newton's steps for x start where the sum S is at least 1 and never pass its root, so that they need no safeguard. They are those of
    S^(-1/2), which is concave and nearly linear.

    References:
        More, Sorensen, Computing a Trust Region Step, SIAM Journal on Scientific and Statistical Computing 1983: the same equation.
    """
    distance = rate * (losses - losses.min())
    shift = distance.min() + 2.0
    for _ in range(NEWTON_STEPS):
        gaps = distance + shift
        total = (4 / gaps**2).sum()
        shift = shift + total * (total**0.5 - 1) / (4 / gaps**3).sum()
    shares = 4 / (distance + shift) ** 2
    return shares / shares.sum()
