"""Policies that choose among policies (EXP4, TsallisINF, Mixture), and EXP3, which the first two generalise.

EXP3, EXP4 and TsallisINF are adversarial bandits: their guarantees assume nothing about how rewards come about. All three learn from
importance-weighted losses, the distance of a reward from the top of its range, divided by the logged propensity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import attrs

from recsdk import arrays, explore
from recsdk.base import Array, Context, Forgettable, Interaction, Mergeable, Policy, Rng
from recsdk.checks import integer, number, require_number
from recsdk.errors import InvalidValue
from recsdk.policies import _counter, _inner

NEWTON_STEPS = 8
"""Measured: 6 leave an error below 1e-13 for up to a million policies, whatever their losses."""


def _above_low(instance: Any, field: Any, value: float) -> None:
    if not value > instance.low:
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be above low = {instance.low}, got {value!r}.")


def _weighted_loss(config: EXP3 | EXP4 | TsallisINF, interaction: Interaction) -> Array:
    """Returns weight * loss / propensity, f64[], where the loss is the reward's distance from the top of its range, in [0, 1]."""
    _, _, reward, propensity, weight = interaction
    return weight * (config.high - reward) / ((config.high - config.low) * propensity)


class Losses(NamedTuple):
    """State of `EXP3`.

    Attributes:
        total: f64[num_items], sum of each item's estimated losses.
        rounds: f64[], sum of the weights learned.
    """

    total: Array
    rounds: Array


