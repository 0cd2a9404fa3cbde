"""Off-policy evaluation of slates: several items shown at once."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Context, Policy
from recsdk.errors import InvalidLog, InvalidValue
from recsdk.ope.checked import Rounds, need, refuse_copies
from recsdk.ope.terms import Terms, average

MAX_SLATES = 20_000


class Slates(NamedTuple):
    """A checked log of S slates of up to L positions beside a target policy. Padding: action 0, reward 0, ratio 1, model 0.

    Attributes:
        action: i64[S, L], index of the candidate at each position.
        reward: f64[S, L], of each position.
        weight: f64[S], how many rounds each slate stands for.
        ratio: f64[S, L], the target's probability of each position's item over its propensity, both given the items above.
        expected: f64[S, L], what the reward model expects of the target at each position, or None.
        predicted: f64[S, L], what it predicts for the item that was shown, or None.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds, value
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 0.0, 1.0], "propensity": [0.5, 1.0, 0.5, 1.0]})
        >>> slates = gather(rounds(log, [0.8, 1.0, 0.2, 1.0]), np.array([0, 1, 0, 1]))
        >>> slates.ratio
        array([[1.6, 1. ],
               [0.4, 1. ]])
    """

    action: np.ndarray
    reward: np.ndarray
    weight: np.ndarray
    ratio: np.ndarray
    expected: np.ndarray | None = None
    predicted: np.ndarray | None = None


def gather(rounds: Rounds, position: Any) -> Slates:
    """Collects the rows of each slate, as `recsdk.simulate_slates` and `recsdk.decide_slate` log them.

    Args:
        rounds: a row for each position, those of a slate together from the top; propensities and the target's probabilities are
            conditional on the items above. A slate stands for as many rounds as its top row. For `cascade_dr` q_hat is what a candidate
            and the positions below it are expected to earn.
        position: i64[T], from 0 at the top.

    Raises:
        InvalidLog: positions that do not run from 0 in steps of 1, or a slate's reward that was copied to each of its positions.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds, value
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 0.0, 1.0], "propensity": [0.5, 1.0, 0.5, 1.0]})
        >>> slates = gather(rounds(log, [0.8, 1.0, 0.2, 1.0]), np.array([0, 1, 0, 1]))
        >>> slates.reward
        array([[1., 0.],
               [0., 1.]])
    """
    position = np.asarray(position)
    if position.shape != rounds.action.shape or position.dtype != np.int64:
        raise InvalidLog(f"position must be int64[{len(rounds.action)}], got {position.dtype}{list(position.shape)}.")
    bad = (position != 0) & (position != np.concatenate([[-1], position[:-1]]) + 1)
    if bad.any() or position[0] != 0:
        row = int(bad.argmax())
        raise InvalidLog(f"position must be 0 or one more than in the row before, got {position[row]} in row {row}.")
    slate = (position == 0).cumsum() - 1
    refuse_copies(slate, rounds.reward)
    shape = int(slate[-1]) + 1, int(position.max()) + 1

    def spread(column: np.ndarray, padding: float) -> np.ndarray:
        spread_out = np.full(shape, padding, column.dtype)
        spread_out[slate, position] = column
        return spread_out

    expected = predicted = None
    if rounds.q_hat is not None and rounds.probs is not None:
        expected = spread(np.einsum("tk,tk->t", rounds.probs, rounds.q_hat), 0)
        predicted = spread(rounds.q_hat[np.arange(len(slate)), rounds.action], 0)
    return Slates(
        action=spread(rounds.action, 0),
        reward=spread(rounds.reward, 0),
        weight=rounds.weight[position == 0],
        ratio=spread(rounds.target / rounds.propensity, 1),
        expected=expected,
        predicted=predicted,
    )


def slate_ips(slates: Slates) -> Terms:
    """IPS of whole slates, mean(rho_1 ... rho_L sum_l r_l): unbiased however positions affect one another; the weights multiply.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds, value
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 0.0, 1.0], "propensity": [0.5, 1.0, 0.5, 1.0]})
        >>> slates = gather(rounds(log, [0.8, 1.0, 0.2, 1.0]), np.array([0, 1, 0, 1]))
        >>> value(slate_ips(slates))
        1.0
    """
    return average(slates.ratio.prod(1) * slates.reward.sum(1), slates.weight)


def slate_snips(slates: Slates) -> Terms:
    """Self-normalised `slate_ips`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds, value
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 0.0, 1.0], "propensity": [0.5, 1.0, 0.5, 1.0]})
        >>> slates = gather(rounds(log, [0.8, 1.0, 0.2, 1.0]), np.array([0, 1, 0, 1]))
        >>> value(slate_snips(slates))
        1.0
    """
    return average(slates.reward.sum(1), slates.weight * slates.ratio.prod(1))


def independent_ips(slates: Slates, *, ratio: Any) -> Terms:
    """IPS of each position by itself, mean(sum_l rho_l r_l): unbiased if a position's reward depends on no other position.

    Args:
        slates: from `gather`.
        ratio: f64[S, L], the target's probability of showing that item at that position over the logging policy's, averaged over the
            items above; those in the log are given the items above: see `slate_moments`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds, value
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 0.0, 1.0], "propensity": [0.5, 1.0, 0.5, 1.0]})
        >>> slates = gather(rounds(log, [0.8, 1.0, 0.2, 1.0]), np.array([0, 1, 0, 1]))
        >>> value(independent_ips(slates, ratio=[[1.6, 1.6], [0.4, 0.4]]))
        1.0

    References:
        Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay, Wen, "Offline evaluation of ranking policies with click models", KDD, 2018: item-
        position model.
    """
    ratio = np.asarray(ratio, np.float64)
    if ratio.shape != slates.reward.shape or not ((ratio >= 0) & (ratio < np.inf)).all():
        raise InvalidValue(f"ratio must be float64{list(slates.reward.shape)}, finite and >= 0, got {ratio.dtype}{list(ratio.shape)}.")
    return average((ratio * slates.reward).sum(1), slates.weight)


def interaction_ips(slates: Slates) -> Terms:
    """Reward-interaction IPS, mean(sum_l rho_1 ... rho_l r_l): unbiased if no position affects those above it.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds, value
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 0.0, 1.0], "propensity": [0.5, 1.0, 0.5, 1.0]})
        >>> slates = gather(rounds(log, [0.8, 1.0, 0.2, 1.0]), np.array([0, 1, 0, 1]))
        >>> value(interaction_ips(slates))
        1.0

    References:
        McInerney, Brost, Chandar, Mehrotra, Carterette, "Counterfactual evaluation of slate recommendations with sequential reward
        interactions", KDD, 2020: RIPS, before it is normalised.
    """
    return average((slates.ratio.cumprod(1) * slates.reward).sum(1), slates.weight)


def interaction_snips(slates: Slates) -> Terms:
    """Self-normalised RIPS, sum_l of sum(rho_1 ... rho_l r_l) / sum(rho_1 ... rho_l): a ratio for each position.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds, value
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 0.0, 1.0], "propensity": [0.5, 1.0, 0.5, 1.0]})
        >>> slates = gather(rounds(log, [0.8, 1.0, 0.2, 1.0]), np.array([0, 1, 0, 1]))
        >>> round(value(interaction_snips(slates)), 6)
        1.0
    """
    weights = slates.weight[:, None] * slates.ratio.cumprod(1)
    return Terms(np.asfortranarray(weights * slates.reward), np.asfortranarray(weights))


def cascade_dr(slates: Slates) -> Terms:
    """Cascade-DR, mean(sum_l rho_1 ... rho_l (r_l - q_l) + rho_1 ... rho_{l-1} sum_a pi(a) q_l(a)): unbiased as `interaction_ips`.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds, value
        >>> log = log_from_frame({"action": [0, 1], "reward": [1.0, 0.0], "propensity": [0.5, 1.0]})
        >>> beside = rounds(log, [[1.0, 0.0], [0.0, 1.0]], q_hat=[[0.5, 0.5], [0.0, 0.0]])
        >>> value(cascade_dr(gather(beside, np.array([0, 1]))))
        1.5

    References:
        Kiyohara, Saito, Matsuhiro, Narita, Shimizu, Yamamoto, "Doubly robust off-policy evaluation for ranking policies under the cascade
        behavior model", WSDM, 2022.
    """
    expected = need("q_hat and the target's whole distribution", slates.expected, "cascade_dr")
    predicted = need("q_hat and the target's whole distribution", slates.predicted, "cascade_dr")
    upto = slates.ratio.cumprod(1)
    above = np.concatenate([np.ones((len(upto), 1)), upto[:, :-1]], axis=1)
    return average((upto * (slates.reward - predicted) + above * expected).sum(1), slates.weight)


class SlateMoments(NamedTuple):
    """Probabilities that a policy shows items at positions.

    Attributes:
        first: f64[..., L, K], the probability of each candidate at each position.
        second: f64[..., L * K, L * K], of each pair of these, E[1_s 1_s^T].

    Example:
        >>> shown, chance = plackett_luce(np.array([0.5, 0.5]), 1)
        >>> slate_moments(shown, chance, 2).first
        array([[0.5, 0.5]])
    """

    first: np.ndarray
    second: np.ndarray


def slate_moments(shown: np.ndarray, chance: np.ndarray, num_candidates: int) -> SlateMoments:
    """Returns the moments of a distribution over slates.

    Args:
        shown: i64[N, L], every slate.
        chance: f64[..., N], the probability of each.
        num_candidates: K.

    Example:
        >>> slate_moments(np.array([[0, 1], [1, 0]]), np.array([0.8, 0.2]), 2).first
        array([[0.8, 0.2],
               [0.2, 0.8]])
    """
    columns = np.arange(shown.shape[1]) * num_candidates + shown
    indicator = np.zeros((len(shown), shown.shape[1] * num_candidates))
    np.put_along_axis(indicator, columns, 1, axis=1)
    first = (chance @ indicator).reshape(*chance.shape[:-1], shown.shape[1], num_candidates)
    return SlateMoments(first, np.einsum("...n,ni,nj->...ij", chance, indicator, indicator, optimize=True))


def plackett_luce(probs: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists every slate drawn from the top by one distribution, each position from the remaining items, as `decide_slate` does.

    Args:
        probs: f64[..., K], equal ones for random slates.
        size: L.

    Returns:
        i64[N, L], every slate, and f64[..., N], the probability of each.

    Raises:
        InvalidValue: more than 20,000 slates.

    Example:
        >>> shown, chance = plackett_luce(np.array([0.5, 0.3, 0.2]), 2)
        >>> shown[0], chance[0].round(3)
        (array([0, 1]), np.float64(0.3))
    """
    shown = _permutations(probs.shape[-1], size)
    chosen = probs[..., shown]
    remaining = 1 - (chosen.cumsum(-1) - chosen)
    steps = np.divide(chosen, remaining, out=np.zeros_like(chosen), where=chosen > 0)
    return shown, steps.prod(-1)


