"""Estimators that weight each logged reward by the importance: how much likelier the target policy makes the logged action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from recsdk.checks import number
from recsdk.errors import InvalidLog, InvalidProbs, InvalidValue
from recsdk.ope.checked import Rounds, need
from recsdk.ope.terms import Terms, average
from recsdk.rounding import given_probs

Shrink = Callable[[np.ndarray], np.ndarray]
"""A function from importance weights f64[T] to the weights that are used, f64[T]."""


def unshrunk(importance: np.ndarray) -> np.ndarray:
    """Leaves the weights as they are, which is unbiased.

    Example:
        >>> unshrunk(np.array([0.5, 30.0]))
        array([ 0.5, 30. ])
    """
    return importance


@attrs.frozen(kw_only=True)
class Clip:
    """Clipping of the weights at a limit: min(rho, limit).

    Attributes:
        limit: > 0; the higher, the less bias.

    Example:
        >>> Clip(limit=10)(np.array([0.5, 30.0]))
        array([ 0.5, 10. ])

    References:
        Ionides, "Truncated importance sampling", Journal of Computational and Graphical Statistics, 2008.
    """

    limit: float = attrs.field(validator=number(above=0))

    @classmethod
    def with_limit(cls, limit: float) -> Clip:
        """Returns the shrinkage whose largest weight is `limit`."""
        return cls(limit=limit)

    def __call__(self, importance: np.ndarray) -> np.ndarray:
        """Returns the shrunk weights f64[T] from f64[T]."""
        clipped: np.ndarray = np.minimum(importance, self.limit)
        return clipped


@attrs.frozen(kw_only=True)
class Switch:
    """Weight 0 where the weight is above a threshold. `dr` is then Switch-DR, which leaves those rounds to the reward model.

    Attributes:
        threshold: > 0; the higher, the less bias.

    Example:
        >>> Switch(threshold=10)(np.array([0.5, 30.0]))
        array([0.5, 0. ])

    References:
        Wang, Agarwal, Dudik, "Optimal and adaptive off-policy evaluation in contextual bandits", ICML, 2017.
    """

    threshold: float = attrs.field(validator=number(above=0))

    @classmethod
    def with_limit(cls, limit: float) -> Switch:
        """Returns the shrinkage whose largest weight is `limit`."""
        return cls(threshold=limit)

    def __call__(self, importance: np.ndarray) -> np.ndarray:
        """Returns the shrunk weights f64[T] from f64[T]."""
        return np.where(importance <= self.threshold, importance, 0.0)


@attrs.frozen(kw_only=True)
class Optimistic:
    """Shrinkage that minimises a bound on the error: strength rho / (rho^2 + strength). `dr` is then DRos.

    Attributes:
        strength: lambda > 0; the higher, the less bias. The largest weight is sqrt(strength) / 2, at rho = sqrt(strength).

    Example:
        >>> Optimistic(strength=100)(np.array([1.0, 10.0, 100.0])).round(2)
        array([0.99, 5.  , 0.99])

    References:
        Su, Dimakopoulou, Krishnamurthy, Dudik, "Doubly robust off-policy evaluation with shrinkage", ICML, 2020.
    """

    strength: float = attrs.field(validator=number(above=0))

    @classmethod
    def with_limit(cls, limit: float) -> Optimistic:
        """Returns the shrinkage whose largest weight is `limit`."""
        return cls(strength=(2 * limit) ** 2)

    def __call__(self, importance: np.ndarray) -> np.ndarray:
        """Returns the shrunk weights f64[T] from f64[T]."""
        return self.strength * importance / (importance**2 + self.strength)


@attrs.frozen(kw_only=True)
class SubGaussian:
    """Weighted harmonic mean of the weight and 1: rho / (1 - share + share rho). Errors have a light tail even if weights have not.

    Attributes:
        share: lambda in (0, 1]; the lower, the less bias. No weight is above 1 / share.

    Example:
        >>> SubGaussian(share=0.1)(np.array([1.0, 10.0, 1e9])).round(2)
        array([ 1.  ,  5.26, 10.  ])

    References:
        Metelli, Russo, Restelli, "Subgaussian and differentiable importance sampling for off-policy evaluation and learning", NeurIPS,
        2021: their power mean ((1 - lambda) rho^s + lambda)^(1/s), with s = -1.
    """

    share: float = attrs.field(validator=number(above=0, at_most=1))

    @classmethod
    def with_limit(cls, limit: float) -> SubGaussian:
        """Returns the shrinkage whose largest weight is `limit`, >= 1."""
        return cls(share=1 / limit)

    def __call__(self, importance: np.ndarray) -> np.ndarray:
        """Returns the shrunk weights f64[T] from f64[T]."""
        harmonic = 1 - self.share + self.share * importance
        shrunk: np.ndarray = np.divide(importance, harmonic, out=np.zeros_like(importance), where=importance > 0)
        return shrunk


def importance(rounds: Rounds) -> np.ndarray:
    """Returns f64[T], rho: target probability over propensity. Its expectation is 1 if the log covers the target and propensities are true.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> importance(beside)
        array([0.5, 1.5, 1.5, 0.5])
    """
    ratio: np.ndarray = rounds.target / rounds.propensity
    return ratio


def ips(rounds: Rounds, *, shrink: Shrink = unshrunk) -> Terms:
    """Inverse propensity scoring, mean(rho r): unbiased if the log covers the target; its variance grows with the weights.

    It gives 0 for a policy that takes none of the logged actions: `evaluate` refuses that.

    Args:
        rounds: from `rounds`.
        shrink: how to make weights smaller, for some bias: `Clip`, `Switch`, `Optimistic`, `SubGaussian`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> from recsdk.ope import value
        >>> value(ips(beside))
        0.5

    References:
        Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe", JASA, 1952.
    """
    return average(shrink(importance(rounds)) * rounds.reward, rounds.weight)


def snips(rounds: Rounds, *, shrink: Shrink = unshrunk) -> Terms:
    """Self-normalised IPS, sum(rho r) / sum(rho): biased by O(1/T), of less variance.

    It stays within the range of the rewards, and shifts as they do.

    Args:
        rounds: from `rounds`.
        shrink: as in `ips`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> from recsdk.ope import value
        >>> value(snips(beside))
        0.5

    References:
        Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning", NIPS, 2015.
    """
    return average(rounds.reward, rounds.weight * shrink(importance(rounds)))


def matched_mean(rounds: Rounds) -> Terms:
    """The mean reward of the rounds in which the target policy would have taken the logged action.

    A replayed policy matches where it drew the logged action (`rounds.matched`), and may have learned from those rounds; a
    target given by its probabilities matches each round by the probability of the logged action.

    Raises:
        InvalidLog: if the log is not uniformly random. Then the rounds that match are those the logging policy preferred, and the
            answer is biased: on the Open Bandit data by 54 %.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> from recsdk.ope import value
        >>> value(matched_mean(beside))
        0.5

    References:
        Li, Chu, Langford and Wang, "Unbiased offline evaluation of contextual-bandit-based news article recommendation
        algorithms", WSDM, 2011.
    """
    uniform = 1 / rounds.mask.sum(1)
    skewed = abs(rounds.propensity / uniform - 1) > 1e-9
    if skewed.any():
        row = int(skewed.argmax())
        raise InvalidLog(
            f"matched needs a log of uniformly random choices: propensity[{row}] must be {uniform[row]:.6g}, got "
            f"{rounds.propensity[row]:.6g}. Use snips or dr."
        )
    match = rounds.target if rounds.matched is None else rounds.matched
    return average(rounds.reward, rounds.weight * match)


def mips(rounds: Rounds, *, logging: Any, likelihood: Any) -> Terms:
    """Marginalised IPS, mean(r pi(e) / p(e)): weights of an embedding e of the item, in place of those of the item itself.

    It is unbiased if the item affects the reward through e alone. It has less variance than IPS where weights vary among items of one e,
    and the log need not cover each item, only items with the same e.

    Args:
        rounds: from `rounds`, with the target's whole distribution.
        logging: f64[T, K], the whole distribution of the policy that wrote the log.
        likelihood: f64[T, K] >= 0, how likely each candidate would have shown the embedding that was logged, p(e | x, a): 1 or 0 for
            categories, see `same_category`, a kernel's density for vectors. Positive for the logged action.

    Raises:
        InvalidProbs: a row of `logging` that is no distribution, or gives the logged action another probability than the log does.
        InvalidValue: a bad `likelihood`, or no whole distribution of the target.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> from recsdk.ope import value
        >>> value(mips(beside, logging=[[0.5, 0.5]] * 4, likelihood=same_category(beside, [7, 7])))
        0.5

    References:
        Saito, Joachims, "Off-policy evaluation for large action spaces via embeddings", ICML, 2022.
    """
    probs = need("the target's whole distribution, float64[T, K]", rounds.probs, "mips")
    logging, likelihood = given_probs("logging", logging, rounds.mask).values, np.asarray(likelihood, np.float64)
    rows = np.arange(len(rounds.action))
    wrong = ~np.isclose(logging[rows, rounds.action], rounds.propensity, rtol=1e-6, atol=0)
    if wrong.any():
        row = int(wrong.argmax())
        found = logging[row, rounds.action[row]]
        raise InvalidProbs(f"logging[{row}] must give the logged action its propensity {rounds.propensity[row]:.6g}, got {found:.6g}.")
    if likelihood.shape != probs.shape or not ((likelihood >= 0) & (likelihood < np.inf)).all():
        raise InvalidValue(f"likelihood must be float64{list(probs.shape)}, finite and >= 0, got {list(likelihood.shape)}.")
    if not (likelihood[rows, rounds.action] > 0).all():
        row = int((likelihood[rows, rounds.action] <= 0).argmax())
        raise InvalidValue(f"likelihood[{row}] must be > 0 for the logged action, got {likelihood[row, rounds.action[row]]}.")
    weights = np.einsum("tk,tk->t", probs, likelihood) / np.einsum("tk,tk->t", logging, likelihood)
    return average(weights * rounds.reward, rounds.weight)


def same_category(rounds: Rounds, category: Any) -> np.ndarray:
    """Returns f64[T, K], 1 for the candidates of the logged item's category and 0 for others: a `likelihood` for `mips`.

    Args:
        rounds: from `rounds`.
        category: i64[N], of each catalogue slot.

    Raises:
        InvalidValue: no category for an item of the log.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> same_category(beside, [3, 5])[0]
        array([1., 0.])
    """
    category, num_slots = np.asarray(category), int(rounds.item[rounds.mask].max()) + 1
    if category.ndim != 1 or len(category) < num_slots:
        raise InvalidValue(f"category must have one entry for each of {num_slots} slots, got {list(category.shape)}.")
    of_candidate = category[np.where(rounds.mask, rounds.item, 0)]
    logged = of_candidate[np.arange(len(rounds.action)), rounds.action]
    same: np.ndarray = (of_candidate == logged[:, None]) & rounds.mask
    return same.astype(np.float64)
