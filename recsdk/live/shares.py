"""What became of the traffic of a folder: its arms and their shares, and how often the policy agrees with the application."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recsdk.ledger import DecisionRecord
from recsdk.ledger.stores import store
from recsdk.live import marks
from recsdk.live.marks import HOLDOUT, Marks
from recsdk.live.rewards import standing_values

CONCENTRATION = 100.0
"""Of the prior over the true share: around the one that was set, with a standard deviation of 3 points at 10 %."""


class ArmReport(NamedTuple):
    """What one arm decided, and what it earned.

    Attributes:
        arm: "policy", "burn-in", "holdout", or "application" for what the application chose itself.
        num_decisions: that it made; slates that were served again are not counted.
        num_users: different ones, of those decisions that have one.
        num_rewards: shown items, or whole pages, that have a reward.
        mean_reward: of these; NaN without any.

    Example:
        >>> ArmReport("holdout", num_decisions=9, num_users=3, num_rewards=9, mean_reward=0.5).arm
        'holdout'
    """

    arm: str
    num_decisions: int
    num_users: int
    num_rewards: int
    mean_reward: float


class TrafficReport(NamedTuple):
    """The arms of a folder.

    Attributes:
        arms: those that have decided, by name.
        num_again: how often a slate was served again.
        ratio_p_value: of the sample-ratio check: how far the share of the holdout is from what was set. It may be looked at all the time:
            if all is well, it ever falls below p with probability p at most. Below .001, find out what loses or duplicates users or
            decisions of one arm before comparing the arms. 1 without a holdout.
        agreement: how probable the policy would have made what the application chose, a mean over the shown items: how often it would
            have shown the same; NaN without such choices.

    Example:
        >>> report = TrafficReport((), num_again=0, ratio_p_value=0.0002, agreement=0.9)
        >>> report.ratio_p_value < 0.001  # the arms may not be compared
        True
    """

    arms: tuple[ArmReport, ...]
    num_again: int
    ratio_p_value: float
    agreement: float


class _Seen(NamedTuple):
    decisions: set[str]
    users: set[str]


def read_traffic(folder: str | Path, *, ledger: Any = None) -> TrafficReport:
    """Reads who decided in a recommender's folder, and what came of it. The recommender may be open.

    Args:
        folder: the recommender's.
        ledger: the kind of ledger, by name or as a config; None looks which installed one the folder holds.

    Raises:
        LedgerCorrupt: when a record is not what was written.
        LedgerError: when there is no ledger in the folder.

    Example:
        >>> import recsdk
        >>> drinks, traffic = [{"id": "tea"}, {"id": "ale"}], recsdk.Traffic(burn_in=1)
        >>> with recsdk.Recommender.open("pub", items=drinks, policy="uniform", traffic=traffic) as pub:
        ...     for chosen in (None, None, ["ale"]):
        ...         _ = pub.reward(pub.recommend({}, chosen=chosen).decision_id, 1.0)
        >>> report = recsdk.read_traffic("pub")
        >>> [(arm.arm, arm.num_decisions) for arm in report.arms], report.agreement
        ([('application', 1), ('burn-in', 1), ('policy', 1)], 0.5)

    References:
        Michael Lindon, Alan Malek: Anytime-Valid Inference for Multinomial Count Data. NeurIPS 2022. (The sample-ratio check.)
    """
    shares = Shares()
    with contextlib.closing(store(folder, ledger).read(folder)) as stored:
        for record in stored.decisions():
            shares.add(record)
        return shares.report(standing_values(stored.rewards()))


class Shares:
    """Counts the decisions of each arm, while a log goes by."""

    def __init__(self) -> None:
        self._arms: dict[str, _Seen] = defaultdict(lambda: _Seen(set(), set()))
        self._units: dict[float, dict[str, bool]] = defaultdict(dict)
        self._agreements: list[float] = []
        self._num_again = 0

    def add(self, record: DecisionRecord) -> None:
        """Counts the next decision."""
        if not len(record.action):
            return  # of a user who is forgotten
        found = marks.read(record)
        if found.repeats is not None:
            self._num_again += 1
            return
        self._arms[found.arm].decisions.add(record.decision_id)
        self._arms[found.arm].users.update(() if record.user is None else (record.user,))
        self._agreements.extend(found.agreement)
        if found.share is not None:
            self._units[_set_share(found)].setdefault(_unit(record, found), found.arm == HOLDOUT)

    def report(self, rewards: Mapping[tuple[str, int], float]) -> TrafficReport:
        """Returns what became of them, given the rewards that stand."""
        told = tuple(_told(arm, seen, rewards) for arm, seen in sorted(self._arms.items()))
        counts = ((share, sum(held.values()), len(held)) for share, held in self._units.items())
        agreement = math.fsum(self._agreements) / len(self._agreements) if self._agreements else math.nan
        return TrafficReport(told, self._num_again, ratio_p_value(counts), agreement)


def ratio_p_value(counts: Iterable[tuple[float, int, int]]) -> float:
    """Returns the p-value of shares that are as set, which may be looked at all the time.

    It is the inverse of a Bayes factor: under the shares as set this is a martingale of mean 1, which ever exceeds 1 / p with probability
    p at most (Ville's inequality).

    Args:
        counts: for each share that was set, how many of the units that came were held out, and how many came.

    Example:
        >>> ratio_p_value([(0.1, 1_000, 10_000)]), ratio_p_value([(0.1, 1_200, 10_000)]) < 1e-6
        (1.0, True)
    """
    evidence = 0.0
    for share, held, total in counts:
        if 0 < share < 1:
            prior = CONCENTRATION * share, CONCENTRATION * (1 - share)
            evidence += _log_beta(prior[0] + held, prior[1] + total - held) - _log_beta(*prior)
            evidence -= held * math.log(share) + (total - held) * math.log1p(-share)
    return min(1.0, math.exp(-max(evidence, 0.0)))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _set_share(found: Marks) -> float:
    share = found.share or 0.0
    return round(share if found.arm == HOLDOUT else 1 - share, 12)


def _unit(record: DecisionRecord, found: Marks) -> str:
    """Returns what was assigned: a user, who is counted once, or a decision."""
    return f"user {record.user}" if found.by == "user" else f"decision {record.decision_id}"


def _told(arm: str, seen: _Seen, rewards: Mapping[tuple[str, int], float]) -> ArmReport:
    values = [value for (decision_id, _), value in rewards.items() if decision_id in seen.decisions]
    mean = math.fsum(values) / len(values) if values else math.nan
    return ArmReport(arm, len(seen.decisions), len(seen.users), len(values), mean)
