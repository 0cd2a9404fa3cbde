"""The verdict on an evaluation, from its diagnostics, with reasons and remedies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from recsdk.ope.diagnostics import Diagnostics
from recsdk.rounding import EXACT, apart

# Below this effective size normal intervals fall short of their level: 95 % cover 93 % at 37, 72 % at 4 (test_coverage.py).
CAUTION_SIZE = 1000
REFUSE_SIZE = 10
# The target's mass on actions that the log never took. For this share of rounds the reward is unknown.
CAUTION_UNSUPPORTED = 0.01
REFUSE_UNSUPPORTED = 0.1
REFUSE_Z = 4.0  # by chance at most once in 16,000
ITEM_Z = 4.5  # by chance at most once in 150,000
CAUTION_SHARE = 0.1  # of all rounds, that one may weigh as much as
CAUTION_REWARDS = 100
CAUTION_K = 0.7  # Vehtari et al., "Pareto smoothed importance sampling", JMLR, 2024
CAUTION_JOIN = 0.95
CAUTION_BELOW = 0.05
FLOOR = 0.05


CONDITIONAL = (
    "rows of a page are valued each given what the logging policy put above it, which the target may not: evaluate whole pages with "
    "`recsdk.ope.slates`, or the top position alone"
)

Verdict = Literal["trust", "caution", "refuse"]


class Judgement(NamedTuple):
    """Verdict on an evaluation, with its reasons.

    Attributes:
        verdict: "trust"; "caution": the estimates may be off by more than their intervals say; "refuse": they mean nothing.
        reasons: the gravest first. Each says what was found and, after a colon, what to do.

    Example:
        >>> Judgement("caution", ("effective size is 40.0 of 100 rounds: log more",)).verdict
        'caution'
    """

    verdict: Verdict
    reasons: tuple[str, ...]


def judge(diagnostics: Diagnostics) -> Judgement:
    """Judges the diagnostics: a verdict, its reasons, and what to do.

    Example:
        >>> from recsdk.datasets import log_from_frame
        >>> from recsdk.ope import rounds
        >>> log = log_from_frame({"action": [0, 1, 1, 0], "reward": [1.0, 0.0, 1.0, 0.0], "propensity": [0.5] * 4})
        >>> beside = rounds(log, [[0.25, 0.75]] * 4, q_hat=[[0.5, 0.5]] * 4)
        >>> from recsdk.ope import diagnose
        >>> judge(diagnose(beside)).verdict
        'refuse'
    """
    if reasons := tuple(_refusals(diagnostics)):
        return Judgement("refuse", reasons)
    reasons = tuple(_cautions(diagnostics))
    return Judgement("caution" if reasons else "trust", reasons)


def doubted(judgement: Judgement, doubts: Iterable[str]) -> Judgement:
    """Adds reasons for caution to a verdict."""
    reasons = tuple(doubts)
    return Judgement("caution" if reasons and judgement.verdict == "trust" else judgement.verdict, (*judgement.reasons, *reasons))


def _refusals(found: Diagnostics) -> Iterator[str]:
    if found.effective_size == 0:
        yield f"no round has an action that the target policy could have taken: {_explore(found)}"
    if _above(found.unsupported_mass, REFUSE_UNSUPPORTED):
        yield f"{_unsupported(found, REFUSE_UNSUPPORTED)}: {_explore(found)}, or leave them out of the target"
    if is_below(found.effective_size, REFUSE_SIZE):
        yield f"{_size(found, REFUSE_SIZE)}, below {REFUSE_SIZE}: {_log_more(found, found.effective_size, CAUTION_SIZE)}"
    if found.mean_weight_z > REFUSE_Z:
        yield f"{_weight(found)}, so propensities are likely wrong: {_CHECK}"
    if found.mean_weight_z < -REFUSE_Z:
        yield f"{_weight(found)}, so the log does not cover what the target policy does, or propensities are likely wrong: {_CHECK}"
    # Too high means wrong propensities. Too low may mean that, or actions so rare that none was logged.
    if found.uniform_weight_z > REFUSE_Z:
        yield f"{_uniform(found)}: {_CHECK}"
    if found.item_weight_z > ITEM_Z:
        yield f"{_item(found)}: {_CHECK}"
    if found.effective_rewards == 0 and found.effective_size:
        yield f"no reward that counts differs from the default: log more rounds, until {CAUTION_REWARDS} rewards do"


def _cautions(found: Diagnostics) -> Iterator[str]:
    if _above(found.unsupported_mass, CAUTION_UNSUPPORTED):
        yield f"{_unsupported(found, CAUTION_UNSUPPORTED)}: {_explore(found)}"
    if _above(found.below_share, CAUTION_BELOW):
        yield (
            f"{found.below_share:.0%} of the rows look like lower positions of a page, each valued given what the logging policy put above "
            "it, which the target may not: evaluate whole pages with `recsdk.ope.slates`, or the top position alone"
        )
    if math.isnan(found.unsupported_mass):
        yield "target mass on items that the log never took is unknown: give the target's whole distribution"
    if found.uniform_weight_z < -REFUSE_Z:
        yield f"{_uniform(found)}, or some actions are hardly ever taken: {_CHECK}"
    if found.item_weight_z < -ITEM_Z:
        yield (
            f"item {found.item} was taken less often than its propensities say (z = {found.item_weight_z:+.1f}): they are too high, or it "
            f"had almost no chance in some rounds: {_CHECK}"
        )
    if is_below(found.effective_size, CAUTION_SIZE):
        yield (
            f"{_size(found, CAUTION_SIZE)}, below {CAUTION_SIZE}, and normal intervals cover less than they claim: "
            f"{_log_more(found, found.effective_size, CAUTION_SIZE)}"
        )
    if is_below(found.effective_rewards, CAUTION_REWARDS):
        rewards = apart(found.effective_rewards, CAUTION_REWARDS, ".1f")
        yield (
            f"rewards other than the default count as {rewards} equal ones, below {CAUTION_REWARDS}: "
            f"{_log_more(found, found.effective_rewards, CAUTION_REWARDS)}"
        )
    if _above(found.max_weight, CAUTION_SHARE * found.num_rounds):
        yield (
            f"largest weight is {found.max_weight:.4g}, above {CAUTION_SHARE:.0%} of {found.num_rounds} rounds, so one of them decides: "
            f"{_bound(found)}"
        )
    if found.pareto_k > CAUTION_K:
        tail = apart(found.pareto_k, CAUTION_K, ".2f")
        yield (f"largest weights have a tail of Pareto k {tail}, above {CAUTION_K}, and averages of such converge slowly: {_bound(found)}")
    if is_below(found.join_rate, CAUTION_JOIN):
        joined = apart(found.join_rate, CAUTION_JOIN, ".1%")
        yield (
            f"log has {joined} of the decisions, below {CAUTION_JOIN:.0%}, and those left out may differ: "
            "put in the others with their default reward"
        )
    if abs(found.weight_drift_z) > REFUSE_Z:
        yield (
            f"mean weight of the second half is {found.weight_drift_z:+.1f} standard errors off that of the first: "
            "find out since when propensities are wrong, and evaluate the rounds before"
        )
    if abs(found.value_drift_z) > REFUSE_Z:
        yield (
            f"value of the second half is {found.value_drift_z:+.1f} standard errors off that of the first, so it is an average over a "
            "world that changes, or of a policy that learns: evaluate the latest rounds by themselves"
        )


_CHECK = "log the propensity of the draw itself, after every floor and unrounded, and leave out no rounds by what they did or earned"


def is_below(value: float, limit: float) -> bool:
    """Tells whether a number is below a limit by more than rounding: that ten equal weights count as 9.999999999999998 is no reason.

    Example:
        >>> is_below(9.999999999999998, 10), is_below(9.9, 10)
        (False, True)
    """
    return value < limit * (1 - EXACT)


def _above(value: float, limit: float) -> bool:
    return value > limit * (1 + EXACT)


def _size(found: Diagnostics, limit: float) -> str:
    return f"effective size is {apart(found.effective_size, limit, '.1f')} of {found.num_rounds} rounds"


def _weight(found: Diagnostics) -> str:
    return f"mean weight is {found.mean_weight:.4g}, where 1 is expected (z = {found.mean_weight_z:+.1f})"


def _unsupported(found: Diagnostics, limit: float) -> str:
    share = apart(found.unsupported_mass, limit, ".1%")
    return f"{share} of what the target policy does is on items that the log never took, above {limit:.0%}"


def _uniform(found: Diagnostics) -> str:
    return (
        f"mean weight of a uniform policy is {found.uniform_weight:.4g}, where 1 is expected (z = {found.uniform_weight_z:+.1f}), "
        "so propensities are likely wrong"
    )


def _item(found: Diagnostics) -> str:
    return f"propensities of item {found.item} are likely wrong, it was taken more often than they say (z = {found.item_weight_z:+.1f})"


def _has_floor(found: Diagnostics) -> bool:
    return found.floor >= FLOOR * (1 - 1e-6)


def _bound(found: Diagnostics) -> str:
    more = "log more rounds" if _has_floor(found) else f"log with a floor of {FLOOR}"
    return f"{more}, or take an estimator that bounds the weights"


def _explore(found: Diagnostics) -> str:
    """Asks for the rounds in which a floor takes each of K items with a chance of 95 %: (1 - floor / K) ** n <= 0.05 / K."""
    size = max(found.mean_candidates, 1.0)
    rounds = math.ceil(math.log(size / 0.05) * size / FLOOR) if size < math.inf else 0
    how = "like these" if _has_floor(found) else f"with a floor of {FLOOR}, as `WithFloor` has it"
    return f"log {_rounded(rounds)} more rounds {how}"


def _log_more(found: Diagnostics, now: float, wanted: float) -> str:
    if not now:
        return _explore(found)
    more = _rounded(math.ceil(found.num_rounds * (wanted / now - 1)))
    return f"log about {more} more rounds like these, or fewer with a policy nearer to the target"


def _rounded(count: int) -> str:
    """Rounds to two digits; such a forecast is not more precise."""
    digits = len(str(count))
    return f"{round(count, 2 - digits):,}" if digits > 2 else str(count)
