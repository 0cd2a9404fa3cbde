"""Policies that learn: what one would have earned while it learnt, from a log of another."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Array, Interaction, Policy, Rng
from recsdk.checks import check_log, require_number
from recsdk.drivers import loop
from recsdk.ope.terms import Terms, average


class RejectionReplay(NamedTuple):
    """A life of a learning policy on another's log.

    Attributes:
        state: the policy's last state.
        probs: f64[T, K], its distribution in each round, having learnt from the accepted rounds before: a target for `rounds`.
        accepted: bool[T], the rounds that it learnt from, which are distributed as if it had made them itself.
        capped: bool[T], where the chance to be accepted would have been above 1, so that its life is not quite its own; none by default.
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

    Where the log is uniformly random this is Li's replay; it is right for others too. For the value of its life take `accepted_mean`, or
    with less variance `dr` of `rounds(log, found.probs, q_hat=...)`, which also uses the rounds that were not accepted: that is DR-ns.

    Args:
        policy: the policy to run, by its configuration.
        log: an interaction with a leading T, by a policy that did not learn from it.
        scale: c > 0. By default the log's smallest propensity, with which no chance is above 1. A larger one gives a longer life, and
            some bias where `capped`.
        state: where to start from, consumed; None for `policy.init(prior)`.
        seed: of the policy's numbers and of what is accepted.
        prior: f64[D], belief about the weights; None for zeros.
        engine: "auto" compiles where the policy runs on JAX and JAX is installed.

    Raises:
        InvalidValue: `scale` is not above 0.
        EmptyLog, InvalidLog: as in `recsdk.replay`.

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
    """The mean reward of the accepted rounds: what the policy earned in its life on the log.

    References:
        Li, Chu, Langford, Wang, "Unbiased offline evaluation of contextual-bandit-based news article recommendation algorithms", WSDM,
        2011, for uniform logs.
    """
    return average(np.asarray(log.reward), np.asarray(log.weight) * found.accepted)


@functools.lru_cache(maxsize=128)  # one function object per question, so that it is compiled once
def _step(policy: Policy[Any], scale: float) -> loop.Step:
    def step(state: Any, rng: Rng, logged: Interaction) -> tuple[Any, tuple[Array, Array, Array]]:
        probs = policy.probs(state, rng, logged.context)
        chance = scale * probs[logged.action] / logged.propensity
        accepted = rng.random() < chance
        # A round of weight 0 leaves a policy's state as it was: recsdk.testing holds every policy to that.
        state = policy.update(state, logged._replace(weight=logged.weight * accepted.astype("float64")))
        return state, (probs, accepted, chance > 1 + 1e-9)

    return step
