"""Walks a log with a policy, as it would have lived it."""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import numpy as np

from recsdk.base import Array, Decision, Interaction, Policy, Rng, decide
from recsdk.checks import check_log
from recsdk.drivers import loop
from recsdk.errors import one_of

LearnFrom = Literal["all", "matched", "none"]


class Replay(NamedTuple):
    """What a policy did on a log.

    Attributes:
        state: the policy's state after the last round.
        decision: with a leading T, what the policy chose in each round before it learned from that round; `probs` f64[T, K] is the target
            that `recsdk.ope` evaluates.
        matched: bool[T], whether it chose the logged action.
    """

    state: Any
    decision: Decision
    matched: np.ndarray


def replay(
    policy: Policy[Any],
    log: Interaction,
    *,
    learn_from: LearnFrom = "all",
    state: Any = None,
    seed: int = 0,
    prior: Array | None = None,
    engine: loop.Engine = "auto",
) -> Replay:
    """Runs a policy over a log, round by round.

    Args:
        policy: the policy to run, by its configuration.
        log: an interaction with a leading T.
        learn_from: "all" learns from every logged reward: a policy that watches another's log, or the recovery of its own state.
            "matched" learns where its own choice is the logged one: an unbiased account of a learning policy when the log is
            uniformly random (Li et al., Unbiased Offline Evaluation, WSDM 2011). "none" keeps `state` as it is.
        state: where to start from, consumed; None for `policy.init(prior)`.
        seed: of the policy's choices.
        prior: f64[D], belief about the weights; None for zeros.
        engine: "auto" compiles where the policy runs on JAX and JAX is installed.

    Raises:
        EmptyLog, InvalidLog: a log without rows, or with a bad one, by its number. Nothing has been learned then.
    """
    one_of("learn_from", learn_from, ("all", "matched", "none"))
    check_log(log)
    engine = loop.choose_engine(policy, engine)
    if state is None:
        state = loop.init(policy, np.zeros(log.context.features.shape[-1]) if prior is None else prior)
    step = _step(policy, learn_from)  # type: ignore[arg-type]  # a frozen config is hashable
    state, (decision, matched) = loop.run(step, state, log, engine=engine, seed=seed, stream=loop.REPLAY)
    return Replay(state, decision, matched)


def step_of(policy: Policy[Any], learn_from: LearnFrom) -> loop.Step:
    """Returns one round of a replay: carries the state, gives the decision and whether it matched."""

    def step(state: Any, rng: Rng, logged: Interaction) -> tuple[Any, tuple[Decision, Array]]:
        decision = decide(policy, state, rng, logged.context)
        matched = decision.action == logged.action
        if learn_from == "all":
            state = policy.update(state, logged)
        elif learn_from == "matched":
            # A round of weight 0 leaves a policy's state as it was: recsdk.testing holds every policy to that.
            state = policy.update(state, logged._replace(weight=logged.weight * matched.astype("float64")))
        return state, (decision, matched)

    return step


_step = functools.lru_cache(maxsize=128)(step_of)  # one function object per question, so that it is compiled once
