"""Linear bandits: six rules on one belief, ridge regression on phi with weights that all candidates share.

Their states add up and can be taken apart (`recsdk.base.Mergeable`, `recsdk.base.Forgettable`), and they explain their scores
(`recsdk.base.Explained`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Decision, Interaction, Rng, Scores
from recsdk.checks import integer, number
from recsdk.policies import _learning, _ridge, _rules, _voting, _walks
from recsdk.policies._ridge import Ridge


@attrs.frozen(kw_only=True)
class LinUCB:
    """Shows the candidate with the highest upper confidence bound, x.mean + alpha |x|_{A^-1}.

    The choice is deterministic, so the log alone cannot evaluate other policies: wrap it in `WithFloor`, as the live loop does.

    Attributes:
        alpha: size of the optimism, in units of the reward's noise; larger explores more.
        ridge: weight of the prior, in observations of unit length.

    References:
        Li, Chu, Langford, Schapire, A Contextual-Bandit Approach to Personalized News Article Recommendation, WWW 2010, eq. 5.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, LinUCB
        >>> policy, context = LinUCB(), Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.array([0.1, 0.0])), np.random.default_rng(0), context)
        array([1., 0.])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"
    kernels: ClassVar[str] = _learning.LOOPS

    alpha: float = attrs.field(default=0.5, validator=number(at_least=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))

    init = _learning.start
    probs = _ridge.optimistic
    update = _learning.update
    fold = _learning.fold
    merge = staticmethod(_ridge.merge)
    weigh = staticmethod(_ridge.weigh)
    subtract = staticmethod(_ridge.subtract)
    forget = staticmethod(_ridge.forget)

    def scores(self, state: Ridge, context: Context) -> Scores:
        return Scores(context.features.dot(state.mean), self.alpha * _ridge.widths(state, context.features))

    def walk(self, state: Ridge, rng: Any, log: Interaction, learn_from: str) -> tuple[Ridge, Decision] | None:
        return _walks.walk(_rules.Rule(_rules.OPTIMISTIC, scale=self.alpha), state, rng, log, learn_from)


@attrs.frozen(kw_only=True)
class LinTS:
    """Thompson sampling: shows a candidate as often as it is the best one under the posterior.

    The probabilities are the winners' frequencies over `num_draws` draws of the weights. An action drawn from them is distributed as
    Thompson's, and they are its exact propensities given the draws; propensities that are estimated apart from the draw would bias the log.
    The draws come in pairs, mean + z and mean - z. Each is a draw from the posterior, and a pair takes half the random numbers.

    Attributes:
        scale: standard deviation of the reward's noise; larger explores more.
        ridge: weight of the prior, in observations of unit length.
        num_draws: posterior draws per decision.

    References:
        Agrawal, Goyal, Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML 2013, algorithm 1.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, LinTS
        >>> policy, context = LinTS(num_draws=4), Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.zeros(2)), np.random.default_rng(0), context)
        array([0.5, 0.5])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"
    kernels: ClassVar[str] = _learning.LOOPS

    scale: float = attrs.field(default=0.25, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))
    num_draws: int = attrs.field(default=32, validator=integer(at_least=1))

    def init(self, prior: Array) -> Ridge:
        state = _learning.start(self, prior)
        _voting.load(self, state)
        return state

    update = _learning.update
    fold = _learning.fold
    merge = staticmethod(_ridge.merge)
    weigh = staticmethod(_ridge.weigh)
    subtract = staticmethod(_ridge.subtract)
    forget = staticmethod(_ridge.forget)

    def scores(self, state: Ridge, context: Context) -> Scores:
        return Scores(context.features.dot(state.mean), self.scale * _ridge.widths(state, context.features))

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        xp = state.mean.__array_namespace__()
        noise = rng.standard_normal(((self.num_draws + 1) // 2, state.mean.shape[0]))
        counted = _voting.votes(self, state, noise, context)
        if counted is not None:
            return counted
        spread = self.scale * noise.dot(state.root.T)
        weights = state.mean[None, :] + xp.concat([spread, -spread])[: self.num_draws]
        return explore.votes(weights.dot(context.features.T), context.mask)

    def walk(self, state: Ridge, rng: Any, log: Interaction, learn_from: str) -> tuple[Ridge, Decision] | None:
        return _walks.walk(_rules.Rule(_rules.VOTES, scale=self.scale, num_draws=self.num_draws), state, rng, log, learn_from)


@attrs.frozen(kw_only=True)
class EpsilonGreedy:
    """Shows the candidate with the highest estimated reward, or with probability `epsilon` any candidate.

    Attributes:
        epsilon: share of uniform exploration, in [0, 1]; at 0 the log cannot tell what other policies would have earned.
        ridge: weight of the prior, in observations of unit length.

    References:
        Langford, Zhang, The Epoch-Greedy Algorithm for Contextual Multi-armed Bandits, NeurIPS 2007.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, EpsilonGreedy
        >>> policy, context = EpsilonGreedy(epsilon=0.2), Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.array([1.0, 0.0])), np.random.default_rng(0), context)
        array([0.9, 0.1])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"
    kernels: ClassVar[str] = _learning.LOOPS

    epsilon: float = attrs.field(default=0.1, validator=number(at_least=0, at_most=1))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))

    init = _learning.start
    update = _learning.update
    fold = _learning.fold
    scores = staticmethod(_ridge.estimates)
    merge = staticmethod(_ridge.merge)
    weigh = staticmethod(_ridge.weigh)
    subtract = staticmethod(_ridge.subtract)
    forget = staticmethod(_ridge.forget)

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        del rng
        best = explore.greedy(context.features.dot(state.mean), context.mask)
        return explore.mix(best, context.mask, self.epsilon)

    def walk(self, state: Ridge, rng: Any, log: Interaction, learn_from: str) -> tuple[Ridge, Decision] | None:
        return _walks.walk(_rules.Rule(_rules.GREEDY, floor=self.epsilon), state, rng, log, learn_from)


