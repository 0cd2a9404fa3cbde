"""What another policy would have earned on a log, and how far to believe it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recsdk.base import Interaction
from recsdk.errors import InsufficientOverlap, InvalidValue, one_of
from recsdk.ope._importance import ips, snips
from recsdk.ope._rounds import Rounds, rounds
from recsdk.ope.diagnostics import Diagnostics, diagnose
from recsdk.ope.estimate import Estimate, delta
from recsdk.ope.matched import matched_mean
from recsdk.ope.model_based import dm, dr
from recsdk.ope.reward_model import fit_reward_model
from recsdk.ope.terms import Terms
from recsdk.ope.verdict import Verdict, judge

if TYPE_CHECKING:
    from recsdk._replay import LearnFrom

ESTIMATORS: Mapping[str, Callable[[Rounds], Terms]] = MappingProxyType(
    {"ips": ips, "snips": snips, "dm": dm, "dr": dr, "matched": matched_mean}
)
"""Estimators by name; each takes `Rounds` and gives `Terms`."""

WITH_MODEL = ("dm", "dr")


class Evaluation(NamedTuple):
    """An answer and how far to believe it.

    Attributes:
        estimates: by estimator's name, in the order asked for.
        diagnostics: overlap of log and target.
        verdict: "trust", "caution" or, only when forced, "refuse".
        reasons: why the verdict is not "trust", the gravest first.
    """

    estimates: dict[str, Estimate]
    diagnostics: Diagnostics
    verdict: Verdict
    reasons: tuple[str, ...]


def evaluate(
    log: Interaction,
    target: Any,
    *,
    estimators: Sequence[str] = ("ips", "snips", "dr"),
    q_hat: Any = None,
    level: float = 0.95,
    force: bool = False,
    learn_from: LearnFrom = "none",
    state: Any = None,
    seed: int = 0,
) -> Evaluation:
    """Estimates what a target policy would have earned per round of a log.

    Intervals suppose that rounds do not depend on one another. A log of a policy that was learning breaks that a little; a
    floor of exploration under it keeps them valid in practice.

    Args:
        log: a log, leading T.
        target: f64[T, K], the target policy's distribution in each round; f64[T], only its probability of the logged action,
            enough for "ips" and "snips"; or a `Policy`, which is replayed over the log.
        estimators: names among `ESTIMATORS`.
        q_hat: f64[T, K], expected rewards for "dm" and "dr"; by default `fit_reward_model(log, seed=seed)`.
        level: nominal coverage of the intervals.
        force: answers also where the verdict is "refuse".
        learn_from: what a `Policy` learns from while it is replayed: "none", "matched" or "all".
        state: what a `Policy` has learnt before, consumed; by default nothing.
        seed: of a `Policy`'s draws, and of the reward model's folds.

    Raises:
        InsufficientOverlap: when the verdict is "refuse", unless forced; and when nothing at all overlaps, forced or not.
        InvalidValue: an estimator that is not known, or lacks what it needs; and all that `rounds` refuses.
    """
    if not estimators or isinstance(estimators, str):
        raise InvalidValue(f"estimators must be names among {tuple(ESTIMATORS)}, got {estimators!r}.")
    for name in estimators:
        one_of("estimators", name, ESTIMATORS)
    matched = None
    if hasattr(target, "update"):  # a policy; an array has none
        target, matched = _replay(target, log, learn_from, state, seed)
    elif state is not None or learn_from != "none":
        raise InvalidValue("state and learn_from are for a target that is a Policy; this one is given by its probabilities.")
    checked = rounds(log, target, q_hat=q_hat, matched=matched)
    diagnostics = diagnose(checked)
    verdict, reasons = judge(diagnostics)
    if verdict == "refuse" and not force:
        raise InsufficientOverlap(f"The log cannot answer for this target: {'; '.join(reasons)}. `force=True` answers all the same.")
    if diagnostics.effective_size == 0:
        raise InsufficientOverlap(f"None of {diagnostics.num_rounds} rounds has an action that the target policy could have taken.")
    if q_hat is None and any(name in WITH_MODEL for name in estimators):
        checked = checked._replace(q_hat=fit_reward_model(log, seed=seed).q_hat)
    return Evaluation({name: delta(ESTIMATORS[name](checked), level=level) for name in estimators}, diagnostics, verdict, reasons)


def _replay(policy: Any, log: Interaction, learn_from: LearnFrom, state: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from recsdk._replay import replay  # it may load JAX, which probabilities do not need

    played = replay(policy, log, learn_from=learn_from, state=state, seed=seed)
    return np.asarray(played.decision.probs), np.asarray(played.matched)
