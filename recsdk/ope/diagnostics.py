"""How far a log can answer for a target policy."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from recsdk.ope._rounds import Rounds
from recsdk.ope.estimate import delta
from recsdk.ope.terms import average, value

# Below this effective size normal intervals fall short of their level: 95 % cover 93 % at 37, 72 % at 4 (test_coverage.py).
CAUTION_SIZE = 1000
REFUSE_SIZE = 10
# The target's mass on actions that the log never took: every point of it can be wrong by the whole range of the reward.
CAUTION_UNSUPPORTED = 0.01
REFUSE_UNSUPPORTED = 0.1
REFUSE_Z = 4.0  # by chance once in 16,000
CAUTION_SHARE = 0.1  # of all rounds, that one may weigh as much as

Verdict = Literal["trust", "caution", "refuse"]


class Diagnostics(NamedTuple):
    """Overlap of a log with a target policy.

    Attributes:
        num_rounds: rows of the log.
        num_matched: rows whose action the target policy could have taken.
        effective_size: Kish's effective sample size of the importance weights, in [0, T].
        max_weight: the largest importance weight.
        mean_weight: 1 in expectation, when the propensities are true and the log covers the target.
        mean_weight_z: standard errors by which `mean_weight` is off 1.
        unsupported_mass: the target's mass on items that the log never took, averaged over the rounds; NaN when only the
            target's probabilities of the logged actions are known.
    """

    num_rounds: int
    num_matched: int
    effective_size: float
    max_weight: float
    mean_weight: float
    mean_weight_z: float
    unsupported_mass: float


class Judgement(NamedTuple):
    """What the diagnostics mean.

    Attributes:
        verdict: "trust"; "caution", the estimates may be off by more than their intervals say; "refuse", they mean nothing.
        reasons: why, the gravest first.
    """

    verdict: Verdict
    reasons: tuple[str, ...]


def diagnose(rounds: Rounds) -> Diagnostics:
    """Measures the overlap of log and target. Never raises: it is asked most when there is none."""
    importance = rounds.target / rounds.propensity
    size = (weights := rounds.weight * importance).sum() ** 2 / max((weights**2).sum(), np.finfo(np.float64).tiny)
    mean = delta(average(importance, rounds.weight))
    error = mean.value - 1
    return Diagnostics(
        num_rounds=len(importance),
        num_matched=int(np.count_nonzero(rounds.target)),
        effective_size=float(size),
        max_weight=float(importance.max()),
        mean_weight=mean.value,
        # At a target equal to the logger both are rounding errors, and their ratio is noise.
        mean_weight_z=0.0 if abs(error) <= 1e-9 else error / mean.stderr if mean.stderr else math.copysign(math.inf, error),
        unsupported_mass=_unsupported_mass(rounds),
    )


def judge(diagnostics: Diagnostics) -> Judgement:
    """Says what the diagnostics mean, and why."""
    found = diagnostics
    rate = f"{found.unsupported_mass:.1%} of what the target policy does is on items that the log never took"
    size = f"effective size is {found.effective_size:.1f} of {found.num_rounds} rounds"
    refuse = [
        (found.effective_size == 0, "no round has an action that the target policy could have taken"),
        (found.unsupported_mass > REFUSE_UNSUPPORTED, f"{rate}, above {REFUSE_UNSUPPORTED:.0%}"),
        (found.effective_size < REFUSE_SIZE, f"{size}, below {REFUSE_SIZE}"),
        (
            abs(found.mean_weight_z) > REFUSE_Z,
            f"mean weight is {found.mean_weight:.4g}, {found.mean_weight_z:+.1f} standard errors off 1: propensities are likely "
            "wrong, or the log does not cover what the target policy does",
        ),
    ]
    caution = [
        (found.unsupported_mass > CAUTION_UNSUPPORTED, f"{rate}, above {CAUTION_UNSUPPORTED:.0%}"),
        (
            math.isnan(found.unsupported_mass),
            "target mass on items that the log never took is unknown: give the target's whole distribution",
        ),
        (found.effective_size < CAUTION_SIZE, f"{size}, below {CAUTION_SIZE}: normal intervals cover less than they claim"),
        (
            found.max_weight > CAUTION_SHARE * found.num_rounds,
            f"largest weight is {found.max_weight:.4g}, above {CAUTION_SHARE:.0%} of {found.num_rounds} rounds: one of them decides",
        ),
    ]
    if reasons := tuple(reason for holds, reason in refuse if holds):
        return Judgement("refuse", reasons)
    reasons = tuple(reason for holds, reason in caution if holds)
    return Judgement("caution" if reasons else "trust", reasons)


def _unsupported_mass(rounds: Rounds) -> float:
    if rounds.probs is None:
        return math.nan
    taken = np.unique(np.take_along_axis(rounds.item, rounds.action[:, None], axis=1)[rounds.weight > 0])
    mass = np.where(np.isin(rounds.item, taken), 0.0, rounds.probs).sum(1)
    return value(average(mass, rounds.weight))
