"""The law that the log depends on: what is logged as a propensity is how often the action is drawn.

Counting per item has no power to see a wrong propensity: errors of opposite sign cancel. So the draws are counted in bins of the logged
propensity, and importance weights towards targets that the policy knows nothing of must have mean 1.

Both are martingales, so they are judged by Freedman's inequality, which holds for any propensities, also those too small for a z-score.

References:
    Freedman, On Tail Probabilities for Martingales, Annals of Probability 1975, theorem 1.6.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from recsdk import base
from recsdk.base import Context, Policy
from recsdk.testing import inputs, states
from recsdk.testing.states import brief, name, on_numpy

DIM = 5
NUM_FROZEN = 2000
NUM_LEARNING = 6000
NUM_RECOMPUTED = 50
MAX_BINS = 20
LEAST_VARIANCE = 50.0
"""Of the number of draws in a bin."""

LEAST_WEIGHED = 0.01
"""Smaller propensities are left to the bins: their weights are too large to tell anything."""

LOG_CERTAINTY = float(np.log(2e5))
"""Of a refusal: an honest policy fails one of the hundred comparisons with a probability below 1e-3."""


class Draws(NamedTuple):
    """What `decide` logged.

    Attributes:
        features: f64[T, K, D].
        mask: bool[T, K].
        action: i64[T].
        propensity: f64[T].
        probs: f64[T, K].
    """

    features: np.ndarray
    mask: np.ndarray
    action: np.ndarray
    propensity: np.ndarray
    probs: np.ndarray


def check_honesty(policy: Policy[Any]) -> None:
    """Over many draws, at rest and while learning, the frequency of an action is its logged propensity, which is the policy's own."""
    policy = on_numpy(policy)
    for num in (2, 3, 17):
        state = states.learned(policy, inputs.log(60, 5, DIM))
        case = inputs.case(num, DIM, padded=True)
        _refuse(f"{name(policy)} at rest on {case.name}", _frozen(policy, state, case.context))
        states.close(policy, state)
    _refuse(f"{name(policy)} while learning", _learning(policy))


def _frozen(policy: Policy[Any], state: Any, context: Context) -> Draws:
    rng = np.random.default_rng(5)
    for _ in range(NUM_RECOMPUTED):
        again = copy.deepcopy(rng)
        decision = base.decide(policy, state, rng, context)
        probs = policy.probs(state, again, context)
        assert np.array_equal(decision.probs, probs), (
            f"honesty: {name(policy)}: the logged probs must be the policy's, got {brief(decision.probs)} for {brief(probs)}"
        )
        assert decision.propensity == probs[decision.action], (
            f"honesty: {name(policy)}: the logged propensity must be that of the drawn action {decision.action}, {probs[decision.action]}, "
            f"got {decision.propensity}"
        )
    return _stack((context, base.decide(policy, state, rng, context)) for _ in range(NUM_FROZEN))


def _learning(policy: Policy[Any]) -> Draws:
    def live() -> Iterator[tuple[Context, base.Decision]]:
        rng, world = np.random.default_rng(6), np.random.default_rng(7)
        truth = world.standard_normal(DIM)
        state = states.init(policy, DIM)
        for _ in range(NUM_LEARNING):
            context = Context(world.standard_normal((10, DIM)), np.ones(10, bool), np.arange(10))
            decision = base.decide(policy, state, rng, context)
            yield context, decision
            chosen = context.features[decision.action]
            reward = chosen @ truth / np.sqrt((chosen @ chosen) * (truth @ truth)) + world.uniform(-1, 1)
            assert 0 < decision.propensity <= 1, (
                f"honesty: {name(policy)} while learning: a drawn action must have a propensity in (0, 1], got {decision.propensity}"
            )
            state = base.learn(policy, state, base.Interaction(context, decision.action, reward, decision.propensity, np.float64(1)))
        states.close(policy, state)

    return _stack(live())