@attrs.frozen(kw_only=True)
class EpsilonDecay:
    """Epsilon-greedy that explores less and less: epsilon_t = max(floor, min(1, c K / t)).

    t is 1 + the weight learned, K the number of candidates. The first c K rounds explore uniformly: c is about how often each candidate is
    tried before its estimate counts. In later rounds the cost of exploration grows as the logarithm of their number.

    Attributes:
        tries: c; 0 is no exploration beyond the floor.
        floor: the least epsilon, in [0, 1]; at 0 the log gives ever less to evaluate other policies with.
        ridge: weight of the prior, in observations of unit length.

    References:
        Auer, Cesa-Bianchi, Fischer, Finite-time Analysis of the Multiarmed Bandit Problem, Machine Learning 2002, figure 3 and theorem 3.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, EpsilonDecay
        >>> policy, context = EpsilonDecay(), Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.array([1.0, 0.0])), np.random.default_rng(0), context)
        array([0.5, 0.5])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"
    kernels: ClassVar[str] = _learning.LOOPS

    tries: float = attrs.field(default=2.0, validator=number(at_least=0))
    floor: float = attrs.field(default=0.01, validator=number(at_least=0, at_most=1))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))

    init = _learning.start
    update = _learning.update
    fold = _learning.fold
    scores = staticmethod(_ridge.estimates)
    merge = staticmethod(_ridge.merge)
    weigh = staticmethod(_ridge.weigh)
    subtract = staticmethod(_ridge.subtract)
    forget = staticmethod(_ridge.forget)

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        del rng
        xp = context.features.__array_namespace__()
        wanted = self.tries * context.mask.astype(xp.float64).sum() / (1 + state.total)
        epsilon = xp.clip(wanted, self.floor, 1.0)
        best = explore.greedy(context.features.dot(state.mean), context.mask)
        return explore.mix(best, context.mask, epsilon)

    def walk(self, state: Ridge, rng: Any, log: Interaction, learn_from: str) -> tuple[Ridge, Decision] | None:
        return _walks.walk(_rules.Rule(_rules.GREEDY, tries=self.tries, floor=self.floor), state, rng, log, learn_from)


@attrs.frozen(kw_only=True)
class Boltzmann:
    """Softmax exploration: shows candidates in proportion to exp(estimated reward / temperature).

    Every candidate keeps a positive probability. The rule looks at how good an item seems and not at how little is known of it, and a fixed
    temperature never stops exploring: `LinTS` and `LinUCB` learn better. Use it for a log whose propensities vary smoothly with the
    estimates.

    Attributes:
        temperature: in units of reward; differences well below it hardly matter, those well above it decide.
        ridge: weight of the prior, in observations of unit length.

    References:
        Sutton, Barto, Reinforcement Learning: An Introduction, 2nd edition, MIT Press 2018, eq. 2.11 on preferences.
        Cesa-Bianchi, Gentile, Lugosi, Neu, Boltzmann Exploration Done Right, NeurIPS 2017: what it cannot do.

    Example:
        >>> import numpy as np
        >>> from recsdk import Boltzmann, Context
        >>> policy, context = Boltzmann(temperature=0.5), Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.array([1.0, 0.0])), np.random.default_rng(0), context).round(2)
        array([0.88, 0.12])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"
    kernels: ClassVar[str] = _learning.LOOPS

    temperature: float = attrs.field(default=0.1, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))

    init = _learning.start
    update = _learning.update
    fold = _learning.fold
    scores = staticmethod(_ridge.estimates)
    merge = staticmethod(_ridge.merge)
    weigh = staticmethod(_ridge.weigh)
    subtract = staticmethod(_ridge.subtract)
    forget = staticmethod(_ridge.forget)

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        del rng
        return explore.softmax(context.features.dot(state.mean), context.mask, self.temperature)

    def walk(self, state: Ridge, rng: Any, log: Interaction, learn_from: str) -> tuple[Ridge, Decision] | None:
        return _walks.walk(_rules.Rule(_rules.SOFTMAX, scale=self.temperature), state, rng, log, learn_from)


