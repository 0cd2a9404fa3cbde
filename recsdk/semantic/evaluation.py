"""What another tree policy would have earned: a walk is a slate of codes, whose reward comes with its last place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recsdk.checks import plain_array
from recsdk.errors import InvalidProbs, InvalidPropensity, InvalidScores, InvalidValue
from recsdk.ope.slates import Slates
from recsdk.semantic.policy import Walk


def as_slates(walks: Sequence[Walk], reward: Any, steps: Any, *, predicted: Any = None, value: Any = None) -> Slates:
    """Returns walks beside a target policy, for `slate_ips`, `slate_snips` and, with a model of the reward, `cascade_dr`.

    The importance weight of a walk is the product of its steps' ratios, which is the ratio of the two policies' probabilities of the item.
    So no column is needed for each of a million items.

    A model by first code suffices: with the expected rewards `codes` f64[size], `predicted` is that of the drawn item's first code, and
    `value` is `policy.first(...) @ codes`. A coarse model makes an estimate less narrow, but no less true.

    Args:
        walks: S walks of one number of steps.
        reward: f64[S].
        steps: f64[S, levels + 1], of each drawn item, from the target's `TreePolicy.steps`.
        predicted: f64[S], the reward of the drawn items by a model that has not seen these walks.
        value: f64[S], what the target earns by the same model, from the whole catalogue.

    Raises:
        InvalidValue: no walks, or `reward` or `steps` of another shape.
        InvalidProbs, InvalidPropensity, InvalidScores: a step, a logged step or a prediction out of its range.

    Example:
        >>> import recsdk
        >>> from recsdk.ope import delta
        >>> from recsdk.ope.slates import slate_ips
        >>> from recsdk.semantic import TreePolicy, build, fit
        >>> vectors = np.random.default_rng(0).standard_normal((1000, 4)).astype(np.float32)
        >>> tree, user, rng = build(fit(vectors, levels=2, size=8), vectors), np.ones(4, np.float32), np.random.default_rng(0)
        >>> logger, target = TreePolicy(policy=recsdk.Boltzmann(temperature=2.0)), TreePolicy(policy=recsdk.Boltzmann(temperature=1.5))
        >>> walks = [logger.decide(logger.init(tree), rng, tree, user) for _ in range(400)]
        >>> steps = [target.steps(target.init(tree), rng, tree, user, walk.item) for walk in walks]
        >>> found = delta(slate_ips(as_slates(walks, np.ones(400), steps)))  # where each item earns 1
        >>> found.low < 1 < found.high
        True
    """
    logged = np.array([walk.steps for walk in walks], np.float64)
    if logged.ndim != 2:
        raise InvalidValue("walks must be at least one, got none.")
    target, reward = plain_array("steps", steps).astype(np.float64), plain_array("reward", reward).astype(np.float64)
    if target.shape != logged.shape or reward.shape != logged.shape[:1] or not np.isfinite(reward).all():
        wanted = f"steps must be f64{list(logged.shape)} and reward f64[{len(logged)}], finite"
        raise InvalidValue(f"{wanted}, got {list(target.shape)} and {list(reward.shape)}.")
    for name, given, good, error in (
        ("steps", target, (target >= 0) & (target <= 1), InvalidProbs),
        ("the steps of walks", logged, (logged > 0) & (logged <= 1), InvalidPropensity),
    ):
        if not good.all():
            raise error(
                f"{name} must be probabilities, of a walk above 0, got {given[~good][0]} in row {int((~good).any(axis=1).argmax())}."
            )
    rewards = np.zeros_like(logged)
    rewards[:, -1] = reward
    slates = Slates(np.zeros(logged.shape, np.int64), rewards, np.ones(len(logged)), target / logged)
    if predicted is None and value is None:
        return slates
    model = np.array([plain_array(name, given) for name, given in (("predicted", predicted), ("value", value))], np.float64)
    if model.shape != (2, len(logged)) or not np.isfinite(model).all():
        raise InvalidScores(f"predicted and value must both be f64[{len(logged)}], finite.")
    shown = np.repeat(model[0][:, None], logged.shape[1], axis=1)
    return slates._replace(predicted=shown, expected=np.concatenate([model[1][:, None], shown[:, 1:]], axis=1))