def _stack(rounds: Iterator[tuple[Context, base.Decision]]) -> Draws:
    kept = list(rounds)
    fields = [(context.features, context.mask, *decision) for context, decision in kept]
    return Draws(*(np.stack([np.asarray(value) for value in column]) for column in zip(*fields, strict=True)))


def _refuse(who: str, draws: Draws) -> None:
    for law in (_impossible, _bins, _weights):
        wrong = law(draws)
        assert not wrong, f"honesty: {who}: {wrong}"


def _impossible(draws: Draws) -> str:
    rounds = np.arange(len(draws.action))
    for what, logged in (("propensity", draws.propensity), ("probability", draws.probs[rounds, draws.action])):
        bad = ~((logged > 0) & (logged <= 1))
        if bad.any():
            return f"actions with a logged {what} of {logged[bad][0]} were drawn, in {bad.sum()} of {len(bad)} rounds"
    return ""


def _bins(draws: Draws) -> str:
    chosen = np.zeros(draws.probs.shape)
    chosen[np.arange(len(chosen)), draws.action] = 1
    rounds, places = np.nonzero(draws.mask)
    order = np.argsort(draws.probs[rounds, places], kind="stable")
    rounds, places = rounds[order], places[order]
    probs, hits = draws.probs[rounds, places], chosen[rounds, places]
    spread = probs * (1 - probs)
    num_bins = int(np.clip(spread.sum() // LEAST_VARIANCE, 1, MAX_BINS))
    bins = np.minimum((spread.cumsum() / max(spread.sum(), 1e-300) * num_bins).astype(int), num_bins - 1)
    expected, count = np.zeros((2, num_bins, len(chosen)))
    np.add.at(expected, (bins, rounds), probs)
    np.add.at(count, (bins, rounds), hits)
    for index in range(num_bins):
        inside, wanted, got = probs[bins == index], expected[index].sum(), count[index].sum()
        allowed = _chance(expected[index] * (1 - expected[index]), 1.0)
        if abs(got - wanted) > allowed:
            return (
                f"actions with a logged propensity in [{inside.min():.4g}, {inside.max():.4g}] must be drawn {wanted:.1f} times, "
                f"+- {allowed:.1f} by chance, got {got:.0f}"
            )
    return ""


def _weights(draws: Draws) -> str:
    rounds = np.arange(len(draws.action))
    for target, share in _targets(draws).items():
        weighed = np.where(draws.probs >= LEAST_WEIGHED, share, 0)
        expected = weighed.sum(axis=1)
        got = weighed[rounds, draws.action] / draws.propensity
        weights = np.divide(weighed, draws.probs, out=np.zeros_like(share), where=weighed > 0)
        allowed = _chance((weights * weighed).sum(axis=1) - expected**2, weights.max())
        if abs((got - expected).sum()) > allowed:
            return (
                f"the importance weights towards {target} must have mean {expected.mean():.4f}, +- {allowed / len(got):.4f} by chance, "
                f"got {got.mean():.4f}"
            )
    return ""


def _chance(variances: np.ndarray, largest: float) -> float:
    """Returns how far a sum of martingale differences may be from 0, by Freedman's inequality.

    Args:
        variances: f64[T], of each difference given what went before.
        largest: no difference is larger.
    """
    variance, tail = variances.clip(min=0).sum(), largest * LOG_CERTAINTY / 3
    # The variance of a certain event is 0 up to rounding, and so is its deviation.
    return float(tail + np.sqrt(tail**2 + 2 * variance * LOG_CERTAINTY)) if variance > 1e-9 else 1e-6


def _targets(draws: Draws) -> dict[str, np.ndarray]:
    mask = draws.mask.astype(np.float64)
    uniform = mask / mask.sum(axis=1, keepdims=True)
    first = np.zeros_like(mask)
    first[np.arange(len(mask)), draws.mask.argmax(axis=1)] = 1
    targets = {"uniform exploration": uniform, "the first place": first}
    for feature in range(3):
        tilted = mask * np.exp(np.clip(draws.features[:, :, feature], -2, 2))
        targets[f"a softmax of feature {feature}"] = tilted / tilted.sum(axis=1, keepdims=True)
    return targets