@attrs.frozen(kw_only=True)
class SquareCB:
    """Inverse gap weighting: p(a) = 1 / (K + gamma (best - estimate(a))), and the rest of the probability to the best candidate.

    gamma = scale sqrt(K t) grows with the weight t that has been learned; K is the number of candidates. The rule needs estimates only and
    no confidence widths. Every candidate keeps a positive probability, and the only random number is that of the draw.

    Attributes:
        scale: greed, for rewards in [0, 1]; for rewards of a range r use scale / r. The bound in the paper asks for about sqrt(1 / D); of
            1, 3, 10, 30 and 100 the default had the best mean rank over ten classification sets.
        ridge: weight of the prior, in observations of unit length.

    References:
        Foster, Rakhlin, Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles, ICML 2020, algorithm 1 and theorem 1.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, SquareCB
        >>> policy, context = SquareCB(), Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> policy.probs(policy.init(np.array([1.0, 0.0])), np.random.default_rng(0), context)
        array([0.5, 0.5])
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"
    kernels: ClassVar[str] = _learning.LOOPS

    scale: float = attrs.field(default=10.0, validator=number(above=0))
    ridge: float = attrs.field(default=1.0, validator=number(above=0))

    init = _learning.start
    update = _learning.update
    fold = _learning.fold
    scores = staticmethod(_ridge.estimates)
    merge = staticmethod(_ridge.merge)
    weigh = staticmethod(_ridge.weigh)
    subtract = staticmethod(_ridge.subtract)
    forget = staticmethod(_ridge.forget)

    def probs(self, state: Ridge, rng: Rng, context: Context) -> Array:
        del rng
        num = context.mask.astype(float).sum()
        gamma = self.scale * (num * state.total) ** 0.5
        return explore.inverse_gap(context.features.dot(state.mean), context.mask, gamma)

    def walk(self, state: Ridge, rng: Any, log: Interaction, learn_from: str) -> tuple[Ridge, Decision] | None:
        return _walks.walk(_rules.Rule(_rules.INVERSE_GAP, scale=self.scale), state, rng, log, learn_from)
