"""Replay of a log through a policy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from recsdk import arrays, fast
from recsdk.base import Array, Context, Decision, Interaction, Policy, Rng, Walks, decide, stands_for
from recsdk.checks import check_log
from recsdk.drivers import loop
from recsdk.errors import InvalidLog, InvalidValue, MissingExtra, install, one_of

LearnFrom = Literal["all", "matched", "none"]
Engine = Literal["auto", "numpy", "numba", "jax"]

FEW_ROUNDS = 20_000
"""So many rounds NumPy walks before Numba is loaded, or a program for JAX is compiled."""


class Replay(NamedTuple):
    """Result of `replay`.

    Attributes:
        state: the policy's state after the last round.
        decision: the policy's decisions, with a leading T, each made before it learned from that round; `probs` f64[T, K] is the target
            that `recsdk.ope` evaluates.
        matched: bool[T], true where the policy chose the logged action.
        engine: "numpy", "numba" or "jax", which walked the log.

    Example:
        >>> from recsdk import LinUCB, Uniform, replay, simulate
        >>> from recsdk.environments import LinearWorld
        >>> log = simulate(Uniform(), LinearWorld(num_candidates=5), 20, engine="numpy").log
        >>> replayed = replay(LinUCB(), log, engine="numpy")
        >>> replayed.decision.probs.shape, replayed.matched.shape
        ((20, 5), (20,))
    """

    state: Any
    decision: Decision
    matched: np.ndarray
    engine: str = "numpy"


def replay(
    policy: Policy[Any],
    log: Interaction,
    *,
    learn_from: LearnFrom = "all",
    state: Any = None,
    seed: int = 0,
    prior: Array | None = None,
    engine: Engine = "auto",
) -> Replay:
    """Runs a policy over a log, round by round.

    Args:
        policy: configuration of the policy.
        log: an interaction with a leading T.
        learn_from: "all" learns from every logged reward: a policy that watches another's log, or the recovery of its own state.
            "matched" learns where the policy's choice is the logged one: an unbiased account of a learning policy when the log is
            uniformly random (Li et al., Unbiased Offline Evaluation, WSDM 2011). "none" keeps `state` unchanged.
        state: state to start from, consumed; None for `policy.init(prior)`.
        seed: seed of the policy's choices, >= 0.
        prior: f64[D], belief about the weights; None for zeros.
        engine: "numpy"; "numba", for policies with compiled loops (`recsdk.base.Walks`), with the extra `fast`; "jax", for policies that
            run on JAX, with the extra `deep`; or "auto". NumPy and Numba give the same up to rounding; JAX has other random numbers.
            "auto" takes NumPy for up to 20,000 rounds, since it is done before the others have begun; for more it takes Numba, where that
            cannot be had JAX, and where neither can NumPy.

    Returns:
        The last state, and the decisions of every round.

    Raises:
        EmptyLog: for a log without rows.
        InvalidLog: for a log with a bad row, by its number. Nothing has been learned then.
        InvalidValue: for another argument out of its range, such as a prior of another length.

    Example:
        >>> import numpy as np
        >>> from recsdk import LinUCB, Uniform, replay, simulate
        >>> from recsdk.environments import LinearWorld
        >>> log = simulate(Uniform(), LinearWorld(), 100, engine="numpy").log
        >>> target = replay(LinUCB(), log, engine="numpy").decision.probs
        >>> weights = target[np.arange(100), log.action] / log.propensity
        >>> bool(np.mean(weights * log.reward) > np.mean(log.reward))
        True
    """
    one_of("learn_from", learn_from, ("all", "matched", "none"))
    require_log("log", log)
    taken = choose_engine(policy, engine, len(log.reward))
    prior = loop.belief(prior, log.context.features.shape[-1])
    if state is None:
        state = loop.init(policy, prior)
    if taken == "numba":
        walked = policy.walk(state, loop.generator(seed, loop.REPLAY), log, learn_from)  # type: ignore[attr-defined]  # it is one of Walks
        if walked is not None:
            state, decision = walked
            return Replay(state, decision, decision.action == log.action, taken)
        taken = "numpy"
    step = _step(policy, learn_from)  # type: ignore[arg-type]  # a frozen config is hashable
    state, (decision, matched) = loop.run(step, state, log, engine=taken, seed=seed, stream=loop.REPLAY)
    return Replay(state, decision, matched, taken)


def choose_engine(policy: Policy[Any], engine: Engine, num_rounds: int) -> Literal["numpy", "numba", "jax"]:
    """Returns what walks a log of `num_rounds` with `policy`; for the rule of "auto" see `replay`.

    Raises:
        InvalidValue: when `policy` is not a policy, or does not run on the engine asked for.
        MissingExtra: when what the engine needs is not installed.
    """
    loop.require_policy(policy)
    one_of("engine", engine, ("auto", "numpy", "numba", "jax"))
    if engine == "auto" and "numpy" in policy.runs_on:
        engine = "numpy" if num_rounds <= FEW_ROUNDS else "numba" if fast.enabled() and has_loops(policy) else "auto"
    if engine != "numba":
        return loop.choose_engine(policy, engine)
    if not has_loops(policy):
        raise InvalidValue(f"engine must be one of {policy.runs_on} for {policy}, got 'numba'.")
    if not fast.enabled():
        raise MissingExtra(f"engine 'numba' needs Numba, and RECSDK_FAST other than 0: {install('fast')}.")
    return "numba"


def has_loops(policy: Policy[Any]) -> bool:
    """Tells whether Numba can take the place of NumPy: not where a subclass has code of its own, for which the loops do not stand."""
    if not isinstance(policy, Walks) or "numpy" not in policy.runs_on:
        return False
    return stands_for(policy, "walk", ("init", "probs", "scores", "update"))


def require_log(name: str, log: Any) -> None:
    """Refuses what is not a log, or has a bad row.

    Raises:
        EmptyLog: when it has no rows.
        InvalidLog: naming what was given, or the first bad row.
    """
    if not isinstance(log, Interaction) or not isinstance(log.context, Context):
        raise InvalidLog(f"{name} must be a recsdk.Interaction with a leading T, got {type(log).__name__}.")
    check_log(log)


def step_of(policy: Policy[Any], learn_from: LearnFrom, weight_after: Callable[[Array, Array], Array] = arrays.after) -> loop.Step:
    """Returns one round of a replay: carries the state, gives the decision and whether it matched.

    Args:
        policy: configuration of the policy.
        learn_from: as for `replay`.
        weight_after: `(probs, weight) -> weight`, by which the update waits for the decision.
    """

    def step(state: Any, rng: Rng, logged: Interaction) -> tuple[Any, tuple[Decision, Array]]:
        decision = decide(policy, state, rng, logged.context)
        matched = decision.action == logged.action
        if learn_from == "all":
            state = policy.update(state, logged._replace(weight=weight_after(decision.probs, logged.weight)))
        elif learn_from == "matched":
            # A round of weight 0 leaves a policy's state as it was: recsdk.testing holds every policy to that.
            state = policy.update(state, logged._replace(weight=logged.weight * matched.astype("float64")))
        return state, (decision, matched)

    return step


_step = functools.lru_cache(maxsize=128)(step_of)  # one function object per question, so that it is compiled once
