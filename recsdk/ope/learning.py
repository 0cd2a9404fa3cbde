"""Policies that learn from another policy's log: while they are replayed over it, or from the log as a whole."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.checks import check_log, require_integer, require_number
from recsdk.drivers import loop
from recsdk.errors import InvalidContext, InvalidValue, MissingExtra, install
from recsdk.ope.checked import Rounds, logged_rounds, rounds
from recsdk.ope.terms import Terms, average


class RejectionReplay(NamedTuple):
    """Run of a learning policy on another policy's log.

    Attributes:
        state: the policy's last state.
        probs: f64[T, K], its distribution in each round, having learned from the accepted rounds before: a target for `rounds`.
        accepted: bool[T], the rounds that it learned from, which are distributed as if the policy had made them itself.
        capped: bool[T], where the chance of acceptance would have been above 1, which biases the run; none by default.

    Example:
        >>> RejectionReplay(None, np.ones((2, 1)), np.array([True, False]), np.array([False, False])).accepted.sum()
        np.int64(1)
    """

    state: Any
    probs: np.ndarray
    accepted: np.ndarray
    capped: np.ndarray


def rejection_replay(
    policy: Policy[Any],
    log: Interaction,
    *,
    scale: float | None = None,
    state: Any = None,
    seed: int = 0,
    prior: Array | None = None,
    engine: loop.Engine = "auto",
) -> RejectionReplay:
    """Lets a policy learn from the rounds of a log that are accepted with probability scale * pi(a) / p.

    Where the log is uniformly random this is Li's replay; it is right for others too. For the value of the run use `accepted_mean`, or
    with less variance `dr` of `rounds(log, found.probs, q_hat=...)`, which also uses the rounds that were not accepted: that is DR-ns.

    Args:
        policy: the policy to run, by its configuration.
        log: an interaction with a leading T, by a policy that did not learn from it.
        scale: c > 0. By default the log's smallest propensity, with which no chance is above 1. A larger one accepts more rounds, with
            some bias where `capped`.
        state: where to start from, consumed; None for `policy.init(prior)`.
        seed: of the policy's numbers and of what is accepted.
        prior: f64[D], belief about the weights; None for zeros.
        engine: "auto" compiles where the policy runs on JAX and JAX is installed.

    Raises:
        InvalidValue: `scale` is not above 0.
        EmptyLog, InvalidLog: as in `recsdk.replay`.

    Example:
        >>> from recsdk import LinUCB, Uniform, simulate
        >>> from recsdk.environments import LinearWorld
        >>> log = simulate(Uniform(), LinearWorld(), 500, engine="numpy").log
        >>> found = rejection_replay(LinUCB(), log, engine="numpy")
        >>> bool(found.accepted.mean() < 0.3), bool(found.capped.any())  # LinUCB takes one candidate of ten, as the log did by chance
        (True, False)

    References:
        Dudik, Erhan, Langford, Li, "Sample-efficient nonstationary policy evaluation for contextual bandits", UAI, 2012: DR-ns, with one c
        throughout.
        Dudik, Erhan, Langford, Li, "Doubly robust policy evaluation and optimization", Statistical Science, 2014.
    """
    check_log(log)
    scale = float(np.min(log.propensity)) if scale is None else scale
    require_number("scale", scale, above=0)
    if state is None:
        state = policy.init(np.zeros(log.context.features.shape[-1]) if prior is None else prior)
    step = _step(policy, scale)  # type: ignore[arg-type]  # a frozen config is hashable
    engine = loop.choose_engine(policy, engine)
    state, (probs, accepted, capped) = loop.run(step, state, log, engine=engine, seed=seed, stream=loop.REPLAY)
    return RejectionReplay(state, *map(np.asarray, (probs, accepted, capped)))


def accepted_mean(log: Interaction, found: RejectionReplay) -> Terms:
    """Averages the reward of the accepted rounds: what the policy earned in its run on the log.

    Args:
        log: the log that was replayed.
        found: from `rejection_replay`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import value
        >>> log = log_from_frame({"action": [0, 1, 1], "reward": [1.0, 0.0, 0.5], "propensity": [0.5] * 3})
        >>> accepted = np.array([True, False, True])
        >>> value(accepted_mean(log, RejectionReplay(None, np.ones((3, 2)), accepted, ~accepted)))
        0.75

    References:
        Li, Chu, Langford, Wang, "Unbiased offline evaluation of contextual-bandit-based news article recommendation algorithms", WSDM,
        2011, for uniform logs.
    """
    return average(np.asarray(log.reward), np.asarray(log.weight) * found.accepted)


@functools.lru_cache(maxsize=128)  # the same function object each time, so that it is compiled once
def _step(policy: Policy[Any], scale: float) -> loop.Step:
    def step(state: Any, rng: Rng, logged: Interaction) -> tuple[Any, tuple[Array, Array, Array]]:
        probs = policy.probs(state, rng, logged.context)
        chance = scale * probs[logged.action] / logged.propensity
        accepted = rng.random() < chance
        # A round of weight 0 leaves a policy's state as it was: recsdk.testing holds every policy to that.
        state = policy.update(state, logged._replace(weight=logged.weight * accepted.astype("float64")))
        return state, (probs, accepted, chance > 1 + 1e-9)

    return step


def _are_weights(instance: Any, field: Any, value: Any) -> None:
    if not isinstance(value, tuple) or not all(isinstance(number, float) and np.isfinite(number) for number in value):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of finite floats, got {value!r}.")


@attrs.frozen(kw_only=True)
class LinearSoftmax:
    """Shows candidates in proportion to exp(x.weights), and learns nothing more while it is used: see `learn_softmax`.

    Attributes:
        weights: of phi's features, D of them; by default the prior's, with which the deep model decides.

    Example:
        >>> LinearSoftmax(weights=(1.0, -0.5)).weights
        (1.0, -0.5)
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")
    learns_from: ClassVar[str] = "chosen"

    weights: tuple[float, ...] = attrs.field(default=(), validator=_are_weights)

    def init(self, prior: Array) -> Array:
        """See `recsdk.base.Policy`; the state is f64[D], the weights.

        Raises:
            InvalidValue: when there are not as many features as weights.
        """
        if not self.weights:
            return prior * 1.0
        if prior.shape[0] != len(self.weights):
            raise InvalidValue(f"LinearSoftmax.weights must be {prior.shape[0]}, one for each feature, got {len(self.weights)}.")
        xp = prior.__array_namespace__()
        return xp.asarray(self.weights, dtype=xp.float64)

    def probs(self, state: Array, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        return explore.softmax(context.features.dot(state), context.mask, 1.0)

    def update(self, state: Array, interaction: Interaction) -> Array:
        """See `recsdk.base.Policy`."""
        del interaction
        return state


def learn_softmax(
    log: Interaction, *, q_hat: np.ndarray | None = None, penalty: float = 1.0, ridge: float = 1.0, num_steps: int = 100
) -> LinearSoftmax:
    """Learns a policy from a log: the one with the highest SNIPS value, or DR with `q_hat`, less `penalty` of its standard errors.

    Without the penalty, a policy would win that takes actions which the log rarely took and which were lucky there. Self-normalisation
    makes the result independent of a constant added to all rewards. The problem is not convex: the result is the optimum that L-BFGS
    reaches from the uniform policy.

    Evaluate the policy on another log, or on the second part of `split`: on this one it looks better than it is. To use it live, pass it to
    `Recommender.open(..., policy=learn_softmax(log))`. The floor there makes the next log fit for learning again.

    Args:
        log: a log, leading T, with features f64[T, K, D].
        q_hat: f64[T, K], expected rewards by a model that has not seen that round, as from `fit_reward_model`.
        penalty: number of standard errors subtracted from the value, >= 0.
        ridge: > 0, pulls the weights to 0 and the policy to the uniform one; its effect shrinks as the log grows.
        num_steps: of L-BFGS at most, each over the whole log.

    Raises:
        EmptyLog, InvalidLog, InvalidScores: as in `rounds`.
        InvalidContext: features without a column.
        InvalidValue: an option out of its range.
        MissingExtra: without JAX and Optax.

    References:
        Swaminathan and Joachims, "Counterfactual risk minimization: learning from logged bandit feedback", ICML, 2015: POEM.
        Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning", NIPS, 2015: Norm-POEM.

    Example:
        >>> from recsdk import Uniform, simulate
        >>> from recsdk.environments import LinearWorld
        >>> from recsdk.ope import evaluate, split
        >>> first, second = split(simulate(Uniform(), LinearWorld(), 2000, engine="numpy").log)
        >>> value = evaluate(second, learn_softmax(first), engine="numpy").estimates["dr"]
        >>> bool(value.low > second.reward.mean() + 0.3)
        True
    """
    try:
        from recsdk.ope._jax import Tables, minimum
    except ImportError as error:
        raise MissingExtra(f"learn_softmax needs JAX and Optax: {install('deep')}.") from error
    require_number("penalty", penalty, at_least=0)
    require_number("ridge", ridge, above=0)
    require_integer("num_steps", num_steps, at_least=1)
    if not log.context.features.shape[-1]:
        raise InvalidContext("features must have at least one column to learn a policy from, got none.")
    checked = logged_rounds(log) if q_hat is None else rounds(log, log.propensity, q_hat=q_hat)
    total = checked.weight.sum()
    middle = checked.weight @ checked.reward / total
    spread = np.sqrt(checked.weight @ (checked.reward - middle) ** 2 / total)
    gain, share = _tables(checked)
    tables = Tables(np.asarray(log.context.features), checked.mask, gain / (spread or 1.0), share)
    weights = minimum(tables, penalty, ridge / total, num_steps)
    return LinearSoftmax(weights=tuple(weights.tolist()))


def _tables(checked: Rounds) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(len(checked.action)), checked.action
    gain, share = np.zeros((2, *checked.mask.shape))
    often = checked.weight / checked.propensity
    if checked.q_hat is None:
        gain[rows], share[rows] = often * checked.reward, often
        return gain, share
    gain += checked.weight[:, None] * checked.q_hat
    gain[rows] += often * (checked.reward - checked.q_hat[rows])
    return gain, share + checked.weight[:, None]
