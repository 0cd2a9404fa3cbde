"""The laws that the log depends on: what is logged as a propensity is how often the action is drawn.

Counting per item has no power to see a wrong propensity: errors of opposite sign cancel. So the draws are counted in bins of the logged
propensity, and importance weights towards targets that the policy knows nothing of must have mean 1.

Both are martingales, so they are judged by Freedman's inequality, which holds for any propensities, also those too small for a z-score.

References:
    Freedman, On Tail Probabilities for Martingales, Annals of Probability 1975, theorem 1.6.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from recsdk import base
from recsdk.base import Context, Policy
from recsdk.testing import inputs, states
from recsdk.testing.inputs import DIM
from recsdk.testing.states import brief, name, on_numpy
from recsdk.testing.world import NUM_ROUNDS, Draws, watched

NUM_SPREAD = 200
NUM_AT_REST = 2000
NUM_RECOMPUTED = 50
MAX_BINS = 20
LEAST_VARIANCE = 50.0
"""Of the number of draws in a bin."""

LEAST_WEIGHED = 0.01
"""Smaller propensities are left to the bins: their weights are too large to tell anything."""

LOG_CERTAINTY = float(np.log(2e5))
"""Of a refusal: an honest policy fails one of the hundred comparisons with a probability below 1e-3."""


def check_spread(policy: Policy[Any]) -> None:
    """An answer that varies with the random numbers is not certain every time: each draw would be logged with a propensity of 1."""
    policy = on_numpy(policy)
    case, rng = inputs.case(17, DIM, padded=True), np.random.default_rng(0)
    for num_updates in (0, 60):
        state = states.learned(policy, inputs.at(inputs.log(60, 5, DIM), slice(num_updates)))
        probs = np.stack([policy.probs(state, rng, case.context) for _ in range(NUM_SPREAD)])
        most = probs.mean(axis=0).max()
        assert (probs.max(axis=1) < 1).any() or most == 1, (
            f"spread: {name(policy)} on {case.name}, after {num_updates} updates: each of {NUM_SPREAD} answers was certain of one "
            f"candidate, but not of the same. The draws would be logged with a propensity of 1, where the most frequent one comes with "
            f"{most:.2g}: return the shares of several draws instead"
        )
        states.close(policy, state)


def check_draws(policy: Policy[Any]) -> None:
    """At rest, an action is drawn as often as its logged propensity says, which is the policy's own."""
    policy = on_numpy(policy)
    for num in (2, 17):
        state = states.learned(policy, inputs.log(60, 5, DIM))
        case = inputs.case(num, DIM, padded=True)
        draws = _at_rest(policy, state, case.context)
        wrong = _impossible(draws) or _bins(draws) or _weights(draws)
        assert not wrong, f"draws: {name(policy)} at rest on {case.name}: {wrong}"
        states.close(policy, state)


def check_calibration(policy: Policy[Any], *, num_rounds: int = NUM_ROUNDS) -> None:
    """While it learns, actions are drawn as often as their logged propensities say, in bins of these."""
    draws = watched(policy, num_rounds).draws  # type: ignore[arg-type]  # a frozen config is hashable
    wrong = _impossible(draws) or _bins(draws)
    assert not wrong, f"calibration: {name(policy)} in {num_rounds} rounds while learning: {wrong}"


def check_importance(policy: Policy[Any], *, num_rounds: int = NUM_ROUNDS) -> None:
    """While it learns, importance weights towards five targets that it knows nothing of have mean 1."""
    draws = watched(policy, num_rounds).draws  # type: ignore[arg-type]  # a frozen config is hashable
    wrong = _impossible(draws) or _weights(draws)
    assert not wrong, f"importance: {name(policy)} in {num_rounds} rounds while learning: {wrong}"


def _at_rest(policy: Policy[Any], state: Any, context: Context) -> Draws:
    rng, decisions = np.random.default_rng(5), []
    for number in range(NUM_AT_REST):
        again = copy.deepcopy(rng) if number < NUM_RECOMPUTED else None
        decision = base.decide(policy, state, rng, context)
        decisions.append(decision)
        if again is None:
            continue
        probs = policy.probs(state, again, context)
        assert np.array_equal(decision.probs, probs), (
            f"draws: {name(policy)}: the logged probs must be the policy's, got {brief(decision.probs)} for {brief(probs)}"
        )
        assert decision.propensity == probs[decision.action], (
            f"draws: {name(policy)}: the logged propensity must be that of the drawn action {decision.action}, {probs[decision.action]}, "
            f"got {decision.propensity}"
        )
    repeated = (np.broadcast_to(array, (NUM_AT_REST, *array.shape)) for array in (context.features, context.mask))
    return Draws(*repeated, *(np.stack([np.asarray(field) for field in fields]) for fields in zip(*decisions, strict=True)))


def _impossible(draws: Draws) -> str:
    logged = draws.probs[np.arange(len(draws.action)), draws.action]
    if (logged != draws.propensity).any():
        row = int((logged != draws.propensity).argmax())
        return f"the logged propensity must be the logged probability of the action, {logged[row]}, got {draws.propensity[row]}"
    bad = ~((logged > 0) & (logged <= 1))
    return f"actions with a logged propensity of {logged[bad][0]} were drawn, in {bad.sum()} of {len(bad)} rounds" if bad.any() else ""


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
