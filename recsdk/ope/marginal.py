"""For large catalogues: weights of what items have in common, in the place of weights of items."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk.checks import given_probs
from recsdk.errors import InvalidProbs, InvalidValue
from recsdk.ope._rounds import Rounds, need
from recsdk.ope.terms import Terms, average


def mips(rounds: Rounds, *, logging: Any, likelihood: Any) -> Terms:
    """Marginalised IPS, mean(r pi(e) / p(e)): the weight of an embedding e of the item, in the place of the item's own.

    Unbiased where the item works on the reward through e alone; biased by whatever it does besides. Of less variance than IPS, by as
    much as weights vary among items of one e; and it needs items to be covered by their like only.

    Args:
        rounds: from `rounds`, with the target's whole distribution.
        logging: f64[T, K], the whole distribution of the policy that wrote the log.
        likelihood: f64[T, K] >= 0, how likely each candidate would have shown the embedding that was logged, p(e | x, a): 1 or 0 for
            categories, see `same_category`, a kernel's density for vectors. Positive for the logged action.

    Raises:
        InvalidProbs: a row of `logging` that is no distribution, or gives the logged action another probability than the log does.
        InvalidValue: a bad `likelihood`, or no whole distribution of the target.

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
    """
    category, num_slots = np.asarray(category), int(rounds.item[rounds.mask].max()) + 1
    if category.ndim != 1 or len(category) < num_slots:
        raise InvalidValue(f"category must have one entry for each of {num_slots} slots, got {list(category.shape)}.")
    of_candidate = category[np.where(rounds.mask, rounds.item, 0)]
    logged = of_candidate[np.arange(len(rounds.action)), rounds.action]
    same: np.ndarray = (of_candidate == logged[:, None]) & rounds.mask
    return same.astype(np.float64)