def every_slate(policy: Policy[Any], state: Any, context: Context, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists every slate that `decide_slate` may fill for one context.

    Args:
        policy: one that draws no random numbers: its distribution is a function of its state.
        state: from `policy.init` or `policy.update`; not consumed.
        context: one round, on NumPy.
        size: L.

    Returns:
        As `plackett_luce`; 0 for slates with padding.

    Raises:
        InvalidValue: more than 20,000 slates, or a policy that draws numbers.

    Example:
        >>> from recsdk import Uniform
        >>> context = Context(np.ones((3, 1)), np.ones(3, np.bool_), np.arange(3))
        >>> every_slate(Uniform(), Uniform().init(np.zeros(1)), context, 1)[1].round(3)
        array([0.333, 0.333, 0.333])
    """
    shown, chance = _permutations(len(context.mask), size), {(): 1.0}
    for length in range(1, size + 1):
        for row in dict.fromkeys(map(tuple, shown[:, : length - 1].tolist())):
            probs = _below(policy, state, context, row) if chance[row] else np.zeros(len(context.mask))
            chance |= {(*row, item): chance[row] * float(probs[item]) for item in range(len(probs)) if item not in row}
    return shown, np.array([chance[row] for row in map(tuple, shown.tolist())])


def _below(policy: Policy[Any], state: Any, context: Context, above: tuple[int, ...]) -> np.ndarray:
    mask = context.mask.copy()
    mask[list(above)] = False
    if not mask.any():
        return np.zeros(len(mask))
    return np.asarray(policy.probs(state, _Numbers(), context._replace(mask=mask)))


class _Numbers:
    """`Rng` for policies that must not draw."""

    def random(self, shape: Any = None) -> Any:
        raise InvalidValue("policy must draw no numbers of its own for its slates to be listed, got one that asks for them.")

    standard_normal = random


def _permutations(num_candidates: int, size: int) -> np.ndarray:
    if not 1 <= size <= num_candidates or math.perm(num_candidates, size) > MAX_SLATES:
        raise InvalidValue(f"size must be in [1, {num_candidates}] with at most {MAX_SLATES} slates to list, got {size}.")
    return np.array(list(itertools.permutations(range(num_candidates), size)))


def pseudo_inverse(slates: Slates, *, target: np.ndarray, logging: np.ndarray) -> Terms:
    """PI, mean((sum_l r_l) q^T Gamma^+ 1_s): unbiased if the expected reward is a sum over positions of one term for the item there.

    It needs only the reward of the whole slate, and its weights grow with L K, not as K^L.

    Args:
        slates: from `gather`.
        target: f64[S, L, K] or f64[L, K], q: `SlateMoments.first` of the target policy.
        logging: f64[S, L K, L K] or f64[L K, L K], Gamma: `SlateMoments.second` of the policy that wrote the log. Both are 0
            where a slate has no such position.

    Raises:
        InvalidValue: moments of another shape.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds, value
        >>> log = log_from_frame({"action": [0, 1], "reward": [1.0, 0.0], "propensity": [0.5, 0.5]})
        >>> slates = gather(rounds(log, [0.8, 0.2]), np.array([0, 0]))
        >>> logging = slate_moments(*plackett_luce(np.array([0.5, 0.5]), 1), 2).second
        >>> round(value(pseudo_inverse(slates, target=np.array([[0.8, 0.2]]), logging=logging)), 6)
        0.8

    References:
        Swaminathan, Krishnamurthy, Agarwal, Dudik, Langford, Jose, Zitouni, "Off-policy evaluation for slate recommendation", NIPS, 2017.
    """
    (num_slates, size), num_candidates = slates.reward.shape, target.shape[-1]
    width = size * num_candidates
    if target.shape[-2] != size or logging.shape[-2:] != (width, width) or slates.action.max() >= num_candidates:
        raise InvalidValue(f"target must be float64[..., {size}, K] and logging float64[..., {size} K, {size} K], got {target.shape}.")
    weights = np.einsum("...i,...ij->...j", target.reshape(*target.shape[:-2], width), np.linalg.pinv(logging, hermitian=True))
    columns = np.arange(size) * num_candidates + slates.action
    chosen = np.take_along_axis(np.broadcast_to(weights, (num_slates, width)), columns, axis=1)
    return average(chosen.sum(1) * slates.reward.sum(1), slates.weight)
