"""Exploration with a bounded cost: a guaranteed share of a baseline's reward."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import attrs

from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.checks import number
from recsdk.errors import InvalidValue
from recsdk.policies import _counter, _inner

FLOOR_ROOM = 1.25
"""How far importance weights may exceed those without a floor around the policy: a floor of up to 20 % is allowed for."""

TILTS = tuple(2.0**-power for power in range(1, 17))
"""The numbers l_k of the bound: for any length of the log up to billions of rounds, one of them is nearly the best."""


class Safety(NamedTuple):
    """State of `Conservative`: the margin over the baseline so far.

    Attributes:
        surplus: f64[], sum of s_t, in units of the largest reward.
        squares: f64[], sum of s_t^2.
        count: i64[], number of rounds learned.
        policy: state of the policy.
        baseline: state of the baseline.
    """

    surplus: Array
    squares: Array
    count: Array
    policy: Any
    baseline: Any


def _between(instance: Any, field: Any, value: float) -> None:
    if not instance.share <= value < 1:
        raise InvalidValue(f"Conservative.{field.name} must be in [share, 1) = [{instance.share}, 1), got {value!r}.")


def _alike(instance: Any, field: Any, value: Any) -> None:
    del field, value
    if not _inner.runs_on(instance.parts):
        engines = instance.policy.runs_on, instance.baseline.runs_on
        raise InvalidValue(f"Conservative.baseline must have an engine in common with policy, got {engines}.")


@attrs.frozen(kw_only=True)
class Conservative:
    """Follows a policy only as far as it surely earns at least 1 - `share` of what a baseline would have earned.

    The answer is m_t policy + (1 - m_t) baseline. m_t = `share` is safe in any case, since rewards are >= 0; more is risked only out of a
    surplus that has been earned already. The surplus of a round, s_t = r_t (1 - (1 - share) b_t(a_t) / propensity_t) with b_t the
    baseline's probability, has the expected value of what was shown less 1 - `share` of the baseline's. So

        m_t = min(most, share + max(0, L_t)),    L_t = max_k [sum s - (c / l_k) (psi(l_k) sum s^2 / c^2 + ln(n / error))],

    where L_t is a lower bound on the expected surplus that holds in all rounds at once with probability 1 - `error`: s_t >= -c with
    c = 1.25 (1 - share) / (1 - most) - 1, psi(l) = -ln(1 - l) - l, and l_k one of n numbers.

    The guarantee: with probability 1 - `error`, in every round at once, the expected rewards of what was shown up to then sum to at
    least 1 - `share` of those of the baseline on the same contexts. It assumes no model of rewards and nothing about the policy. It needs
    rewards in [0, high], rounds of weight 1, each reward learned before the next decision, and a baseline that draws no random numbers of
    its own. While d decisions wait for their rewards, up to d (most - share) more may be lost, and a floor around it costs up to its share
    besides. The log of another policy teaches both parts, but its surplus does not count for the guarantee.

    Attributes:
        policy: the policy to follow.
        baseline: the policy that is good enough; it learns too, if it can.
        share: share of the baseline's reward that may be lost, in [0, 1].
        most: the largest m_t, >= `share` and below 1. The other rounds measure the baseline, which takes
            longer the nearer `most` is to 1.
        error: probability that the guarantee fails, in (0, 1].
        high: the largest reward.

    Example:
        >>> import numpy as np
        >>> from recsdk import ByColumn, Conservative, Context, Uniform
        >>> policy = Conservative(policy=Uniform(), baseline=ByColumn(column=0), share=0.2)
        >>> context = Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.zeros(2)), np.random.default_rng(0), context)
        array([0.9, 0.1])

    References:
        Wu, Shariff, Lattimore, Szepesvari, Conservative Bandits, ICML 2016: the constraint.
        Kazerouni, Ghavamzadeh, Abbasi-Yadkori, Van Roy, Conservative Contextual Linear Bandits, NeurIPS 2017.
        Fan, Grama, Liu, Exponential Inequalities for Martingales with Applications, Electronic Journal of Probability 2015, lemma 4.1:
        exp(l x - psi(l) x^2) <= 1 + l x for x >= -1, from which the bound follows by Ville's inequality.
    """

    policy: Policy[Any]
    baseline: Policy[Any] = attrs.field(validator=_alike)
    share: float = attrs.field(default=0.1, validator=number(at_least=0, at_most=1))
    most: float = attrs.field(default=0.9, validator=[number(at_least=0), _between])
    error: float = attrs.field(default=0.05, validator=number(above=0, at_most=1))
    high: float = attrs.field(default=1.0, validator=number(above=0))

    runs_on = _inner.runs_on_of_parts
    learns_from: ClassVar[str] = "all"  # what the baseline would have done depends on all candidates

    @property
    def parts(self) -> tuple[Policy[Any], ...]:
        """The policy and the baseline."""
        return (self.policy, self.baseline)

    def map_parts(self, function: _inner.Function, state: Safety) -> Safety:
        return state._replace(policy=function(self.policy, state.policy), baseline=function(self.baseline, state.baseline))

    def init(self, prior: Array) -> Safety:
        xp = prior.__array_namespace__()
        nothing = xp.zeros((), dtype=xp.float64)
        return Safety(nothing, nothing * 1.0, xp.zeros((), dtype=xp.int64), self.policy.init(prior), self.baseline.init(prior))

    def probs(self, state: Safety, rng: Rng, context: Context) -> Array:
        mass = self._mass(state)
        followed = self.policy.probs(state.policy, rng, context)
        return mass * followed + (1 - mass) * self.baseline.probs(state.baseline, rng, context)

    def update(self, state: Safety, interaction: Interaction) -> Safety:
        context, action, reward, propensity, weight = interaction
        baseline = self.baseline.probs(state.baseline, _counter.Counted(state.count), context)[action]
        surplus = reward / self.high * (1 - (1 - self.share) * baseline / propensity)
        return Safety(
            state.surplus + weight * surplus,
            state.squares + weight * surplus**2,
            _counter.next_round(state.count, weight),
            self.policy.update(state.policy, interaction),
            self.baseline.update(state.baseline, interaction),
        )

    def _mass(self, state: Safety) -> Array:
        """Returns m_t, f64[]."""
        xp = state.surplus.__array_namespace__()
        least = FLOOR_ROOM * (1 - self.share) / (1 - self.most) - 1
        tilts = xp.asarray(TILTS, dtype=xp.float64)
        curvature = xp.asarray([-math.log1p(-tilt) - tilt for tilt in TILTS], dtype=xp.float64)
        doubt = xp.log(len(TILTS) / xp.asarray(self.error, dtype=xp.float64))
        bound = (state.surplus - (curvature * state.squares / least + least * doubt) / tilts).max()
        return xp.minimum(xp.asarray(self.most, dtype=xp.float64), self.share + xp.maximum(bound, xp.zeros_like(bound)))