@attrs.frozen(kw_only=True)
class EXP3:
    """Keeps one weight per item, and competes with the best single item even if an adversary chooses the rewards.

    p(a) is proportional to exp(-eta_t L(a)), where L(a) sums the losses (high - reward) / (high - low) of the rounds that showed a, each
    divided by its logged propensity: an unbiased estimate, whichever policy chose. With eta_t = sqrt(ln K / (K t)), K candidates and t
    rounds, the expected regret is at most 2 sqrt(T K ln K) at any T, without a horizon to set. Auer's uniform share gamma is `WithFloor`.

    It uses no features. The guarantee is for a fixed set of items: one that enters later is tried until its losses have caught up. Rewards
    outside [low, high] are learned unchanged, and the guarantee does not cover them.

    Attributes:
        num_items: length of the memory; catalogue slots are taken modulo it, so with more slots than that some items share a weight.
        low: the least reward.
        high: the largest reward.
        rate: multiplier of eta_t.

    References:
        Auer, Cesa-Bianchi, Freund, Schapire, The Nonstochastic Multiarmed Bandit Problem, SIAM Journal on Computing 2002.
        Bubeck, Cesa-Bianchi, Regret Analysis of Stochastic and Nonstochastic Multi-armed Bandit Problems, 2012, theorem 3.1: this form.

    Example:
        >>> import numpy as np
        >>> from recsdk import EXP3, Context, Interaction, learn
        >>> policy, context = EXP3(num_items=2), Context(np.ones((2, 1)), np.ones(2, bool), np.arange(2))
        >>> learn(policy, policy.init(np.zeros(1)), Interaction(context, 0, 0.0, 0.5, 1.0)).total
        array([2., 0.])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    num_items: int = attrs.field(default=1000, validator=integer(at_least=1))
    low: float = attrs.field(default=0.0, validator=number())
    high: float = attrs.field(default=1.0, validator=[number(), _above_low])
    rate: float = attrs.field(default=1.0, validator=number(above=0))

    def init(self, prior: Array) -> Losses:
        xp = prior.__array_namespace__()
        return Losses(xp.zeros(self.num_items, dtype=xp.float64), xp.zeros((), dtype=xp.float64))

    def probs(self, state: Losses, rng: Rng, context: Context) -> Array:
        del rng
        xp = state.total.__array_namespace__()
        num = context.mask.astype(xp.float64).sum()
        rate = self.rate * xp.sqrt(xp.log(num) / (num * (state.rounds + 1)))
        return explore.softmax(-rate * state.total[context.item % self.num_items], context.mask, 1.0)

    def update(self, state: Losses, interaction: Interaction) -> Losses:
        place = interaction.context.item[interaction.action] % self.num_items
        total = state.total[place] + _weighted_loss(self, interaction)
        return Losses(arrays.put(state.total, place, total), state.rounds + interaction.weight)


class Experts(NamedTuple):
    """State of `EXP4` and `TsallisINF`.

    Attributes:
        total: f64[M], sum of each policy's estimated losses.
        rounds: f64[], sum of the weights learned.
        count: i64[], number of updates.
        states: states of the policies, in their order.
    """

    total: Array
    rounds: Array
    count: Array
    states: tuple[Any, ...]


def _start(master: Any, prior: Array) -> Experts:
    xp = prior.__array_namespace__()
    num, nothing = len(master.policies), xp.zeros((), dtype=xp.float64)
    return Experts(xp.zeros(num, dtype=xp.float64), nothing, xp.zeros((), dtype=xp.int64), _inner.init(master.policies, prior))


def _judge(master: Any, state: Experts, interaction: Interaction) -> Experts:
    """Charges every policy with the loss times its probability of the choice, and lets it learn."""
    xp = state.total.__array_namespace__()
    advice = xp.stack(_inner.probs(master.policies, state.states, _counter.Counted(state.count), interaction.context))
    return Experts(
        state.total + _weighted_loss(master, interaction) * advice[:, interaction.action],
        state.rounds + interaction.weight,
        _counter.next_round(state.count, interaction.weight),
        _inner.update(master.policies, state.states, interaction),
    )


def _map_states(master: Any, function: _inner.Function, state: Experts) -> Experts:
    return state._replace(states=_inner.map_parts(master.policies, function, state.states))


@attrs.frozen(kw_only=True)
class EXP4:
    """Follows several policies in proportion to exp(-eta_t L_i): its regret against the best of them is bounded.

    L_i sums the estimated losses p_i(a) / propensity * (high - reward) / (high - low), where p_i(a) is policy i's probability of the logged
    choice a: every round informs about every policy, whichever one the choice was drawn from. With M policies, K candidates and
    eta_t = sqrt(ln M / (min(K, M) t)) the expected regret against the advice of the best policy is at most 2 sqrt(T min(K, M) ln M) at
    any T. All policies learn from every interaction. Auer's uniform share gamma is `WithFloor`.

    `update` asks each policy for its probabilities again, so it needs all candidates, and rewards should be learned soon. A policy that
    draws, such as `LinTS`, gets other random numbers then; the estimate stays unbiased.

    Attributes:
        policies: the policies to choose from, a tuple.
        low: the least reward; rewards outside [low, high] are learned unchanged, and the guarantee does not cover them.
        high: the largest reward.
        rate: multiplier of eta_t.

    References:
        Auer, Cesa-Bianchi, Freund, Schapire, The Nonstochastic Multiarmed Bandit Problem, SIAM Journal on Computing 2002, section 7.
        Bubeck, Cesa-Bianchi, Regret Analysis of Stochastic and Nonstochastic Multi-armed Bandit Problems, 2012, theorem 4.2: this form.
        McMahan, Streeter, Tighter Bounds for Multi-Armed Bandits with Expert Advice, COLT 2009: min(K, M) for K.

    Example:
        >>> from recsdk import EXP4, LinTS, LinUCB
        >>> EXP4(policies=(LinTS(), LinUCB())).learns_from
        'all'
    """

    policies: tuple[Policy[Any], ...] = attrs.field(validator=_inner.together)
    low: float = attrs.field(default=0.0, validator=number())
    high: float = attrs.field(default=1.0, validator=[number(), _above_low])
    rate: float = attrs.field(default=1.0, validator=number(above=0))

    runs_on = _inner.runs_on_of_parts
    learns_from: ClassVar[str] = "all"  # what each policy would have done depends on all candidates
    parts = _inner.parts_of_master

    init = _start
    update = _judge
    map_parts = _map_states

    def probs(self, state: Experts, rng: Rng, context: Context) -> Array:
        xp = state.total.__array_namespace__()
        num = len(self.policies)
        spread = xp.minimum(context.mask.astype(xp.float64).sum(), 1.0 * num)
        rate = self.rate * xp.sqrt(math.log(num) / (spread * (state.rounds + 1)))
        shares = explore.softmax(-rate * state.total, xp.ones(num, dtype=xp.bool), 1.0)
        return shares.dot(xp.stack(_inner.probs(self.policies, state.states, rng, context)))


@attrs.frozen(kw_only=True)
class TsallisINF:
    """Follows several policies in proportion to 4 / (eta_t (L_i - x))^2: finds the best one sooner than `EXP4`.

    The losses L_i and the way policies are asked are those of `EXP4`; x makes the shares sum to 1. With eta_t = 2 / sqrt(t) and M policies
    the expected regret against the advice of the best policy is at most 4 sqrt(M T) + 1 at any T, however the rewards come about, and only
    logarithmic in T where one policy is the best by a margin throughout.

    Use it instead of CORRAL (Agarwal, Luo, Neyshabur, Schapire, COLT 2017). There a policy learns only from the rounds that it was given,
    and a log-barrier with rising rates keeps it from starving; here all policies learn from every interaction.

    Attributes:
        policies: the policies to choose from, a tuple.
        low: the least reward; rewards outside [low, high] are learned unchanged, and the guarantee does not cover them.
        high: the largest reward.
        rate: multiplier of eta_t.

    References:
        Zimmert, Seldin, Tsallis-INF: An Optimal Algorithm for Stochastic and Adversarial Bandits, JMLR 2021, theorem 1 and algorithm 2.

    Example:
        >>> import numpy as np
        >>> from recsdk import ByColumn, Context, TsallisINF
        >>> policy = TsallisINF(policies=(ByColumn(column=0), ByColumn(column=1)))
        >>> context = Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.zeros(2)), np.random.default_rng(0), context)
        array([0.5, 0.5])
    """

    policies: tuple[Policy[Any], ...] = attrs.field(validator=_inner.together)
    low: float = attrs.field(default=0.0, validator=number())
    high: float = attrs.field(default=1.0, validator=[number(), _above_low])
    rate: float = attrs.field(default=1.0, validator=number(above=0))

    runs_on = _inner.runs_on_of_parts
    learns_from: ClassVar[str] = "all"  # what each policy would have done depends on all candidates
    parts = _inner.parts_of_master

    init = _start
    update = _judge
    map_parts = _map_states

    def probs(self, state: Experts, rng: Rng, context: Context) -> Array:
        xp = state.total.__array_namespace__()
        shares = tsallis(state.total, 2 * self.rate / xp.sqrt(state.rounds + 1))
        return shares.dot(xp.stack(_inner.probs(self.policies, state.states, rng, context)))


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


def _adds_up(instance: Mixture, field: Any, shares: Any) -> None:
    del field
    num = len(instance.policies)
    if not isinstance(shares, tuple) or len(shares) != num:
        raise InvalidValue(f"Mixture.shares must be a tuple of {num} numbers, one for each policy, got {shares!r}.")
    for index, share in enumerate(shares):
        require_number(f"Mixture.shares[{index}]", share, above=0, at_most=1)
    if abs(math.fsum(shares) - 1) > 1e-9:
        raise InvalidValue(f"Mixture.shares must sum to 1, got {shares} with sum {math.fsum(shares)}.")


@attrs.frozen(kw_only=True, slots=False)
class Mixture:
    """Lets each of several policies decide a fixed share of the rounds; all of them learn from every interaction.

    The propensity is that of the whole, sum_i shares_i p_i(a), whichever policy the choice was drawn from. So one log evaluates all arms of
    an A/B test, and any other policy. For shares that follow the rewards see `EXP4`. It offers `merge` and `forget` where all policies do.

    Attributes:
        policies: the policies to mix, a tuple.
        shares: share of the rounds of each policy, in (0, 1], with sum 1.

    Example:
        >>> import numpy as np
        >>> from recsdk import ByColumn, Context, Mixture
        >>> policy = Mixture(policies=(ByColumn(column=0), ByColumn(column=1)), shares=(0.9, 0.1))
        >>> context = Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.zeros(2)), np.random.default_rng(0), context)
        array([0.9, 0.1])

    References:
        Agarwal, Basu, Schnabel, Joachims, Effective Evaluation Using Logged Bandit Feedback from Multiple Loggers, KDD 2017: why the
        mixture's propensity is the one to log.
    """

    policies: tuple[Policy[Any], ...] = attrs.field(validator=_inner.together)
    shares: tuple[float, ...] = attrs.field(validator=_adds_up)

    runs_on = _inner.runs_on_of_parts
    learns_from = _inner.learns_from_of_parts
    parts = _inner.parts_of_master

    def __attrs_post_init__(self) -> None:
        _inner.offer(self, self.policies, Mergeable, Forgettable)

    def map_parts(self, function: _inner.Function, state: tuple[Any, ...]) -> tuple[Any, ...]:
        return _inner.map_parts(self.policies, function, state)

    def init(self, prior: Array) -> tuple[Any, ...]:
        return _inner.init(self.policies, prior)

    def probs(self, state: tuple[Any, ...], rng: Rng, context: Context) -> Array:
        first, *others = (share * probs for share, probs in zip(self.shares, _inner.probs(self.policies, state, rng, context), strict=True))
        return sum(others, start=first)

    def update(self, state: tuple[Any, ...], interaction: Interaction) -> tuple[Any, ...]:
        return _inner.update(self.policies, state, interaction)

    def _merge(self, a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
        return self._each("merge", a, b)

    def _weigh(self, state: tuple[Any, ...], weight: float) -> tuple[Any, ...]:
        return self._each("weigh", state, [weight] * len(state))

    def _subtract(self, whole: tuple[Any, ...], part: tuple[Any, ...]) -> tuple[Any, ...]:
        return self._each("subtract", whole, part)

    def _forget(self, state: tuple[Any, ...], interaction: Interaction) -> tuple[Any, ...]:
        return self._each("forget", state, [interaction] * len(state))

    def _each(self, method: str, states: Sequence[Any], others: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(getattr(policy, method)(state, other) for policy, state, other in zip(self.policies, states, others, strict=True))
